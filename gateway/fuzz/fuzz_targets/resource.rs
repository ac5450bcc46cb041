//! One row: no panic in any reader, the strict one accepts no more than the lenient one, one canonical
//! text, sealed and opened the same, and no secret in what is told of it.
//!
//! The first byte chooses the collection, the rest is the row's value.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;
use std::time::SystemTime;

use config_sync::collection::Collection;
use config_sync::decode::{self, Decoded, OpenSecrets, Rejection, json};
use config_sync::resource::Resource;
use config_sync::seal::{Keyring, Sealer, paths};
use config_sync::source::file::{LoadContext, load_bytes};
use config_sync::tree::{Problem, Problems, Unknown, Value};
use libfuzzer_sys::fuzz_target;

/// What seeds have in the place of secrets.
const CANARY: &str = "canary";

struct Opener(Sealer);

impl OpenSecrets for Opener {
    fn open_document(
        &self,
        collection: Collection,
        id: &str,
        document: &mut Value,
    ) -> Result<(), String> {
        self.0.open_document(collection, id, document)
    }
}

static OPENER: LazyLock<Opener> = LazyLock::new(|| {
    let ring = Keyring::generate("", None).expect("the system gives random bytes");
    Opener(Sealer::new(ring, "").expect("the ring is of no environment"))
});

fuzz_target!(|bytes: &[u8]| {
    let Some((first, text)) = bytes.split_first() else {
        return;
    };
    let collection = Collection::ALL[usize::from(*first) % Collection::ALL.len()];
    let lenient = lenient(collection, text, None);
    let mut told = vec![match &lenient {
        Ok(decoded) => format!("{decoded:?}"),
        Err(rejection) => rejection.to_string(),
    }];
    let Ok(document) = json::parse(text) else {
        return;
    };
    let document = document.value();

    let problems = strict(collection, document);
    if problems.is_empty() && !holds(document, "$enc:") {
        let lenient = lenient.as_ref().expect("the strict reader accepts it");
        let mut ignored = lenient.ignored.iter();
        assert!(ignored.all(|path| is_open(collection, path)));
    }
    told.extend(problems.iter().map(Problem::to_string));

    let canonical = json::canonical(document);
    let again = json::parse(&canonical).expect("canonical text is JSON");
    assert_eq!(*json::canonical(again.value()), *canonical);
    assert_same(&lenient, &self::lenient(collection, &canonical, None));

    if !holds(document, "$enc:") && document.is_object() {
        sealed(collection, document, &lenient);
    }
    told.extend(file(collection, text));
    if is_secret(collection, document) {
        let leak = told.iter().find(|message| message.contains(CANARY));
        assert!(leak.is_none(), "a secret is told: {leak:?}");
    }
});

/// Reads the row as one of a store.
fn lenient(
    collection: Collection,
    text: &[u8],
    opener: Option<&dyn OpenSecrets>,
) -> Result<Decoded, Rejection> {
    let row = decode::decode("/p", &format!("/p/{collection}/id"), text, opener);
    match &row {
        Ok(decoded) => assert!(decoded.ignored.len() <= decode::IGNORED_MAX + 1),
        Err(rejection) => {
            assert!(!rejection.message.is_empty());
            assert!(rejection.message.len() <= decode::MESSAGE_BYTES_MAX);
        }
    }
    row
}

/// What the strict reader refuses the document for; accepts it if that is nothing.
fn strict(collection: Collection, document: &Value) -> Vec<Problem> {
    let problems = Problems::default();
    let resource = Resource::read(collection, document, &problems, Unknown::Refused);
    assert!(resource.is_some() || !problems.is_empty());
    if problems.is_empty() {
        assert!(
            problems
                .ignored()
                .iter()
                .all(|path| is_open(collection, path))
        );
    }
    problems.into_vec()
}

/// Whether the strict reader passes over what it does not know at `path`.
fn is_open(collection: Collection, path: &str) -> bool {
    let truncated = path == decode::TRUNCATED;
    collection == Collection::CachePolicies && (path.starts_with("semantic.") || truncated)
}

/// The order of members is not that of the problems, so messages may differ.
fn assert_same(one: &Result<Decoded, Rejection>, other: &Result<Decoded, Rejection>) {
    match (one, other) {
        (Ok(one), Ok(other)) => {
            let sorted = |decoded: &Decoded| {
                let mut ignored = decoded.ignored.clone();
                ignored.sort();
                ignored
            };
            assert_eq!(one.name, other.name);
            assert_eq!(one.ignored.len(), other.ignored.len());
            if one.ignored.len() <= decode::IGNORED_MAX {
                assert_eq!(sorted(one), sorted(other));
            }
        }
        (Err(one), Err(other)) => assert_eq!(one.kind, other.kind, "{one}; {other}"),
        _ => panic!("{one:?} and {other:?}"),
    }
}

/// Seals the secrets of `document` and reads it again.
fn sealed(collection: Collection, document: &Value, plain: &Result<Decoded, Rejection>) {
    let mut sealed = document.clone();
    let Opener(sealer) = &*OPENER;
    let count = sealer.seal_document(collection, "id", &mut sealed);
    let count = count.expect("plain secrets can be sealed");
    let text = json::canonical(&sealed);
    let opened = sealer.unseal_document(collection, "id", &mut sealed);
    assert_eq!(opened, Ok(count));
    assert_eq!(&sealed, &with_key_as_text(collection, document));
    // A key of several parts is refused without its adapter; as text it is a key like any other.
    if plain.is_ok() {
        assert_same(plain, &lenient(collection, &text, Some(&*OPENER)));
    }
    if count > 0 {
        let unread = lenient(collection, &text, None);
        unread.expect_err("nothing sealed is used as it is");
    }
}

/// A provider key of several parts is sealed as its text, and opened as that.
fn with_key_as_text(collection: Collection, document: &Value) -> Value {
    let mut document = document.clone();
    if collection == Collection::ProviderKeys
        && let Value::Object(members) = &mut document
        && let Some(key) = members.get_mut("api_key")
        && key.is_object()
    {
        *key = Value::String(key.to_string());
    }
    document
}

/// Loads the row as the one entry of a resources file. What is told of it.
fn file(collection: Collection, text: &[u8]) -> Vec<String> {
    let head = format!("{{\"_format_version\":\"1\",\"{collection}\":[");
    let file = [head.as_bytes(), text, b"]}"].concat();
    let env = |name: &str| (name == "SET").then(|| "value".to_owned());
    let context = LoadContext {
        env: &env,
        generation: 1,
        loaded_at: SystemTime::UNIX_EPOCH,
        previous: None,
        opener: None,
    };
    match load_bytes(Path::new("resources.yaml"), &file, &context) {
        Ok(loaded) => {
            assert_eq!(loaded.resources, 1);
            let mut told = loaded.snapshot.warnings().to_vec();
            told.push(format!("{:?}", loaded.snapshot));
            told
        }
        Err(error) => {
            assert!(!error.problems().is_empty());
            error.problems().to_vec()
        }
    }
}

/// Whether the canary stands in secret places, and nowhere else.
fn is_secret(collection: Collection, document: &Value) -> bool {
    let mut rest = document.clone();
    for place in paths::secrets_in(collection, document) {
        if let Some(value) = rest.pointer_mut(&place.pointer) {
            *value = Value::Null;
        }
    }
    holds(document, CANARY) && !holds(&rest, CANARY)
}

fn holds(document: &Value, text: &str) -> bool {
    let canonical = json::canonical(document);
    canonical
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}
