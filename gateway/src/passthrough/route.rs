//! One enabled route of a generation, with all that a request needs of it. [pure]

use std::net::IpAddr;
use std::sync::Arc;

use config_sync::model::labels::TargetLabels;
use config_sync::model::passthrough_route::{PassthroughRoute, RouteCredential, RouteTarget};
use config_sync::model::{ApiKey, BaseUrl, KeyTls, ProviderKey};

use super::credential::Credential;
use crate::rejection::Rejection;

/// `provider` of routes that relay the caller's credential.
const CALLERS_OWN: &str = "byo";
/// `provider` of routes whose key is not there.
const UNRESOLVED: &str = "unresolved";

const NO_KEY: &str = "the provider key of this passthrough route does not exist";

/// A route with its references resolved.
#[derive(Debug)]
pub struct Route {
    /// Resource id.
    pub id: Arc<str>,
    /// What the operator wrote.
    pub document: PassthroughRoute,
    /// What the route injects, where it does and the key is there.
    pub provider_key: Option<Arc<ProviderKey>>,
    /// The key that anonymous requests run as, where it is there.
    pub anonymous: Option<Arc<ApiKey>>,
    /// For the record.
    pub labels: Arc<TargetLabels>,
    /// How the upstream proves who it is.
    pub tls: KeyTls,
    /// The upstream; `None` where each request names it.
    pub base: Option<BaseUrl>,
}

impl Route {
    /// The route `document` under its id. `provider_key` and `anonymous` are those that it names.
    pub fn new(
        id: &Arc<str>,
        document: &PassthroughRoute,
        provider_key: Option<&Arc<ProviderKey>>,
        anonymous: Option<&Arc<ApiKey>>,
    ) -> Self {
        let tls = provider_key.map_or_else(KeyTls::default, |key| key.tls.clone());
        let provider: Arc<str> = match (provider_key, &document.credential) {
            (Some(key), _) => Arc::clone(&key.vendor),
            (None, RouteCredential::ForwardClient) => CALLERS_OWN.into(),
            (None, RouteCredential::Inject { .. }) => UNRESOLVED.into(),
        };
        let key = provider_key.map(|key| (&key.id, &key.name));
        Self {
            id: Arc::clone(id),
            document: PassthroughRoute {
                // Records take it along, which moves a count that workers must not share.
                name: (&*document.name).into(),
                ..document.clone()
            },
            provider_key: provider_key.cloned(),
            anonymous: anonymous.cloned(),
            labels: Arc::new(TargetLabels::passthrough(&provider, key)),
            base: match &document.target {
                RouteTarget::Url(url) => Some(BaseUrl::of_url(url, &tls)),
                RouteTarget::RequestedHost => None,
            },
            tls,
        }
    }

    /// Whether callers may come from `client_ip`.
    pub fn admits(&self, client_ip: IpAddr) -> bool {
        let client_ip = client_ip.to_canonical();
        let networks = self.document.source_cidrs.as_deref();
        networks.is_none_or(|networks| networks.iter().any(|net| net.contains(&client_ip)))
    }

    /// Where a request goes that was addressed to `host`, which matches the route, if that decides.
    pub fn named_base(&self, host: &str) -> Option<BaseUrl> {
        match self.base {
            Some(_) => None,
            None => Some(BaseUrl::of_host(host, &self.tls)),
        }
    }

    /// The credential that the upstream gets; `None` where it is the caller's own.
    ///
    /// # Errors
    ///
    /// [`Rejection::UpstreamUnusable`] without the key, or with one that no header can carry.
    pub fn credential(&self) -> Result<Option<Credential<'_>>, Rejection> {
        match (&self.document.credential, &self.provider_key) {
            (RouteCredential::ForwardClient, _) => Ok(None),
            (RouteCredential::Inject { .. }, None) => Err(Rejection::UpstreamUnusable(NO_KEY)),
            (RouteCredential::Inject { .. }, Some(key)) => Credential::of(key).map(Some),
        }
    }

    /// Whether the upstream sees the gateway's credential, not the caller's.
    pub fn injects(&self) -> bool {
        matches!(self.document.credential, RouteCredential::Inject { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passthrough::fixture::route;
    use crate::route::fixture;
    use serde_json::json;

    #[test]
    fn the_provider_of_the_record_says_whose_credential_goes_out() {
        let groq = fixture::provider_key(json!({"provider": "groq", "adapter": "openai"}));
        let forward = json!({"credential_mode": "forward_client", "provider_key_id": null});
        for (extra, key, want) in [
            (json!({}), Some(&groq), ("groq", "pk", "up")),
            (json!({}), None, ("unresolved", "unknown", "unknown")),
            (forward, None, ("byo", "unknown", "unknown")),
        ] {
            let labels = route(extra, key).labels;
            let got = (
                &*labels.provider,
                &*labels.provider_key_id,
                &*labels.provider_key_name,
            );
            assert_eq!(got, want);
            assert_eq!(&*labels.model, "passthrough");
        }
    }

    #[test]
    fn without_a_list_everybody_is_admitted_and_with_one_only_its_networks() {
        let open = route(json!({}), None);
        let closed = route(json!({"source_cidrs": ["10.0.0.0/8", "::1/128"]}), None);
        for (address, want) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("::1", true),
            ("11.0.0.1", false),
            ("::2", false),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert!(open.admits(address));
            assert_eq!(closed.admits(address), want, "{address}");
        }
    }

    #[test]
    fn a_key_that_is_missing_or_fits_no_header_is_told_apart_from_one_that_is_not_needed() {
        let fits = fixture::provider_key(json!({}));
        assert!(matches!(
            route(json!({}), Some(&fits)).credential(),
            Ok(Some(_))
        ));
        let missing = route(json!({}), None).credential().unwrap_err();
        assert_eq!(missing.status(), 400);
        let broken = fixture::provider_key(json!({"api_key": "sk-é"}));
        let broken = route(json!({}), Some(&broken)).credential().unwrap_err();
        assert_eq!(broken.status(), 400);
        let forward = json!({"credential_mode": "forward_client", "provider_key_id": null});
        assert!(matches!(route(forward, None).credential(), Ok(None)));
    }

    #[test]
    fn the_upstream_is_the_routes_or_the_host_that_was_named() {
        let fixed = route(json!({"target_url": "http://up.example:81/v1/"}), None);
        assert!(fixed.named_base("x.example").is_none());
        let base = fixed.base.unwrap();
        assert_eq!((&*base.authority, &*base.path), ("up.example:81", "/v1"));
        let named = json!({"target_url": null, "preserve_host": true, "hosts": ["*.x.example"]});
        let base = route(named, None).named_base("a.x.example").unwrap();
        assert_eq!((&*base.authority, base.https), ("a.x.example", true));
    }
}
