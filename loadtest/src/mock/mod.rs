//! A scripted upstream over raw sockets, so that faults can be exact. [cold]
//!
//! It speaks chat completions, completions, embeddings and Responses as OpenAI does, and Messages as
//! Anthropic does.
//!
//! What a request gets is a [`script::Script`]: `key=value` pairs joined with `,`.
//!
//! | Key | Value | Default | Effect |
//! |---|---|---|---|
//! | `events` | number | 5 | content events of a stream; one finish event, usage and `[DONE]` follow |
//! | `gap_ms` | ms | 0 | between events, on an absolute schedule |
//! | `first_ms` | ms | 0 | between head and first event |
//! | `head_ms` | ms | 0 | before the response head |
//! | `size` | bytes | 0 | least length of each delta's text |
//! | `usage` | `yes`, `no`, `always` | `yes` | usage in unary answers and, if `include_usage` asks, in streams; `always`: in streams unasked |
//! | `usage_in`, `usage_out` | number | 10, `events` | prompt and completion tokens |
//! | `usage_cached`, `usage_reasoning` | number | absent | token details |
//! | `usage_cache_write` | number | absent | tokens written to a cache, on Messages |
//! | `done` | flag | yes | `[DONE]` at the end; after an error event only if set |
//! | `finish` | text | `stop` | finish reason; `none` leaves it out |
//! | `eol` | `lf`, `crlf`, `cr` | `lf` | line ends of a stream |
//! | `cut_at` | event or `head` | never | close before that content event (`events`: before the finish event), in the middle of a unary body, or before the head |
//! | `cut` | `rst`, `fin` | `rst` | how to close |
//! | `stall_at` | as `cut_at` | never | send nothing more, keep the connection open |
//! | `status` | 200 to 999 | 200 | from 300 on with an error body |
//! | `retry_after` | text | absent | `retry-after` of an error status |
//! | `error_code` | text | null | `code` of errors |
//! | `error_body` | `json`, `raw` | `json` | form of error bodies |
//! | `error_at` | event | never | an in-band `data: {"error":…}` instead of that event, then the end |
//! | `interim` | 100 to 199 | none | an interim head first |
//! | `interim_n` | number | 1 | how many of them |
//! | `te` | `chunked`, `length`, `close` | streams `chunked`, else `length` | framing of the body |
//! | `split` | bytes | whole | the body in pieces of that size, each one send and one chunk |
//! | `split_at` | bytes | whole | so many bytes of the body, or of `raw`, in pieces of their own, the rest after them |
//! | `split_ms` | ms | 0 | between pieces |
//! | `split_wire` | bytes | whole | all bytes, head and framing too, in sends of that size |
//! | `slow_body_ms` | ms | 0 | between the two halves of a unary body |
//! | `reply_bytes` | bytes | an echo | length of the text of a unary answer |
//! | `firehose` | bytes | off | as many events as fill that, as fast as they are read |
//! | `comment` | flag | no | `: ping` after each event |
//! | `tools` | flag | no | tool calls instead of text |
//! | `parts` | `text`, `thinking`, `redacted`, `tool`, joined with `+` | `text` | what the answer consists of; `events` of a stream are those of each part |
//! | `json` | flag | no | the text is JSON, that of `args` |
//! | `args` | hex | an object with one text | JSON of tool calls' arguments |
//! | `tool_name` | text | `mock_tool` | the tool that is called |
//! | `once` | flag | no | no tool is called where the last message brings a result |
//! | `n` | number | as asked | choices |
//! | `dims` | number | as asked, else 8 | length of embeddings |
//! | `model_echo` | text | as asked | `model` of the answer |
//! | `early` | flag | no | a second response that nobody asked for follows |
//! | `bad` | a name below | none | a malformed answer |
//! | `close` | flag | no | `connection: close`, and it is meant |
//! | `raw` | hex | none | exactly these bytes instead of a response |
//! | `times` | number | always | the faults happen to the first so many requests with this very script; then it is answered well |
//! | `tag` | text | none | nothing; makes a script differ from others, for `times` |

mod answer;
mod ask;
mod chat;
mod messages;
mod peer;
mod plan;
mod record;
mod reply;
mod request;
mod responses;
pub mod script;
mod serve;
mod stream;
mod wire;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use clap::Args;

use crate::mock::record::Recorder;
use crate::mock::script::Script;
use crate::timer;

/// The keys of a script, for `--help`.
const HELP: &str = "\
Keys of a script, `key=value` joined with `,`, from the header x-mock-script, else the model
(after the first `/`), else --script:

  events                         content events of a stream; one finish event, usage and [DONE] follow
  gap_ms                         between events, on an absolute schedule
  first_ms                       between head and first event
  head_ms                        before the response head
  size                           least length of each delta's text
  usage                          usage in unary answers and, if include_usage asks, in streams; always: in streams unasked
  usage_in, usage_out            prompt and completion tokens
  usage_cached, usage_reasoning  token details
  usage_cache_write              tokens written to a cache, on Messages
  done                           [DONE] at the end; after an error event only if set
  finish                         finish reason; none leaves it out
  eol                            line ends of a stream
  cut_at                         close before that content event (events: before the finish event), in the middle of a unary body, or before the head
  cut                            how to close
  stall_at                       send nothing more, keep the connection open
  status                         from 300 on with an error body
  retry_after                    retry-after of an error status
  error_code                     code of errors
  error_body                     form of error bodies
  error_at                       an in-band data: {\"error\":…} instead of that event, then the end
  interim                        an interim head first
  interim_n                      how many of them
  te                             framing of the body
  split                          the body in pieces of that size, each one send and one chunk
  split_at                       so many bytes of the body, or of raw, in pieces of their own, the rest after them
  split_ms                       between pieces
  split_wire                     all bytes, head and framing too, in sends of that size
  slow_body_ms                   between the two halves of a unary body
  reply_bytes                    length of the text of a unary answer
  firehose                       as many events as fill that, as fast as they are read
  comment                        : ping after each event
  tools                          tool calls instead of text
  parts                          what the answer consists of; events of a stream are those of each part
  json                           the text is JSON, that of args
  args                           JSON of tool calls' arguments
  tool_name                      the tool that is called
  once                           no tool is called where the last message brings a result
  n                              choices
  dims                           length of embeddings
  model_echo                     model of the answer
  early                          a second response that nobody asked for follows
  bad                            a malformed answer
  close                          connection: close, and it is meant
  raw                            exactly these bytes instead of a response
  times                          the faults happen to the first so many requests with this very script; then it is answered well
  tag                            nothing; makes a script differ from others, for times

README.md of this crate has their values and defaults.";

/// How the mock is started.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = HELP)]
pub struct MockArguments {
    /// Address to listen on; port 0 lets the kernel choose. The address is printed.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Threads that serve; one is enough for a gateway on one core.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Script of requests that bring none.
    #[arg(long, default_value = "")]
    pub script: String,
    /// Requests kept for `GET /__mock/requests`; 0 keeps none.
    #[arg(long, default_value_t = 1000)]
    pub keep: usize,
}

/// What all connections of a mock share.
struct Shared {
    recorder: Recorder,
    default: Script,
}

/// Serves until the process ends; prints `listening on ADDRESS` first.
///
/// # Errors
///
/// A script that is not understood, or an address that cannot be listened on.
pub fn main(arguments: &MockArguments) -> io::Result<()> {
    let (address, threads) = start(arguments)?;
    println!("listening on {address}");
    for thread in threads {
        // A panic of one thread was printed by it; the others serve on.
        let _ = thread.join();
    }
    Ok(())
}

/// Starts a mock inside this process; it serves until the process ends.
///
/// # Errors
///
/// As [`main`].
pub fn spawn(arguments: &MockArguments) -> io::Result<SocketAddr> {
    Ok(start(arguments)?.0)
}

/// Serves on the runtime this is called in, beside its other tasks.
///
/// # Errors
///
/// An address that cannot be listened on.
pub fn serve_here(listen: SocketAddr) -> io::Result<SocketAddr> {
    let shared = Arc::new(Shared {
        recorder: Recorder::new(0),
        default: Script::default(),
    });
    let listener = TcpListener::bind(listen)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    tokio::spawn(serve::accept(listener, shared));
    Ok(address)
}

fn start(arguments: &MockArguments) -> io::Result<(SocketAddr, Vec<thread::JoinHandle<()>>)> {
    let default = arguments.script.parse().map_err(io::Error::other)?;
    let shared = Arc::new(Shared {
        recorder: Recorder::new(arguments.keep),
        default,
    });
    let listener = TcpListener::bind(arguments.listen)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let mut threads = Vec::new();
    for index in 0..arguments.threads.max(1) {
        let (listener, shared) = (listener.try_clone()?, Arc::clone(&shared));
        let thread = thread::Builder::new().name(format!("mock-{index}"));
        threads.push(thread.spawn(move || {
            if let Err(error) = timer::block_on(serve::accept(listener, shared)) {
                eprintln!("mock: no runtime: {error}");
            }
        })?);
    }
    Ok((address, threads))
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_key_is_in_the_help_the_readme_and_the_module_header() {
        let readme = include_str!("../../README.md");
        let source = include_str!("mod.rs");
        for key in super::script::KEYS {
            assert!(readme.contains(&format!("`{key}`")), "README: {key}");
            assert!(source.contains(&format!("`{key}`")), "module header: {key}");
            assert!(super::HELP.contains(key), "help: {key}");
        }
        for (name, _) in super::script::BAD {
            assert!(readme.contains(&format!("`{name}`")), "README: bad={name}");
        }
    }
}
