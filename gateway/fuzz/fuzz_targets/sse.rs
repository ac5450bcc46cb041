//! Event streams: no panic, no byte lost, and the same events byte by byte as at once.
#![no_main]

use gateway::http::sse::{EventScanner, SseError, data_of, name_of};
use libfuzzer_sys::fuzz_target;

/// Ends of the events of `bytes`, read `step` bytes at a time.
fn ends(bytes: &[u8], step: usize, max: usize) -> Result<Vec<usize>, SseError> {
    let mut scanner = EventScanner::new(max);
    let (mut ends, mut start, mut seen) = (Vec::new(), 0, 0);
    while seen < bytes.len() {
        seen = bytes.len().min(seen.saturating_add(step));
        while let Some(end) = scanner.next_event(&bytes[start..seen])? {
            assert!(end > 0 && end <= max);
            start += end;
            ends.push(start);
        }
    }
    Ok(ends)
}

fuzz_target!(|bytes: &[u8]| {
    for max in [8, 64, usize::MAX] {
        let whole = ends(bytes, usize::MAX, max);
        assert_eq!(ends(bytes, 1, max), whole);
        assert_eq!(ends(bytes, 3, max), whole);
    }
    if let Some(data) = data_of(bytes).bytes() {
        assert!(data.len() <= bytes.len());
    }
    assert!(name_of(bytes).is_none_or(|name| !name.is_empty()));
});
