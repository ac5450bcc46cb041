//! What a stream has said about itself so far. [pure]

use super::event::{Event, Kind};
use super::message::said;
use super::usage::with_total;
use crate::bridge::record::Usage;
use crate::provider::Seen;
use crate::provider::openai::recorded_text;
use crate::short_text::ShortText;
use crate::usage::{Counts, Meter};

/// Id, usage and end of one stream.
#[derive(Debug)]
pub(super) struct Progress {
    meter: Meter,
    counts: Counts,
    /// The tokens written that the start of the message names. They count once a later report
    /// says how many there were in all; where none does, the number is not known.
    written_at_start: u64,
    id: Option<ShortText>,
    stop_reason: Option<ShortText>,
    done: bool,
}

impl Progress {
    /// The start of a stream that answers a prompt of `prompt_bytes` bytes of text.
    pub(super) fn new(prompt_bytes: u64) -> Self {
        Self {
            meter: Meter::new(prompt_bytes),
            counts: Counts::default(),
            written_at_start: 0,
            id: None,
            stop_reason: None,
            done: false,
        }
    }

    /// Takes note of an event and says what it was.
    pub(super) fn note(&mut self, event: &Event, payload: &[u8]) -> Seen {
        let bytes = event.piece.map_or(0, |piece| piece.text_bytes(payload));
        match event.kind {
            Kind::MessageStart => {
                let message = event.message.unwrap_or_default();
                self.id = said(payload, message.id).map(|id| recorded_text(&id));
                if let Some(report) = message.usage {
                    self.written_at_start = report.counts.completion;
                    self.report(Counts {
                        completion: 0,
                        ..report.counts
                    });
                }
            }
            Kind::MessageDelta => {
                let reason = event
                    .piece
                    .and_then(|piece| said(payload, piece.stop_reason));
                if let Some(reason) = reason {
                    self.stop_reason = Some(recorded_text(&reason));
                }
                if let Some(report) = event.usage {
                    let floor = if report.has_output {
                        self.written_at_start
                    } else {
                        0
                    };
                    self.report(Counts {
                        completion: report.counts.completion.max(floor),
                        ..report.counts
                    });
                }
            }
            Kind::BlockStart | Kind::BlockDelta if bytes > 0 => {
                self.meter.wrote(bytes);
                return Seen::Content;
            }
            Kind::Ping => return Seen::Comment,
            Kind::MessageStop => {
                self.done = true;
                return Seen::Done;
            }
            _ => {}
        }
        Seen::Chunk
    }

    fn report(&mut self, counts: Counts) {
        self.counts = with_total(self.counts.max(counts));
        self.meter.report(self.counts);
    }

    /// The tokens reported so far.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// The tokens so far, estimated where they are not reported.
    pub(super) fn usage(&self) -> Usage {
        self.meter.usage()
    }

    pub(super) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    pub(super) fn stop_reason(&self) -> Option<&str> {
        self.stop_reason.as_deref()
    }
}
