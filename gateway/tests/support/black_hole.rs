//! An address where connecting takes for ever.

use std::net::{SocketAddr, TcpListener, TcpStream};

/// A listening socket whose queue is full: further handshakes are dropped by the kernel.
#[derive(Debug)]
pub struct BlackHole {
    addr: SocketAddr,
    _listener: TcpListener,
    _filler: TcpStream,
}

impl BlackHole {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        rustix::net::listen(&listener, 0).expect("a shorter queue");
        let addr = listener.local_addr().unwrap();
        Self {
            addr,
            _filler: TcpStream::connect(addr).expect("the queue has one place"),
            _listener: listener,
        }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sockets of this host that are trying to connect.
    pub fn callers(&self) -> usize {
        const SYN_SENT: &str = "02";
        let remote = format!("0100007F:{:04X}", self.addr.port());
        let table = std::fs::read_to_string("/proc/net/tcp").expect("procfs");
        let rows = table.lines().map(|row| row.split_whitespace());
        rows.filter(|row| {
            let mut cells = row.clone().skip(2);
            cells.next() == Some(&*remote) && cells.next() == Some(SYN_SENT)
        })
        .count()
    }
}
