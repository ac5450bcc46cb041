//! Any rows to a resources file: no panic, and no secret where variables stand for them.
//!
//! One row per line: `<key> <value>`. Keys that do not begin with `/` stand below the prefix.
#![no_main]

use config_sync::decode::{self, json};
use config_sync::export::{Secrets, export};
use config_sync::seal::paths;
use config_sync::source::store::StoredRow;
use config_sync::tree::Value;
use libfuzzer_sys::fuzz_target;

const PREFIX: &str = "/p";
const LINES_MAX: usize = 32;
/// What seeds have in the place of secrets.
const CANARY: &str = "canary";

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let rows = (1..).zip(text.lines()).take(LINES_MAX);
    let rows: Vec<StoredRow> = rows.map(|(revision, line)| row(line, revision)).collect();
    let revealed = export(&rows, PREFIX, Secrets::Revealed);
    let exported = export(&rows, PREFIX, Secrets::AsVariables);
    if rows.iter().all(keeps_canaries_secret) {
        let told = [&revealed.warnings, &revealed.blocking];
        let told = told
            .into_iter()
            .chain([&exported.warnings, &exported.blocking]);
        let leak = told.flatten().find(|message| message.contains(CANARY));
        assert!(leak.is_none(), "a secret is told: {leak:?}");
        assert!(!exported.yaml.contains(CANARY), "{}", &*exported.yaml);
    }
});

fn row(line: &str, revision: i64) -> StoredRow {
    let (key, value) = line.split_once(' ').unwrap_or((line, ""));
    let key = match key {
        absolute if absolute.starts_with('/') => absolute.to_owned(),
        below => format!("{PREFIX}/{below}"),
    };
    StoredRow {
        key: key.into(),
        value: value.as_bytes().to_vec().into(),
        create_revision: revision,
        mod_revision: revision,
    }
}

/// Whether the canary stands nowhere but in secret places.
fn keeps_canaries_secret(row: &StoredRow) -> bool {
    let Ok(mut document) = json::parse(&row.value) else {
        return !row.key.contains(CANARY);
    };
    let parts = decode::split_key(PREFIX, &row.key);
    let collection = parts.and_then(|parts| decode::collection_of(parts.collection));
    let document = document.value_mut();
    if let Ok(collection) = collection {
        for place in paths::secrets_in(collection, document) {
            if let Some(value) = document.pointer_mut(&place.pointer) {
                *value = Value::Null;
            }
        }
    }
    let rest = json::canonical(document);
    let open = rest
        .windows(CANARY.len())
        .any(|part| part == CANARY.as_bytes());
    !open && !row.key.contains(CANARY)
}
