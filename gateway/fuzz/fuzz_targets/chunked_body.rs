//! Chunked bodies: no panic, and the same bytes, end and error byte by byte as at once.
#![no_main]

use gateway::http::h1::{BodyError, BodyLength, BodyReader};
use libfuzzer_sys::fuzz_target;

/// Reads `bytes` in reads of at most `step`; returns the body and how it ended.
fn read(bytes: &[u8], step: usize) -> (Vec<u8>, Result<usize, BodyError>) {
    let mut reader = BodyReader::new(BodyLength::Chunked);
    let (mut data, mut used) = (Vec::new(), 0);
    while used < bytes.len() && !reader.is_done() {
        let input = &bytes[used..bytes.len().min(used.saturating_add(step))];
        match reader.next(input) {
            Ok(piece) => {
                assert!(piece.consumed > 0 && piece.data.end <= piece.consumed);
                data.extend_from_slice(&input[piece.data]);
                used += piece.consumed;
            }
            Err(error) => return (data, Err(error)),
        }
    }
    let ended = reader.is_done();
    assert_eq!(reader.at_eof().is_ok(), ended);
    (data, Ok(used))
}

fuzz_target!(|bytes: &[u8]| {
    let whole = read(bytes, usize::MAX);
    assert!(whole.0.len() <= bytes.len());
    assert_eq!(read(bytes, 1), whole);
    assert_eq!(read(bytes, 3), whole);
});
