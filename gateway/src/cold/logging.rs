//! The process log: tracing, written by a thread of its own. [cold]

use std::io;
use std::sync::Mutex;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::writer::{Output, Writer};

/// Lines waiting for the writer thread. Full: a line is dropped and counted.
const LINES_MAX: usize = 1_024;
/// Longest line handed to the writer, bytes. Worst case in the queue: 16 MiB.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// Wait at most this long for the last lines when the process ends.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// How the process logs.
#[derive(Debug)]
pub struct LogOptions {
    /// Filter directives, such as `info` or `info,sluice=debug`.
    pub filter: String,
    /// Shape of a line.
    pub format: LogFormat,
    /// Where lines go.
    pub output: Output,
}

/// Shape of a log line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    /// `timestamp level target message key=value …`.
    Text,
    /// One JSON object.
    Json,
}

/// Why the log could not be set up.
#[derive(Debug)]
pub enum LogError {
    /// The filter does not parse; says why.
    Filter(String),
    /// The writer thread could not be started.
    Thread(io::Error),
    /// Another subscriber was set before.
    AlreadySet,
}

impl std::fmt::Display for LogError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Filter(why) => write!(f, "log filter: {why}"),
            Self::Thread(error) => write!(f, "log writer: {error}"),
            Self::AlreadySet => f.write_str("a log was set up before"),
        }
    }
}

impl std::error::Error for LogError {}

/// Keeps the log writable; flushes it when dropped.
#[derive(Debug)]
pub struct LogGuard {
    lines: Lines,
}

impl LogGuard {
    /// The writer, for its count of lost lines and for reopening.
    pub fn writer(&self) -> Writer {
        self.lines.writer.clone()
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.lines.writer.flush(FLUSH_LIMIT);
    }
}

/// Checks filter directives without installing anything.
///
/// # Errors
///
/// [`LogError::Filter`].
pub fn check_filter(filter: &str) -> Result<(), LogError> {
    parse_filter(filter).map(drop)
}

/// `h2` tells what it reads, frame by frame, on the thread that reads it: a worker must not write logs,
/// and what clients send is nobody's to keep. Nothing of it is written, whatever is asked for.
fn parse_filter(filter: &str) -> Result<EnvFilter, LogError> {
    let silent = "h2=off".parse().expect("a directive");
    EnvFilter::builder()
        .parse(filter)
        .map(|filter| filter.add_directive(silent))
        .map_err(|error| LogError::Filter(error.to_string()))
}

/// Makes tracing write to `options.output`, for the whole process.
///
/// # Errors
///
/// [`LogError`]; at boot each is the operator's to correct.
pub fn init(options: LogOptions) -> Result<LogGuard, LogError> {
    let filter = parse_filter(&options.filter)?;
    let ansi = options.output.is_terminal() && options.format == LogFormat::Text;
    let writer =
        Writer::start("sluice-log", options.output, LINES_MAX).map_err(LogError::Thread)?;
    let lines = Lines { writer };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(ansi)
        .with_writer(lines.clone());
    let set = match options.format {
        LogFormat::Text => tracing::subscriber::set_global_default(builder.finish()),
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_current_span(false);
            tracing::subscriber::set_global_default(builder.with_span_list(false).finish())
        }
    };
    set.map_err(|_| LogError::AlreadySet)?;
    Ok(LogGuard { lines })
}

/// Hands each line to the writer thread.
#[derive(Clone, Debug)]
struct Lines {
    writer: Writer,
}

/// One line while it is formatted.
struct Line {
    bytes: Vec<u8>,
    writer: Writer,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line {
            bytes: Vec::new(),
            writer: self.writer.clone(),
        }
    }
}

impl io::Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = LINE_BYTES_MAX.saturating_sub(self.bytes.len());
        self.bytes
            .extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        if bytes.is_empty() {
            return;
        }
        if let Some(last) = bytes.last_mut() {
            *last = b'\n'; // Also of a line that was cut.
        }
        if self.writer.try_write(bytes).is_err() {
            self.writer.count_lost(1);
        }
    }
}

/// Writes panics to the log as well; call once, after [`init`].
pub fn log_panics() {
    static ONCE: Mutex<bool> = Mutex::new(false);
    let Ok(mut done) = ONCE.lock() else { return };
    if std::mem::replace(&mut *done, true) {
        return;
    }
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // The line goes to the writer's queue: nothing here waits for a disk.
        tracing::error!(panic = %panic, "a thread panicked");
        if !tracing::enabled!(tracing::Level::ERROR) {
            default(panic);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cold::rotate::{FileOptions, RotatingFile};
    use std::io::Write;

    #[test]
    fn a_filter_that_does_not_parse_is_refused_with_its_reason() {
        for good in ["info", "warn,gateway=debug", "off"] {
            assert!(check_filter(good).is_ok(), "{good}");
        }
        for bad in ["gateway=loud", "=", "a=b=c"] {
            let error = check_filter(bad).unwrap_err().to_string();
            assert!(error.starts_with("log filter: "), "{error}");
        }
    }

    #[test]
    fn lines_reach_the_output_whole_and_long_ones_are_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let file = RotatingFile::open(FileOptions::new(path.clone())).unwrap();
        let writer = Writer::start("test-log", Output::File(file), 8).unwrap();
        let lines = Lines {
            writer: writer.clone(),
        };
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_writer(lines.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(worker = 3, "a worker's loop is stalled");
        });
        lines
            .make_writer()
            .write_all(&vec![b'x'; 2 * LINE_BYTES_MAX])
            .unwrap();
        assert!(writer.flush(Duration::from_secs(10)));
        let text = std::fs::read_to_string(path).unwrap();
        let (first, second) = text.split_once('\n').unwrap();
        let line: serde_json::Value = serde_json::from_str(first).unwrap();
        assert_eq!(
            (&line["message"], &line["worker"]),
            (&"a worker's loop is stalled".into(), &3.into())
        );
        assert_eq!(second.len(), LINE_BYTES_MAX);
        assert!(second.ends_with("x\n"));
    }
}
