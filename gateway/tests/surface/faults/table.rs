//! The faults, the endpoints and the strategies, each with what it leads to.

use serde_json::{Value, json};

use crate::support::gateway::chat;

/// What an upstream does wrong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub(super) name: &'static str,
    /// What the scripted upstream is told, beside its number of events.
    pub(super) script: &'static str,
    /// The provider key: `up`, `dead` where nobody listens, `hole` where connecting takes for ever.
    pub(super) key: &'static str,
    /// The model's own deadline.
    pub(super) timeout_ms: Option<u64>,
    /// Whether it happens to streams, to whole answers, or both.
    pub(super) to: To,
    pub(super) met: Met,
    /// Whether a stream has begun by then, so that its prompt was read.
    pub(super) begun: bool,
    /// The status and `error_class` of the attempt.
    pub(super) listed: (u64, &'static str),
    /// The status and envelope type that a caller gets where nobody else can serve.
    pub(super) answered: (u16, &'static str),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum To {
    Whole,
    Streams,
    Both,
}

/// When the fault is met, and whether another target may mend it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Met {
    /// Before anything was sent: another target serves.
    InTime,
    /// Before anything was sent, and it is for the caller to mend.
    Final,
    /// After content was sent: told in band.
    TooLate,
}

const fn fault(name: &'static str, script: &'static str, to: To) -> Fault {
    Fault {
        name,
        script,
        key: "up",
        timeout_ms: None,
        to,
        met: Met::InTime,
        begun: false,
        listed: (502, "transport"),
        answered: (502, "transport_error"),
    }
}

const fn timeout(name: &'static str, script: &'static str, to: To, ms: u64) -> Fault {
    Fault {
        timeout_ms: Some(ms),
        listed: (504, "timeout"),
        answered: (504, "timeout"),
        ..fault(name, script, to)
    }
}

/// A deadline that a test waits for, milliseconds.
const SHORT_MS: u64 = 400;
/// One before which the first event must have come, however busy the machine is.
const GAP_MS: u64 = 1_500;

pub(super) const FAULTS: [Fault; 14] = [
    Fault {
        key: "dead",
        ..fault("refused", "", To::Both)
    },
    fault("reset", "cut_at=head", To::Both),
    Fault {
        key: "hole",
        timeout_ms: None,
        ..timeout("connect timeout", "", To::Both, 0)
    },
    timeout("head timeout", "head_ms=60000", To::Both, SHORT_MS),
    Fault {
        begun: true,
        ..timeout(
            "first event timeout",
            "first_ms=60000",
            To::Streams,
            SHORT_MS,
        )
    },
    Fault {
        met: Met::TooLate,
        ..timeout("gap timeout", "stall_at=2", To::Streams, GAP_MS)
    },
    timeout("total timeout", "slow_body_ms=60000", To::Whole, SHORT_MS),
    Fault {
        met: Met::Final,
        listed: (429, "upstream_status"),
        answered: (429, "upstream_error"),
        ..fault("429", "status=429", To::Both)
    },
    Fault {
        listed: (500, "upstream_status"),
        answered: (502, "upstream_error"),
        ..fault("500", "status=500", To::Both)
    },
    Fault {
        listed: (503, "upstream_status"),
        answered: (502, "upstream_error"),
        ..fault(
            "503 with words",
            "status=503,retry_after=1,error_body=raw",
            To::Both,
        )
    },
    Fault {
        begun: true,
        listed: (502, "upstream_in_band"),
        answered: (502, "upstream_error"),
        ..fault("error first", "error_at=0", To::Streams)
    },
    Fault {
        listed: (502, "upstream_decode"),
        answered: (502, "upstream_decode_error"),
        ..fault("not JSON", "bad=html", To::Whole)
    },
    fault("cut", "cut_at=2", To::Whole),
    Fault {
        met: Met::TooLate,
        ..fault("cut", "cut_at=2", To::Streams)
    },
];

/// An endpoint of which an upstream's answer may fail.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Place {
    Chat,
    Completions,
    Embeddings,
    Messages,
    Responses,
}

impl Place {
    pub(super) const ALL: [Self; 5] = [
        Self::Chat,
        Self::Completions,
        Self::Embeddings,
        Self::Messages,
        Self::Responses,
    ];

    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Embeddings => "/v1/embeddings",
            Self::Messages => "/v1/messages",
            Self::Responses => "/v1/responses",
        }
    }

    pub(super) fn protocol(self) -> &'static str {
        match self {
            Self::Messages => "anthropic",
            Self::Chat | Self::Completions | Self::Embeddings | Self::Responses => "openai",
        }
    }

    pub(super) fn streams(self) -> bool {
        self != Self::Embeddings
    }

    /// A body that asks `model` for a short answer.
    pub(super) fn body(self, model: &str, stream: bool) -> Value {
        match self {
            Self::Chat => chat(model, stream),
            Self::Completions => json!({"model": model, "stream": stream, "prompt": "Hello"}),
            Self::Embeddings => json!({"model": model, "input": "Hello"}),
            Self::Messages => json!({"model": model, "stream": stream, "max_tokens": 9,
                "messages": [{"role": "user", "content": "Hello"}]}),
            Self::Responses => json!({"model": model, "stream": stream, "input": "Hello"}),
        }
    }

    /// Whether `text` holds an error of this kind as the endpoint's callers read it.
    pub(super) fn is_envelope(self, document: &Value, kind: &str) -> bool {
        let own = &document["error"]["type"];
        match self {
            // Anthropic's list of types is its own, and shorter.
            Self::Messages => {
                document["type"] == "error"
                    && own.as_str().is_some_and(|own| own.ends_with("_error"))
            }
            _ => own == kind,
        }
    }

    /// What ends a stream that is whole; what tells that it failed.
    pub(super) fn ends(self) -> (&'static str, &'static str) {
        match self {
            Self::Chat | Self::Completions | Self::Embeddings => ("data: [DONE]", "event: error"),
            Self::Messages => ("event: message_stop", "event: error"),
            Self::Responses => ("event: response.completed", "event: error"),
        }
    }
}

/// How a group puts its broken target first, though a good one stands before it in the list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Strategy {
    Failover,
    RoundRobin,
    ConsistentHash,
    LeastCost,
    LeastLatency,
    LeastBusy,
}

impl Strategy {
    pub(super) const ALL: [Self; 6] = [
        Self::Failover,
        Self::RoundRobin,
        Self::ConsistentHash,
        Self::LeastCost,
        Self::LeastLatency,
        Self::LeastBusy,
    ];

    /// The settings of a group of the targets `broken` and `good`.
    pub(super) fn routing(self, broken: &str, good: &str) -> Value {
        let weighted = json!([{"model": good}, {"model": broken, "weight": 3}]);
        let behind = json!([{"model": good}, {"model": broken}]);
        let ahead = json!([{"model": broken}, {"model": good}]);
        match self {
            Self::Failover => json!({"targets": ahead}),
            Self::RoundRobin => json!({"strategy": "round_robin", "targets": weighted}),
            Self::ConsistentHash => json!({"strategy": "consistent_hash", "targets": behind}),
            Self::LeastCost => json!({"strategy": "least_cost", "targets": behind}),
            // Nothing is known of either.
            Self::LeastLatency => json!({"strategy": "least_latency", "targets": ahead}),
            Self::LeastBusy => json!({"strategy": "least_busy", "targets": weighted}),
        }
    }

    /// The header lines of a request that is to meet `broken` first.
    pub(super) fn lines(self, broken: &str, good: &str) -> String {
        if self != Self::ConsistentHash {
            return String::new();
        }
        let mut keys = (0..1_000).map(|number| format!("key-{number}"));
        let key = keys.find(|key| first_on_ring(key, [broken, good]) == broken);
        format!(
            "x-sluice-routing-key: {}\r\n",
            key.expect("half of them are")
        )
    }
}

/// The target of equal weights that is met first from the place of `key` on: the ring as it is
/// specified, worked out here once more.
fn first_on_ring<'n>(key: &str, names: [&'n str; 2]) -> &'n str {
    const POINTS: u32 = 160;
    let place = mix(fnv1a(key.as_bytes()));
    let points = names.iter().flat_map(|name| {
        (0..POINTS).map(move |point| {
            let bytes = [name.as_bytes(), &[0], &point.to_le_bytes()].concat();
            (mix(fnv1a(&bytes)), *name)
        })
    });
    let after = points.min_by_key(|(point, _)| point.wrapping_sub(place));
    after.expect("there are points").1
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}
