//! One row of the store: its newest bytes, and the last good ones where those are rejected. [pure]

use std::sync::Arc;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::claims::{Claim, Order};
use crate::collection::Collection;
use crate::decode::{self, Decoded, OpenSecrets, Rejection, RejectionKind, json};
use crate::source::store::StoredRow;

/// Where a row belongs.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) collection: Collection,
    pub(super) id: Arc<str>,
}

/// The bytes of a row. They may hold credentials: wiped when dropped.
pub(super) struct Body {
    pub(super) stored: StoredRow,
    /// Its canonical JSON; `None` where the bytes are that already, or are no JSON.
    canonical: Option<Zeroizing<Vec<u8>>>,
    /// SHA-256 of the canonical bytes.
    pub(super) digest: [u8; 32],
}

impl Body {
    /// What the hashes of a configuration cover.
    pub(super) fn canonical(&self) -> &[u8] {
        self.canonical.as_ref().unwrap_or(&self.stored.value)
    }
}

/// The last good bytes of a row whose newest ones are rejected.
pub(super) struct Pin {
    pub(super) body: Body,
    pub(super) decoded: Decoded,
    /// Unix seconds of the first rejection; `None` until the newest bytes are judged.
    pub(super) since: Option<i64>,
}

/// What is served of a row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Standing {
    /// Nothing: it was rejected, and nothing good is known or may be served.
    Unserved,
    /// The newest bytes.
    Newest,
    /// The last good bytes.
    Pinned,
    /// Nothing, without a fault of the row: its collection is of a newer version.
    PassedOver,
}

/// What the indexes and reports hold of a row.
pub(super) struct Shown {
    pub(super) decoded: Decoded,
    /// Its place among rows of its collection.
    pub(super) order: Order,
}

/// One row.
pub(super) struct Row {
    /// `None` where its key does not parse or its collection is unknown.
    pub(super) place: Option<Place>,
    pub(super) newest: Body,
    /// Of the newest bytes, seen alone.
    pub(super) verdict: Result<Decoded, Rejection>,
    pub(super) pin: Option<Pin>,
    pub(super) standing: Standing,
    /// The standing that reports know of, also of older bytes.
    pub(super) reported: Standing,
    /// Digest of what the configuration's hash covers.
    pub(super) served: Option<[u8; 32]>,
    pub(super) shown: Option<Shown>,
    /// What it is served with.
    pub(super) held: Vec<Claim>,
    /// Unix seconds when this process first saw it.
    pub(super) appeared: i64,
}

impl Row {
    /// A row that is not judged yet.
    pub(super) fn new(
        stored: StoredRow,
        prefix: &str,
        opener: Option<&dyn OpenSecrets>,
        now_unix_s: i64,
    ) -> Self {
        let place = place_of(prefix, &stored.key);
        let (newest, verdict) = match &place {
            Ok(place) => read(stored, place, opener),
            Err(rejection) => (body(stored).0, Err(rejection.clone())),
        };
        Self {
            place: place.ok(),
            newest,
            verdict,
            pin: None,
            standing: Standing::Unserved,
            reported: Standing::Unserved,
            served: None,
            shown: None,
            held: Vec::new(),
            appeared: now_unix_s,
        }
    }

    /// Takes over what was known of the same row before its newest bytes.
    pub(super) fn succeed(&mut self, old: Self) {
        let Self {
            newest,
            verdict,
            pin,
            standing,
            ..
        } = old;
        self.pin = match (pin, verdict, standing) {
            (None, Ok(decoded), Standing::Newest) => Some(Pin {
                body: newest,
                decoded,
                since: None,
            }),
            (pin, ..) => pin,
        };
        self.reported = old.reported;
        self.served = old.served;
        self.shown = old.shown;
        self.appeared = old.appeared;
    }

    /// Its place among all rows.
    pub(super) fn order(&self, key: &Arc<str>) -> Order {
        Order {
            created: self.newest.stored.create_revision,
            row: Arc::clone(key),
        }
    }

    /// What its newest bytes ask for.
    pub(super) fn claims(&self) -> Vec<Claim> {
        let decoded = self.verdict.as_ref().ok();
        decoded.map_or(Vec::new(), |decoded| Claim::of(&decoded.resource))
    }

    /// What its last good bytes ask for.
    pub(super) fn pinned_claims(&self) -> Vec<Claim> {
        let pin = self.pin.as_ref();
        pin.map_or(Vec::new(), |pin| Claim::of(&pin.decoded.resource))
    }

    /// Pins what was served, now that the newest bytes are rejected. Tells whether that is news.
    pub(super) fn keep_last_good(&mut self, now_unix_s: i64) -> bool {
        if self.pin.is_none()
            && self.standing == Standing::Newest
            && let Ok(decoded) = &self.verdict
        {
            self.pin = Some(Pin {
                body: Body {
                    stored: self.newest.stored.clone(),
                    canonical: self.newest.canonical.clone(),
                    digest: self.newest.digest,
                },
                decoded: decoded.clone(),
                since: None,
            });
        }
        let Some(pin) = &mut self.pin else {
            return false;
        };
        let news = pin.since.is_none();
        pin.since.get_or_insert(now_unix_s);
        news
    }

    /// What is served, with its document.
    pub(super) fn serving(&self) -> Option<(&Body, &Decoded)> {
        match (self.standing, &self.verdict, &self.pin) {
            (Standing::Newest, Ok(decoded), _) => Some((&self.newest, decoded)),
            (Standing::Pinned, _, Some(pin)) => Some((&pin.body, &pin.decoded)),
            _ => None,
        }
    }

    /// The bytes that the configuration's hash covers.
    pub(super) fn hashed(&self) -> Option<&Body> {
        match self.standing {
            // So that both hashes are equal exactly when nothing is rejected.
            Standing::PassedOver => Some(&self.newest),
            _ => self.serving().map(|(body, _)| body),
        }
    }

    /// Unix seconds since when something older than the newest bytes is served.
    pub(super) fn stale_since(&self) -> Option<i64> {
        let pin = self
            .pin
            .as_ref()
            .filter(|_| self.standing == Standing::Pinned)?;
        pin.since
    }

    /// Whether its collection is of a newer version.
    pub(super) fn is_of_unknown_kind(&self) -> bool {
        let kind = self.verdict.as_ref().err().map(|rejection| rejection.kind);
        kind == Some(RejectionKind::UnknownKind)
    }
}

/// A pin as a cache kept it; `None` where its bytes no longer load.
pub(super) fn restored_pin(
    stored: StoredRow,
    since: i64,
    place: &Place,
    opener: Option<&dyn OpenSecrets>,
) -> Option<Pin> {
    let (body, verdict) = read(stored, place, opener);
    Some(Pin {
        body,
        decoded: verdict.ok()?,
        since: Some(since),
    })
}

fn place_of(prefix: &str, key: &str) -> Result<Place, Rejection> {
    let parts = decode::split_key(prefix, key)?;
    Ok(Place {
        collection: decode::collection_of(parts.collection)?,
        id: parts.id.into(),
    })
}

fn read(
    stored: StoredRow,
    place: &Place,
    opener: Option<&dyn OpenSecrets>,
) -> (Body, Result<Decoded, Rejection>) {
    let (body, document) = body(stored);
    let verdict =
        document.and_then(|document| decode::read(place.collection, &place.id, document, opener));
    (body, verdict)
}

/// The bytes with their digest, and the document in them.
fn body(stored: StoredRow) -> (Body, Result<crate::document::Document, Rejection>) {
    let document = json::parse(&stored.value);
    let canonical = document
        .as_ref()
        .ok()
        .map(|document| json::canonical(document.value()))
        .filter(|canonical| **canonical != **stored.value);
    let text = canonical.as_ref().unwrap_or(&stored.value);
    let digest = Sha256::digest(text.as_slice()).into();
    let body = Body {
        stored,
        canonical,
        digest,
    };
    (body, document)
}
