//! What every fault of an upstream leads to, on every endpoint and with every strategy: the caller's
//! answer, the attempts, the record, the metrics. One gateway serves all cells, each with targets of its
//! own.

mod table;

use std::collections::HashMap;
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::on_both_engines;
use crate::support::gateway::{named, post};
use crate::support::{BlackHole, Engine, Gateway, Response, Setup, mock, upstream_request};
use table::{FAULTS, Fault, Met, Place, Strategy, To};

/// Cells that are asked at a time.
const ASKED_AT_ONCE: usize = 12;
/// Longer than a connection to a listening neighbour takes on the busiest machine, and still waited for.
const CONNECT_TIMEOUT_MS: u64 = 2_000;
const GOOD: &str = "events=3";

/// One request and what it must lead to.
#[derive(Clone, Debug)]
struct Cell {
    number: usize,
    fault: Fault,
    place: Place,
    stream: bool,
    /// The group's strategy; `None`: a group of the broken target alone.
    strategy: Option<Strategy>,
}

impl Cell {
    fn name(&self, what: &str) -> String {
        format!("{what}-{:03}", self.number)
    }

    fn says(&self) -> String {
        let Self {
            number,
            fault,
            place,
            stream,
            strategy,
        } = self;
        format!(
            "{number}: {} on {place:?}, stream={stream}, {strategy:?}",
            fault.name
        )
    }

    /// Whether another target serves it in the end.
    fn is_mended(&self) -> bool {
        self.fault.met == Met::InTime && self.strategy.is_some()
    }

    /// Adds its models.
    fn add(&self, models: &mut Vec<Value>) {
        let (broken, good, team) = (self.name("broken"), self.name("good"), self.name("team"));
        let script = match self.fault.script {
            "" => "events=5".to_owned(),
            script => format!("events=5,{script}"),
        };
        let mut model = json!({"display_name": broken, "provider": "openai", "model_name": script,
            "provider_key": self.fault.key, "cost": {"input_per_1k": 1, "output_per_1k": 1}});
        if let Some(timeout_ms) = self.fault.timeout_ms {
            model["timeout"] = json!(timeout_ms);
        }
        models.push(model);
        models.push(
            json!({"display_name": good, "provider": "openai", "model_name": GOOD,
            "provider_key": "up", "cost": {"input_per_1k": 2, "output_per_1k": 2}}),
        );
        let routing = match self.strategy {
            Some(strategy) => strategy.routing(&broken, &good),
            None => json!({"targets": [{"model": broken}]}),
        };
        models.push(json!({"display_name": team, "routing": routing}));
    }

    fn ask(&self, gateway: &Gateway) -> Response {
        let body = self.place.body(&self.name("team"), self.stream);
        let request = named(&self.name("cell"), &post(self.place.path(), &body));
        let lines = self.strategy.map_or(String::new(), |strategy| {
            strategy.lines(&self.name("broken"), &self.name("good"))
        });
        let start = request.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let mut raw = gateway.connect();
        raw.send(&[&request[..start], lines.as_bytes(), &request[start..]].concat());
        raw.response()
    }

    /// What the caller got.
    fn check_answer(&self, answer: &Response) {
        let (case, text) = (self.says(), answer.text());
        let (whole, failed) = self.place.ends();
        let served_by = answer.header("x-sluice-served-by");
        match self.fault.met {
            _ if self.is_mended() => {
                assert_eq!(answer.status, 200, "{case}: {text}");
                assert_eq!(served_by, Some(&*self.name("good")), "{case}");
                assert!(!text.contains("\"error\":{"), "{case}: {text}");
                assert!(!self.stream || text.contains(whole), "{case}: {text}");
            }
            Met::TooLate => {
                assert_eq!(answer.status, 200, "{case}: {text}");
                assert_eq!(served_by, Some(&*self.name("broken")), "{case}");
                assert!(
                    text.contains(failed) && !text.contains(whole),
                    "{case}: {text}"
                );
                assert!(
                    !text.contains("e2 "),
                    "{case}: nothing is begun anew: {text}"
                );
            }
            Met::InTime | Met::Final => {
                let (status, kind) = self.fault.answered;
                assert_eq!(answer.status, status, "{case}: {text}");
                assert!(
                    self.place.is_envelope(&answer.json(), kind),
                    "{case}: {text}"
                );
                let type_ = answer.header("content-type");
                assert_eq!(type_, Some("application/json"), "{case}");
            }
        }
    }

    /// What the access line says.
    fn check_line(&self, line: &Value) {
        let case = format!("{}: {line}", self.says());
        let mended = self.is_mended();
        let (status, kind) = self.fault.answered;
        assert_eq!(
            line["status"],
            json!(if mended { 200 } else { status }),
            "{case}"
        );
        assert_eq!(
            line.get("error_kind"),
            (!mended).then(|| json!(kind)).as_ref(),
            "{case}"
        );
        let end = if mended {
            "completed"
        } else {
            "upstream_failed"
        };
        assert_eq!(line["end"], end, "{case}");
        let attempts = if mended { 2 } else { 1 };
        for (key, want) in [
            ("attempts", attempts),
            ("routing_attempt_count", attempts),
            ("routing_fallback_count", attempts - 1),
        ] {
            assert_eq!(line[key], json!(want), "{key}, {case}");
        }
        let served = self.name(if mended { "good" } else { "broken" });
        assert_eq!(line["served_by_model"], json!(served), "{case}");
        let source = match (mended, self.fault.met) {
            (true, _) => "reported",
            (false, Met::TooLate) => "estimated",
            (false, Met::InTime | Met::Final) if self.fault.begun => "estimated",
            (false, Met::InTime | Met::Final) => "absent",
        };
        assert_eq!(line["usage_source"], source, "{case}");
        if mended {
            assert_eq!(line["prompt_tokens"], 10, "{case}");
        }
        self.check_attempts(&line["attempt_list"], &case);
    }

    fn check_attempts(&self, list: &Value, case: &str) {
        let list = list.as_array().expect("a list");
        let (status, class) = self.fault.listed;
        let broken = self.name("broken");
        let mut want = vec![(broken, "initial", status, Some(class))];
        if self.is_mended() {
            want.push((self.name("good"), "fallback", 200, None));
        }
        assert_eq!(list.len(), want.len(), "{case}");
        for (index, (one, (model, kind, status, class))) in list.iter().zip(want).enumerate() {
            assert_eq!(one["attempt_index"], json!(index), "{case}");
            assert_eq!(one["attempt_model"], json!(model), "{case}");
            assert_eq!(one["attempt_kind"], kind, "{case}");
            assert_eq!(one["status_code"], json!(status), "{case}");
            assert_eq!(
                one.get("error_class"),
                class.map(|class| json!(class)).as_ref(),
                "{case}"
            );
            assert!(one["upstream_latency_ms"].as_f64().is_some(), "{case}");
            assert!(!one["model_id"].as_str().unwrap().is_empty(), "{case}");
        }
    }

    /// What moved, of series that are this cell's alone.
    fn check_metrics(&self, page: &Samples) {
        let (case, mended) = (self.says(), self.is_mended());
        let (broken, good, team) = (self.name("broken"), self.name("good"), self.name("team"));
        let one = |yes: bool| if yes { 1.0 } else { 0.0 };
        let class = |status: u64| format!("{}xx", status / 100);
        let listed = class(match mended {
            true => self.fault.listed.0,
            false => self.fault.answered.0.into(),
        });
        let wants = [
            ("deployment_requests_total", &broken, "", 1.0),
            ("deployment_failure_responses_total", &broken, "", 1.0),
            ("deployment_success_responses_total", &broken, "", 0.0),
            ("deployment_cooled_down_total", &broken, "", 1.0),
            ("deployment_requests_total", &good, "", one(mended)),
            ("deployment_success_responses_total", &good, "", one(mended)),
            ("deployment_failure_responses_total", &good, "", 0.0),
            ("deployment_cooled_down_total", &good, "", 0.0),
            (
                "routing_successful_fallbacks_total",
                &team,
                &good,
                one(mended),
            ),
            ("routing_failed_fallbacks_total", &team, "", 0.0),
            ("usage_events_emitted_total", &broken, &*listed, 1.0),
            (
                "usage_events_emitted_total",
                &broken,
                self.place.path(),
                1.0,
            ),
            (
                "usage_events_emitted_total",
                &broken,
                self.place.protocol(),
                1.0,
            ),
            ("usage_events_emitted_total", &good, "2xx", one(mended)),
            ("requests_total", &good, "success", one(mended)),
            ("requests_total", &broken, "", one(!mended)),
        ];
        for (family, model, part, want) in wants {
            let got = page.sum(family, model, part);
            assert_eq!(got, want, "{family} of {model} with {part:?}, {case}");
        }
    }
}

/// A scrape, by the name of the model.
struct Samples(HashMap<String, Vec<(String, f64)>>);

impl Samples {
    fn of(gateway: &Gateway) -> Self {
        let page = gateway.status_page("/metrics");
        let mut by_model: HashMap<String, Vec<(String, f64)>> = HashMap::new();
        for line in page.text().lines().filter(|line| !line.starts_with('#')) {
            let Some((_, rest)) = line
                .split_once(",model=\"")
                .or(line.split_once("{model=\""))
            else {
                continue;
            };
            let model = rest.split('"').next().unwrap().to_owned();
            let (series, value) = line.rsplit_once(' ').unwrap();
            let sample = (series.to_owned(), value.parse().unwrap());
            by_model.entry(model).or_default().push(sample);
        }
        Self(by_model)
    }

    /// The sum of a family's samples of `model` whose labels hold `part`.
    fn sum(&self, family: &str, model: &str, part: &str) -> f64 {
        let samples = self.0.get(model).into_iter().flatten();
        let start = format!("sluice_{family}{{");
        samples
            .filter(|(series, _)| series.starts_with(&start) && series.contains(part))
            .map(|(_, value)| value)
            .sum()
    }
}

/// Every fault on every endpoint it can happen on, with failover and alone, and every strategy with
/// every fault on chat.
fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for fault in FAULTS {
        for place in Place::ALL {
            for stream in [false, true] {
                let happens = match fault.to {
                    To::Both => true,
                    To::Whole => !stream,
                    To::Streams => stream,
                };
                if !happens || (stream && !place.streams()) {
                    continue;
                }
                let mut add = |strategy| {
                    cells.push(Cell {
                        number: cells.len(),
                        fault,
                        place,
                        stream,
                        strategy,
                    });
                };
                add(None);
                for strategy in Strategy::ALL {
                    if place == Place::Chat || strategy == Strategy::Failover {
                        add(Some(strategy));
                    }
                }
            }
        }
    }
    cells
}

fn start(engine: Engine, cells: &[Cell], hole: &BlackHole) -> Gateway {
    // Nobody listens there, and nobody will: the port is taken.
    let dead = TcpListener::bind("127.0.0.1:0").unwrap();
    let dead_addr = dead.local_addr().unwrap();
    drop(dead);
    let setup = Setup::new(engine, mock()).resources(|file| {
        let keys = file["provider_keys"].as_array_mut().unwrap();
        for (name, addr) in [("dead", dead_addr), ("hole", hole.addr())] {
            keys.push(
                json!({"display_name": name, "provider": "openai", "adapter": "openai",
                "api_key": "k", "api_base": format!("http://{addr}/v1")}),
            );
        }
        let models = file["models"].as_array_mut().unwrap();
        cells.iter().for_each(|cell| cell.add(models));
        file["api_keys"][0]["allowed_models"] = json!(["*"]);
    });
    setup
        .with("upstream.connect_timeout_ms", CONNECT_TIMEOUT_MS)
        .start_ready()
}

/// Asks all cells, several at a time. Answers are in the order of the cells.
fn ask_all(gateway: &Gateway, cells: &[Cell]) -> Vec<Response> {
    let next = AtomicUsize::new(0);
    let ask = || {
        let mut answers = Vec::new();
        while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
            answers.push((cell.number, cell.ask(gateway)));
        }
        answers
    };
    let mut answers: Vec<(usize, Response)> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..ASKED_AT_ONCE).map(|_| scope.spawn(ask)).collect();
        let asked = asking.into_iter().flat_map(|asking| asking.join().unwrap());
        asked.collect()
    });
    answers.sort_by_key(|(number, _)| *number);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// Checks all cells, so that each that is wrong is told.
fn each(cells: &[Cell], check: impl Fn(&Cell)) {
    let is_wrong = |cell: &&Cell| {
        let checked = catch_unwind(AssertUnwindSafe(|| check(cell)));
        checked.is_err()
    };
    let wrong: Vec<String> = cells.iter().filter(is_wrong).map(Cell::says).collect();
    assert!(wrong.is_empty(), "{} cells: {wrong:#?}", wrong.len());
}

on_both_engines! {
    fn every_fault_has_its_outcome_on_every_endpoint_and_with_every_strategy(engine) {
        let cells = cells();
        assert!(cells.len() > 250, "{} cells", cells.len());
        let hole = BlackHole::new();
        let gateway = start(engine, &cells, &hole);
        let answers = ask_all(&gateway, &cells);
        each(&cells, |cell| cell.check_answer(&answers[cell.number]));
        let lines = gateway.access_lines(cells.len());
        assert_eq!(lines.len(), cells.len());
        let lines: HashMap<&str, &Value> =
            lines.iter().map(|line| (line["request_id"].as_str().unwrap(), line)).collect();
        each(&cells, |cell| cell.check_line(lines[&*cell.name("cell")]));
        let page = Samples::of(&gateway);
        each(&cells, |cell| cell.check_metrics(&page));
        assert_eq!(gateway.in_flight(), 0.0);
    }

    fn a_stream_that_takes_longer_than_all_of_it_may_is_cut_and_told_so(engine) {
        let slow = "events=1000,gap_ms=100";
        let setup = Setup::new(engine, mock()).resources(|file| {
            let models = file["models"].as_array_mut().unwrap();
            for name in ["slow", "good"] {
                models.push(json!({"display_name": name, "provider": "openai", "model_name": slow,
                    "provider_key": "up"}));
            }
            models.push(json!({"display_name": "team",
                "routing": {"targets": [{"model": "slow"}, {"model": "good"}]}}));
            file["api_keys"][0]["allowed_models"] = json!(["*"]);
        });
        let gateway = setup.with("upstream.stream_total_timeout_ms", 3_000).start_ready();
        std::thread::scope(|scope| {
            for place in Place::ALL.into_iter().filter(|place| place.streams()) {
                let gateway = &gateway;
                scope.spawn(move || {
                    let answer = gateway.post(place.path(), &place.body("team", true));
                    let (whole, failed) = place.ends();
                    let text = answer.text();
                    assert_eq!(answer.status, 200, "{place:?}: {text}");
                    assert!(text.contains(failed) && !text.contains(whole), "{place:?}: {text}");
                });
            }
        });
        for line in gateway.access_lines(4) {
            assert_eq!((&line["status"], &line["error_kind"]), (&json!(504), &json!("timeout")), "{line}");
            assert_eq!(line["attempt_list"][0]["error_class"], "timeout", "{line}");
            assert_eq!(line["attempts"], 1, "{line}");
        }
    }

    fn what_comes_of_retries_limits_and_hang_ups_is_listed_too(engine) {
        let upstream = mock();
        let setup = Setup::new(engine, upstream).resources(|file| {
            let models = file["models"].as_array_mut().unwrap();
            let target = |name: &str, script: &str, extra: Value| {
                let mut model = json!({"display_name": name, "provider": "openai", "model_name": script,
                    "provider_key": "up"});
                model.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
                model
            };
            models.extend([
                target("spent", GOOD, json!({"rate_limit": {"rpd": 0}})),
                target("again", "events=3,status=500,times=1", json!({"retries": 2})),
                target("never", "events=3,status=503", json!({"retries": 20})),
                target("silent", "events=3,head_ms=60000", json!({})),
                json!({"display_name": "team", "routing": {"targets": [{"model": "spent"}, {"model": "again"}]}}),
            ]);
            file["api_keys"][0]["allowed_models"] = json!(["*"]);
        });
        let gateway = setup.start_ready();
        let asked = |model: &str| {
            let request = named(model, &post("/v1/chat/completions", &Place::Chat.body(model, false)));
            let mut raw = gateway.connect();
            raw.send(&request);
            raw
        };
        let listed = |model: &str| -> Vec<(String, String, u64, String)> {
            let line = gateway.access_line(model);
            let list = line["attempt_list"].as_array().cloned().unwrap_or_default();
            let text = |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
            list.iter().map(|one| {
                let status = one["status_code"].as_u64().unwrap();
                (text(one, "attempt_model"), text(one, "attempt_kind"), status, text(one, "error_class"))
            }).collect()
        };
        let entry = |model: &str, kind: &str, status, class: &str| {
            (model.to_owned(), kind.to_owned(), status, class.to_owned())
        };
        assert_eq!(asked("team").response().status, 200);
        assert_eq!(listed("team"), [
            entry("spent", "initial", 429, "rate_limit_exceeded"),
            entry("again", "fallback", 500, "upstream_status"),
            entry("again", "retry", 200, ""),
        ]);
        let first = &gateway.access_line("team")["attempt_list"][0];
        assert_eq!((&first["dispatched"], first.get("upstream_latency_ms")), (&json!(false), None));
        // The second half of a retry's budget is not waited for.
        let raw = asked("never");
        crate::support::wait_for("two attempts", || {
            let failed = gateway.metric("sluice_deployment_failure_responses_total", &["model=\"never\""]);
            (failed >= 2.0).then_some(())
        });
        drop(raw);
        let never = listed("never");
        assert!(never.len() >= 2, "{never:?}");
        assert_eq!(never[1], entry("never", "retry", 503, "upstream_status"));
        let raw = asked("silent");
        crate::support::wait_for("the request", || upstream_request(upstream, "silent"));
        drop(raw);
        assert_eq!(listed("silent"), []);
        let attempts = |family: &str| gateway.metric(family, &["model=\"silent\""]);
        assert_eq!(attempts("sluice_deployment_requests_total"), 1.0);
        assert_eq!(attempts("sluice_deployment_failure_responses_total"), 0.0);
        assert_eq!(attempts("sluice_deployment_success_responses_total"), 0.0);
        // One that succeeds at once needs no list.
        assert_eq!(asked("m").response().status, 200);
        assert_eq!(gateway.access_line("m").get("attempt_list"), None);
    }
}
