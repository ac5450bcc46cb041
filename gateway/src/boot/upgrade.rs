//! Starting the binary anew beside the running process, up to the word that it serves. [boot]
//!
//! Nothing changes here until then: the listening sockets are shared, and this process accepts from
//! them. A new process that ends, or takes too long, is gone without a trace but a line in the log.

use std::ffi::{CStr, OsString};
use std::fs::File;
use std::io::{self, PipeReader, Read, Write, pipe};
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use config_sync::status::ConfigStatus;

use super::inherit::{COUNTS_FD, Inherited, LISTEN_FDS, READY_FD, SYSTEMD};
use super::{BootError, because, counts};
use crate::bridge::limits::LimitTable;

/// How long the new process may take until it serves.
pub(crate) const READY_MAX: Duration = Duration::from_secs(30);
/// How often it is looked whether it does.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How long one that does not come to serve may take to say why.
const LAST_WORDS_MAX: Duration = Duration::from_secs(2);

/// What a ready process says.
const READY: &[u8] = b"ready\n";
/// What the kernel appends to the path of a program whose file was replaced.
const DELETED: &[u8] = b" (deleted)";

/// The name of a process that does not serve yet.
pub(crate) const STARTING: &CStr = c"sluice-starting";
/// The name of one that serves.
pub(crate) const SERVING: &CStr = c"sluice";
/// The name of one that has handed over, and finishes what it has.
pub(crate) const LEAVING: &CStr = c"sluice-leaving";

/// The sockets that a new process is given.
#[derive(Debug)]
pub(super) struct Passed {
    /// Those of callers, as many as there were workers at the first start.
    pub(super) proxy: Vec<TcpListener>,
    /// That of metrics and status.
    pub(super) metrics: TcpListener,
}

/// A new process that is on its way.
#[derive(Debug)]
pub(super) struct Upgrade {
    pub(super) child: Child,
    says: PipeReader,
    until: Instant,
}

/// How far it has come.
pub(super) enum Progress {
    Waiting(Upgrade),
    Ready(Upgrade),
    /// It is gone, and that was logged.
    Failed,
}

/// Starts a new process, unless one is `running` already.
pub(super) fn begin(
    running: Option<Upgrade>,
    passed: &Passed,
    buckets: &Arc<LimitTable>,
) -> Option<Upgrade> {
    if running.is_some() {
        tracing::warn!("no upgrade: another one is under way");
        return running;
    }
    if std::process::id() == 1 {
        // The end of process 1 is the end of its container, whoever else runs in it.
        tracing::error!("no upgrade: this is the first process of a container");
        return None;
    }
    match Upgrade::start(passed, buckets) {
        Ok(upgrade) => {
            tracing::info!(
                new_pid = upgrade.child.id(),
                "upgrade: a new process starts"
            );
            Some(upgrade)
        }
        Err(error) => {
            tracing::error!(%error, "no upgrade: the new process did not start");
            None
        }
    }
}

impl Upgrade {
    fn start(passed: &Passed, buckets: &Arc<LimitTable>) -> io::Result<Self> {
        let (says, word) = pipe()?;
        let (hears, told) = pipe()?;
        rustix::io::ioctl_fionbio(&says, true)?;
        // Copies, which unlike what they were made from are open in the new program. Nothing else is
        // started by this process that could get them too.
        let mut copies: Vec<OwnedFd> = Vec::new();
        let mut names: Vec<String> = Vec::new();
        let sockets = passed.proxy.iter().map(|socket| ("proxy", socket));
        for (name, socket) in sockets.chain([("metrics", &passed.metrics)]) {
            let copy = rustix::io::dup(socket.as_fd())?;
            names.push(format!("{name}={}", copy.as_raw_fd()));
            copies.push(copy);
        }
        let word = rustix::io::dup(word.as_fd())?;
        let hears = rustix::io::dup(hears.as_fd())?;
        let child = spawn(|command| {
            for name in SYSTEMD {
                command.env_remove(name);
            }
            command.env(LISTEN_FDS, names.join(","));
            command.env(READY_FD, word.as_raw_fd().to_string());
            command.env(COUNTS_FD, hears.as_raw_fd().to_string());
        })?;
        counts::tell(File::from(OwnedFd::from(told)), Arc::clone(buckets));
        Ok(Self {
            child,
            says,
            until: now() + READY_MAX,
        })
    }

    /// Looks once.
    pub(super) fn look(mut self) -> Progress {
        let mut said = [0; READY.len()];
        match self.says.read(&mut said) {
            Ok(0) => {
                // It says nothing more here, and may still be saying why on standard error.
                self.until = self.until.min(now() + LAST_WORDS_MAX);
                if now() < self.until && matches!(self.child.try_wait(), Ok(None)) {
                    return Progress::Waiting(self);
                }
                self.give_up("it ended before it served");
            }
            Ok(count) if said[..count] == *READY => return Progress::Ready(self),
            Ok(_) => self.give_up("it does not speak as this version does"),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if now() < self.until {
                    return Progress::Waiting(self);
                }
                self.give_up("it did not serve in time");
            }
            Err(error) => self.give_up(&error.to_string()),
        }
        Progress::Failed
    }

    /// Ends the new process; this one serves on.
    pub(super) fn give_up(mut self, why: &str) {
        // One that has ended by itself cannot be killed, and tells its own exit status.
        let _ = self.child.kill();
        let status = self.child.wait().map(|status| status.to_string());
        tracing::error!(
            new_pid = self.child.id(),
            why,
            status = status.unwrap_or_default(),
            "the upgrade was rolled back"
        );
    }
}

/// Starts the program of this process anew, as it was called: a link that now leads to another
/// version is followed. Where that leads nowhere, the file that this process was loaded from.
fn spawn(prepare: impl Fn(&mut Command)) -> io::Result<Child> {
    let mut args = std::env::args_os();
    let called = args.next().unwrap_or_default();
    let args: Vec<OsString> = args.collect();
    let start = |program: OsString| {
        let mut command = Command::new(program);
        command.args(&args);
        prepare(&mut command);
        command.spawn()
    };
    match start(called) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => start(own_file()?.into()),
        started => started,
    }
}

/// The file of this program; the one in its place where it was replaced.
fn own_file() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?.into_os_string();
    let bytes = path.as_bytes();
    let bytes = bytes.strip_suffix(DELETED).unwrap_or(bytes);
    Ok(OsString::from_vec(bytes.to_vec()).into())
}

/// Waits until a new process knows what to serve, and what has been counted: it must not take over
/// before that.
///
/// # Errors
///
/// It has no configuration by [`READY_MAX`].
pub(super) fn until_able(
    inherited: &mut Inherited,
    status: &ConfigStatus,
    buckets: &Arc<LimitTable>,
) -> Result<(), BootError> {
    if inherited.ready.is_some() {
        until_configured(status)?;
    }
    if let Some(pipe) = inherited.counts.take() {
        counts::follow(pipe, Arc::clone(buckets));
    }
    Ok(())
}

fn until_configured(status: &ConfigStatus) -> Result<(), BootError> {
    let until = now() + READY_MAX;
    while status.view().applied.is_none() {
        if now() >= until {
            return Err(because("upgrade", "no configuration was read in time"));
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
    Ok(())
}

/// Tells the process that started this one that it may turn away.
pub(super) fn say_ready(mut pipe: File) {
    if let Err(error) = pipe.write_all(READY) {
        tracing::warn!(%error, "the process before this one was not told that it serves");
    }
}

/// Gives the process the name that `ps` shows and `sluice upgrade` looks for.
pub(super) fn call_itself(name: &CStr) {
    // For people to read: nothing depends on it in this process.
    let _ = rustix::thread::set_name(name);
}

#[expect(
    clippy::disallowed_methods,
    reason = "the main thread has no worker's clock"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}
