//! What a caller learns of a model, in order. [pure]

pub(crate) mod fixture;

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::endpoint::models;
use crate::http::h1::{Limits, parse_request};

/// The head of a request with further header lines.
pub(crate) fn head(lines: &str) -> RequestHead {
    let text = format!("POST / HTTP/1.1\r\nhost: a\r\n{lines}\r\n");
    let parsed = parse_request(text.as_bytes(), &Limits::default()).unwrap();
    parsed.unwrap().0
}

/// The first target of `model`.
pub(crate) fn resolve(
    snapshot: &Snapshot,
    key: &ApiKey,
    model: &str,
    client_ip: IpAddr,
) -> Result<Route, Rejection> {
    let asking = Asking {
        key,
        client_ip,
        head: &head(""),
        now_ms: 0,
    };
    let mut candidates = Rows::default().resolve(snapshot, &asking, model)?;
    candidates.take_next().unwrap()
}

fn world() -> (Snapshot, Arc<ApiKey>) {
    let key = fixture::provider_key(json!({}));
    let office = json!({"allowed_cidrs": ["10.0.0.0/8", "fd00::/8"]});
    let office_gone = json!({"allowed_cidrs": ["10.0.0.0/8"], "provider_key_id": "gone"});
    let rows = vec![
        fixture::model("open", json!({})),
        fixture::model("office", office),
        fixture::model("dangling", json!({"provider_key_id": "gone"})),
        fixture::model("dangling-office", office_gone),
        fixture::model("other", json!({})),
        fixture::model("w/*", json!({"model_name": "v2-*"})),
    ];
    let allowed = json!({"allowed_models": ["open", "office", "dangling*", "w/*", "nowhere"]});
    let snapshot = fixture::snapshot(rows, &[&key], &[("sk-1", allowed)]);
    let caller = snapshot.api_keys().next().unwrap().clone();
    (snapshot, caller)
}

#[test]
fn the_first_reason_in_order_is_the_one_answered() {
    let (snapshot, caller) = world();
    for (model, ip, want) in [
        ("open", "192.0.2.1", Ok("gpt-up")),
        ("office", "10.1.2.3", Ok("gpt-up")),
        ("office", "::ffff:10.1.2.3", Ok("gpt-up")),
        ("office", "fd00::1", Ok("gpt-up")),
        ("w/x", "192.0.2.1", Ok("v2-x")),
        ("w/", "192.0.2.1", Ok("v2-")),
        ("nowhere", "192.0.2.1", Err((404, "model_not_found"))),
        ("Open", "192.0.2.1", Err((404, "model_not_found"))),
        ("other", "192.0.2.1", Err((403, "permission_denied"))),
        ("office", "192.0.2.1", Err((403, "ip_restricted"))),
        ("dangling-office", "192.0.2.1", Err((403, "ip_restricted"))),
        ("dangling", "192.0.2.1", Err((503, "provider_unavailable"))),
    ] {
        let got = resolve(&snapshot, &caller, model, ip.parse().unwrap());
        let got = got.map(|route| route.upstream_model.to_string());
        let got = got.map_err(|no| (no.status(), no.code().to_owned()));
        let want = want.map(str::to_owned);
        let want = want.map_err(|(status, code)| (status, code.to_owned()));
        assert_eq!(got, want, "{model} from {ip}");
    }
}

#[test]
fn the_model_list_shows_what_the_key_may_use_and_no_patterns() {
    let (snapshot, caller) = world();
    let mut out = Vec::new();
    models::write_list(&snapshot, &caller, &mut out);
    let row = |id: &str| {
        format!(r#"{{"id":"{id}","object":"model","created":1700000000,"owned_by":"openai"}}"#)
    };
    let rows = ["dangling", "dangling-office", "office", "open"]
        .map(row)
        .join(",");
    let want = format!(r#"{{"object":"list","data":[{rows}]}}"#);
    assert_eq!(String::from_utf8(out).unwrap(), want);
    for (name, want) in [
        ("open", Ok(row("open"))),
        ("op%65n", Ok(row("open"))),
        ("other", Err(404)),
        ("nowhere", Err(404)),
        ("w/x", Err(404)),
        ("w/*", Err(404)),
        ("%zz", Err(400)),
    ] {
        let mut out = Vec::new();
        let got = models::write_one(&snapshot, &caller, name, &mut out);
        let got = got.map(|()| String::from_utf8(out).unwrap());
        assert_eq!(got.map_err(|no| no.status()), want, "{name}");
    }
}
