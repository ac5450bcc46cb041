//! What operators are told of rows: rejected, partly understood, stale, counted. [pure]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::collection::Collection;
use crate::decode::{MESSAGE_BYTES_MAX, Rejection, RejectionKind, cut};

/// Most rejections reported; the newest are kept.
pub const REJECTED_MAX: usize = 256;
/// Most pairs of collection and field reported.
pub const PARTIAL_MAX: usize = 1024;
/// Most different warnings of one process. What comes later is on the status page only.
const WARNINGS_MAX: usize = 4096;
/// Longest id, collection or field in a report, in bytes.
const NAME_BYTES_MAX: usize = 512;
/// Stands for every collection that this version does not know.
const UNKNOWN: &str = "unknown";
/// The field that stands for a whole row.
pub(super) const WHOLE: &str = "*";
/// The field of a row whose name another row owns.
pub(super) const DUPLICATE_NAME: &str = "duplicate:name";

/// Numbers by collection. Keeps those that fell to 0, so that a gauge can say so.
pub type ByKind = BTreeMap<&'static str, usize>;

/// A row whose newest bytes are not served.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rejected {
    /// Collection as in the key; empty where the key did not parse.
    pub resource_kind: Box<str>,
    /// Id; empty where the key did not parse.
    pub resource_id: Box<str>,
    /// Kind and message.
    pub why: Rejection,
    /// Unix seconds since when its newest bytes have been rejected without a break.
    pub first_seen: i64,
    /// Unix seconds when they were last rejected.
    pub last_seen: i64,
    /// Unix seconds since when older bytes are served instead, where they are.
    pub stale_since: Option<i64>,
}

/// How many rows of a collection carry something that this version leaves out of account.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PartiallyCompatible {
    /// Collection as in the key.
    pub resource_kind: Box<str>,
    /// Dotted path, `inapplicable:<field>`, `duplicate:name`, or `*` for whole rows.
    pub field: Box<str>,
    /// Rows.
    pub count: usize,
}

/// What the status pages show of rows.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// At most [`REJECTED_MAX`], by collection and id.
    pub rejected: Arc<[Rejected]>,
    /// Rejected rows by collection, all of them.
    pub rejected_by_kind: ByKind,
    /// Rejected rows by reason, as the failure counter names it, all of them.
    pub rejected_by_reason: ByKind,
    /// The row rejected last.
    pub newest_rejection: Option<Rejected>,
    /// At most [`PARTIAL_MAX`], by collection and field.
    pub partially_compatible: Arc<[PartiallyCompatible]>,
    /// Rows that are partly understood, by collection.
    pub partial_by_kind: ByKind,
    /// Rows served from older bytes, by collection.
    pub stale_by_kind: ByKind,
    /// Rows served, by collection.
    pub served_by_kind: ByKind,
}

impl Report {
    /// Rows whose newest bytes are not served.
    pub fn rejected_count(&self) -> usize {
        self.rejected_by_kind.values().sum()
    }

    /// Rows served.
    pub fn served_count(&self) -> usize {
        self.served_by_kind.values().sum()
    }
}

/// Everything reported, kept up to date row by row.
#[derive(Default)]
pub(super) struct Reports {
    rejected: HashMap<Arc<str>, (u64, Rejected)>,
    /// Keys by when they were last rejected.
    by_time: BTreeMap<u64, Arc<str>>,
    ticks: u64,
    rejected_by_kind: ByKind,
    rejected_by_reason: ByKind,
    fields: BTreeMap<(Box<str>, Box<str>), usize>,
    /// How many fields are noted of a row.
    noted: HashMap<(Box<str>, Arc<str>), usize>,
    partial_by_kind: ByKind,
    pub(super) stale_by_kind: ByKind,
    pub(super) served_by_kind: ByKind,
    said: HashSet<Box<str>>,
    warnings: Vec<String>,
    newly_rejected: Vec<Rejected>,
    changed: bool,
}

/// The label of a collection in metrics: names of unknown ones come from outside.
pub(super) fn label(kind: &str) -> &'static str {
    Collection::from_name(kind).map_or(UNKNOWN, Collection::name)
}

/// Value of `reason` in the failure counter.
pub(crate) fn reason(kind: RejectionKind) -> &'static str {
    match kind {
        RejectionKind::NonJson => "parse",
        RejectionKind::BadKey
        | RejectionKind::SchemaFailed
        | RejectionKind::ParseFailed
        | RejectionKind::UnknownKind => "validate",
    }
}

pub(super) fn count(numbers: &mut ByKind, kind: &'static str, more: bool) {
    let number = numbers.entry(kind).or_default();
    *number = if more {
        *number + 1
    } else {
        number.saturating_sub(1)
    };
}

impl Reports {
    /// The row at `key` is rejected now.
    pub(super) fn reject(
        &mut self,
        key: &Arc<str>,
        named: (&str, &str),
        why: Rejection,
        stale_since: Option<i64>,
        now_unix_s: i64,
    ) {
        let before = self.lift(key);
        let known = before.as_ref().is_some_and(|before| before.why == why);
        let rejected = Rejected {
            resource_kind: cut(named.0, NAME_BYTES_MAX).into(),
            resource_id: cut(named.1, NAME_BYTES_MAX).into(),
            first_seen: before.map_or(now_unix_s, |before| before.first_seen),
            last_seen: now_unix_s,
            why,
            stale_since,
        };
        if !known && self.newly_rejected.len() < REJECTED_MAX {
            self.newly_rejected.push(rejected.clone());
        }
        count(&mut self.rejected_by_kind, label(named.0), true);
        count(
            &mut self.rejected_by_reason,
            reason(rejected.why.kind),
            true,
        );
        self.ticks += 1;
        self.by_time.insert(self.ticks, Arc::clone(key));
        self.rejected
            .insert(Arc::clone(key), (self.ticks, rejected));
        self.changed = true;
    }

    /// The row at `key` is no longer rejected.
    pub(super) fn lift(&mut self, key: &Arc<str>) -> Option<Rejected> {
        let (tick, rejected) = self.rejected.remove(key)?;
        self.by_time.remove(&tick);
        let kind = label(&rejected.resource_kind);
        count(&mut self.rejected_by_kind, kind, false);
        count(
            &mut self.rejected_by_reason,
            reason(rejected.why.kind),
            false,
        );
        self.changed = true;
        Some(rejected)
    }

    /// Notes that `field` of the row is left out of account.
    pub(super) fn note(&mut self, kind: &str, id: &Arc<str>, field: &str) {
        let pair = (
            cut(kind, NAME_BYTES_MAX).into(),
            cut(field, NAME_BYTES_MAX).into(),
        );
        *self.fields.entry(pair).or_default() += 1;
        let row = self.noted.entry((kind.into(), Arc::clone(id))).or_default();
        *row += 1;
        if *row == 1 {
            count(&mut self.partial_by_kind, label(kind), true);
        }
        self.changed = true;
    }

    /// Takes one [`Reports::note`] back.
    pub(super) fn forget(&mut self, kind: &str, id: &Arc<str>, field: &str) {
        let pair = (
            cut(kind, NAME_BYTES_MAX).into(),
            cut(field, NAME_BYTES_MAX).into(),
        );
        if let Some(rows) = self.fields.get_mut(&pair) {
            *rows -= 1;
            if *rows == 0 {
                self.fields.remove(&pair);
            }
        }
        let row = (kind.into(), Arc::clone(id));
        if let Some(fields) = self.noted.get_mut(&row) {
            *fields -= 1;
            if *fields == 0 {
                self.noted.remove(&row);
                count(&mut self.partial_by_kind, label(kind), false);
            }
        }
        self.changed = true;
    }

    /// Says `sentence` in the log, once per `topic`; both are cut where they are too long.
    pub(super) fn warn_once(&mut self, topic: &str, sentence: impl FnOnce() -> String) {
        let topic = cut(topic, NAME_BYTES_MAX);
        if self.said.len() < WARNINGS_MAX && !self.said.contains(topic) {
            self.said.insert(topic.into());
            let sentence = sentence();
            self.warnings
                .push(cut(&sentence, MESSAGE_BYTES_MAX).to_owned());
        }
    }

    /// A number of rows served or stale changed.
    pub(super) fn touch(&mut self) {
        self.changed = true;
    }

    /// Whether anything changed, what to log as rejected, and warnings, since the last call.
    pub(super) fn drain(&mut self) -> (bool, Vec<Rejected>, Vec<String>) {
        (
            std::mem::take(&mut self.changed),
            std::mem::take(&mut self.newly_rejected),
            std::mem::take(&mut self.warnings),
        )
    }

    /// What the status pages show.
    pub(super) fn report(&self) -> Report {
        let newest = self.by_time.values().rev().take(REJECTED_MAX);
        let mut rejected: Vec<Rejected> = newest
            .filter_map(|key| Some(self.rejected.get(key)?.1.clone()))
            .collect();
        let newest_rejection = rejected.first().cloned();
        rejected.sort_by(|a, b| {
            let kinds = a.resource_kind.cmp(&b.resource_kind);
            kinds.then_with(|| a.resource_id.cmp(&b.resource_id))
        });
        let partial = self.fields.iter().take(PARTIAL_MAX);
        Report {
            rejected: rejected.into(),
            rejected_by_kind: self.rejected_by_kind.clone(),
            rejected_by_reason: self.rejected_by_reason.clone(),
            newest_rejection,
            partially_compatible: partial
                .map(|((kind, field), count)| PartiallyCompatible {
                    resource_kind: kind.clone(),
                    field: field.clone(),
                    count: *count,
                })
                .collect(),
            partial_by_kind: self.partial_by_kind.clone(),
            stale_by_kind: self.stale_by_kind.clone(),
            served_by_kind: self.served_by_kind.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(message: &str) -> Rejection {
        Rejection::new(RejectionKind::SchemaFailed, message)
    }

    #[test]
    fn the_newest_rejections_are_shown_by_collection_and_id() {
        let mut reports = Reports::default();
        for number in 0..REJECTED_MAX + 10 {
            let id = format!("{number:03}");
            let key = format!("/p/models/{id}").into();
            reports.reject(&key, ("models", &id), why("bad"), None, 100);
        }
        let report = reports.report();
        assert_eq!(report.rejected.len(), REJECTED_MAX);
        assert_eq!(&*report.rejected[0].resource_id, "010");
        assert_eq!(report.rejected_by_kind, ByKind::from([("models", 266)]));
        assert_eq!(report.rejected_by_reason, ByKind::from([("validate", 266)]));
        // Seen again: among the newest, first seen when it was.
        reports.reject(
            &"/p/models/000".into(),
            ("models", "000"),
            why("bad"),
            Some(7),
            200,
        );
        let first = &reports.report().rejected[0];
        assert_eq!((&*first.resource_id, first.stale_since), ("000", Some(7)));
        assert_eq!((first.first_seen, first.last_seen), (100, 200));
        assert!(reports.lift(&"/p/models/000".into()).is_some());
        assert!(reports.lift(&"/p/models/000".into()).is_none());
        assert_eq!(reports.report().rejected_count(), REJECTED_MAX + 9);
    }

    #[test]
    fn a_rejection_is_logged_again_only_with_another_reason() {
        let mut reports = Reports::default();
        let key: Arc<str> = "/p/x".into();
        let mut logged = |message| {
            reports.reject(&key, ("", ""), why(message), None, 1);
            reports.drain().1.len()
        };
        assert_eq!([logged("a"), logged("a"), logged("b")], [1, 0, 1]);
        assert_eq!(
            reports.report().rejected_by_kind,
            ByKind::from([("unknown", 1)])
        );
    }

    #[test]
    fn fields_and_rows_are_counted_and_fall_to_zero() {
        let mut reports = Reports::default();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        for (id, field) in [(&a, "x"), (&a, "y"), (&b, "x")] {
            reports.note("models", id, field);
        }
        reports.note("gadgets", &a, WHOLE);
        let shown = |reports: &Reports| -> Vec<(String, String, usize)> {
            let report = reports.report();
            let rows = report.partially_compatible.iter();
            rows.map(|row| {
                (
                    row.resource_kind.to_string(),
                    row.field.to_string(),
                    row.count,
                )
            })
            .collect()
        };
        let row = |kind: &str, field: &str, count| (kind.to_owned(), field.to_owned(), count);
        assert_eq!(
            shown(&reports),
            [
                row("gadgets", "*", 1),
                row("models", "x", 2),
                row("models", "y", 1)
            ]
        );
        let kinds = reports.report().partial_by_kind;
        assert_eq!(kinds, ByKind::from([("models", 2), ("unknown", 1)]));
        reports.forget("models", &a, "x");
        reports.forget("models", &a, "y");
        reports.forget("models", &b, "x");
        assert_eq!(shown(&reports), [row("gadgets", "*", 1)]);
        let kinds = reports.report().partial_by_kind;
        assert_eq!(kinds, ByKind::from([("models", 0), ("unknown", 1)]));
    }
}
