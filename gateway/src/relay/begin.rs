//! The beginning of a stream, read before it is settled whose stream the client gets. [ring]

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use monoio::time::Instant;

use super::Source;
use super::stream::{HELD_BYTES_MAX, Tally};
use crate::provider::StreamReader;
use crate::rejection::Rejection;
use crate::upstream::clocks::Clocks;
use crate::upstream::failure::Failure;
use crate::worker::Worker;
use crate::worker::alarm::{Alarm, within};

/// A stream as far as it has been read.
pub(crate) struct Begun {
    pub source: Source,
    pub reader: Box<dyn StreamReader>,
    /// What the client gets of it and has not got. At most [`HELD_BYTES_MAX`] and what one read brought.
    pub held: Vec<u8>,
    pub tally: Tally,
}

impl Begun {
    /// A stream of which nothing has been read.
    pub(crate) fn new(source: Source, reader: Box<dyn StreamReader>) -> Self {
        Self {
            source,
            reader,
            held: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Reads until the model has said something, or the stream has ended without. `started`: when the
    /// request began. Dropped, it closes its connection.
    ///
    /// # Errors
    ///
    /// Whatever fails until then, content that came together with it included.
    pub(crate) async fn until_content(
        mut self,
        worker: Rc<Worker>,
        clocks: Clocks,
        started: Instant,
    ) -> Result<Self, Rejection> {
        let mut alarm = Alarm::default();
        let mut read_at = worker.now();
        loop {
            let ended = self.source.translate(
                &worker,
                &mut *self.reader,
                &mut self.tally,
                &mut self.held,
            )?;
            let is_said = self.tally.said_at.is_some() || self.reader.is_done();
            if ended || is_said || self.held.len() > HELD_BYTES_MAX {
                return Ok(self);
            }
            let (deadline, limit) = self.deadline(&clocks, read_at, started);
            let filled = within(&mut alarm, deadline, pin!(self.source.fill(&worker))).await;
            read_at = worker.tick();
            match filled {
                Ok(Ok(0)) => self.source.at_eof(&*self.reader)?,
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(Failure::Broken(error).into()),
                Err(_) => return Err(Failure::Timeout(limit).into()),
            }
        }
    }

    /// When the next bytes must have come, and the limit that says so.
    fn deadline(
        &self,
        clocks: &Clocks,
        read_at: Instant,
        started: Instant,
    ) -> (Option<Instant>, Duration) {
        let silence = match self.tally.events {
            0 => clocks.first_event,
            _ => clocks.gap,
        };
        let silence = silence.map(|limit| (read_at + limit, limit));
        let total = clocks.total.map(|limit| (started + limit, limit));
        let first = [silence, total].into_iter().flatten().min();
        first.map_or((None, Duration::ZERO), |(at, limit)| (Some(at), limit))
    }
}
