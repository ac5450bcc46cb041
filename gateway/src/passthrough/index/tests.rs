use config_sync::snapshot::SnapshotParts;
use serde_json::{Value, json};

use super::*;
use crate::passthrough::fixture::row;

fn index(rows: &[(&str, Value)]) -> Index {
    let others = rows.iter().map(|(id, extra)| row(id, extra.clone()));
    Index::of(&Snapshot::build(SnapshotParts {
        generation: 1,
        others: others.collect(),
        ..SnapshotParts::default()
    }))
}

fn at(name: &str, prefix: impl Into<Value>, hosts: impl Into<Value>) -> Value {
    json!({"name": name, "path_prefix": prefix.into(), "hosts": hosts.into()})
}

/// The id of what is found; `-` without the path, `?` without the host.
fn found(index: &Index, host: &str, path: &str) -> String {
    match index.by_host(host, path) {
        Lookup::Found(route) => route.id.to_string(),
        Lookup::NoSuchPath => "-".to_owned(),
        Lookup::NoSuchHost => "?".to_owned(),
    }
}

#[test]
fn the_longest_prefix_of_whole_segments_wins_then_the_lowest_id() {
    let index = index(&[
        ("3", at("a", json!("/a"), Value::Null)),
        ("5", at("a-again", json!("/a/"), Value::Null)),
        ("9", at("ab", json!("/a/b"), Value::Null)),
        ("7", at("long", json!("/a/b/c/d"), Value::Null)),
    ]);
    assert!(index.is_hostless());
    for (path, want) in [
        ("/a", Some("3")),
        ("/a/", Some("3")),
        ("/a/x/y", Some("3")),
        ("/a/b", Some("9")),
        ("/a/b/c", Some("9")),
        ("/a/b/c/d/e", Some("7")),
        ("/a/bc", Some("3")),
        ("/ab", None),
        ("/A", None),
        ("/%61", None),
        ("/", None),
        ("", None),
        ("*", None),
        ("//a", None),
    ] {
        let route = index.by_path(path);
        assert_eq!(route.as_ref().map(|route| &*route.id), want, "{path}");
    }
}

#[test]
fn an_empty_prefix_serves_every_path_that_no_longer_one_does() {
    let index = index(&[
        ("1", at("all", json!("/"), Value::Null)),
        ("2", at("x", json!("/x"), Value::Null)),
    ]);
    for (path, want) in [
        ("/", Some("1")),
        ("/y", Some("1")),
        ("/x/y", Some("2")),
        ("*", None),
    ] {
        let route = index.by_path(path);
        assert_eq!(route.as_ref().map(|route| &*route.id), want, "{path}");
    }
}

#[test]
fn hosts_are_exact_or_of_one_more_label_and_their_paths_their_own() {
    let index = index(&[
        (
            "1",
            at(
                "one",
                Value::Null,
                json!(["A.example.com", "b.example.com"]),
            ),
        ),
        ("2", at("wild", Value::Null, json!(["*.example.com"]))),
        (
            "3",
            at(
                "part",
                json!("/p"),
                json!(["p.example.com", "*.example.com"]),
            ),
        ),
        ("4", at("only", json!("/only"), json!(["only.example.org"]))),
        ("5", at("any", json!("/any"), Value::Null)),
        (
            "0",
            json!({"name": "off", "hosts": ["off.example.org"], "path_prefix": null, "enabled": false}),
        ),
    ]);
    assert!(!index.is_hostless());
    for (host, path, want) in [
        ("a.example.com", "/", "1"),
        ("a.example.com", "/x", "1"),
        ("b.example.com", "/p/x", "3"),
        ("a.example.com", "/p", "3"),
        ("c.example.com", "/any", "2"),
        ("p.example.com", "/x", "2"),
        ("p.example.com", "/p/x", "3"),
        ("d.c.example.com", "/", "?"),
        ("example.com", "/", "?"),
        (".example.com", "/", "?"),
        ("only.example.org", "/only/x", "4"),
        ("only.example.org", "/any", "-"),
        ("only.example.org", "/v1/chat/completions", "-"),
        ("off.example.org", "/", "?"),
        ("", "/any", "?"),
    ] {
        assert_eq!(found(&index, host, path), want, "{host}{path}");
    }
    assert_eq!(&*index.by_path("/any/x").unwrap().id, "5");
    assert!(
        index.by_path("/only").is_none(),
        "a route with hosts needs one"
    );
}

#[test]
fn of_two_routes_with_the_same_host_and_prefix_the_lower_id_is_found() {
    for ids in [["a", "b"], ["b", "a"]] {
        let index = index(&[
            (ids[0], at("x", Value::Null, json!(["h.example"]))),
            (ids[1], at("y", Value::Null, json!(["h.example"]))),
        ]);
        assert_eq!(found(&index, "h.example", "/"), "a");
    }
    // Also where one host is exact and the other is not.
    let index = index(&[
        ("b", at("x", Value::Null, json!(["a.h.example"]))),
        ("a", at("y", Value::Null, json!(["*.h.example"]))),
    ]);
    assert_eq!(found(&index, "a.h.example", "/"), "a");
}

#[test]
fn a_path_of_slashes_costs_no_more_look_ups_than_the_longest_prefix_has_bytes() {
    let index = index(&[("1", at("a", json!("/a"), Value::Null))]);
    assert!(index.by_path(&"/".repeat(64 * 1024)).is_none());
}
