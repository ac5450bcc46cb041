//! Certificates that come with the configuration: rows of `ssls`, by the names they are for. [boot]

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use config_sync::collection::Collection;
use config_sync::model::ssl::{self, Sni, Ssl};
use config_sync::resource::Resource;
use config_sync::snapshot::{Other, Snapshot};
use rustls::ServerConfig;

use super::by_name::ByName;
use super::certificates::Certificates;
use super::files::{self, Pair};
use super::material::{self, ClientRoots, Protocols, Shown, Tickets, configure};
use crate::settings::{ClientVerify, ListenerTls};

/// What handshakes use by the name that a client asks for.
#[derive(Debug, Default)]
pub(crate) struct Named {
    configs: ByName<Arc<ServerConfig>>,
    /// For metrics: the first to expire of each name.
    pub(crate) shown: Vec<Shown>,
}

impl Named {
    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.configs.is_empty()
    }

    /// That of the row for `name`, which rustls has put into lower case.
    pub(crate) fn config(&self, name: &str) -> Option<&Arc<ServerConfig>> {
        self.configs.find(name)
    }

    /// Adds a row; names that an earlier one has stay its own.
    fn add(&mut self, row: &Ssl, made: &Made) {
        for sni in &row.snis {
            let name: Box<str> = match sni {
                Sni::Exact(name) => Box::from(&**name),
                Sni::Wildcard(name) => format!("*.{name}").into(),
            };
            if let Entry::Vacant(place) = self.configs.entry(&name) {
                place.insert(Arc::clone(&made.config));
                self.shown.push(Shown {
                    name,
                    not_after: made.not_after,
                });
            }
        }
    }
}

/// What a row has become.
#[derive(Clone, Debug)]
struct Made {
    config: Arc<ServerConfig>,
    /// Of the certificate that expires first.
    not_after: i64,
}

/// The rows as they were last seen. Only what has changed is made anew.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    generation: Option<u64>,
    /// By id, with the document that it was made of.
    made: HashMap<Arc<str>, (Arc<Resource>, Option<Made>)>,
}

/// What rows are made with beside themselves.
pub(crate) struct Around<'l> {
    pub(crate) settings: &'l ListenerTls,
    pub(crate) protocols: Protocols,
    pub(crate) tickets: &'l Tickets,
}

impl Rows {
    /// What the rows of `snapshot` come to; `None` where they are those of the last call. The second
    /// part: what cannot be used, with its row. A row that cannot is served as it was, if it was.
    pub(crate) fn follow(
        &mut self,
        snapshot: &Snapshot,
        around: &Around<'_>,
    ) -> Option<(Named, Vec<String>)> {
        if self.generation.replace(snapshot.generation()) == Some(snapshot.generation()) {
            return None;
        }
        let mut rows: Vec<&Other> = snapshot.others(Collection::Ssls).collect();
        let is_known = |row: &&Other| {
            let known = self.made.get(&row.id);
            known.is_some_and(|(resource, _)| Arc::ptr_eq(resource, &row.resource))
        };
        if rows.len() == self.made.len() && rows.iter().all(is_known) {
            return None;
        }
        // Where two rows claim a name, the one with the lower id has it, whatever order they come in.
        rows.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        Some(self.build(&rows, around))
    }

    /// Has the next call make all rows anew: what is around them has changed.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    fn build(&mut self, rows: &[&Other], around: &Around<'_>) -> (Named, Vec<String>) {
        let mut before = std::mem::take(&mut self.made);
        let (mut named, mut faults) = (Named::default(), Vec::new());
        for row in rows {
            let Resource::Ssl(ssl) = &*row.resource else {
                continue;
            };
            let made = match before.remove(&row.id) {
                Some((resource, made)) if Arc::ptr_eq(&resource, &row.resource) => made,
                known => match make(ssl, around) {
                    Ok(made) => Some(made),
                    Err(why) => {
                        faults.push(format!("ssls {}: {why}", row.id));
                        known.and_then(|(_, made)| made)
                    }
                },
            };
            if let Some(made) = made.as_ref().filter(|_| ssl.enabled) {
                named.add(ssl, made);
            }
            let seen = (Arc::clone(&row.resource), made);
            self.made.insert(Arc::clone(&row.id), seen);
        }
        (named, faults)
    }
}

fn make(row: &Ssl, around: &Around<'_>) -> Result<Made, String> {
    let pairs = row.pairs.iter().map(files::pair_of);
    let pairs: Vec<Pair> = pairs.collect::<Result<_, _>>()?;
    let expiries = pairs.iter().map(|pair| pair.facts.not_after);
    let not_after = expiries.min().unwrap_or_default();
    let identity = (
        Certificates::any(&pairs),
        client_roots(row, around.settings)?,
    );
    Ok(Made {
        config: configure(around.settings, around.protocols, identity, around.tickets)?,
        not_after,
    })
}

/// The row's own roots, else the listener's: a row does not open a door that the listener closes.
fn client_roots(row: &Ssl, settings: &ListenerTls) -> Result<Option<ClientRoots>, String> {
    if let Some(text) = &row.client_ca {
        let verify = match row.client_verify {
            ssl::ClientVerify::Require => ClientVerify::Require,
            ssl::ClientVerify::Optional => ClientVerify::Optional,
        };
        return Ok(Some((files::roots_of(text)?, verify)));
    }
    material::client_roots(settings)
}

#[cfg(test)]
mod tests {
    use config_sync::snapshot::SnapshotParts;
    use config_sync::tree::{Problems, Unknown};
    use serde_json::json;

    use super::*;
    use crate::tls::material::HTTP1;

    fn row(id: &str, names: &[&str], enabled: bool) -> Other {
        let sans: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(sans).unwrap();
        let document = json!({"name": id, "snis": names, "enabled": enabled,
            "cert": made.cert.pem(), "key": made.signing_key.serialize_pem()});
        let problems = Problems::default();
        let read = Resource::read(Collection::Ssls, &document, &problems, Unknown::Ignored);
        Other {
            collection: Collection::Ssls,
            id: id.into(),
            resource: Arc::new(read.expect("a row")),
        }
    }

    fn snapshot(generation: u64, rows: &[&Other]) -> Snapshot {
        Snapshot::build(SnapshotParts {
            generation,
            others: rows.iter().map(|&row| row.clone()).collect(),
            ..SnapshotParts::default()
        })
    }

    fn settings() -> ListenerTls {
        ListenerTls {
            pairs: Vec::new(),
            client_ca: None,
            min_version: crate::settings::TlsVersion::V12,
            max_version: crate::settings::TlsVersion::V13,
            dynamic: true,
        }
    }

    #[test]
    fn names_are_found_exact_first_and_rows_that_stay_are_not_made_again() {
        let (settings, tickets) = (settings(), Tickets::new().unwrap());
        let around = Around {
            settings: &settings,
            protocols: HTTP1,
            tickets: &tickets,
        };
        let [one, wild, off, late] = [
            row("a", &["one.ai.test"], true),
            row("b", &["*.ai.test"], true),
            row("c", &["off.test"], false),
            row("d", &["one.ai.test", "late.test"], true),
        ];
        let mut rows = Rows::default();
        let (first, faults) = rows
            .follow(&snapshot(1, &[&late, &off, &wild, &one]), &around)
            .unwrap();
        assert!(faults.is_empty(), "{faults:?}");
        let is = |name: &str, of: &str| {
            let config = first.config(name).expect(name);
            assert!(Arc::ptr_eq(config, first.config(of).unwrap()), "{name}");
        };
        is("two.ai.test", "three.ai.test");
        assert!(!Arc::ptr_eq(
            first.config("one.ai.test").unwrap(),
            first.config("late.test").unwrap()
        ));
        for nobody in ["off.test", "ai.test", "a.b.ai.test", "elsewhere"] {
            assert!(first.config(nobody).is_none(), "{nobody}");
        }
        assert_eq!(first.shown.len(), 3);

        // The same rows in another generation, then one row less.
        let same = snapshot(2, &[&one, &wild, &off, &late]);
        assert!(rows.follow(&same, &around).is_none());
        let (second, _) = rows.follow(&snapshot(3, &[&wild, &late]), &around).unwrap();
        let kept = first.config("two.ai.test").unwrap();
        assert!(Arc::ptr_eq(kept, second.config("two.ai.test").unwrap()));
        let moved = first.config("late.test").unwrap();
        assert!(Arc::ptr_eq(moved, second.config("one.ai.test").unwrap()));
        let (none, _) = rows.follow(&snapshot(4, &[]), &around).unwrap();
        assert!(none.is_empty() && !second.is_empty());
    }
}
