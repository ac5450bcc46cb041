//! A TCP proxy that misbehaves on demand. Threads of its own; std only.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How the proxy treats connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// It relays.
    None,
    /// It closes every connection, and new ones at once.
    Cut,
    /// It accepts and reads, and tells nobody. A connection that was treated so stays dead.
    HalfOpen,
    /// It relays what clients send, and nothing of what the server answers; otherwise as above.
    Mute,
    /// It relays pieces of 1 KiB, with this wait before each.
    Slow(Duration),
}

/// How long a relaying thread waits for bytes before it looks at the fault again.
const GLANCE: Duration = Duration::from_millis(10);

/// A listening address before `target`.
pub struct FaultProxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    target: Mutex<SocketAddr>,
    fault: Mutex<Fault>,
    accepted: AtomicUsize,
    /// Directions that are relayed or swallowed now.
    pumps: AtomicUsize,
    stopped: AtomicBool,
}

impl FaultProxy {
    /// Relays to `target` from a port of the kernel's choice.
    pub fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            fault: Mutex::new(Fault::None),
            accepted: AtomicUsize::new(0),
            pumps: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &accepting));
        Self { addr, shared }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// From now on. Takes effect on open connections within some 10 ms.
    pub fn set(&self, fault: Fault) {
        *lock(&self.shared.fault) = fault;
    }

    /// Relays new connections to another `target`.
    pub fn retarget(&self, target: SocketAddr) {
        *lock(&self.shared.target) = target;
    }

    /// Connections taken so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.shared.pumps.load(Ordering::Relaxed).div_ceil(2)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.addr);
    }
}

impl Shared {
    fn fault(&self) -> Fault {
        *lock(&self.fault)
    }

    fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.stopped() {
            return;
        }
        let Ok(client) = client else { continue };
        shared.accepted.fetch_add(1, Ordering::Relaxed);
        if shared.fault() == Fault::Cut {
            continue;
        }
        let dead = Arc::new(AtomicBool::new(shared.fault() == Fault::HalfOpen));
        let server = TcpStream::connect(*lock(&shared.target));
        let Ok(server) = server else { continue };
        let pairs = [(&client, &server, false), (&server, &client, true)];
        for (from, to, answers) in pairs {
            from.set_nodelay(true).unwrap();
            let pump = Pump {
                from: from.try_clone().unwrap(),
                to: to.try_clone().unwrap(),
                answers,
                dead: Arc::clone(&dead),
                shared: Arc::clone(shared),
            };
            shared.pumps.fetch_add(1, Ordering::Relaxed);
            std::thread::spawn(move || pump.run());
        }
    }
}

/// One direction of one connection.
struct Pump {
    from: TcpStream,
    to: TcpStream,
    answers: bool,
    /// Whether bytes of this connection were swallowed.
    dead: Arc<AtomicBool>,
    shared: Arc<Shared>,
}

impl Pump {
    fn run(mut self) {
        // The error of a connection that broke is what its end looks like here.
        let _ = self.relay();
        // A half-open connection hides the server's end from the client.
        if !self.dead.load(Ordering::Relaxed) || self.shared.fault() == Fault::Cut {
            let _ = self.from.shutdown(Shutdown::Both);
            let _ = self.to.shutdown(Shutdown::Both);
        }
        self.shared.pumps.fetch_sub(1, Ordering::Relaxed);
    }

    fn relay(&mut self) -> std::io::Result<()> {
        let mut buffer = vec![0; 64 << 10];
        self.from.set_read_timeout(Some(GLANCE))?;
        while !self.shared.stopped() {
            let room = match self.shared.fault() {
                Fault::Cut => return Ok(()),
                Fault::Slow(_) => 1 << 10,
                Fault::None | Fault::HalfOpen | Fault::Mute => buffer.len(),
            };
            let count = match self.from.read(&mut buffer[..room]) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if is_timeout(error.kind()) => continue,
                Err(error) => return Err(error),
            };
            let swallowed = match self.shared.fault() {
                Fault::Cut => return Ok(()),
                Fault::HalfOpen => true,
                Fault::Mute => self.answers,
                Fault::Slow(wait) => {
                    pause(wait);
                    false
                }
                Fault::None => false,
            };
            if swallowed {
                self.dead.store(true, Ordering::Relaxed);
            }
            if !self.dead.load(Ordering::Relaxed) {
                self.to.write_all(&buffer[..count])?;
            }
        }
        Ok(())
    }
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

#[expect(clippy::disallowed_methods, reason = "a thread of a test's own")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
