//! How much a client's frames ask of the gateway, measured on the bytes of both directions. [pure]
//!
//! The `h2` crate bounds what is kept of a client's frames. It does not mind frames that cost only
//! time: pings, settings, priorities, window updates, empty frames, resets. Each kind has an
//! allowance here that time and the gateway's own frames refill; past it the client is told
//! `ENHANCE_YOUR_CALM` and its connection closed.

use std::time::Duration;

use super::PREFACE;

const HEADER_BYTES: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// Frames that carry no request: PING, SETTINGS, PRIORITY, GOAWAY, their answers, unknown types.
const CONTROLS_MAX: u32 = 1024;
const CONTROLS_PER_SEC: u32 = 100;
/// WINDOW_UPDATE frames, beside [`UPDATES_PER_DATA`] for each DATA frame that the gateway sent.
const UPDATES_MAX: u32 = 1024;
const UPDATES_PER_SEC: u32 = 100;
const UPDATES_PER_DATA: u64 = 10;
/// DATA, HEADERS and CONTINUATION frames without a byte, which neither begin nor end anything.
const EMPTIES_MAX: u32 = 128;
const EMPTIES_PER_SEC: u32 = 10;
/// RST_STREAM frames for streams without an answer; twice the streams that may be open, at least.
const RESETS_MIN: u32 = 256;
const RESETS_PER_SEC: u32 = 100;

/// What a client sent too much of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flood {
    /// Frames that carry no request.
    Controls,
    /// WINDOW_UPDATE.
    WindowUpdates,
    /// Frames without a byte.
    EmptyFrames,
    /// RST_STREAM.
    Resets,
}

impl Flood {
    /// The word for the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Controls => "control frames",
            Self::WindowUpdates => "window updates",
            Self::EmptyFrames => "empty frames",
            Self::Resets => "stream resets",
        }
    }
}

/// The measure of one connection. A few hundred bytes; every byte is looked at once.
#[derive(Clone, Debug)]
pub struct Meter {
    received: Frames,
    sent: Frames,
    controls: Allowance,
    updates: Allowance,
    empties: Allowance,
    resets: Allowance,
    in_head: bool,
}

impl Meter {
    /// The measure of a connection on which nothing was sent yet, with at most `streams_max` streams
    /// at a time.
    pub fn new(streams_max: u32) -> Self {
        let resets_max = RESETS_MIN.max(streams_max.saturating_mul(2));
        Self {
            received: Frames::after(PREFACE.len()),
            sent: Frames::after(0),
            controls: Allowance::new(CONTROLS_MAX, CONTROLS_PER_SEC),
            updates: Allowance::new(UPDATES_MAX, UPDATES_PER_SEC),
            empties: Allowance::new(EMPTIES_MAX, EMPTIES_PER_SEC),
            resets: Allowance::new(resets_max, RESETS_PER_SEC),
            in_head: false,
        }
    }

    /// Takes note of what the client sent; `at` is the age of the connection. Looks no further than to where a head
    /// begins: yields how many of `bytes` that is, and whether one does.
    ///
    /// # Errors
    ///
    /// The [`Flood`], once an allowance is used up. The rest of `bytes` was not looked at.
    pub fn received(&mut self, bytes: &[u8], at: Duration) -> Result<(usize, bool), Flood> {
        let mut rest = bytes;
        let mut begins = false;
        while !begins && let Some(frame) = self.received.next(&mut rest) {
            begins = frame.kind == HEADERS;
            self.in_head = frame.begins_head();
            let (allowance, flood) = match frame.kind {
                DATA | HEADERS | CONTINUATION if frame.is_idle() => {
                    (&mut self.empties, Flood::EmptyFrames)
                }
                DATA | HEADERS | CONTINUATION => continue,
                RST_STREAM => (&mut self.resets, Flood::Resets),
                WINDOW_UPDATE => (&mut self.updates, Flood::WindowUpdates),
                _ => (&mut self.controls, Flood::Controls),
            };
            if !allowance.take(at) {
                return Err(flood);
            }
        }
        if self.received.skip == 0 && self.received.last.ends_head() {
            self.in_head = false;
        }
        Ok((bytes.len() - rest.len(), begins))
    }

    /// Takes note of what the gateway sent: it refills what answers to it may use.
    pub fn sent(&mut self, mut bytes: &[u8]) {
        while let Some(frame) = self.sent.next(&mut bytes) {
            match frame.kind {
                DATA => {
                    self.updates.earn(UPDATES_PER_DATA);
                    // Some clients measure the connection with a ping as data arrives.
                    self.controls.earn(1);
                }
                HEADERS => self.resets.earn(1),
                _ => {}
            }
        }
    }

    /// Whether a request head has begun and is not complete.
    pub fn is_in_head(&self) -> bool {
        self.in_head
    }
}

/// What the frames of one direction look like from their first nine bytes.
#[derive(Clone, Debug)]
struct Frames {
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
    /// Bytes to skip: of a payload, or of the preface.
    skip: usize,
    last: Frame,
}

#[derive(Clone, Copy, Debug, Default)]
struct Frame {
    kind: u8,
    flags: u8,
    length: usize,
}

impl Frame {
    fn begins_head(self) -> bool {
        matches!(self.kind, HEADERS | CONTINUATION)
    }

    fn ends_head(self) -> bool {
        self.begins_head() && self.flags & END_HEADERS != 0
    }

    /// Without a byte, and without a flag that would give it a meaning.
    fn is_idle(self) -> bool {
        let meaning = match self.kind {
            DATA => END_STREAM,
            _ => END_HEADERS,
        };
        self.length == 0 && self.flags & meaning == 0
    }
}

impl Frames {
    fn after(skip: usize) -> Self {
        Self {
            header: [0; HEADER_BYTES],
            header_bytes: 0,
            skip,
            last: Frame::default(),
        }
    }

    /// The next frame that begins in `bytes`, which are taken up to its payload; `None` where they
    /// are used up.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<Frame> {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        let rest = &bytes[skipped..];
        let wanted = HEADER_BYTES - self.header_bytes;
        let taken = wanted.min(rest.len());
        self.header[self.header_bytes..][..taken].copy_from_slice(&rest[..taken]);
        self.header_bytes += taken;
        *bytes = &rest[taken..];
        if self.header_bytes < HEADER_BYTES {
            return None;
        }
        self.header_bytes = 0;
        let [high, middle, low, kind, flags, ..] = self.header;
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        self.skip = length;
        self.last = Frame {
            kind,
            flags,
            length,
        };
        Some(self.last)
    }
}

/// So many frames, refilled by time up to a bound, and by what was earned without one.
#[derive(Clone, Debug)]
struct Allowance {
    left: u32,
    max: u32,
    per_sec: u32,
    refilled_at: Duration,
    earned: u64,
}

impl Allowance {
    fn new(max: u32, per_sec: u32) -> Self {
        Self {
            left: max,
            max,
            per_sec,
            refilled_at: Duration::ZERO,
            earned: 0,
        }
    }

    fn earn(&mut self, count: u64) {
        self.earned = self.earned.saturating_add(count);
    }

    /// Takes one off; `false` where none is left.
    fn take(&mut self, at: Duration) -> bool {
        if self.earned > 0 {
            self.earned -= 1;
            return true;
        }
        if self.left == 0 {
            self.refill(at);
        }
        let granted = self.left > 0;
        self.left -= u32::from(granted);
        granted
    }

    fn refill(&mut self, at: Duration) {
        let since = at.saturating_sub(self.refilled_at).as_millis();
        let due = since.saturating_mul(self.per_sec.into()) / 1000;
        if due > 0 {
            self.left = u32::try_from(due).unwrap_or(u32::MAX).min(self.max);
            self.refilled_at = at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: u8 = 6;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let size = u32::try_from(length).unwrap().to_be_bytes();
        let mut bytes = vec![size[1], size[2], size[3], kind, flags, 0, 0, 0, 1];
        bytes.resize(HEADER_BYTES + length, 0xab);
        bytes
    }

    fn met() -> Meter {
        let mut meter = Meter::new(128);
        meter.received(PREFACE, Duration::ZERO).unwrap();
        meter
    }

    /// All of `bytes`, head by head.
    fn receive(meter: &mut Meter, mut bytes: &[u8], at: Duration) -> Result<(), Flood> {
        while !bytes.is_empty() {
            bytes = &bytes[meter.received(bytes, at)?.0..];
        }
        Ok(())
    }

    fn until_flood(meter: &mut Meter, bytes: &[u8], at: Duration) -> (usize, Flood) {
        for count in 0..100_000 {
            if let Err(flood) = receive(meter, bytes, at) {
                return (count, flood);
            }
        }
        panic!("no end of it");
    }

    #[test]
    fn each_kind_has_its_allowance() {
        let reset_pair = [frame(HEADERS, END_HEADERS, 20), frame(RST_STREAM, 0, 4)].concat();
        let cases = [
            (frame(PING, 0, 8), 1024, Flood::Controls),
            (frame(4, 0, 0), 1024, Flood::Controls),
            (frame(2, 0, 5), 1024, Flood::Controls),
            (frame(0xbe, 0, 17), 1024, Flood::Controls),
            (frame(WINDOW_UPDATE, 0, 4), 1024, Flood::WindowUpdates),
            (frame(DATA, 0, 0), 128, Flood::EmptyFrames),
            (frame(CONTINUATION, 0, 0), 128, Flood::EmptyFrames),
            (frame(RST_STREAM, 0, 4), 256, Flood::Resets),
            (reset_pair, 256, Flood::Resets),
        ];
        for (bytes, count, flood) in cases {
            let got = until_flood(&mut met(), &bytes, Duration::ZERO);
            assert_eq!(got, (count, flood), "{:?}", &bytes[..HEADER_BYTES]);
        }
    }

    #[test]
    fn where_bytes_are_cut_makes_no_difference() {
        let mut meter = met();
        let bytes = [frame(PING, 0, 8), frame(DATA, 0, 300), frame(PING, 1, 8)].concat();
        for round in 0..512 {
            for byte in &bytes {
                let counted = meter.received(std::slice::from_ref(byte), Duration::ZERO);
                assert_eq!(counted, Ok((1, false)), "{round}");
            }
        }
        let one_more = meter.received(&frame(PING, 0, 8), Duration::ZERO);
        assert_eq!(one_more, Err(Flood::Controls));
    }

    #[test]
    fn data_and_requests_cost_nothing() {
        let mut meter = met();
        let request = [
            frame(HEADERS, END_HEADERS, 50),
            frame(DATA, 0, 1),
            frame(DATA, END_STREAM, 0),
        ];
        let request = request.concat();
        for _ in 0..10_000 {
            assert_eq!(receive(&mut meter, &request, Duration::ZERO), Ok(()));
        }
    }

    #[test]
    fn time_refills_an_allowance_up_to_its_bound() {
        let mut pings = Allowance::new(CONTROLS_MAX, CONTROLS_PER_SEC);
        for (at_secs, granted) in [(0, 1024), (1, 100), (1, 0), (3600, 1024)] {
            let at = Duration::from_secs(at_secs);
            let count = (0..10_000).take_while(|_| pings.take(at)).count();
            assert_eq!(count, granted, "at {at_secs} s");
        }
    }

    #[test]
    fn who_reads_a_stream_may_grant_window_for_each_piece_and_leave_in_the_end() {
        let mut meter = met();
        for _ in 0..5000 {
            meter.sent(&frame(HEADERS, END_HEADERS, 60));
            meter.sent(&frame(DATA, 0, 170));
        }
        for _ in 0..5000 {
            for bytes in [
                frame(WINDOW_UPDATE, 0, 4),
                frame(WINDOW_UPDATE, 0, 4),
                frame(PING, 0, 8),
                frame(RST_STREAM, 0, 4),
            ] {
                assert_eq!(receive(&mut meter, &bytes, Duration::ZERO), Ok(()));
            }
        }
    }

    #[test]
    fn it_looks_as_far_as_a_head_begins() {
        let mut meter = met();
        let bytes = [
            frame(DATA, 0, 3),
            frame(HEADERS, END_HEADERS, 5),
            frame(HEADERS, END_HEADERS, 5),
        ]
        .concat();
        let mut at = 0;
        for (count, begins) in [(21, true), (14, true), (5, false)] {
            let looked = meter.received(&bytes[at..], Duration::ZERO);
            assert_eq!(looked, Ok((count, begins)), "at {at}");
            at += count;
        }
        assert_eq!(at, bytes.len());
    }

    #[test]
    fn a_head_is_open_until_its_last_byte() {
        let mut meter = met();
        let mut look = |bytes: &[u8]| {
            receive(&mut meter, bytes, Duration::ZERO).unwrap();
            meter.is_in_head()
        };
        let first = frame(HEADERS, 0, 10);
        assert!(!look(&frame(4, 0, 0)));
        assert!(!look(&first[..8]), "no frame yet");
        assert!(look(&first[8..12]));
        assert!(look(&first[12..]));
        let last = frame(CONTINUATION, END_HEADERS, 10);
        assert!(look(&last[..18]));
        assert!(!look(&last[18..]));
        assert!(!look(
            &[frame(HEADERS, END_HEADERS, 3), frame(DATA, 0, 3)].concat()
        ));
    }
}
