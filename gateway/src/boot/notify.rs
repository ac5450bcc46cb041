//! What the service manager is told: ready, stopping, which process is the main one. [boot]

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The variable that names the manager's socket.
const SOCKET: &str = "NOTIFY_SOCKET";

/// The gateway serves.
pub(super) const READY: &str = "READY=1";
/// The drain has begun.
pub(super) const STOPPING: &str = "STOPPING=1";

/// Another process is the service's main one from here on.
pub(super) fn main_process(pid: u32) -> String {
    format!("MAINPID={pid}")
}

/// Tells the manager, where there is one. Never waits for it.
///
/// # Source
///
/// `sd_notify(3)`: one datagram; a name that begins with `@` is abstract.
pub(super) fn tell(state: &str) {
    let Some(name) = std::env::var_os(SOCKET) else {
        return;
    };
    if let Err(error) = send(&name, state) {
        tracing::warn!(%error, state, "the service manager could not be told");
    }
}

fn send(name: &OsStr, state: &str) -> io::Result<()> {
    let addr = match name.as_bytes() {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.as_bytes(), &addr).map(drop)
}
