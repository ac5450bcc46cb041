//! An address where connecting takes for ever.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// A listening socket whose queue is full: further handshakes are dropped by the kernel.
pub struct BlackHole {
    addr: SocketAddr,
    _listener: TcpListener,
    _filler: TcpStream,
}

impl BlackHole {
    pub async fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).expect("a short queue");
        let addr = listener.local_addr().unwrap();
        let filler = TcpStream::connect(addr).await;
        Self {
            addr,
            _filler: filler.expect("the queue has one place"),
            _listener: listener,
        }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}
