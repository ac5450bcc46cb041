//! The proxy's listening sockets: one per worker on one port. [boot]

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use rustix::net::sockopt::{set_ipv6_v6only, set_socket_reuseaddr, set_socket_reuseport};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};

/// Connections that wait to be accepted, per worker.
const BACKLOG: i32 = 1024;
/// How often a port that is taken is tried again, and how long is waited in between: half a second in all.
const TRIES: u32 = 50;
const TRY_EVERY: Duration = Duration::from_millis(10);

/// Binds `count` listening sockets that share `addr` by `SO_REUSEPORT`.
///
/// Sharing lets a second process of the same user take half of the traffic unnoticed, so the port
/// is first bound without it: that fails where anybody listens there already. All sockets are bound
/// before any of them is accepted from.
///
/// A port that is taken is tried for half a second. The kernel takes a ring apart some milliseconds after its process has
/// ended, and until then its listening sockets live: those of a gateway that was killed and is started again.
///
/// # Errors
///
/// Those of `bind(2)` and `listen(2)`; `AddrInUse` most of all.
#[expect(
    clippy::disallowed_methods,
    reason = "nothing is served before there is a port"
)]
pub(crate) fn bind_all(addr: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    let mut tries = 0;
    let probe = loop {
        match open(addr, false) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries < TRIES => {
                tries += 1;
                std::thread::sleep(TRY_EVERY);
            }
            opened => break opened?,
        }
    };
    // Port 0 is the kernel's choice: all workers take what the probe got.
    let addr = probe.local_addr()?;
    drop(probe);
    (0..count).map(|_| open(addr, true)).collect()
}

/// Spreads `sockets` over `count` workers: each socket is attended, each worker has one at least.
///
/// Where there are fewer sockets than workers, several workers accept from one. No further ones are
/// bound: a socket that is closed again, by a process that does not become ready, takes the
/// connections that wait on it along.
///
/// # Errors
///
/// Those of `fcntl(2)`; none to spread.
pub(crate) fn spread(sockets: &[TcpListener], count: usize) -> io::Result<Vec<Vec<TcpListener>>> {
    if sockets.is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let own = |worker: usize| {
        let first = worker % sockets.len();
        let others = sockets.iter().skip(first).step_by(count.max(1));
        others.map(TcpListener::try_clone).collect()
    };
    (0..count).map(own).collect()
}

fn open(addr: SocketAddr, share: bool) -> io::Result<TcpListener> {
    let family = match addr {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    if addr.is_ipv6() {
        // `[::]` serves IPv4 too, whatever the host's default is.
        set_ipv6_v6only(&socket, false)?;
    }
    set_socket_reuseaddr(&socket, true)?;
    if share {
        set_socket_reuseport(&socket, true)?;
    }
    bind(&socket, &addr)?;
    listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_socket_is_attended_and_each_worker_has_one() {
        let sockets: Vec<_> = (0..5)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let ports = |sockets: &[TcpListener]| -> Vec<u16> {
            let addrs = sockets.iter().map(|socket| socket.local_addr().unwrap());
            addrs.map(|addr| addr.port()).collect()
        };
        let all = ports(&sockets);
        // (sockets, workers) -> which sockets each worker has
        let cases: [(usize, usize, &[&[usize]]); 4] = [
            (2, 2, &[&[0], &[1]]),
            (1, 3, &[&[0], &[0], &[0]]),
            (2, 3, &[&[0], &[1], &[0]]),
            (5, 2, &[&[0, 2, 4], &[1, 3]]),
        ];
        for (sockets_len, workers, want) in cases {
            let spread = spread(&sockets[..sockets_len], workers).unwrap();
            let found: Vec<Vec<u16>> = spread.iter().map(|own| ports(own)).collect();
            let want = want
                .iter()
                .map(|own| own.iter().map(|&at| all[at]).collect());
            let want: Vec<Vec<u16>> = want.collect();
            assert_eq!(found, want, "{sockets_len} over {workers}");
        }
        assert!(spread(&[], 1).is_err());
    }

    #[test]
    fn workers_share_a_port_that_nobody_else_can_take() {
        let first = bind_all("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        let addr = first[0].local_addr().unwrap();
        assert_eq!(first[1].local_addr().unwrap(), addr);
        let error = bind_all(addr, 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(first);
        bind_all(addr, 1).unwrap();
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the port is held for a while")]
    fn a_port_that_becomes_free_while_it_is_tried_is_taken() {
        let ended = bind_all("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let addr = ended[0].local_addr().unwrap();
        let leaving = std::thread::spawn(move || {
            std::thread::sleep(TRY_EVERY * 10);
            drop(ended);
        });
        let taken = bind_all(addr, 1).unwrap();
        assert_eq!(taken[0].local_addr().unwrap(), addr);
        leaving.join().unwrap();
    }
}
