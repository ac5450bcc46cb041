//! From a requested name to the target that serves it. [pure]

mod candidates;
mod group;
mod hedging;
mod retry;
mod rows;
pub mod select;
#[cfg(test)]
mod tests;
mod window;

use std::net::IpAddr;

use config_sync::model::api_key::ApiKey;
use config_sync::model::labels::TargetLabels;
use config_sync::model::model::{Model, ModelKind};
use config_sync::model::provider_key::ProviderKey;
use config_sync::snapshot::Snapshot;

use self::select::{ALL_UNAVAILABLE_RETRY_SECS, Facts, KeySource, NoTarget, hash_key, order};
use crate::bridge::health::TargetHealth;
use crate::http::h1::RequestHead;
use crate::rejection::Rejection;
use crate::short_text::ShortText;

#[cfg(test)]
pub(crate) use tests::{fixture, resolve};

pub use candidates::Candidates;
pub use group::Group;
pub use hedging::Hedging;
pub use retry::{JITTER_MAX, Next, RetryBudget, Rules};
pub use rows::{Row, Rows};
pub use window::Window;

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
    /// How the target is doing.
    pub health: Row<TargetHealth>,
    /// The name the upstream knows the model by.
    pub upstream_model: ShortText,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'r> {
    pub key: &'r ApiKey,
    /// Address of the caller, after trusted proxies.
    pub client_ip: IpAddr,
    pub head: &'r RequestHead,
    /// Unix milliseconds.
    pub now_ms: u64,
}

/// Header in which callers ask for targets with tags.
const TAGS_HEADER: &str = "x-sluice-routing-tags";

impl KeySource for Asking<'_> {
    fn header(&self, name: &str) -> Option<&[u8]> {
        self.head.header(name)
    }

    fn api_key_id(&self) -> Option<&str> {
        Some(&self.key.id)
    }

    fn client_ip(&self) -> IpAddr {
        self.client_ip
    }
}

impl Rows {
    /// Finds the targets of `model` and checks that the caller may use it, in the order that decides
    /// what a caller learns: unknown name, name not allowed, address not allowed, target unusable.
    ///
    /// # Errors
    ///
    /// 404, 403, 403 and 503, in this order; of a group also those of [`NoTarget`].
    pub fn resolve(
        &self,
        snapshot: &Snapshot,
        asking: &Asking<'_>,
        model: &str,
    ) -> Result<Candidates, Rejection> {
        let Some(found) = snapshot.resolve(model) else {
            return Err(Rejection::ModelNotFound {
                model: model.into(),
            });
        };
        if !asking.key.may_use(model) {
            return Err(Rejection::ModelForbidden {
                model: model.into(),
            });
        }
        if !admits(found.model, asking.client_ip) {
            return Err(Rejection::IpRestricted);
        }
        if found.model.kind == ModelKind::Direct {
            let Some(target) = self.hold(snapshot, found.model) else {
                return Err(Rejection::ProviderUnavailable(NO_PROVIDER_KEY));
            };
            let upstream_model = ShortText::joined(found.model.upstream_model(found.capture));
            return Ok(Candidates::direct(target.route(upstream_model)));
        }
        let Some(group) = self.group(snapshot, found.model) else {
            return Err(Rejection::ProviderUnavailable(VIRTUAL));
        };
        let hash_key = hash_key(group.plan.hash_on(), asking);
        let facts = Facts {
            tags: asking.head.header(TAGS_HEADER).unwrap_or_default(),
            hash_key: &hash_key,
            is_admitted: &|position| group.admits(position, asking.client_ip),
        };
        let samples = group.samples(asking.now_ms);
        let order = order(&group.plan, &facts, &mut self.turns.borrow_mut(), &samples)
            .map_err(no_target)?;
        drop(samples);
        Ok(Candidates::of_group(group, order))
    }
}

fn no_target(why: NoTarget) -> Rejection {
    let invalid = |problem: std::borrow::Cow<'static, str>| Rejection::InvalidRequest {
        problem,
        param: Some("model"),
    };
    match why {
        NoTarget::Empty => invalid("model: the group has no targets".into()),
        NoTarget::TagsUnmatched => invalid("no routing target matches request tags".into()),
        NoTarget::Unknown { model } => {
            invalid(format!("model: routing target \"{model}\" is not a model").into())
        }
        NoTarget::IpRestricted => Rejection::IpRestricted,
        NoTarget::AllUnavailable => Rejection::AllUnavailable {
            retry_after_secs: ALL_UNAVAILABLE_RETRY_SECS,
        },
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
