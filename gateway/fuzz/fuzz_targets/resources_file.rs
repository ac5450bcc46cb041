//! Resources files: no panic, a problem for every refusal, and the same file again changes nothing.
#![no_main]

use std::path::Path;
use std::time::SystemTime;

use config_sync::source::file::{LoadContext, load_bytes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let env = |name: &str| (name == "SET").then(|| "value".to_owned());
    let first = LoadContext {
        env: &env,
        generation: 1,
        loaded_at: SystemTime::UNIX_EPOCH,
        previous: None,
        opener: None,
    };
    let path = Path::new("resources.yaml");
    let loaded = match load_bytes(path, bytes, &first) {
        Ok(loaded) => loaded,
        Err(error) => {
            assert!(!error.problems().is_empty());
            return;
        }
    };
    let again = LoadContext {
        generation: 2,
        previous: Some(&loaded.snapshot),
        ..first
    };
    let again = load_bytes(path, bytes, &again).expect("it was loaded before");
    assert_eq!(again.counts, loaded.counts);
    assert_eq!(again.file_sha256, loaded.file_sha256);
    for model in loaded.snapshot.model_names() {
        let found = again.snapshot.resolve(&model.display_name);
        let found = found.expect("a listed name resolves").model;
        assert_eq!(found.id, model.id);
    }
});
