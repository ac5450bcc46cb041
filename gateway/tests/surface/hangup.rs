//! A caller that leaves, by FIN or by RST, in every phase of every endpoint.

use serde_json::{Value, json};

use crate::on_both_engines;
use crate::protocols::{self, WAYS};
use crate::support::gateway::{named, post};
use crate::support::{
    BlackHole, Engine, Gateway, Raw, mock, unix_ms, upstream_connections, upstream_request,
    wait_for,
};

/// Longest time from the hang-up to its notice upstream. The figure itself is measured elsewhere.
const NOTICED_MS_MAX: u64 = 1000;

/// One way to ask for an answer.
struct Shape {
    name: String,
    path: &'static str,
    /// Prefix of the models of the upstream.
    upstream: &'static str,
    stream: bool,
}

impl Shape {
    fn new(name: &str, path: &'static str, upstream: &'static str, stream: bool) -> Self {
        Self {
            name: name.to_owned(),
            path,
            upstream,
            stream,
        }
    }

    /// The request for `model`, which at this upstream is called otherwise.
    fn body(&self, model: &str) -> Value {
        let model = match model.strip_prefix("script/") {
            Some(script) => format!("{}/{script}", self.upstream),
            None => model.replace("hole", &format!("hole-{}", self.upstream)),
        };
        let (model, stream) = (&*model, self.stream);
        match self.path {
            "/v1/completions" => json!({"model": model, "prompt": "Hello", "stream": stream}),
            "/v1/embeddings" => json!({"model": model, "input": "Hello"}),
            path => protocols::body(path, model, stream),
        }
    }
}

/// Every endpoint to every upstream.
fn shapes(stream: bool) -> Vec<Shape> {
    let completions = Shape::new("completions", "/v1/completions", "openai", stream);
    let embeddings = Shape::new("embeddings", "/v1/embeddings", "openai", stream);
    let ways = WAYS.iter().map(|(path, upstream)| {
        let name = format!("{}-{upstream}", path.rsplit('/').next().unwrap());
        Shape::new(&name, path, upstream, stream)
    });
    let mut shapes: Vec<Shape> = ways.chain([completions]).collect();
    if stream {
        for shape in &mut shapes {
            shape.name.push_str("-stream");
        }
    } else {
        shapes.push(embeddings);
    }
    shapes
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Leave {
    Fin,
    Rst,
}

impl Leave {
    /// Leaves. After a FIN alone the other side is still to close.
    fn now(self, raw: Raw) -> Option<Raw> {
        match self {
            Self::Fin => raw.shutdown_write(),
            Self::Rst => {
                raw.reset();
                return None;
            }
        }
        Some(raw)
    }
}

/// What the upstream sees of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Upstream {
    /// No request.
    Nothing,
    /// The hang-up.
    HangUp,
    /// Nothing more: its answer was read whole.
    Finished,
}

/// What is known of the tokens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Tokens {
    Absent,
    /// Of the prompt only.
    Prompt,
    /// Of the prompt and the text so far.
    Partial,
    Reported,
}

/// A phase of a request.
struct Phase<'p> {
    /// The requested model.
    model: &'p str,
    /// What is sent of the request.
    sent: fn(Vec<u8>) -> Vec<u8>,
    /// Returns once the request is in the phase.
    reached: &'p dyn Fn(&Bench, &mut Raw, &str),
    upstream: Upstream,
    tokens: Tokens,
}

struct Bench {
    gateway: Gateway,
    mock: std::net::SocketAddr,
    hole: BlackHole,
}

impl Bench {
    /// Heads of streams are sent at once, so that a test can see them.
    fn start(engine: Engine) -> Self {
        let (mock, hole) = (mock(), BlackHole::new());
        let api_base = format!("http://{}", hole.addr());
        let setup = protocols::setup(engine, mock)
            .with("downstream.sse_keepalive_interval_secs", 0)
            .resources(|resources| {
                for kind in ["plain", "openai", "claude"] {
                    let name = format!("hole-{kind}");
                    let mut key = find(resources, "provider_keys", kind);
                    key["display_name"] = json!(name);
                    key["api_base"] = json!(api_base);
                    let mut model = find(resources, "models", &format!("{kind}/*"));
                    model["display_name"] = json!(name);
                    model["provider_key"] = json!(name);
                    push(resources, "provider_keys", key);
                    push(resources, "models", model);
                }
                resources["api_keys"][0]["allowed_models"] = json!(["*"]);
            });
        Self {
            gateway: setup.start(),
            mock,
            hole,
        }
    }

    fn asked_upstream(&self, id: &str) {
        wait_for("the upstream to be asked", || {
            upstream_request(self.mock, id)
        });
    }
}

/// The entry of that name.
fn find(resources: &Value, kind: &str, name: &str) -> Value {
    let mut entries = resources[kind].as_array().expect("a list").iter();
    let found = entries.find(|entry| entry["display_name"] == name);
    found.expect("an entry").clone()
}

fn push(resources: &mut Value, kind: &str, entry: Value) {
    resources[kind].as_array_mut().expect("a list").push(entry);
}

/// Lets callers of all `shapes` leave in `phase` and checks what they leave behind.
fn all_leave(engine: Engine, shapes: &[Shape], phase: &Phase<'_>) {
    let bench = Bench::start(engine);
    let mut ids = Vec::new();
    for shape in shapes {
        for leave in [Leave::Fin, Leave::Rst] {
            let id = format!("{}-{leave:?}", shape.name);
            let mut raw = bench.gateway.connect();
            raw.take_in_little();
            let request = named(&id, &post(shape.path, &shape.body(phase.model)));
            raw.send(&(phase.sent)(request));
            (phase.reached)(&bench, &mut raw, &id);
            assert_eq!(bench.gateway.in_flight(), 1.0, "{id}");
            let left_at = unix_ms();
            let half_open = leave.now(raw);
            check_upstream(&bench, phase, &id, left_at);
            if let Some(mut raw) = half_open {
                raw.rest();
            }
            check_line(&bench.gateway.access_line(&id), phase.tokens);
            ids.push(id);
        }
    }
    wait_for("no request in flight", || {
        (bench.gateway.in_flight() == 0.0).then_some(())
    });
    let lines = bench.gateway.access_lines(ids.len());
    let logged: Vec<_> = lines
        .iter()
        .map(|line| line["request_id"].as_str())
        .collect();
    let wanted: Vec<_> = ids.iter().map(|id| Some(&**id)).collect();
    assert_eq!(logged, wanted, "one line for each");
    if phase.upstream != Upstream::Finished {
        wait_for("the upstream connections to be closed", || {
            let gauge = bench
                .gateway
                .metric("sluice_runtime_core_connections", &["upstream"]);
            (gauge == 0.0 && upstream_connections(bench.mock) == 0).then_some(())
        });
    }
}

fn check_upstream(bench: &Bench, phase: &Phase<'_>, id: &str, left_at: u64) {
    match phase.upstream {
        Upstream::Nothing => {
            wait_for("nobody to connect any more", || {
                (bench.hole.callers() == 0).then_some(())
            });
            assert!(upstream_request(bench.mock, id).is_none(), "{id}");
        }
        Upstream::HangUp => {
            let noticed_at = wait_for("the upstream to notice", || {
                upstream_request(bench.mock, id)?["hung_up_at_ms"].as_u64()
            });
            let after = noticed_at.saturating_sub(left_at);
            println!("{id}: upstream closed {after} ms after the hang-up");
            assert!(after <= NOTICED_MS_MAX, "{id}: noticed after {after} ms");
        }
        Upstream::Finished => {
            let record = upstream_request(bench.mock, id).expect("it was asked");
            assert_eq!(record["completed"], true, "{id}");
        }
    }
}

fn check_line(line: &Value, tokens: Tokens) {
    assert_eq!(line["status"], 499, "{line}");
    assert_eq!(line["end"], "client_gone", "{line}");
    assert_eq!(line["error_kind"], "client_disconnected", "{line}");
    let source = match tokens {
        Tokens::Absent => "absent",
        Tokens::Prompt | Tokens::Partial => "estimated",
        Tokens::Reported => "reported",
    };
    assert_eq!(line["usage_source"], source, "{line}");
    match tokens {
        Tokens::Absent => assert!(line["prompt_tokens"].is_null(), "{line}"),
        Tokens::Prompt => {
            assert!(line["prompt_tokens"].as_u64() > Some(0), "{line}");
            assert_eq!(line["completion_tokens"], 0, "{line}");
        }
        Tokens::Partial => assert!(line["completion_tokens"].as_u64() > Some(0), "{line}"),
        Tokens::Reported => assert_eq!(line["prompt_tokens"], 10, "{line}"),
    }
}

/// All shapes, unary and streamed.
fn every_shape() -> Vec<Shape> {
    let mut all = shapes(false);
    all.extend(shapes(true));
    all
}

fn whole(request: Vec<u8>) -> Vec<u8> {
    request
}

fn without_its_last_bytes(mut request: Vec<u8>) -> Vec<u8> {
    request.truncate(request.len() - 8);
    request
}

fn head_arrived(_: &Bench, raw: &mut Raw, _: &str) {
    assert_eq!(raw.head().status, 200);
}

fn first_event_arrived(_: &Bench, raw: &mut Raw, _: &str) {
    raw.until(b"\"e0 ");
}

fn answer_blocked(_: &Bench, raw: &mut Raw, _: &str) {
    raw.wait_until_blocked();
}

on_both_engines! {
    fn while_the_request_body_is_sent(engine) {
        all_leave(engine, &every_shape(), &Phase {
            model: "m",
            sent: without_its_last_bytes,
            reached: &|bench, _, _| wait_for("the head to be read", || {
                (bench.gateway.in_flight() > 0.0).then_some(())
            }),
            upstream: Upstream::Nothing,
            tokens: Tokens::Absent,
        });
    }

    fn while_the_upstream_connect_hangs(engine) {
        all_leave(engine, &every_shape(), &Phase {
            model: "hole",
            sent: whole,
            reached: &|bench, _, _| wait_for("the connect to hang", || {
                (bench.hole.callers() > 0).then_some(())
            }),
            upstream: Upstream::Nothing,
            tokens: Tokens::Absent,
        });
    }

    fn before_the_upstream_answers(engine) {
        all_leave(engine, &every_shape(), &Phase {
            model: "script/head_ms=60000",
            sent: whole,
            reached: &|bench, _, id| bench.asked_upstream(id),
            upstream: Upstream::HangUp,
            tokens: Tokens::Absent,
        });
    }

    fn in_the_middle_of_a_whole_answer(engine) {
        all_leave(engine, &shapes(false), &Phase {
            model: "script/slow_body_ms=60000",
            sent: whole,
            reached: &|bench, _, id| {
                bench.asked_upstream(id);
                // The mock serves on one thread: half of the answer is out before it speaks again.
                upstream_connections(bench.mock);
            },
            upstream: Upstream::HangUp,
            tokens: Tokens::Absent,
        });
    }

    fn before_the_first_event(engine) {
        all_leave(engine, &shapes(true), &Phase {
            model: "script/first_ms=60000",
            sent: whole,
            reached: &head_arrived,
            upstream: Upstream::HangUp,
            tokens: Tokens::Prompt,
        });
    }

    fn between_two_events(engine) {
        all_leave(engine, &shapes(true), &Phase {
            model: "script/events=2,gap_ms=60000,usage=no",
            sent: whole,
            reached: &first_event_arrived,
            upstream: Upstream::HangUp,
            tokens: Tokens::Partial,
        });
    }

    fn while_a_stream_is_not_read(engine) {
        // What is translated for Responses is kept for its last event, and ends before it blocks.
        let mut shapes = shapes(true);
        shapes.retain(|shape| shape.path != "/v1/responses" || shape.upstream == "openai");
        all_leave(engine, &shapes, &Phase {
            model: "script/firehose=500000000,size=1000,usage=no",
            sent: whole,
            reached: &answer_blocked,
            upstream: Upstream::HangUp,
            tokens: Tokens::Partial,
        });
    }

    fn while_a_whole_answer_is_not_read(engine) {
        let mut shapes = shapes(false);
        shapes.retain(|shape| shape.path != "/v1/embeddings");
        all_leave(engine, &shapes, &Phase {
            model: "script/reply_bytes=12000000",
            sent: whole,
            reached: &answer_blocked,
            upstream: Upstream::Finished,
            tokens: Tokens::Reported,
        });
    }

    fn while_an_embedding_is_not_read(engine) {
        let mut shapes = shapes(false);
        shapes.retain(|shape| shape.path == "/v1/embeddings");
        all_leave(engine, &shapes, &Phase {
            model: "script/dims=2500000",
            sent: whole,
            reached: &answer_blocked,
            upstream: Upstream::Finished,
            tokens: Tokens::Reported,
        });
    }
}
