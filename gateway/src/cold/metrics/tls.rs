//! The families of TLS: of listeners, none where none speaks it, and of upstreams. [cold]

use std::sync::Arc;

use super::families as f;
use super::groups::render as labels;
use super::text::{header, sample, signed};
use crate::bridge::WorkerView;
use crate::tls::handshakes::{Failure, Handshakes};
use crate::tls::listener::TlsListener;
use crate::tls::upstream::UpstreamTrust;

/// Appends them.
pub(super) fn render(workers: &[WorkerView], listeners: &[Arc<TlsListener>], out: &mut Vec<u8>) {
    if listeners.is_empty() {
        return;
    }
    header(out, &f::TLS_HANDSHAKES);
    for listener in listeners {
        // Every part counts the same kinds in the same order.
        let mut sums: Vec<_> = listener.handshakes.done().collect();
        for part in shards(workers, listener) {
            for (sum, (_, _, count)) in sums.iter_mut().zip(part.done()) {
                sum.2 += count;
            }
        }
        for (version, resumed, count) in sums {
            let labels = labels([
                ("listener", listener.name),
                ("version", version),
                ("resumed", resumed),
            ]);
            sample(out, &f::TLS_HANDSHAKES, &labels, signed(count));
        }
    }
    header(out, &f::TLS_FAILURES);
    for listener in listeners {
        for failure in Failure::ALL {
            let on_workers: u64 = shards(workers, listener)
                .map(|part| part.failed(failure))
                .sum();
            let count = on_workers + listener.handshakes.failed(failure);
            let labels = labels([("listener", listener.name), ("reason", failure.label())]);
            sample(out, &f::TLS_FAILURES, &labels, signed(count));
        }
    }
    certificates(listeners, out);
}

/// Appends those of upstreams.
pub(super) fn render_upstream(trust: &UpstreamTrust, out: &mut Vec<u8>) {
    let unverified = trust.unverified();
    header(out, &f::UPSTREAM_UNVERIFIED);
    for (scope, count) in [
        ("deployment", u64::from(unverified.deployment)),
        ("provider_key", unverified.keys as u64),
    ] {
        let labels = labels([("scope", scope)]);
        sample(out, &f::UPSTREAM_UNVERIFIED, &labels, signed(count));
    }
    header(out, &f::UPSTREAM_RELOADS);
    let (taken, refused) = trust.reloads();
    for (result, count) in [("taken", taken), ("refused", refused)] {
        let labels = labels([("result", result)]);
        sample(out, &f::UPSTREAM_RELOADS, &labels, signed(count));
    }
}

fn certificates(listeners: &[Arc<TlsListener>], out: &mut Vec<u8>) {
    header(out, &f::TLS_NOT_AFTER);
    for listener in listeners {
        let mut shown = listener.certificates();
        // Several certificates of one name (RSA, ECDSA) are one series: the first to expire counts.
        shown.sort_by(|a, b| (&a.name, a.not_after).cmp(&(&b.name, b.not_after)));
        shown.dedup_by(|later, first| later.name == first.name);
        for certificate in shown {
            let labels = labels([("listener", listener.name), ("sni", &*certificate.name)]);
            sample(out, &f::TLS_NOT_AFTER, &labels, certificate.not_after);
        }
    }
    header(out, &f::TLS_RELOADS);
    for listener in listeners {
        let (taken, refused) = listener.reloads();
        for (result, count) in [("taken", taken), ("refused", refused)] {
            let labels = labels([("listener", listener.name), ("result", result)]);
            sample(out, &f::TLS_RELOADS, &labels, signed(count));
        }
    }
}

/// What the workers count of `listener`: callers' is theirs.
fn shards<'w>(
    workers: &'w [WorkerView],
    listener: &TlsListener,
) -> impl Iterator<Item = &'w Handshakes> {
    let theirs = listener.name == "proxy";
    let workers = workers.iter().filter(move |_| theirs);
    workers.map(|worker| &worker.counters.handshakes)
}
