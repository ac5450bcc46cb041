//! A group of targets, prepared for the requests of one worker. [pure]

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use config_sync::model::model::{Model, ModelKind};
use config_sync::model::routing::{Routing, Strategy};
use config_sync::snapshot::Snapshot;

use super::hedging::Hedging;
use super::rows::{Rows, Target};
use super::select::{Offer, Plan, Samples};
use super::{NO_PROVIDER_KEY, Route, Row, admits};
use crate::bridge::health::{HealthState, Latency};
use crate::rejection::Rejection;
use crate::short_text::ShortText;

/// A group and what stands behind its targets in one generation.
#[derive(Debug)]
pub struct Group {
    /// The group's row.
    pub model: Row<Model>,
    pub(super) plan: Rc<Plan>,
    members: Vec<Member>,
    offers: Vec<Option<Offer>>,
    /// `None` where it does not hedge.
    hedging: Option<Rc<Hedging>>,
}

/// What stands behind a target's name.
#[derive(Debug)]
enum Member {
    Ready {
        target: Box<Target>,
        upstream_model: ShortText,
    },
    /// A model whose provider key is not there.
    Keyless,
    /// No model, or one without an upstream of its own.
    Unknown,
}

impl Group {
    /// Looks up what the targets of `model` stand for. The plan of `before` is kept where it still
    /// holds: the ring of a consistent hash takes a while to make. What is known for hedging is kept as
    /// long as the row stands.
    pub(super) fn prepare(
        rows: &Rows,
        snapshot: &Snapshot,
        model: &Arc<Model>,
        routing: &Routing,
        before: Option<&Self>,
    ) -> Self {
        let (mut members, mut offers) = (Vec::new(), Vec::new());
        for target in &routing.targets {
            let found = snapshot.resolve(&target.model);
            offers.push(found.as_ref().and_then(|found| Offer::of(found.model)));
            members.push(match found {
                Some(found) if found.model.kind == ModelKind::Direct => {
                    let upstream_model =
                        ShortText::joined(found.model.upstream_model(found.capture));
                    rows.hold(snapshot, found.model)
                        .map_or(Member::Keyless, |target| Member::Ready {
                            target: Box::new(target),
                            upstream_model,
                        })
                }
                _ => Member::Unknown,
            });
        }
        let kept =
            before.filter(|before| Arc::ptr_eq(&before.model, model) && before.offers == offers);
        let plan = kept.map_or_else(
            || {
                let names = routing.targets.iter().map(|target| &*target.model);
                let by_name: Vec<_> = names.zip(&offers).collect();
                let offer = |name: &str| {
                    let (_, offer) = by_name.iter().find(|(target, _)| *target == name)?;
                    **offer
                };
                Rc::new(Plan::new(&model.display_name, routing, offer))
            },
            |before| Rc::clone(&before.plan),
        );
        let same_row = before.filter(|before| Arc::ptr_eq(&before.model, model));
        let hedging = match same_row {
            Some(before) => before.hedging.clone(),
            None => {
                let targets = routing.targets.len();
                let hedging = routing.hedge.map(|hedge| Hedging::new(hedge, targets));
                hedging.map(Rc::new)
            }
        };
        Self {
            model: Rc::new(Arc::clone(model)),
            plan,
            members,
            offers,
            hedging,
        }
    }

    /// Its settings.
    pub fn routing(&self) -> Option<&Routing> {
        routing_of(&self.model)
    }

    /// How it hedges; `None` where it does not.
    pub fn hedging(&self) -> Option<&Rc<Hedging>> {
        self.hedging.as_ref()
    }

    /// Whether its strategy looks at how fast or busy targets are.
    pub(super) fn wants_samples(&self) -> bool {
        self.routing().is_some_and(|routing| {
            let strategy = routing.strategy;
            matches!(strategy, Strategy::LeastLatency | Strategy::LeastBusy)
        })
    }

    /// The target at `position`.
    pub(super) fn route(&self, position: usize) -> Result<Route, Rejection> {
        match self.members.get(position) {
            Some(Member::Ready {
                target,
                upstream_model,
            }) => Ok(target.route(upstream_model.clone())),
            _ => Err(Rejection::ProviderUnavailable(NO_PROVIDER_KEY)),
        }
    }

    /// Whether the address list of the target at `position` holds `client_ip`.
    pub(super) fn admits(&self, position: usize, client_ip: IpAddr) -> bool {
        match self.members.get(position) {
            Some(Member::Ready { target, .. }) => admits(&target.model, client_ip),
            Some(Member::Keyless | Member::Unknown) | None => true,
        }
    }

    pub(super) fn samples(&self, now_ms: u64) -> impl Samples {
        Standing {
            group: self,
            now_ms,
        }
    }
}

/// The settings of a group.
pub(super) fn routing_of(model: &Model) -> Option<&Routing> {
    match &model.kind {
        ModelKind::Routing(routing) => Some(routing),
        ModelKind::Direct | ModelKind::Ensemble(_) | ModelKind::Semantic(_) => None,
    }
}

/// How the targets of a group are doing.
struct Standing<'g> {
    group: &'g Group,
    now_ms: u64,
}

impl Standing<'_> {
    fn target(&self, position: usize) -> Option<&Target> {
        match self.group.members.get(position)? {
            Member::Ready { target, .. } => Some(target),
            Member::Keyless | Member::Unknown => None,
        }
    }
}

impl Samples for Standing<'_> {
    fn state(&self, target: usize) -> HealthState {
        let target = self.target(target);
        target.map_or(HealthState::Healthy, |target| {
            target.health.state(self.now_ms)
        })
    }

    fn latency(&self, target: usize) -> Option<Latency> {
        self.target(target)?.health.latency(self.now_ms)
    }

    fn in_flight(&self, target: usize) -> u32 {
        self.target(target)
            .map_or(0, |target| target.health.in_flight())
    }
}
