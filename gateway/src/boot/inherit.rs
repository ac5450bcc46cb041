//! What the process was started with: listening sockets, whom to tell that it serves, who tells what was counted. [boot]
//!
//! Two givers are known. A gateway that is being upgraded names descriptors in
//! [`LISTEN_FDS`], [`READY_FD`] and [`COUNTS_FD`]; systemd (`sd_listen_fds(3)`) passes those from 3 on.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd, RawFd};

use rustix::net::SocketType;
use rustix::net::sockopt::{socket_acceptconn, socket_type};

use super::{BootError, because};
use crate::sys::inherited;

/// Names and descriptors of the listening sockets: `proxy=7,proxy=8,metrics=9`.
pub(super) const LISTEN_FDS: &str = "SLUICE_LISTEN_FDS";
/// The descriptor of a pipe: `ready` and a line end once the process serves.
pub(super) const READY_FD: &str = "SLUICE_READY_FD";
/// The descriptor of a pipe: what the process before this one counts against limits.
pub(super) const COUNTS_FD: &str = "SLUICE_COUNTS_FD";
/// The variables of systemd.
pub(super) const SYSTEMD: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// The first descriptor that systemd passes.
const SYSTEMD_FIRST: RawFd = 3;
/// Sockets at most: two for each of as many workers as there may be.
const SOCKETS_MAX: usize = 2048;

/// Which listener a socket is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Listener {
    Proxy,
    Metrics,
}

/// Everything that was passed; empty where nothing was.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    /// Sockets for callers.
    pub(super) proxy: Vec<TcpListener>,
    /// The socket of metrics and status.
    pub(super) metrics: Option<TcpListener>,
    /// Whom to tell that this process serves; a gateway that is being upgraded waits for it.
    pub(super) ready: Option<File>,
    /// Where the process before this one tells what it counts.
    pub(super) counts: Option<File>,
}

impl Inherited {
    /// Takes over what the environment names. Comes before anything else is opened.
    ///
    /// # Errors
    ///
    /// A variable that says nothing clear, or a descriptor that is not a listening TCP socket.
    pub(super) fn take() -> Result<Self, BootError> {
        let variable = |name| std::env::var(name).ok();
        let [pid, count, names] = SYSTEMD.map(variable);
        let (giver, named) = match variable(LISTEN_FDS) {
            Some(text) => (LISTEN_FDS, by_name(&text)),
            None => {
                let own = std::process::id().to_string();
                let passed = count.filter(|_| pid.as_deref() == Some(&own));
                let named = passed.map(|count| by_order(&count, names.as_deref()));
                (SYSTEMD[1], named.unwrap_or(Ok(Vec::new())))
            }
        };
        let mut taken = Self::default();
        for (listener, fd) in named.map_err(|error| because(giver, error))? {
            let socket = listening(fd);
            let socket = socket.map_err(|e| because(&format!("{giver}: descriptor {fd}"), e))?;
            match listener {
                Listener::Proxy => taken.proxy.push(socket),
                Listener::Metrics if taken.metrics.is_none() => taken.metrics = Some(socket),
                Listener::Metrics => return Err(because(giver, "more than one metrics socket")),
            }
        }
        taken.ready = variable(READY_FD)
            .map(|fd| pipe(READY_FD, &fd))
            .transpose()?;
        taken.counts = variable(COUNTS_FD)
            .map(|fd| pipe(COUNTS_FD, &fd))
            .transpose()?;
        Ok(taken)
    }
}

/// Says where a socket listens elsewhere than the setting `key` says: an inherited one does not move.
pub(super) fn say_where(setting: SocketAddr, key: &str, socket: &TcpListener) {
    let Ok(bound) = socket.local_addr() else {
        return;
    };
    // Port 0 is the kernel's choice, which has been made.
    if bound != setting && setting.port() != 0 {
        tracing::warn!(key, %setting, %bound, "listening where the inherited socket is");
    }
}

fn pipe(giver: &str, fd: &str) -> Result<File, BootError> {
    let fd = fd.parse().map_err(|error| because(giver, error))?;
    let pipe = inherited(fd).map_err(|error| because(giver, error))?;
    Ok(File::from(pipe))
}

fn listening(fd: RawFd) -> io::Result<TcpListener> {
    let socket: OwnedFd = inherited(fd)?;
    let kind = socket_type(socket.as_fd())?;
    if kind != SocketType::STREAM || !socket_acceptconn(socket.as_fd())? {
        return Err(io::Error::other("not a listening stream socket"));
    }
    let listener = TcpListener::from(socket);
    // Fails for what is not an internet address.
    listener.local_addr()?;
    Ok(listener)
}

/// Reads `proxy=7,metrics=9`.
fn by_name(text: &str) -> Result<Vec<(Listener, RawFd)>, String> {
    let mut named: Vec<(Listener, RawFd)> = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (name, fd) = part.split_once('=').ok_or("wants NAME=DESCRIPTOR")?;
        let listener = match name {
            "proxy" => Listener::Proxy,
            "metrics" => Listener::Metrics,
            _ => return Err(format!("no listener is called `{name}`")),
        };
        let fd = fd.parse().map_err(|error| format!("`{fd}`: {error}"))?;
        if named.iter().any(|(_, known)| *known == fd) {
            return Err(format!("descriptor {fd} twice"));
        }
        if named.len() == SOCKETS_MAX {
            return Err(format!("more than {SOCKETS_MAX} sockets"));
        }
        named.push((listener, fd));
    }
    Ok(named)
}

/// Reads systemd's count, and its names by colons: `metrics` is one, all others are for callers, as
/// a socket unit without `FileDescriptorName=` passes its own name.
fn by_order(count: &str, names: Option<&str>) -> Result<Vec<(Listener, RawFd)>, String> {
    let count: usize = count
        .parse()
        .map_err(|error| format!("`{count}`: {error}"))?;
    if count > SOCKETS_MAX {
        return Err(format!("more than {SOCKETS_MAX} sockets"));
    }
    let mut names = names.unwrap_or_default().split(':');
    let listeners = std::iter::repeat_with(|| match names.next() {
        Some("metrics") => Listener::Metrics,
        _ => Listener::Proxy,
    });
    Ok(listeners.take(count).zip(SYSTEMD_FIRST..).collect())
}

#[cfg(test)]
mod tests {
    use super::Listener::{Metrics, Proxy};
    use super::*;

    #[test]
    fn names_and_descriptors_are_read_or_refused() {
        let named = by_name("proxy=7,proxy=8,metrics=9").unwrap();
        assert_eq!(named, [(Proxy, 7), (Proxy, 8), (Metrics, 9)]);
        assert_eq!(by_name("").unwrap(), []);
        for bad in [
            "7",
            "proxy",
            "admin=7",
            "proxy=x",
            "proxy=7,metrics=7",
            "proxy=",
        ] {
            assert!(by_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn systemd_passes_sockets_in_order() {
        type Case<'c> = (&'c str, Option<&'c str>, &'c [(Listener, RawFd)]);
        let cases: [Case<'_>; 4] = [
            ("0", None, &[]),
            ("2", None, &[(Proxy, 3), (Proxy, 4)]),
            ("2", Some("metrics:proxy"), &[(Metrics, 3), (Proxy, 4)]),
            ("1", Some("sluice.socket"), &[(Proxy, 3)]),
        ];
        for (count, names, want) in cases {
            assert_eq!(by_order(count, names).unwrap(), want, "{count} {names:?}");
        }
        for bad in ["", "-1", "x", "1000000"] {
            assert!(by_order(bad, None).is_err(), "{bad}");
        }
    }
}
