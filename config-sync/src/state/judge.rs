//! Decides row by row what is served, in the order in which rows came into being. [pure]

use std::sync::Arc;

use super::claims::{Claim, Order, Queue};
use super::report::{WHOLE, count, label};
use super::row::{Row, Shown, Standing};
use super::{Changed, State, warn};
use crate::decode::{self, Rejection, RejectionKind};

impl State {
    /// Judges every row in `queue`, and those that their verdicts touch, then tells what changed.
    ///
    /// A verdict touches later rows only, so one ascending pass settles everything.
    pub(super) fn settle(&mut self, mut queue: Queue, now_unix_s: i64) -> Changed {
        while let Some(order) = queue.pop_first() {
            self.judge(&order, now_unix_s, &mut queue);
        }
        let snapshot = self.serving.finish();
        let config = std::mem::take(&mut self.config_changed);
        let stored = std::mem::take(&mut self.stored_changed);
        if config || stored {
            self.hashes = None;
        }
        let (report, rejected, warnings) = self.reports.drain();
        Changed {
            snapshot,
            config,
            stored,
            report,
            rejected,
            warnings,
        }
    }

    fn judge(&mut self, order: &Order, now_unix_s: i64, queue: &mut Queue) {
        let Some(mut row) = self.rows.remove(&order.row) else {
            return;
        };
        // The queue may hold an order that the row has left.
        if row.order(&order.row) == *order {
            let why = self.fault_of(&row, order);
            if why.is_some() {
                self.stored_changed |= row.keep_last_good(now_unix_s);
            }
            row.standing = self.standing_of(&row, why.is_some(), order);
            self.contend(&mut row, order, queue);
            self.tell(&mut row, &order.row, why, now_unix_s);
            self.show(&mut row);
        }
        self.rows.insert(Arc::clone(&order.row), row);
    }

    /// Why the newest bytes are rejected, if they are.
    fn fault_of(&self, row: &Row, order: &Order) -> Option<Rejection> {
        match &row.verdict {
            Ok(_) => {
                let (claim, owner) = self.claims.rival(&row.claims(), order)?;
                Some(self.lost(&claim, &owner))
            }
            Err(_) if row.is_of_unknown_kind() => None,
            Err(why) => Some(why.clone()),
        }
    }

    /// The row lost `claim` to `owner`.
    fn lost(&self, claim: &Claim, owner: &Order) -> Rejection {
        let owner = decode::split_key(&self.prefix, &owner.row);
        let owner = owner.map_or("", |parts| parts.id);
        let why = format!("{}: belongs to the earlier row {owner}", claim.fields());
        Rejection::new(RejectionKind::SchemaFailed, &why)
    }

    fn standing_of(&self, row: &Row, rejected: bool, order: &Order) -> Standing {
        if row.is_of_unknown_kind() {
            Standing::PassedOver
        } else if !rejected {
            Standing::Newest
        } else if row.pin.is_some() && self.claims.rival(&row.pinned_claims(), order).is_none() {
            Standing::Pinned
        } else {
            Standing::Unserved
        }
    }

    /// Gives up what the row is no longer served with, and takes what it is.
    fn contend(&mut self, row: &mut Row, order: &Order, queue: &mut Queue) {
        let wanted = match row.standing {
            Standing::Newest => row.claims(),
            Standing::Pinned => row.pinned_claims(),
            Standing::Unserved | Standing::PassedOver => Vec::new(),
        };
        let but = |claims: Vec<Claim>, kept: &[Claim]| -> Vec<Claim> {
            let others = claims.into_iter().filter(|claim| !kept.contains(claim));
            others.collect()
        };
        let given_up = but(std::mem::take(&mut row.held), &wanted);
        self.claims.release(&given_up, order, queue);
        self.claims.take(&wanted, order, queue);
        if matches!(row.standing, Standing::Newest | Standing::PassedOver) {
            let unsought = but(row.pinned_claims(), &row.claims());
            self.claims.leave(&unsought, order, queue);
            let ended = row.pin.take();
            self.stored_changed |= ended.is_some_and(|pin| pin.since.is_some());
        }
        row.held = wanted;
    }

    /// Reports where the row stands.
    fn tell(&mut self, row: &mut Row, key: &Arc<str>, why: Option<Rejection>, now_unix_s: i64) {
        let parts = decode::split_key(&self.prefix, key);
        let (kind, id) = parts.map_or(("", ""), |parts| (parts.collection, parts.id));
        match why {
            Some(why) => {
                let stale_since = row.stale_since();
                self.reports
                    .reject(key, (kind, id), why, stale_since, now_unix_s);
            }
            None => {
                self.reports.lift(key);
            }
        }
        let (before, now) = (row.reported, row.standing);
        if (before == Standing::Pinned) != (now == Standing::Pinned) {
            let stale = &mut self.reports.stale_by_kind;
            count(stale, label(kind), now == Standing::Pinned);
            self.reports.touch();
        }
        // A row's collection is known for as long as the row is there, or never.
        if now == Standing::PassedOver && before != now {
            self.reports.note(kind, &id.into(), WHOLE);
            warn::of_unknown(kind, &mut self.reports);
        }
        row.reported = now;
        let served = row.hashed().map(|body| body.digest);
        self.config_changed |= served != row.served;
        row.served = served;
    }

    /// Brings the indexes up to date.
    fn show(&mut self, row: &mut Row) {
        let Some(place) = &row.place else { return };
        let order = Order {
            created: row.newest.stored.create_revision,
            row: Arc::clone(&place.id),
        };
        let next = row.serving().map(|(_, decoded)| Shown {
            decoded: decoded.clone(),
            order,
        });
        let (serving, reports) = (&mut self.serving, &mut self.reports);
        match (&row.shown, &next) {
            (before, Some(next)) => {
                serving.put(place, before.as_ref(), next, row.appeared, reports);
            }
            (Some(before), None) => serving.remove(place, before, reports),
            (None, None) => {}
        }
        row.shown = next;
    }
}
