//! A scripted OpenAI-shaped upstream over raw sockets, so that faults can be exact. [cold]

mod answer;
mod ask;
mod frames;
mod peer;
mod record;
mod reply;
mod request;
pub mod script;
mod serve;
mod wire;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use clap::Args;

use crate::mock::record::Recorder;
use crate::mock::script::Script;
use crate::timer;

/// How the mock is started.
#[derive(Debug, Clone, Args)]
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
