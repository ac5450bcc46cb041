//! What only one row may have: the contest for key hashes and token subjects. [pure]
//!
//! Rows are judged in their [`Order`]: the earliest row that asks for a claim owns it, and a later
//! one that asks for it too is not served. A row that gives a claim up lets the next one try again.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::resource::Resource;

/// Who comes first: the row created earlier, then the one with the lower key.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Order {
    /// The store's revision when the row came into being.
    pub(super) created: i64,
    /// Its key, or its id where all rows are of one collection.
    pub(super) row: Arc<str>,
}

/// Rows still to be judged, earliest first.
pub(super) type Queue = BTreeSet<Order>;

/// Something that only one row may have.
#[derive(Clone, Eq, Hash, PartialEq)]
pub(super) enum Claim {
    /// The SHA-256 that finds a caller key.
    KeyHash([u8; 32]),
    /// A token's subject, and the provider that asserts it.
    Token(Arc<str>, Arc<str>),
}

impl Claim {
    /// What `resource` asks for.
    pub(super) fn of(resource: &Resource) -> Vec<Self> {
        let Resource::ApiKey(key) = resource else {
            return Vec::new();
        };
        let token = key.jwt.as_ref();
        let token =
            token.map(|(subject, provider)| Self::Token(Arc::clone(subject), Arc::clone(provider)));
        let mut claims = vec![Self::KeyHash(key.key_hash)];
        claims.extend(token);
        claims
    }

    /// The fields that it is made of.
    pub(super) fn fields(&self) -> &'static str {
        match self {
            Self::KeyHash(_) => "key_hash",
            Self::Token(..) => "jwt_provider and jwt_subject",
        }
    }
}

/// Every claim that is asked for.
#[derive(Default)]
pub(super) struct Claims(HashMap<Claim, Contest>);

#[derive(Default)]
struct Contest {
    /// The row that is served with it.
    owner: Option<Order>,
    /// Every row that asks for it, with its newest value or a pinned one. Sorted.
    seekers: Vec<Order>,
}

impl Claims {
    /// Lets the row at `order` ask for `claims`.
    pub(super) fn seek(&mut self, claims: Vec<Claim>, order: &Order) {
        for claim in claims {
            let seekers = &mut self.0.entry(claim).or_default().seekers;
            if let Err(place) = seekers.binary_search(order) {
                seekers.insert(place, order.clone());
            }
        }
    }

    /// The row at `order` asks for `claims` no more, and owns none of them.
    pub(super) fn leave(&mut self, claims: &[Claim], order: &Order, queue: &mut Queue) {
        self.release(claims, order, queue);
        for claim in claims {
            let Some(contest) = self.0.get_mut(claim) else {
                continue;
            };
            if let Ok(place) = contest.seekers.binary_search(order) {
                contest.seekers.remove(place);
            }
            if contest.seekers.is_empty() {
                self.0.remove(claim);
            }
        }
    }

    /// The first of `claims` that a row before `order` owns, and that row.
    pub(super) fn rival(&self, claims: &[Claim], order: &Order) -> Option<(Claim, Order)> {
        claims.iter().find_map(|claim| {
            let owner = self.0.get(claim)?.owner.as_ref()?;
            (owner < order).then(|| (claim.clone(), owner.clone()))
        })
    }

    /// Makes the row at `order` the owner; later rows that were are judged again.
    pub(super) fn take(&mut self, claims: &[Claim], order: &Order, queue: &mut Queue) {
        for claim in claims {
            let contest = self.0.entry(claim.clone()).or_default();
            match contest.owner.replace(order.clone()) {
                Some(other) if other != *order => {
                    debug_assert!(other > *order, "an earlier owner is a rival");
                    queue.insert(other);
                }
                _ => {}
            }
        }
    }

    /// The row at `order` is not served with `claims`; later rows that ask are judged again.
    pub(super) fn release(&mut self, claims: &[Claim], order: &Order, queue: &mut Queue) {
        for claim in claims {
            let Some(contest) = self.0.get_mut(claim) else {
                continue;
            };
            if contest.owner.as_ref() == Some(order) {
                contest.owner = None;
                let later = contest.seekers.iter().filter(|other| *other > order);
                queue.extend(later.cloned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(created: i64, row: &str) -> Order {
        Order {
            created,
            row: row.into(),
        }
    }

    #[test]
    fn the_earlier_row_owns_a_claim_and_the_next_follows() {
        let (first, second, third) = (order(1, "z"), order(2, "a"), order(2, "b"));
        let claim = || vec![Claim::KeyHash([1; 32])];
        let mut claims = Claims::default();
        let mut queue = Queue::new();
        for row in [&third, &first, &second] {
            claims.seek(claim(), row);
        }
        claims.take(&claim(), &second, &mut queue);
        assert!(claims.rival(&claim(), &first).is_none() && queue.is_empty());
        claims.take(&claim(), &first, &mut queue);
        assert_eq!(queue.pop_first(), Some(second.clone()), "displaced");
        let rival = claims.rival(&claim(), &second).unwrap().1;
        assert_eq!(rival, first);
        claims.leave(&claim(), &first, &mut queue);
        assert_eq!(
            Vec::from_iter(queue.clone()),
            [second.clone(), third.clone()]
        );
        assert!(claims.rival(&claim(), &third).is_none());
        claims.leave(&claim(), &second, &mut queue);
        claims.leave(&claim(), &third, &mut queue);
        assert!(claims.0.is_empty());
    }
}
