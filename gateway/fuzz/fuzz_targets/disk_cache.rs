//! Cache files: no panic, and what was restored is stored and read back the same.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use config_sync::disk::{self, SnapshotKey};
use config_sync::state::{StaleRow, State};
use libfuzzer_sys::fuzz_target;

const PREFIX: &str = "/p";

struct Files {
    open: PathBuf,
    sealed: PathBuf,
    key: SnapshotKey,
}

/// In memory where there is such a place: every input is a file.
static FILES: LazyLock<Files> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let root = if memory.is_dir() {
        memory
    } else {
        std::env::temp_dir()
    };
    let directory = root.join(format!("sluice-fuzz-{}", std::process::id()));
    let sealed = directory.join("sealed");
    Files {
        open: directory.join("open"),
        key: SnapshotKey::beside(&sealed).expect("the directory can be made"),
        sealed,
    }
});

fuzz_target!(|bytes: &[u8]| {
    std::fs::write(&FILES.open, bytes).expect("the directory can be written");
    let Ok(cached) = disk::load(&FILES.open, PREFIX) else {
        return;
    };
    disk::store(&FILES.sealed, &cached.view(), &FILES.key).expect("the directory can be written");
    let again = disk::load(&FILES.sealed, PREFIX).expect("it was stored just now");
    assert!(again == cached);

    let stale = cached.stale.into_iter().map(|stale| StaleRow {
        row: stale.row,
        since_unix_secs: stale.since_unix_secs,
    });
    let mut state = State::new(PREFIX, None);
    state.restore(cached.rows, stale.collect(), cached.revision, 0);
    assert_eq!(state.revision(), cached.revision);
    assert!(state.rows().all(|row| row.key.starts_with("/p/")));
    let _ = (state.hashes(), state.report(), state.snapshot(1));
});
