//! Twenty times as many clients as there is room for, before a gateway in a control group of 128 MiB.

use std::any::Any;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::on_both_engines;
use crate::support::cgroup::Cgroup;
use crate::support::gateway::{chat, post};
use crate::support::tls::Authority;
use crate::support::tls_client::Caller;
use crate::support::{Gateway, Raw, Setup, event_numbers, mock, wait_for};

const CHAT: &str = "/v1/chat/completions";
const NAME: &str = "gateway.test";
const MIB: u64 = 1024 * 1024;
const LIMIT: u64 = 128 * MIB;

/// Connections and requests that the bounded gateway takes, of both workers together.
const CONNECTIONS: u64 = 100;
const REQUESTS: u64 = 20;
/// Bodies of [`BODY`] bytes for which there is room at a time: a quarter of the mark.
const BODIES: u64 = 3;
const BODY: usize = 8 * 1024 * 1024;
const TIMES: u64 = 20;

/// Streams that were there before, and their events.
const STREAMS: usize = 8;
const EVENTS: u64 = 400;

/// How a crowd behaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Manner {
    /// Connects and says nothing, half of it after a handshake.
    Idle,
    /// Sends a body of the largest kind.
    Uploads,
    /// Asks for a stream without end and reads none of it.
    Deaf,
    /// Shakes hands and leaves, again and again.
    Restless,
}

type Secure = StreamOwned<ClientConnection, TcpStream>;

/// What the crowds have in common.
#[derive(Clone)]
struct Target {
    addr: SocketAddr,
    config: Arc<ClientConfig>,
    over: Arc<AtomicBool>,
    told: Arc<AtomicU64>,
}

impl Target {
    fn plain(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.addr, Duration::from_secs(10))?;
        // A server that closes without a word ends a wait; one that has no time must not prolong it.
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.set_write_timeout(Some(Duration::from_secs(10)))?;
        Ok(stream)
    }

    fn secure(&self) -> io::Result<Secure> {
        let name = ServerName::try_from(NAME).expect("a name");
        let session = ClientConnection::new(Arc::clone(&self.config), name);
        let mut secure = StreamOwned::new(session.expect("a session"), self.plain()?);
        secure.conn.complete_io(&mut secure.sock)?;
        Ok(secure)
    }

    /// Sends `request` as far as it is taken; counts a 503.
    fn ask(&self, secure: &mut Secure, request: &[u8]) -> io::Result<()> {
        let sent = secure.write_all(request).and_then(|()| secure.flush());
        let mut head = [0; 12];
        let read = secure.read(&mut head)?;
        if head[..read].ends_with(b" 503") {
            self.told.fetch_add(1, Ordering::Relaxed);
        }
        sent
    }

    /// One client of a crowd, the `number`th: the connection that it keeps.
    fn come(&self, manner: Manner, number: u64) -> io::Result<Option<Box<dyn Any>>> {
        match manner {
            Manner::Idle if number.is_multiple_of(2) => Ok(Some(Box::new(self.plain()?))),
            Manner::Idle => Ok(Some(Box::new(self.secure()?))),
            Manner::Uploads => {
                let mut body = chat("script/head_ms=3000", false);
                body["user"] = "x".repeat(BODY).into();
                let request = post(CHAT, &body);
                self.ask(&mut self.secure()?, &request)?;
                Ok(None)
            }
            Manner::Deaf => {
                let request = post(CHAT, &chat("script/firehose=50000000,size=1000", true));
                let mut secure = self.secure()?;
                self.ask(&mut secure, &request)?;
                Ok(Some(Box::new(secure)))
            }
            Manner::Restless => self.secure().map(|_| None),
        }
    }

    /// So many clients, `abreast` of them at a time where they do not stay.
    fn crowd(&self, manner: Manner, count: u64, abreast: u64) -> Vec<JoinHandle<()>> {
        let threads = (0..abreast).map(|thread| {
            let target = self.clone();
            let work = move || {
                let mut held = Vec::new();
                for number in (thread..count).step_by(abreast as usize) {
                    // Whoever is turned away comes no more.
                    held.extend(target.come(manner, number).ok().flatten());
                }
                while !target.over.load(Ordering::Relaxed) {
                    std::thread::park_timeout(Duration::from_millis(50));
                }
            };
            let builder = std::thread::Builder::new().stack_size(256 * 1024);
            builder.spawn(work).expect("a thread")
        });
        threads.collect()
    }
}

/// A stream of before: every event comes, in its order, to the end.
fn watched(gateway: &Gateway, config: &Arc<ClientConfig>) -> JoinHandle<()> {
    let mut raw = Raw::secure(gateway.addr, config, NAME).expect("hands are shaken");
    let script = format!("script/events={EVENTS},gap_ms=50");
    raw.send(&post(CHAT, &chat(&script, true)));
    raw.until(b"\"e0 ");
    std::thread::spawn(move || {
        let text = String::from_utf8(raw.rest_of_stream()).unwrap();
        assert_eq!(event_numbers(&text), (1..EVENTS).collect::<Vec<_>>());
        assert!(text.ends_with("data: [DONE]\n\n"));
    })
}

/// Whether one more request is served.
fn is_served(target: &Target) -> io::Result<bool> {
    let mut secure = target.secure()?;
    secure.write_all(&post(CHAT, &chat("m", false)))?;
    let mut head = [0; 12];
    let read = secure.read(&mut head)?;
    Ok(head[..read].ends_with(b" 200"))
}

/// A wave over a gateway of `setup`; each crowd twenty times what there is room for.
fn wave(name: &str, setup: Setup) {
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files).unwrap();
    let Some(group) = Cgroup::limited(name, LIMIT) else {
        return;
    };
    let authority = Authority::new();
    let leaf = authority.server(NAME);
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let mut setup = setup
        .with("proxy.workers", 2)
        .with("proxy.tls.cert_file", write("cert.pem", &leaf.cert))
        .with("proxy.tls.key_file", write("key.pem", &leaf.key));
    setup.wrapper = group.wrapper();
    let mut gateway = setup.start_ready();
    assert_eq!(
        gateway.metric("sluice_memory_limit_bytes", &[]),
        LIMIT as f64
    );
    let before_kib = gateway.rss_kib();

    let target = Target {
        addr: gateway.addr,
        config: Caller::trusting(&authority.pem).config(),
        over: Arc::default(),
        told: Arc::default(),
    };
    let streams: Vec<_> = (0..STREAMS)
        .map(|_| watched(&gateway, &target.config))
        .collect();
    // Those who ask come first: else those who only sit there take all the places.
    let asking = [
        (Manner::Uploads, BODIES * TIMES * 2, BODIES * TIMES),
        (Manner::Deaf, REQUESTS * TIMES, 16),
    ];
    let others = [
        (Manner::Idle, CONNECTIONS * TIMES, 16),
        (Manner::Restless, CONNECTIONS * TIMES, 8),
    ];
    let come = |(manner, count, abreast)| target.crowd(manner, count, abreast);
    let mut crowds: Vec<_> = asking.into_iter().flat_map(come).collect();
    wait_for("somebody to be told", || {
        (target.told.load(Ordering::Relaxed) > 0).then_some(())
    });
    crowds.extend(others.into_iter().flat_map(come));
    for stream in streams {
        stream.join().expect("a stream of before is unhurt");
    }
    assert_eq!(gateway.child.try_wait().unwrap(), None);
    let told = target.told.load(Ordering::Relaxed);
    let unanswered = gateway.metric("sluice_admission_unanswered_total", &[]);
    let crossings = gateway.metric("sluice_memory_mark_crossings_total", &[]);
    target.over.store(true, Ordering::Relaxed);
    for client in crowds {
        client.join().unwrap();
    }
    let peak = group.peak_bytes();
    wait_for("room", || is_served(&target).ok()?.then_some(()));
    // Room for the next wave. The allocator keeps the rest: pages in which something still lies.
    let mut after_kib = u64::MAX;
    wait_for("memory to fall back below half of the limit", || {
        let now_kib = gateway.rss_kib();
        if now_kib < after_kib {
            println!("{name}: {now_kib} KiB");
        }
        after_kib = now_kib;
        (after_kib * 1024 < LIMIT / 2).then_some(())
    });
    println!(
        "{name}: {told} told, {unanswered} closed unanswered, {crossings} crossings, peak {peak}, \
         {before_kib} KiB before, {after_kib} KiB after"
    );
    assert_eq!(group.kills(), 0);
    assert_eq!(gateway.child.try_wait().unwrap(), None);
}

on_both_engines! {
    fn a_wave_over_a_bounded_gateway_is_turned_away(engine) {
        let setup = Setup::new(engine, mock())
            .with("proxy.max_connections_per_worker", CONNECTIONS / 2)
            .with("proxy.max_requests_per_worker", REQUESTS / 2);
        wave(&format!("bounded-{}", engine.name()), setup);
    }

    fn a_wave_over_a_gateway_with_defaults_ends_at_the_mark_of_memory(engine) {
        wave(&format!("default-{}", engine.name()), Setup::new(engine, mock()));
    }
}
