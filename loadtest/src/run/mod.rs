//! A load client, closed- and open-loop, that compares targets in interleaved rounds. [cold]

mod client;
mod figures;
mod host;
mod load;
mod process;
mod report;
mod round;
mod stats;
mod target;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::mock;
use crate::run::load::Kind;
use crate::run::report::Measured;
use crate::run::round::Subject;
use crate::run::target::Target;
use crate::timer;

/// What a round does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Requests with whole answers.
    Unary,
    /// `--streams` streams at once, or with `--rate` so many new ones per second.
    Stream,
    /// Streams with rare events, held open and then left.
    Hold,
    /// Connections that wait after one request each.
    Idle,
    /// Streams that the client leaves after the first event.
    Abort,
}

/// What is measured, and how.
#[derive(Debug, Clone, Args)]
pub struct RunArguments {
    /// name=http://host:port[,pid=1+2][,key=BEARER][,model=NAME]; children of pids are found.
    ///
    /// A model that ends with `/*` (default `mock/*`) carries the script in place of the `*`, else
    /// the script is sent in the header x-mock-script.
    #[arg(long, required = true)]
    pub target: Vec<Target>,
    #[arg(long, value_enum, default_value = "unary")]
    pub mode: Mode,
    /// Connections of unary, idle and abort.
    #[arg(long, default_value_t = 32)]
    pub connections: usize,
    /// Requests per round, instead of --duration.
    #[arg(long)]
    pub requests: Option<u64>,
    /// Seconds per round.
    #[arg(long, default_value_t = 5.0)]
    pub duration: f64,
    /// Open loop: requests or new streams per second, timed from when they should have begun.
    #[arg(long, value_parser = positive)]
    pub rate: Option<f64>,
    /// Rounds per target, interleaved.
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Seconds of unary load before each measured window.
    #[arg(long, default_value_t = 0.5)]
    pub warmup: f64,
    /// Seconds after a round before memory is read again.
    #[arg(long, default_value_t = 0.5)]
    pub settle: f64,
    /// Seconds an exchange may take, beyond the length of its stream.
    #[arg(long, default_value_t = 30.0)]
    pub timeout: f64,
    #[arg(long, default_value = "/v1/chat/completions")]
    pub path: String,
    /// Bytes of a request body.
    #[arg(long, default_value_t = 1000)]
    pub body_bytes: usize,
    /// Bytes of the text of a unary answer.
    #[arg(long, default_value_t = 1000)]
    pub reply_bytes: usize,
    /// Streams of stream and hold.
    #[arg(long, default_value_t = 200)]
    pub streams: usize,
    /// Events per second of each stream.
    #[arg(long, default_value_t = 50.0, value_parser = positive)]
    pub events_per_sec: f64,
    /// Least bytes of the text of an event.
    #[arg(long, default_value_t = 0)]
    pub event_bytes: usize,
    /// Seconds that each stream of mode stream lasts.
    #[arg(long, default_value_t = 10.0)]
    pub stream_secs: f64,
    /// Milliseconds between events in mode hold.
    #[arg(long, default_value_t = 2000.0, value_parser = positive)]
    pub event_every_ms: f64,
    /// Seconds that mode hold lasts, the opening included.
    #[arg(long, default_value_t = 30.0)]
    pub secs: f64,
    /// New streams per second while modes stream and hold open theirs.
    #[arg(long, default_value_t = 1000.0, value_parser = positive)]
    pub open_rate: f64,
    /// Milliseconds that a caller waits after each read of a stream, of 16 KiB at most.
    #[arg(long, default_value_t = 0.0)]
    pub read_pause_ms: f64,
    /// Ask for the usage event of streams.
    #[arg(long)]
    pub usage: bool,
    /// More of the mock's script.
    #[arg(long, default_value = "")]
    pub script: String,
    /// A further request header, `name: value`; may be repeated.
    #[arg(long)]
    pub header: Vec<String>,
    /// Where to write every figure as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Also serve a mock on this address, on the same thread.
    #[arg(long)]
    pub mock: Option<SocketAddr>,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if value > 0.0 && f64::is_finite(value) => Ok(value),
        _ => Err("takes a number above zero".to_owned()),
    }
}

impl RunArguments {
    /// What each exchange is, and its script.
    fn exchange(&self) -> (Kind, String) {
        let gap_ms = match self.mode {
            Mode::Hold => self.event_every_ms,
            _ => 1000.0 / self.events_per_sec,
        };
        let events = (self.stream_seconds() * 1000.0 / gap_ms).ceil() as u32;
        let stream = format!("events={events},gap_ms={gap_ms}");
        let (kind, mut script) = match self.mode {
            Mode::Unary | Mode::Idle => (Kind::Unary, format!("reply_bytes={}", self.reply_bytes)),
            Mode::Abort => (Kind::Abort, stream),
            Mode::Stream | Mode::Hold => (Kind::Stream(events), stream),
        };
        if self.event_bytes > 0 && kind != Kind::Unary {
            script += &format!(",size={}", self.event_bytes);
        }
        if !self.script.is_empty() {
            script += &format!(",{}", self.script);
        }
        (kind, script)
    }

    /// How long a stream lasts from when the first of its round begins.
    fn stream_seconds(&self) -> f64 {
        match self.mode {
            Mode::Hold => self.secs,
            _ => self.stream_secs,
        }
    }

    /// How long it takes to open all streams: at least a second, so that they are out of step.
    fn ramp_seconds(&self) -> f64 {
        (self.streams as f64 / self.open_rate).max(1.0)
    }

    fn check(&self) -> Result<(), String> {
        let at_once = self.mode == Mode::Hold || self.mode == Mode::Stream && self.rate.is_none();
        let needed = self.ramp_seconds() + 1.0;
        if at_once && self.stream_seconds() < needed {
            return Err(format!(
                "streams must last {needed:.1} s: all are open before it is measured"
            ));
        }
        Ok(())
    }
}

/// Measures all targets and prints the table.
///
/// # Errors
///
/// Settings that contradict each other, a target that does not answer, a file that cannot be
/// written.
pub fn main(arguments: &RunArguments) -> io::Result<()> {
    timer::block_on(measure(arguments))?.map_err(io::Error::other)
}

async fn measure(arguments: &RunArguments) -> Result<(), String> {
    arguments.check()?;
    if let Some(address) = arguments.mock {
        mock::serve_here(address).map_err(|error| format!("{address}: {error}"))?;
    }
    let mut subjects = Vec::new();
    let mut measured = Vec::new();
    for target in &arguments.target {
        let subject = Subject::new(target.clone(), arguments).await?;
        measured.push(Measured {
            name: subject.name().to_owned(),
            rounds: Vec::new(),
        });
        subjects.push(subject);
    }
    for round in 1..=arguments.rounds {
        for (subject, measured) in subjects.iter().zip(&mut measured) {
            eprintln!("round {round} of {}: {}", arguments.rounds, subject.name());
            measured.rounds.push(subject.round(arguments).await);
        }
    }
    print!("{}", report::table(&measured));
    if let Some(path) = &arguments.json {
        let settings = json!({"mode": format!("{:?}", arguments.mode).to_lowercase(),
            "rounds": arguments.rounds, "script": arguments.exchange().1});
        let report = report::json(&host::describe(), &settings, &measured);
        fs::write(path, format!("{report:#}\n"))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}
