//! Every row of the tables in `docs/protocols.md`, run: what becomes of each field, pair by pair.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::net::{IpAddr, Ipv4Addr};
use std::time::SystemTime;

use config_sync::snapshot::Snapshot;
use config_sync::source::load_file;
use serde_json::{Map, Value, json};

use gateway::dialect::{Dialect, Seed};
use gateway::endpoint::{self, Call, Endpoint};
use gateway::http::h1::{self, Limits};
use gateway::provider::{Asker, Exchange, Outbound};
use gateway::rejection::Rejection;
use gateway::route::{Asking, Route, Rows};

const DOC: &str = include_str!("../../docs/protocols.md");
/// A table with fewer rows was not found whole.
const ROWS_MIN: usize = 3;

const RESOURCES: &str = r#"
_format_version: "1"
provider_keys:
  - {display_name: openai, provider: vendor, adapter: openai, api_key: sk-up, api_base: "http://up.test/v1"}
  - {display_name: anthropic, provider: anthropic, api_key: sk-up, api_base: "http://up.test"}
models:
  - {display_name: to-openai, provider: vendor, model_name: upstream-model, provider_key: openai}
  - {display_name: to-anthropic, provider: anthropic, model_name: upstream-model, provider_key: anthropic}
api_keys:
  - {display_name: bot, key_env: KEY, allowed_models: ["*"]}
"#;

/// One table: what is translated, from whom, for whom.
#[derive(Debug)]
struct Table<'d> {
    what: &'d str,
    caller: &'d str,
    upstream: &'d str,
    rows: Vec<(&'d str, &'d str)>,
}

fn tables() -> Vec<Table<'static>> {
    let mut tables = Vec::new();
    for part in DOC.split("<!-- ").skip(1) {
        let (name, rest) = part.split_once(" -->").unwrap();
        let mut words = name.split(' ');
        let lines = rest.lines().skip_while(|line| !line.starts_with('|'));
        let rows = lines.take_while(|line| line.starts_with('|')).skip(2);
        let rows = rows.map(|line| {
            let line = line.trim_start_matches("| ").trim_end_matches(" |");
            line.split_once(" | ").unwrap()
        });
        tables.push(Table {
            what: words.next().unwrap(),
            caller: words.next().unwrap(),
            upstream: words.next().unwrap(),
            rows: rows.collect(),
        });
    }
    tables
}

/// The JSON members of a cell, which stand in backticks.
fn members(cell: &str) -> Map<String, Value> {
    let inside = cell.trim().trim_start_matches('`').trim_end_matches('`');
    let object = format!("{{{inside}}}");
    serde_json::from_str(&object).unwrap_or_else(|error| panic!("{error} in {object}"))
}

fn endpoint_of(caller: &str) -> Endpoint {
    match caller {
        "chat" => Endpoint::ChatCompletions,
        "messages" => Endpoint::Messages,
        "responses" => Endpoint::Responses,
        other => panic!("{other}"),
    }
}

/// A small request of `caller`, with `more` merged over it.
fn request(caller: &str, model: &str, more: &Map<String, Value>) -> Vec<u8> {
    let mut body = match caller {
        "chat" => json!({"model": model, "messages": [{"role": "user", "content": "Hi"}]}),
        "messages" => {
            json!({"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]})
        }
        _ => json!({"model": model, "input": "Hi"}),
    };
    body.as_object_mut().unwrap().extend(more.clone());
    serde_json::to_vec(&body).unwrap()
}

/// A small answer of `upstream`, with `more` merged over it.
fn answer(upstream: &str, more: &Map<String, Value>) -> Vec<u8> {
    let mut body = match upstream {
        "openai" => {
            json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "upstream-model",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}})
        }
        _ => {
            json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "upstream-model",
            "content": [{"type": "text", "text": "ok"}], "stop_reason": "end_turn", "stop_sequence": null,
            "usage": {"input_tokens": 1, "output_tokens": 1}})
        }
    };
    body.as_object_mut().unwrap().extend(more.clone());
    serde_json::to_vec(&body).unwrap()
}

struct Gateway(Snapshot);

struct Begun {
    call: Call,
    route: Route,
    exchange: Exchange,
    upstream: Value,
}

impl Gateway {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.yaml");
        std::fs::write(&path, RESOURCES).unwrap();
        let env = |_: &str| Some("sk-caller".to_owned());
        Self(
            load_file(&path, &env, 1, SystemTime::now())
                .unwrap()
                .snapshot,
        )
    }

    fn begin(&self, endpoint: Endpoint, body: &[u8]) -> Result<Begun, Rejection> {
        let head = "POST / HTTP/1.1\r\nhost: gw\r\n\r\n";
        let (head, _) = h1::parse_request(head.as_bytes(), &Limits::default())
            .unwrap()
            .unwrap();
        let key = self.0.api_keys().next().unwrap();
        let call = endpoint::parse(endpoint, body)?;
        let asking = Asking {
            key,
            client_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            head: &head,
            now_ms: 0,
        };
        let mut candidates = Rows::default().resolve(&self.0, &asking, &call.model)?;
        let route = candidates.take_next().unwrap()?;
        let asker = Asker {
            head: &head,
            key,
            request_id: "r",
        };
        let outbound = Outbound {
            route: &route,
            call: &call,
            asker: &asker,
        };
        let seed = || Seed {
            created_unix_s: 1,
            hex: [b'a'; 32],
        };
        let mut out = Vec::new();
        let exchange = Exchange::begin(&outbound, body, seed, &mut out)?;
        let text = String::from_utf8(out).unwrap();
        let (_, upstream) = text.split_once("\r\n\r\n").unwrap();
        let upstream = serde_json::from_str(upstream).unwrap();
        Ok(Begun {
            call,
            route,
            exchange,
            upstream,
        })
    }
}

/// Whether `whole` holds `part`: objects member by member, lists item by item.
fn holds(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part
            .iter()
            .all(|(name, part)| whole.get(name).is_some_and(|whole| holds(whole, part))),
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(w, p)| holds(w, p))
        }
        (Value::Number(whole), Value::Number(part)) => whole.as_f64() == part.as_f64(),
        (whole, part) => whole == part,
    }
}

/// The longer texts inside `value`: words that would be recognised elsewhere.
fn texts<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
    match value {
        Value::String(text) if text.len() > 7 => found.push(text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(map) => map.values().for_each(|item| texts(item, found)),
        _ => {}
    }
}

fn message_of(rejection: &Rejection) -> String {
    let mut out = Vec::new();
    rejection.write_envelope(Dialect::Openai, "r", &mut out);
    String::from_utf8(out).unwrap()
}

fn check_request(
    gateway: &Gateway,
    table: &Table<'_>,
    left: &str,
    right: &str,
) -> Result<(), String> {
    let sent = members(left);
    let body = request(table.caller, &format!("to-{}", table.upstream), &sent);
    let begun = gateway.begin(endpoint_of(table.caller), &body);
    if let Some(named) = right.strip_prefix("400 ") {
        return match begun {
            Err(rejection) if rejection.status() == 400 => {
                let message = message_of(&rejection);
                let named = named.trim_matches('`');
                let said = message.contains(named);
                said.then_some(())
                    .ok_or(format!("{named} is not in {message}"))
            }
            Err(rejection) => Err(format!("{}", rejection.status())),
            Ok(begun) => Err(format!("not refused: {}", begun.upstream)),
        };
    }
    let upstream = begun.map_err(|rejection| message_of(&rejection))?.upstream;
    if right == "dropped" {
        let text = upstream.to_string();
        let kept = sent
            .keys()
            .find(|name| upstream.get(name.as_str()).is_some());
        let mut words = Vec::new();
        sent.values().for_each(|value| texts(value, &mut words));
        let leaked = words.iter().find(|word| text.contains(**word));
        return match (kept, leaked) {
            (None, None) => Ok(()),
            found => Err(format!("{found:?} in {text}")),
        };
    }
    let want = Value::Object(members(right));
    holds(&upstream, &want)
        .then_some(())
        .ok_or_else(|| upstream.to_string())
}

fn check_answer(
    gateway: &Gateway,
    table: &Table<'_>,
    left: &str,
    right: &str,
) -> Result<(), String> {
    let body = request(table.caller, &format!("to-{}", table.upstream), &Map::new());
    let begun = gateway.begin(endpoint_of(table.caller), &body);
    let mut begun = begun.map_err(|rejection| message_of(&rejection))?;
    let said = answer(table.upstream, &members(left));
    let answered = begun.exchange.answer(&begun.call, &begun.route, &said);
    let answered = answered.map_err(|rejection| message_of(&rejection))?;
    let mut out = Vec::new();
    answered.write_body(&said, &mut out);
    assert_eq!(out.len(), answered.body_len(&said));
    let shown: Value = serde_json::from_slice(&out).unwrap();
    let mut want = Value::Object(members(right));
    if want.get("model").is_some() {
        want["model"] = json!(&*begun.call.model);
    }
    holds(&shown, &want)
        .then_some(())
        .ok_or_else(|| shown.to_string())
}

#[test]
fn every_row_of_the_documented_tables_is_true() {
    let gateway = Gateway::new();
    let tables = tables();
    assert_eq!(tables.len(), 8, "tables of the page");
    let mut wrong = Vec::new();
    for table in &tables {
        assert!(table.rows.len() >= ROWS_MIN, "{table:?}");
        for (left, right) in &table.rows {
            let checked = match table.what {
                "request" => check_request(&gateway, table, left, right),
                "answer" => check_answer(&gateway, table, left, right),
                other => panic!("{other}"),
            };
            if let Err(got) = checked {
                let Table {
                    what,
                    caller,
                    upstream,
                    ..
                } = table;
                wrong.push(format!(
                    "{what} {caller} {upstream}\n  {left}\n  {right}\n  got {got}"
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} rows:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
