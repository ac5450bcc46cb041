use super::*;
use crate::collection::Collection;
use crate::decode::{RejectionKind, json};
use crate::model::ApiKey;
use crate::tree::{Problems, Unknown, Value};
use serde_json::json;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

fn key_row(secret: &str) -> Value {
    json!({"display_name": "main", "adapter": "openai", "api_base": "http://h/", "api_key": secret})
}

fn model_row(name: &str, provider_key: &str) -> Value {
    json!({"display_name": name, "provider": "p", "model_name": "*", "provider_key_id": provider_key})
}

fn caller_row(byte: u8) -> Value {
    json!({"key_hash": format!("{byte:02x}").repeat(32), "allowed_models": []})
}

/// A row created at `created` and last written at `modified`.
fn row(key: &str, value: impl std::fmt::Display, created: i64, modified: i64) -> StoredRow {
    StoredRow {
        key: format!("/sluice/{key}").into(),
        value: Zeroizing::new(value.to_string().into_bytes()),
        create_revision: created,
        mod_revision: modified,
    }
}

/// A state that is told of changes one by one; a row's first revision is that of its creation.
struct Told {
    state: State,
    created: HashMap<String, i64>,
    revision: i64,
}

impl Told {
    fn new() -> Self {
        Self {
            state: State::new("/sluice/", None),
            created: HashMap::new(),
            revision: 0,
        }
    }

    fn put_row(&mut self, key: &str, value: impl std::fmt::Display) -> StoredRow {
        self.revision += 1;
        let created = *self.created.entry(key.to_owned()).or_insert(self.revision);
        row(key, value, created, self.revision)
    }

    fn apply(&mut self, changes: Vec<Change>, now: i64) -> Changed {
        let revision = self.revision;
        self.state.apply(Batch { revision, changes }, now)
    }

    fn put(&mut self, key: &str, value: impl std::fmt::Display, now: i64) -> Changed {
        let row = self.put_row(key, value);
        self.apply(vec![Change::Put(row)], now)
    }

    fn delete(&mut self, key: &str, now: i64) -> Changed {
        self.revision += 1;
        self.created.remove(key);
        let key = format!("/sluice/{key}").into();
        self.apply(vec![Change::Delete { key }], now)
    }

    fn listing(&self) -> Listing {
        Listing {
            revision: self.revision,
            rows: self.state.rows().cloned().collect(),
        }
    }

    fn stale(&self) -> Vec<(String, u64)> {
        let stale = self.state.stale();
        stale
            .map(|(row, since)| (row.key.to_string(), since))
            .collect()
    }

    fn caller(&self, byte: u8) -> Option<Arc<ApiKey>> {
        self.state.snapshot(1).api_key(&[byte; 32]).cloned()
    }
}

#[test]
fn a_rejected_row_serves_its_last_good_value_until_it_loads_or_leaves() {
    let mut told = Told::new();
    told.put("api_keys/a", caller_row(1), 100);
    let changed = told.put("api_keys/a", "canary", 200);
    assert!(!changed.snapshot && !changed.config && changed.stored && changed.report);
    assert_eq!(changed.rejected.len(), 1);
    assert!(told.caller(1).is_some(), "the last good value serves");
    let again = told.put("api_keys/a", "{}", 300);
    assert_eq!(again.rejected[0].why.kind, RejectionKind::SchemaFailed);
    assert_eq!(told.stale(), [("/sluice/api_keys/a".to_owned(), 200)]);
    let rejected = &told.state.report().rejected[0];
    assert_eq!((rejected.first_seen, rejected.last_seen), (200, 300));
    assert_eq!(rejected.stale_since, Some(200));
    let loaded = told.put("api_keys/a", caller_row(2), 400);
    assert!(loaded.snapshot && loaded.config);
    assert!(told.caller(2).is_some() && told.caller(1).is_none());
    assert!(told.stale().is_empty() && told.state.report().rejected.is_empty());
    told.put("api_keys/a", "bad", 500);
    told.delete("api_keys/a", 600);
    assert!(told.caller(2).is_none() && told.stale().is_empty());
    assert_eq!(told.state.report().rejected_by_kind["api_keys"], 0);
}

#[test]
fn what_never_loaded_or_came_back_anew_has_no_last_good_value() {
    let mut told = Told::new();
    let changed = told.put("models/a", "{}", 1);
    assert!(!changed.snapshot && told.stale().is_empty());
    assert_eq!(told.state.snapshot(1).models().count(), 0);
    told.put("api_keys/a", caller_row(1), 2);
    let gone = Change::Delete {
        key: "/sluice/api_keys/a".into(),
    };
    let back = Change::Put(told.put_row("api_keys/a", "{}"));
    let changed = told.apply(vec![gone, back], 3);
    assert!(changed.snapshot && changed.config && told.stale().is_empty());
    assert!(told.caller(1).is_none(), "it left the store in between");
}

#[test]
fn a_value_replaced_within_a_batch_is_never_looked_at() {
    let mut told = Told::new();
    told.put("api_keys/a", caller_row(1), 1);
    let decoded = told.state.work().decoded;
    let changes = [caller_row(2).to_string(), "bad".to_owned()]
        .map(|value| Change::Put(told.put_row("api_keys/a", value)));
    told.apply(changes.into(), 2);
    assert_eq!(told.state.work().decoded, decoded + 1);
    assert!(told.caller(1).is_some(), "what served keeps serving");
}

#[test]
fn last_good_values_survive_listings_and_restarts() {
    let mut told = Told::new();
    told.put("api_keys/a", caller_row(1), 100);
    told.put("api_keys/b", caller_row(2), 100);
    told.put("api_keys/a", "bad", 200);
    let decoded = told.state.work().decoded;
    let listing = told.listing();
    let changed = told.state.replace(listing, 300);
    assert!(!changed.snapshot && !changed.stored);
    assert_eq!(told.state.work().decoded, decoded, "no bytes differ");
    assert_eq!(told.state.report().rejected[0].last_seen, 300, "seen again");

    let rows = told.state.rows().cloned().collect();
    let mut stale: Vec<StaleRow> = told
        .state
        .stale()
        .map(|(row, since_unix_secs)| StaleRow {
            row: row.clone(),
            since_unix_secs,
        })
        .collect();
    // Values of rows that are gone, that load, or lie outside, and one that no longer loads.
    let extra = |key: &str, value: &str| StaleRow {
        row: row(key, value, 1, 1),
        since_unix_secs: 1,
    };
    stale.extend([
        extra("api_keys/gone", &caller_row(3).to_string()),
        extra("api_keys/b", &caller_row(4).to_string()),
        extra("../other/api_keys/a", &caller_row(5).to_string()),
    ]);
    let mut restarted = State::new("/sluice", None);
    let changed = restarted.restore(rows, stale, told.revision, 400);
    assert!(changed.snapshot && changed.config);
    assert_eq!(restarted.revision(), told.revision);
    told.state = restarted;
    assert_eq!(told.stale(), [("/sluice/api_keys/a".to_owned(), 200)]);
    assert!(told.caller(1).is_some() && told.caller(2).is_some());
    assert!((3..=5).all(|byte| told.caller(byte).is_none()));

    let mut state = State::new("/sluice", None);
    let rows = vec![row("models/a", "bad", 1, 2)];
    state.restore(rows, vec![extra("models/a", "{}")], 2, 1);
    assert_eq!(state.stale().count(), 0, "the value itself no longer loads");
}

#[test]
fn the_revision_goes_back_only_with_a_listing() {
    let mut told = Told::new();
    told.revision = 10;
    told.put("api_keys/a", caller_row(1), 1);
    assert_eq!(told.state.revision(), 11);
    told.state.confirm(20);
    told.state.confirm(15);
    assert_eq!(told.state.revision(), 20);
    let overtaken = row("models/a", model_row("m", "k"), 12, 12);
    told.revision = 12;
    assert!(told.apply(vec![Change::Put(overtaken)], 2).snapshot);
    assert_eq!(told.state.revision(), 20);
    let late = Batch {
        revision: 11,
        changes: vec![Change::Delete {
            key: "/sluice/api_keys/a".into(),
        }],
    };
    assert!(!told.state.apply(late, 2).stored);
    told.revision = 21;
    let older = row("api_keys/a", caller_row(2), 11, 10);
    assert!(!told.apply(vec![Change::Put(older)], 3).stored);
    assert_eq!(told.state.revision(), 21);
    assert!(told.caller(1).is_some());
    let backup = Listing {
        revision: 5,
        rows: vec![row("api_keys/a", caller_row(3), 5, 5)],
    };
    assert!(told.state.replace(backup, 4).snapshot);
    assert_eq!(told.state.revision(), 5);
    assert!(told.caller(3).is_some());
}

#[test]
fn one_change_among_ten_thousand_rows_costs_its_shard() {
    let mut rows: Vec<StoredRow> = Vec::new();
    for number in 0..5_000_u32 {
        let hash: [u8; 32] = Sha256::digest(number.to_string()).into();
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let caller = json!({"key_hash": hash, "allowed_models": []});
        rows.push(row(&format!("api_keys/{number}"), caller, 1, 1));
        let model = model_row(&format!("m{number:04}"), &format!("{}", number % 50));
        rows.push(row(&format!("models/{number}"), model, 1, 1));
    }
    for number in 0..50 {
        rows.push(row(&format!("provider_keys/{number}"), key_row("a"), 1, 1));
    }
    let mut state = State::new("/sluice", None);
    state.replace(Listing { revision: 1, rows }, 1);
    let mut published = vec![state.snapshot(1)];
    assert_eq!(state.work().decoded, 10_050);
    assert_eq!(state.work().copied, 0, "nothing was shared while it loaded");

    // Work of one change: decoded, copied at most.
    let changes = [
        ("api_keys/77", caller_row(0xee), [1, 120]),
        ("models/77", model_row("m0077", "3"), [1, 350]),
        ("models/77", model_row("renamed", "3"), [1, 400]),
        // A hundred models use it, and none of them hears of it.
        ("provider_keys/7", key_row("b"), [1, 5]),
        ("provider_keys/7", key_row("b"), [0, 0]),
    ];
    for (revision, (key, value, most)) in (2..).zip(changes) {
        let before = state.work();
        let changes = vec![Change::Put(row(key, value, 1, revision))];
        state.apply(Batch { revision, changes }, 2);
        published.push(state.snapshot(2));
        let after = state.work();
        let [decoded, copied] = most;
        assert_eq!(after.decoded - before.decoded, decoded, "{key}");
        assert!(
            after.copied - before.copied <= copied,
            "{key}: {after:?} {before:?}"
        );
    }
    let (first, last) = (&published[0], &published[5]);
    assert!(first.resolve("renamed").is_none() && last.resolve("renamed").is_some());
    let same = |id| Arc::ptr_eq(first.model(id).unwrap(), last.model(id).unwrap());
    let rows = ["78", "4999", "57"];
    assert!(rows.into_iter().all(same), "unchanged rows are shared");
    assert!(!same("77"), "changed");
}

#[test]
fn references_follow_their_target_whatever_comes_first() {
    let mut told = Told::new();
    told.put("models/a", model_row("fast", "k"), 1);
    let key_of = |told: &Told| {
        let snapshot = told.state.snapshot(1);
        let model = snapshot.resolve("fast").unwrap().model;
        let key = snapshot.provider_key(&model.provider_key_id);
        key.map(|key| key.api_key.expose().to_owned())
    };
    assert_eq!(key_of(&told), None, "it dangles");
    told.put("provider_keys/k", key_row("one"), 2);
    assert_eq!(key_of(&told).as_deref(), Some("one"));
    assert!(told.put("provider_keys/k", key_row("two"), 3).snapshot);
    assert_eq!(key_of(&told).as_deref(), Some("two"));
    told.put("provider_keys/k", "{}", 4);
    assert_eq!(key_of(&told).as_deref(), Some("two"), "the last good key");
    told.delete("provider_keys/k", 5);
    assert_eq!(key_of(&told), None);
    let created = |told: &Told| told.state.snapshot(1).model("a").unwrap().created;
    assert_eq!(created(&told), 1, "when the row appeared");
}

#[test]
fn an_equal_document_changes_the_hash_of_the_store_only_if_its_json_does() {
    let mut told = Told::new();
    let first = told.put("models/a", model_row("fast", "k"), 1);
    assert!(first.snapshot && first.config && first.stored);
    let hashes = told.state.hashes();
    let spaced = format!(" {}\n", model_row("fast", "k"));
    let again = told.put("models/a", spaced, 2);
    assert!(!again.snapshot && !again.config && again.stored);
    assert_eq!(told.state.hashes(), hashes);
    let mut value = model_row("fast", "k");
    value["new"] = json!(1);
    let other = told.put("models/a", value, 3);
    assert!(
        !other.snapshot && other.config,
        "another text, the same meaning"
    );
    assert_ne!(told.state.hashes(), hashes);
}

#[test]
fn hashes_cover_keys_and_canonical_values_in_key_order() {
    let mut told = Told::new();
    told.put("models/b", "bad {", 1);
    told.put("gadgets/z", "{\"b\": 1, \"a\": [ ]}", 1);
    told.put("api_keys/a", caller_row(7), 1);
    let caller = format!(
        "{{\"allowed_models\":[],\"key_hash\":\"{}\"}}",
        "07".repeat(32)
    );
    let gadget = "/sluice/gadgets/z\0{\"a\":[],\"b\":1}\n";
    let caller = format!("/sluice/api_keys/a\0{caller}\n");
    let hashes = told.state.hashes();
    let digest = |text: String| -> [u8; 32] { Sha256::digest(text).into() };
    let source = format!("{caller}{gadget}/sluice/models/b\0bad {{\n");
    assert_eq!(hashes.source, digest(source));
    assert_eq!(hashes.config, digest(format!("{caller}{gadget}")));
    assert_eq!(hashes.config_hex().len(), 64);
}

#[test]
fn the_row_created_first_owns_a_name_and_the_next_takes_over() {
    let mut told = Told::new();
    told.put("models/z", model_row("fast", "k"), 1);
    told.put("models/a", model_row("fast", "k"), 2);
    told.put("models/b", model_row("fast", "k"), 3);
    let owner = |told: &Told| {
        let snapshot = told.state.snapshot(1);
        snapshot
            .resolve("fast")
            .map(|found| found.model.id.to_string())
    };
    let duplicates = |told: &Told| -> Vec<(String, usize)> {
        let report = told.state.report();
        let rows = report.partially_compatible.iter();
        rows.map(|row| (format!("{} {}", row.resource_kind, row.field), row.count))
            .collect()
    };
    assert_eq!(owner(&told).as_deref(), Some("z"));
    assert_eq!(duplicates(&told), [("models duplicate:name".to_owned(), 2)]);
    let snapshot = told.state.snapshot(1);
    assert!(snapshot.model("a").is_some() && snapshot.model_names().count() == 1);
    told.delete("models/z", 4);
    assert_eq!(owner(&told).as_deref(), Some("a"));
    told.put("models/a", model_row("slow", "k"), 5);
    assert_eq!(owner(&told).as_deref(), Some("b"));
    assert!(duplicates(&told).is_empty());
    told.delete("models/b", 6);
    assert_eq!(owner(&told), None);
    // Only the name changes hands: the row is the same.
    told.put("models/c", model_row("slow", "k"), 7);
    let changed = told.put("models/a", model_row("fast", "k"), 8);
    assert!(changed.snapshot && changed.warnings.is_empty());
    assert!(told.state.snapshot(1).resolve("slow").unwrap().model.id == "c".into());
}

#[test]
fn the_later_of_two_rows_with_one_hash_or_subject_is_rejected() {
    let mut told = Told::new();
    let with_subject = |byte, subject: &str| {
        let mut value = caller_row(byte);
        value["jwt_provider"] = json!("okta");
        value["jwt_subject"] = json!(subject);
        value
    };
    told.put("api_keys/z", with_subject(1, "s"), 1);
    let changed = told.put("api_keys/a", caller_row(1), 2);
    let why = &changed.rejected[0].why;
    assert_eq!(why.kind, RejectionKind::SchemaFailed);
    assert_eq!(&*why.message, "key_hash: belongs to the earlier row z");
    let changed = told.put("api_keys/b", with_subject(2, "s"), 3);
    let message = &changed.rejected[0].why.message;
    assert_eq!(
        &**message,
        "jwt_provider and jwt_subject: belongs to the earlier row z"
    );
    assert_eq!(&*told.caller(1).unwrap().id, "z");
    assert!(told.caller(2).is_none());
    told.put("api_keys/b", with_subject(2, "t"), 4);
    told.put("api_keys/b", with_subject(1, "t"), 5);
    assert_eq!(&*told.caller(2).unwrap().id, "b", "its last good value");
    told.delete("api_keys/z", 6);
    assert_eq!(&*told.caller(1).unwrap().id, "a", "the next in order");
    told.delete("api_keys/a", 7);
    assert_eq!(&*told.caller(1).unwrap().id, "b");
    assert!(told.caller(2).is_none() && told.state.report().rejected.is_empty());
}

#[test]
fn rows_of_a_newer_version_are_passed_over_and_counted() {
    let mut told = Told::new();
    let changed = told.put("gadgets/a", "{}", 1);
    assert_eq!(changed.warnings.len(), 1);
    told.put("gadgets/b", "no json", 1);
    assert!(changed.rejected.is_empty() && !changed.snapshot && changed.config);
    let report = told.state.report();
    assert_eq!((report.rejected_count(), report.served_count()), (0, 0));
    let want = PartiallyCompatible {
        resource_kind: "gadgets".into(),
        field: "*".into(),
        count: 2,
    };
    assert_eq!(*report.partially_compatible, [want]);
    let hashes = told.state.hashes();
    assert_eq!(hashes.source, hashes.config, "nothing is rejected");
    told.delete("gadgets/a", 2);
    told.delete("gadgets/b", 2);
    assert!(told.state.report().partially_compatible.is_empty());
    let bad = told.put("models", "{}", 3);
    assert_eq!(bad.rejected[0].why.kind, RejectionKind::BadKey);
    assert_eq!(
        (
            &*bad.rejected[0].resource_kind,
            &*bad.rejected[0].resource_id
        ),
        ("", "")
    );
}

#[test]
fn other_collections_are_handed_over_as_data_and_reported_as_not_enforced() {
    let mut serving = Serving::default();
    let mut reports = Reports::default();
    let problems = Problems::default();
    let resource = crate::resource::Resource::read(
        Collection::ApiKeys,
        &caller_row(1),
        &problems,
        Unknown::Ignored,
    );
    let shown = row::Shown {
        decoded: decode::Decoded {
            resource: Arc::new(resource.unwrap()),
            name: Some("pii".into()),
            ignored: Vec::new(),
        },
        order: claims::Order {
            created: 1,
            row: "g".into(),
        },
    };
    let place = row::Place {
        collection: Collection::Guardrails,
        id: "g".into(),
    };
    serving.put(&place, None, &shown, 1, &mut reports);
    assert!(serving.finish());
    let snapshot = serving.snapshot(1);
    let ids: Vec<&str> = snapshot
        .others(Collection::Guardrails)
        .map(|other| &*other.id)
        .collect();
    assert_eq!(ids, ["g"]);
    assert_eq!(snapshot.api_keys().count(), 0);
    let (_, _, warnings) = reports.drain();
    assert_eq!(
        warnings,
        ["guardrails are loaded, and not enforced by this version"]
    );
    let report = reports.report();
    assert_eq!(&*report.partially_compatible[0].field, "*");
    assert_eq!(report.served_by_kind["guardrails"], 1);
    serving.remove(&place, &shown, &mut reports);
    assert!(serving.finish());
    assert_eq!(
        serving.snapshot(2).others(Collection::Guardrails).count(),
        0
    );
    assert!(reports.report().partially_compatible.is_empty());
}

/// Opens `$enc:<text>` if the text begins with its letter.
struct Ring(char);

impl OpenSecrets for Ring {
    fn open_document(&self, _: Collection, _: &str, document: &mut Value) -> Result<(), String> {
        let sealed = document["api_key"].as_str().unwrap_or("").to_owned();
        match sealed.strip_prefix("$enc:") {
            Some(text) if text.starts_with(self.0) => document["api_key"] = json!(text),
            Some(_) => return Err("api_key: no key of the ring opens it".to_owned()),
            None => {}
        }
        Ok(())
    }
}

#[test]
fn a_new_key_ring_reads_every_row_again_and_takes_nothing_away() {
    let mut told = Told::new();
    told.put("provider_keys/a", key_row("$enc:a"), 1);
    told.put("provider_keys/b", key_row("$enc:b"), 1);
    assert_eq!(
        told.state.report().rejected_count(),
        2,
        "nothing to open them with"
    );
    let served = |state: &State| -> Vec<String> {
        let snapshot = state.snapshot(1);
        let mut keys: Vec<String> = snapshot
            .provider_keys()
            .map(|key| key.api_key.expose().to_owned())
            .collect();
        keys.sort();
        keys
    };
    assert!(told.state.reopen(Some(Box::new(Ring('a'))), 2).snapshot);
    assert_eq!(served(&told.state), ["a"]);
    told.state.reopen(Some(Box::new(Ring('b'))), 3);
    assert_eq!(served(&told.state), ["a", "b"], "a is the last good value");
    assert_eq!(told.stale(), [("/sluice/provider_keys/a".to_owned(), 3)]);
    told.state.reopen(None, 4);
    assert_eq!(served(&told.state), ["a", "b"]);
}

#[test]
fn warnings_are_said_once_per_collection_and_kind_of_trouble() {
    let mut told = Told::new();
    let mut value = key_row("canary");
    value["tls"] = json!({"verify": false});
    value["telemetry_tags"] = json!({"featured": true});
    value["newer"] = json!("canary");
    let said = told.put("provider_keys/a", &value, 1).warnings;
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(
        said.iter().all(|text| text.contains("provider_keys a")),
        "{said:?}"
    );
    value["display_name"] = json!("other");
    assert_eq!(
        told.put("provider_keys/b", &value, 2).warnings,
        Vec::<String>::new()
    );
    value["newest"] = json!(1);
    let said = told.put("provider_keys/c", &value, 3).warnings;
    let want = [
        "the name of provider_keys c belongs to b: it is found by its id only",
        "fields that this version does not know are ignored on provider_keys c: newer, newest",
    ];
    assert_eq!(said, want);
}

#[test]
fn nothing_told_holds_a_value() {
    let mut told = Told::new();
    let mut bad = key_row("canary");
    bad["api_base"] = json!("http://canary:canary@h/");
    bad["adapter"] = json!("canary");
    let mut texts = Vec::new();
    for (key, value) in [
        ("provider_keys/a", key_row("canary").to_string()),
        ("provider_keys/b", bad.to_string()),
        ("provider_keys/c", "{\"api_key\": canary".to_owned()),
        (
            "models/a",
            json!({"routing": "canary", "display_name": "canary"}).to_string(),
        ),
        ("api_keys/a", json!({"key_hash": "canary"}).to_string()),
    ] {
        texts.push(format!("{:?}", told.put(key, value, 1)));
    }
    texts.push(format!("{:?}", told.state));
    texts.push(format!("{:?}", told.state.report()));
    texts.push(format!("{:?}", told.state.snapshot(1)));
    texts.push(format!("{:?}", told.state.rows().collect::<Vec<_>>()));
    assert!(json::parse(b"\"canary\"").is_ok());
    for text in texts {
        assert!(!text.contains("canary"), "{text}");
    }
}
