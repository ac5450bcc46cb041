//! From a requested name to the target that serves it. [pure]

mod rows;
pub mod select;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use config_sync::model::api_key::ApiKey;
use config_sync::model::labels::TargetLabels;
use config_sync::model::model::{Model, ModelKind};
use config_sync::model::provider_key::ProviderKey;
use config_sync::snapshot::Snapshot;

use crate::rejection::Rejection;
use crate::short_text::ShortText;

#[cfg(test)]
pub(crate) use tests::fixture;

pub use rows::{Row, Rows};

pub(crate) const VIRTUAL: &str = "this kind of model is not served by this version";
pub(crate) const NO_PROVIDER_KEY: &str = "the provider key of this model does not exist";

/// One target of a request.
#[derive(Clone, Debug)]
pub struct Route {
    pub target: Row<Model>,
    /// The target's provider key, which a route always has.
    pub provider_key: Row<ProviderKey>,
    /// The target's labels, for the record.
    pub labels: Row<TargetLabels>,
    /// The name the upstream knows the model by.
    pub upstream_model: ShortText,
}

/// As [`Rows::resolve`], for one call.
///
/// # Errors
///
/// As [`Rows::resolve`].
pub fn resolve(
    snapshot: &Snapshot,
    key: &ApiKey,
    model: &str,
    client_ip: IpAddr,
) -> Result<Route, Rejection> {
    Rows::default().resolve(snapshot, key, model, client_ip)
}

impl Rows {
    /// Finds the target of `model` and checks that the caller may use it, in the order that decides
    /// what a caller learns: unknown name, name not allowed, address not allowed, target unusable.
    ///
    /// # Errors
    ///
    /// 404, 403, 403 and 503, in this order.
    pub fn resolve(
        &self,
        snapshot: &Snapshot,
        key: &ApiKey,
        model: &str,
        client_ip: IpAddr,
    ) -> Result<Route, Rejection> {
        let Some(found) = snapshot.resolve(model) else {
            return Err(Rejection::ModelNotFound {
                model: model.into(),
            });
        };
        if !key.may_use(model) {
            return Err(Rejection::ModelForbidden {
                model: model.into(),
            });
        }
        if !admits(found.model, client_ip) {
            return Err(Rejection::IpRestricted);
        }
        if found.model.kind != ModelKind::Direct {
            return Err(Rejection::ProviderUnavailable(VIRTUAL));
        }
        let Some(target) = self.hold(snapshot, found.model) else {
            return Err(Rejection::ProviderUnavailable(NO_PROVIDER_KEY));
        };
        Ok(Route {
            target: target.model,
            provider_key: target.provider_key,
            labels: target.labels,
            upstream_model: ShortText::joined(found.model.upstream_model(found.capture)),
        })
    }
}

/// Whether the model's address list, if it has one, holds `client_ip`.
///
/// An IPv4 caller on a dual-stack socket counts as the IPv4 address it is.
fn admits(model: &Model, client_ip: IpAddr) -> bool {
    let client_ip = client_ip.to_canonical();
    model
        .allowed_cidrs
        .as_deref()
        .is_none_or(|cidrs| cidrs.is_empty() || cidrs.iter().any(|cidr| cidr.contains(&client_ip)))
}
