//! Signals, handed to the main thread. [cold]

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};

use tokio::signal::unix::{SignalKind, signal};

/// What the outside wants of the process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signal {
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGUSR2: start the binary anew and hand over to it.
    Upgrade,
    /// SIGTERM or SIGINT: drain and end; the second time at once.
    Stop(&'static str),
}

/// Starts listening, on a thread of its own so that nothing else delays a signal.
///
/// # Errors
///
/// A thread or a handler could not be had.
pub fn listen() -> io::Result<Receiver<Signal>> {
    let (sender, receiver) = channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let entered = runtime.enter();
    let mut reload = signal(SignalKind::hangup())?;
    let mut upgrade = signal(SignalKind::user_defined2())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    drop(entered);
    std::thread::Builder::new()
        .name("sluice-signals".to_owned())
        .spawn(move || {
            runtime.block_on(async move {
                loop {
                    let signal = tokio::select! {
                        _ = reload.recv() => Signal::Reload,
                        _ = upgrade.recv() => Signal::Upgrade,
                        _ = interrupt.recv() => Signal::Stop("SIGINT"),
                        _ = terminate.recv() => Signal::Stop("SIGTERM"),
                    };
                    if !told(&sender, signal) {
                        return;
                    }
                }
            });
        })?;
    Ok(receiver)
}

fn told(main: &Sender<Signal>, signal: Signal) -> bool {
    main.send(signal).is_ok()
}
