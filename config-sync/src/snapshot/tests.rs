use super::*;
use crate::model::{ApiKeyDocument, ModelDocument};
use crate::tree::{Problems, Unknown};
use serde_json::json;

pub(super) fn model(id: &str, name: &str) -> Arc<Model> {
    let doc =
        json!({"display_name": name, "provider": "p", "model_name": "*", "provider_key_id": "k"});
    let problems = Problems::default();
    let document = ModelDocument::read(&doc, &problems, Unknown::Refused).unwrap();
    assert!(problems.is_empty());
    Arc::new(document.into_model(id.into(), 0))
}

fn api_key(hash: [u8; 32], id: &str) -> ([u8; 32], Arc<ApiKey>) {
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let doc = json!({"key_hash": hex, "allowed_models": []});
    let problems = Problems::default();
    let document = ApiKeyDocument::read(&doc, &problems, Unknown::Refused);
    assert!(problems.is_empty());
    (document.key_hash, Arc::new(document.into_key(id.into())))
}

fn with_models(models: &[(&str, &str)]) -> Snapshot {
    Snapshot::build(SnapshotParts {
        models: models.iter().map(|(id, name)| model(id, name)).collect(),
        ..SnapshotParts::default()
    })
}

#[test]
fn exact_names_win_then_the_most_literal_pattern_then_the_lowest_id() {
    let rows = [
        ("9", "openai/*"),
        ("3", "openai/gpt-*"),
        ("2", "*-4o-chat1"),
        ("1", "openai/gpt-4o"),
        ("8", "a*c"),
        ("7", "*ac"),
        ("0", "*"),
    ];
    let cases = [
        ("openai/gpt-4o", "1", None),
        ("openai/gpt-5", "3", Some("5")),
        ("openai/o3", "9", Some("o3")),
        ("openai/", "9", Some("")),
        ("ac", "7", Some("")), // two literals each: lowest id
        ("abc", "8", Some("b")),
        ("openai/*", "9", Some("*")),
        ("OPENAI/o3", "0", Some("OPENAI/o3")),
    ];
    let mut reversed = rows;
    reversed.reverse();
    for rows in [rows, reversed] {
        let snapshot = with_models(&rows);
        for (name, id, capture) in cases {
            let found = snapshot.resolve(name).unwrap();
            assert_eq!(&*found.model.id, id, "{name}");
            assert_eq!(found.capture, capture, "{name}");
        }
    }
    assert!(
        with_models(&[("1", "a"), ("2", "b*")])
            .resolve("c")
            .is_none()
    );
}

#[test]
fn listed_names_are_sorted_and_hold_no_patterns() {
    let snapshot = with_models(&[("1", "b"), ("2", "x*"), ("3", "a"), ("4", "B")]);
    let names: Vec<&str> = snapshot.model_names().map(|m| &*m.display_name).collect();
    assert_eq!(names, ["B", "a", "b"]);
    assert_eq!(snapshot.models().count(), 4);
}

#[test]
fn the_first_row_owns_a_name_or_a_hash() {
    let snapshot = Snapshot::build(SnapshotParts {
        models: vec![model("1", "a"), model("0", "a")],
        api_keys: vec![api_key([7; 32], "1"), api_key([7; 32], "0")],
        ..SnapshotParts::default()
    });
    assert_eq!(&*snapshot.resolve("a").unwrap().model.id, "1");
    assert_eq!(&*snapshot.api_key(&[7; 32]).unwrap().id, "1");
}

#[test]
fn keys_are_found_by_their_whole_hash() {
    let mut twin = [7; 32];
    twin[31] = 8; // same first bytes, same bucket
    let snapshot = Snapshot::build(SnapshotParts {
        api_keys: vec![api_key([7; 32], "1"), api_key(twin, "2")],
        ..SnapshotParts::default()
    });
    assert_eq!(&*snapshot.api_key(&[7; 32]).unwrap().id, "1");
    assert_eq!(&*snapshot.api_key(&twin).unwrap().id, "2");
    assert!(snapshot.api_key(&[8; 32]).is_none());
    assert!(Snapshot::empty().api_key(&[7; 32]).is_none());
    assert!(!format!("{snapshot:?}").contains("0707"));
}
