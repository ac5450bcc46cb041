//! The enabled routes of one generation, found by host and path. [pure]

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use config_sync::collection::Collection;
use config_sync::model::ApiKey;
use config_sync::model::passthrough_route::{PassthroughRoute, RouteAuth, RouteCredential};
use config_sync::resource::Resource;
use config_sync::snapshot::Snapshot;

use super::route::Route;

/// All enabled routes. Of two with the same host and prefix the one with the lower id is found.
#[derive(Debug, Default)]
pub struct Index {
    /// By host.
    exact: HashMap<Box<str>, Prefixes>,
    /// By what follows the first label of the host.
    wildcard: HashMap<Box<str>, Prefixes>,
    /// Routes without hosts.
    any_host: Prefixes,
}

/// What a host and a path led to.
#[derive(Debug)]
pub enum Lookup {
    /// This route.
    Found(Rc<Route>),
    /// Routes have the host, and none of them the path.
    NoSuchPath,
    /// No route has the host.
    NoSuchHost,
}

impl Index {
    /// The enabled routes of `snapshot`.
    pub fn of(snapshot: &Snapshot) -> Self {
        let rows = || {
            let rows = snapshot.others(Collection::PassthroughRoutes);
            rows.filter_map(|row| match &*row.resource {
                Resource::PassthroughRoute(document) if document.enabled => {
                    Some((&row.id, &**document))
                }
                _ => None,
            })
        };
        let principals = principals(snapshot, rows().map(|(_, document)| document));
        let mut index = Self::default();
        for (id, document) in rows() {
            let key = match &document.credential {
                RouteCredential::Inject { provider_key_id } => {
                    snapshot.provider_key(provider_key_id)
                }
                RouteCredential::ForwardClient => None,
            };
            let principal = match &document.auth {
                RouteAuth::Anonymous { api_key_id } => {
                    principals.get(&**api_key_id).copied().flatten()
                }
                RouteAuth::GatewayKey | RouteAuth::HeaderKey { .. } => None,
            };
            index.add(&Rc::new(Route::new(id, document, key, principal)));
        }
        index
    }

    fn add(&mut self, route: &Rc<Route>) {
        if route.document.hosts.is_empty() {
            self.any_host.add(route);
        }
        for host in &route.document.hosts {
            let hosts = if host.wildcard {
                &mut self.wildcard
            } else {
                &mut self.exact
            };
            hosts.entry(host.name.clone()).or_default().add(route);
        }
    }

    /// Whether no route has a host.
    pub fn is_hostless(&self) -> bool {
        self.exact.is_empty() && self.wildcard.is_empty()
    }

    /// The route of `host` ([`super::host_of`]) and `path`, both as the caller sent them.
    pub fn by_host(&self, host: &str, path: &str) -> Lookup {
        let exact = self.exact.get(host);
        let below = host
            .split_once('.')
            .filter(|(label, _)| !label.is_empty())
            .and_then(|(_, rest)| self.wildcard.get(rest));
        if exact.is_none() && below.is_none() {
            return Lookup::NoSuchHost;
        }
        let found = [exact, below].into_iter().flatten();
        let found = found.filter_map(|prefixes| prefixes.find(path));
        match found.reduce(|one, other| if precedes(other, one) { other } else { one }) {
            Some(route) => Lookup::Found(Rc::clone(route)),
            None => Lookup::NoSuchPath,
        }
    }

    /// The route of `path` among those without hosts.
    pub fn by_path(&self, path: &str) -> Option<Rc<Route>> {
        self.any_host.find(path).cloned()
    }
}

/// The keys that anonymous routes run as, in one walk over all keys: they have no index by id.
fn principals<'s>(
    snapshot: &'s Snapshot,
    routes: impl Iterator<Item = &'s PassthroughRoute>,
) -> HashMap<&'s str, Option<&'s Arc<ApiKey>>> {
    let mut wanted: HashMap<&str, Option<&Arc<ApiKey>>> = routes
        .filter_map(|document| match &document.auth {
            RouteAuth::Anonymous { api_key_id } => Some((&**api_key_id, None)),
            RouteAuth::GatewayKey | RouteAuth::HeaderKey { .. } => None,
        })
        .collect();
    if !wanted.is_empty() {
        for key in snapshot.api_keys() {
            if let Some(place) = wanted.get_mut(&*key.id) {
                *place = Some(key);
            }
        }
    }
    wanted
}

fn prefix_of(route: &Route) -> &str {
    let prefix = route.document.path_prefix.as_ref();
    prefix.map_or("", |prefix| prefix.as_str())
}

/// The longer prefix goes first, then the lower id.
fn precedes(one: &Route, other: &Route) -> bool {
    let order = |route: &Route| usize::MAX - prefix_of(route).len();
    (order(one), &one.id) < (order(other), &other.id)
}

/// Routes of one host, or of any, by their prefix.
#[derive(Debug, Default)]
struct Prefixes {
    by_prefix: HashMap<Box<str>, Rc<Route>>,
    /// The longest of them: longer beginnings of a path need not be looked up.
    bytes_max: usize,
}

impl Prefixes {
    fn add(&mut self, route: &Rc<Route>) {
        let prefix = prefix_of(route);
        self.bytes_max = self.bytes_max.max(prefix.len());
        let known = self
            .by_prefix
            .entry(prefix.into())
            .or_insert_with(|| Rc::clone(route));
        if precedes(route, known) {
            *known = Rc::clone(route);
        }
    }

    /// The route with the longest prefix of `path` that ends where a segment does.
    fn find(&self, path: &str) -> Option<&Rc<Route>> {
        if self.by_prefix.is_empty() {
            return None;
        }
        let mut end = path.len();
        loop {
            if end <= self.bytes_max
                && let Some(route) = path
                    .get(..end)
                    .and_then(|prefix| self.by_prefix.get(prefix))
            {
                return Some(route);
            }
            end = path.get(..end)?.rfind('/')?;
        }
    }
}

#[cfg(test)]
mod tests;
