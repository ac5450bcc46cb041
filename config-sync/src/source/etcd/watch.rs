//! What the messages of one watch mean. [pure]

use crate::source::store::{Batch, Change};

/// What every answer of etcd says about the store it comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Header {
    /// Which cluster answered.
    pub(super) cluster_id: u64,
    /// A revision that the store had reached.
    pub(super) revision: i64,
}

/// One message of a watch.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) header: Header,
    pub(super) kind: Kind,
}

/// What a message is about.
#[derive(Debug)]
pub(super) enum Kind {
    /// The server watches now.
    Created,
    /// The server no longer watches, or never did.
    Cancelled {
        /// The history no longer reaches back to where the watch is.
        compacted: bool,
        /// Why, in the server's words.
        reason: String,
    },
    /// Whole transactions, in order.
    Events {
        /// The revision of the first one.
        first: i64,
        /// The revision of the last one.
        last: i64,
        changes: Vec<Change>,
    },
    /// An answer to being asked for the progress.
    Progress,
}

/// What a message tells the sink.
#[derive(Debug)]
pub(super) enum Told {
    Nothing,
    Batch(Batch),
    Confirmed(i64),
}

/// Why a watch cannot go on although nothing failed: everything is listed again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stale {
    /// Another cluster answers.
    OtherCluster,
    /// The store is younger than what was listed: it was restored.
    Restored,
    /// The history no longer reaches back to where the watch is.
    Compacted,
    /// Events came out of order.
    Disorder,
}

/// How a watch ends.
#[derive(Debug)]
pub(super) enum End {
    Stale(Stale),
    /// The server refused, in its words.
    Refused(String),
}

/// A watch that started right after a listing. Nothing but messages moves its revisions.
#[derive(Debug)]
pub(super) struct Watching {
    /// The store as it was listed.
    listed: Header,
    /// The revision of the last transaction handed on.
    delivered: i64,
    /// The revision of the last progress, at least that of the listing.
    progress: i64,
}

impl Watching {
    /// A watch from right after `listed`.
    pub(super) fn after(listed: Header) -> Self {
        Self {
            listed,
            delivered: listed.revision,
            progress: listed.revision,
        }
    }

    /// Takes the next message.
    ///
    /// # Errors
    ///
    /// How the watch ends; it must not be asked again.
    pub(super) fn take(&mut self, message: Message) -> Result<Told, End> {
        let Message { header, kind } = message;
        if header.cluster_id != self.listed.cluster_id {
            return Err(End::Stale(Stale::OtherCluster));
        }
        match kind {
            Kind::Cancelled {
                compacted: true, ..
            } => Err(End::Stale(Stale::Compacted)),
            Kind::Cancelled { reason, .. } => Err(End::Refused(reason)),
            // Watching for revisions that a restored store has yet to reach would tell nothing for
            // a long time, and then half of it.
            _ if header.revision < self.listed.revision => Err(End::Stale(Stale::Restored)),
            Kind::Created => Ok(Told::Nothing),
            Kind::Events { first, .. } if first <= self.delivered => {
                Err(End::Stale(Stale::Disorder))
            }
            Kind::Events { last, changes, .. } => {
                self.delivered = last;
                let revision = last;
                Ok(Told::Batch(Batch { revision, changes }))
            }
            Kind::Progress => Ok(Told::Confirmed(self.confirm(header.revision))),
        }
    }

    /// The revision that a progress at `revision` confirms.
    ///
    /// Servers up to 3.4.24 and 3.5.7 answer with the store's revision even while events up to it
    /// are still on their way. So a progress vouches for the revision of the one before it, an
    /// interval ago, and for what was delivered since.
    fn confirm(&mut self, revision: i64) -> i64 {
        let vouched = self.progress.max(self.delivered);
        self.progress = self.progress.max(revision);
        vouched
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: u64 = 7;

    fn message(revision: i64, kind: Kind) -> Message {
        let cluster_id = CLUSTER;
        let header = Header {
            cluster_id,
            revision,
        };
        Message { header, kind }
    }

    fn events(first: i64, last: i64) -> Kind {
        Kind::Events {
            first,
            last,
            changes: Vec::new(),
        }
    }

    fn cancelled(compacted: bool) -> Kind {
        Kind::Cancelled {
            compacted,
            reason: "etcdserver: permission denied".to_owned(),
        }
    }

    fn watching(revision: i64) -> Watching {
        Watching::after(Header {
            cluster_id: CLUSTER,
            revision,
        })
    }

    /// What is told, in short.
    fn told(result: Result<Told, End>) -> String {
        match result {
            Ok(Told::Nothing) => "nothing".to_owned(),
            Ok(Told::Batch(batch)) => format!("batch {}", batch.revision),
            Ok(Told::Confirmed(revision)) => format!("confirmed {revision}"),
            Err(End::Stale(stale)) => format!("{stale:?}"),
            Err(End::Refused(_)) => "refused".to_owned(),
        }
    }

    #[test]
    fn messages_tell_batches_confirmations_and_ends() {
        let cases = [
            ("created", message(10, Kind::Created), "nothing"),
            ("the first events", message(11, events(11, 11)), "batch 11"),
            // A server that catches up says how far the store is, not how far the events are.
            ("events behind", message(99, events(11, 20)), "batch 20"),
            ("old events", message(11, events(10, 11)), "Disorder"),
            ("a younger store", message(9, Kind::Created), "Restored"),
            ("later younger", message(9, Kind::Progress), "Restored"),
            ("compacted", message(10, cancelled(true)), "Compacted"),
            ("compacted, young", message(0, cancelled(true)), "Compacted"),
            ("refused", message(10, cancelled(false)), "refused"),
        ];
        for (what, message, want) in cases {
            assert_eq!(told(watching(10).take(message)), want, "{what}");
        }
        let mut other = message(10, Kind::Created);
        other.header.cluster_id += 1;
        assert_eq!(told(watching(10).take(other)), "OtherCluster");
    }

    #[test]
    fn a_progress_confirms_no_event_that_may_still_be_on_its_way() {
        let mut watching = watching(10);
        let script = [
            (10, Kind::Progress, "confirmed 10"),
            // Revisions 11 to 15 were written; none of them has come.
            (15, Kind::Progress, "confirmed 10"),
            (15, events(11, 11), "batch 11"),
            (15, events(15, 15), "batch 15"),
            (15, Kind::Progress, "confirmed 15"),
            // Neighbours of the prefix were written.
            (30, Kind::Progress, "confirmed 15"),
            (31, Kind::Progress, "confirmed 30"),
            // An event overtook the progress that was asked for before it.
            (40, events(40, 40), "batch 40"),
            (39, Kind::Progress, "confirmed 40"),
            (40, Kind::Progress, "confirmed 40"),
        ];
        for (revision, kind, want) in script {
            let what = format!("{revision} {kind:?}");
            assert_eq!(told(watching.take(message(revision, kind))), want, "{what}");
        }
    }
}
