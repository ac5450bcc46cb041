//! Boot with as many rows as a large installation has.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::gateway::{CALLER_KEY, chat};
use crate::support::store::{Etcd, Rows, caller, model, now, pause};
use crate::support::{Engine, Gateway, Raw, Setup, mock};

const CHAT: &str = "/v1/chat/completions";
const KEYS: usize = 10_000;
const MODELS: usize = 1_000;
/// Rows of one transaction; etcd takes 128 where nobody raises that.
const AT_ONCE: usize = 128;

fn key(number: usize) -> String {
    format!("sk-caller-{number:x}")
}

/// The status of a chat by caller `number` with `model`.
fn status(gateway: &Gateway, key: &str, model: &str) -> u16 {
    let body = chat(model, false).to_string();
    let mut raw = Raw::connect(gateway.addr);
    raw.send(
        format!(
            "POST {CHAT} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    );
    raw.response().status
}

/// A store with this many rows of both kinds, and the seed's.
fn filled(mock: std::net::SocketAddr) -> (Etcd, Rows) {
    let etcd = Etcd::start();
    let mut rows = Rows::new(etcd.addr());
    rows.seed(mock);
    let models = (0..MODELS).map(|number| {
        let name = format!("model-{number}");
        (format!("models/{}", spread(&name)), model(&name, "x"))
    });
    let keys = (0..KEYS).map(|number| {
        let row = caller(&key(number), &[&format!("model-{}", number % MODELS)]);
        (format!("api_keys/{}", spread(&key(number))), row)
    });
    let all: Vec<(String, Value)> = models.chain(keys).collect();
    for some in all.chunks(AT_ONCE) {
        let some: Vec<_> = some
            .iter()
            .map(|(row, document)| (&**row, Some(document)))
            .collect();
        rows.commit(&some);
    }
    (etcd, rows)
}

/// An id in no order, as ids are.
fn spread(name: &str) -> String {
    let hash = Sha256::digest(name);
    hash[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[test]
fn ten_thousand_callers_are_served_soon_after_the_store_answers() {
    let mock = mock();
    let (etcd, mut rows) = filled(mock);
    let begin = now();
    let gateway = Setup::new(Engine::IoUring, mock)
        .following(etcd.addr())
        .start();
    let serving = now();
    gateway.until_ready();
    let ready = now();
    println!(
        "{KEYS} caller keys and {MODELS} models: serving {:.0} ms after the start, ready {:.0} ms later; \
         {} MiB resident",
        (serving - begin).as_secs_f64() * 1e3,
        (ready - serving).as_secs_f64() * 1e3,
        gateway.rss_kib() / 1024,
    );
    let config = rows.agree_with(&gateway);
    assert_eq!(config["state"], "synced");
    assert_eq!(config["applied"]["resource_counts"]["api_keys"], KEYS + 1);
    assert_eq!(config["applied"]["resource_counts"]["models"], MODELS + 4);
    for number in [0, 1, KEYS / 2, KEYS - 1] {
        let own = format!("model-{}", number % MODELS);
        assert_eq!(status(&gateway, &key(number), &own), 200, "{number}");
        let other = format!("model-{}", (number + 1) % MODELS);
        assert_eq!(status(&gateway, &key(number), &other), 403, "{number}");
    }
    assert_eq!(status(&gateway, &key(KEYS), "m"), 401);
    // One change among so many rows is as quick as among few.
    let mut took_ms = Vec::new();
    for number in 0..20 {
        let fresh = format!("fresh-{number}");
        rows.commit(&[
            (&*format!("models/{fresh}"), Some(&model(&fresh, "x"))),
            ("api_keys/caller", Some(&caller(CALLER_KEY, &[&*fresh]))),
        ]);
        let acknowledged = now();
        while status(&gateway, CALLER_KEY, &fresh) != 200 {
            assert!(acknowledged.elapsed() < crate::support::PATIENCE, "{fresh}");
            pause(std::time::Duration::from_millis(1));
        }
        took_ms.push(acknowledged.elapsed().as_secs_f64() * 1e3);
    }
    took_ms.sort_by(f64::total_cmp);
    println!(
        "a change among them is seen after {:.1} ms (median), {:.1} ms (most)",
        took_ms[10], took_ms[19]
    );
}
