//! What the workers wait with, and where they run: the ladder of `proxy.io_engine`, `proxy.workers`.

use std::net::SocketAddr;

use rustix::process::geteuid;
use rustix::thread::{CpuSet, sched_getaffinity};

use crate::on_both_engines;
use crate::support::gateway::{chat, post};
use crate::support::{Engine, Gateway, Setup, mock, wait_for};

/// Runs its arguments but the first with the system calls of these numbers refused.
const WITHOUT: &str = r#"
import ctypes, os, struct, sys
def op(code, jt, jf, k): return struct.pack("HBBI", code, jt, jf, k)
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
EPERM, ALLOW = 0x00050001, 0x7fff0000
code = op(LOAD, 0, 0, 0)
refused = [int(number) for number in sys.argv[1].split(",")]
for at, number in enumerate(refused): code += op(EQUAL, len(refused) - at, 0, number)
code += op(RETURN, 0, 0, ALLOW) + op(RETURN, 0, 0, EPERM)
rules = ctypes.create_string_buffer(code)
class Program(ctypes.Structure): _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
program = Program(len(code) // 8, ctypes.addressof(rules))
libc = ctypes.CDLL(None, use_errno=True)
one, zero = ctypes.c_ulong(1), ctypes.c_ulong(0)
assert libc.prctl(38, one, zero, zero, zero) == 0, "no_new_privs"
assert libc.prctl(22, ctypes.c_ulong(2), ctypes.byref(program), zero, zero) == 0, "seccomp"
os.execv(sys.argv[2], sys.argv[2:])
"#;

/// Without io_uring's system calls, as containers are by default. The numbers are the same on every 64-bit architecture.
pub(crate) fn without_io_uring() -> Vec<String> {
    without("425,426,427")
}

pub(crate) fn without(calls: &str) -> Vec<String> {
    ["python3", "-c", WITHOUT, calls].map(String::from).into()
}

/// With at most `bytes` of locked memory, and without the right to exceed them. Locked memory is
/// accounted by user, so each test takes a `user` of its own.
pub(crate) fn scarce_memory(bytes: u32, user: u32) -> Vec<String> {
    let mut words = vec!["prlimit".to_owned(), format!("--memlock={bytes}:{bytes}")];
    if geteuid().is_root() {
        words.extend([
            "setpriv".to_owned(),
            format!("--reuid={user}"),
            format!("--regid={user}"),
            "--clear-groups".to_owned(),
            "--inh-caps=-all".to_owned(),
            "--bounding-set=-all".to_owned(),
        ]);
    }
    words
}

fn auto(mock: SocketAddr, wrapper: Vec<String>) -> Setup {
    let mut setup = Setup::new(Engine::Epoll, mock).with("proxy.io_engine", "auto");
    setup.wrapper = wrapper;
    setup
}

fn serves_a_stream(gateway: &Gateway) {
    let mut raw = gateway.connect();
    let body = chat("script/events=5,gap_ms=1", true);
    raw.send(&post("/v1/chat/completions", &body));
    let answer = raw.response();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().ends_with("data: [DONE]\n\n"));
}

/// The log, the status page and the gauge name one engine: which?
fn engine_shown(gateway: &Gateway) -> String {
    let line = gateway.logged("serving").expect("it serves");
    let engine = line["io_engine"].as_str().expect("an engine").to_owned();
    let page = gateway.status_page("/status/ready?verbose");
    assert_eq!(page.status, 200);
    let shown = format!("[+]io_engine {engine}\n");
    assert!(page.text().contains(&shown), "{}", page.text());
    let others = ["io_uring", "epoll"].into_iter();
    for name in others {
        let label = format!("engine=\"{name}\"");
        let gauge = gateway.metric("sluice_runtime_io_engine_info", &[&label]);
        assert_eq!(gauge, f64::from(u8::from(name == engine)), "{name}");
    }
    engine
}

/// What the log says about the step down the ladder.
fn fallback(gateway: &Gateway) -> Option<(String, String)> {
    let line = gateway.logged(
        "the preferred I/O engine is not to be had here (docs/operations.md, \"io_uring\")",
    )?;
    let word = |key: &str| line[key].as_str().expect(key).to_owned();
    assert_eq!(line["level"], "WARN");
    Some((word("engine"), word("reason")))
}

on_both_engines! {
    fn the_engine_that_was_asked_for_is_shown_everywhere(engine) {
        let gateway = Setup::new(engine, mock()).start();
        serves_a_stream(&gateway);
        assert_eq!(engine_shown(&gateway), engine.name());
        assert_eq!(fallback(&gateway), None);
    }
}

#[test]
fn little_locked_memory_leads_to_a_lower_rung_that_serves_streams_and_says_why() {
    let gateway = auto(mock(), scarce_memory(64 * 1024, 64_001)).start();
    serves_a_stream(&gateway);
    let engine = engine_shown(&gateway);
    // Kernels that account rings elsewhere need no step down.
    match fallback(&gateway) {
        Some((named, reason)) => {
            assert_eq!(named, engine);
            assert!(reason.contains("Cannot allocate memory"), "{reason}");
        }
        None => assert_eq!(engine, "io_uring"),
    }
}

#[test]
fn no_locked_memory_leads_to_epoll() {
    let gateway = auto(mock(), scarce_memory(0, 64_002)).start();
    serves_a_stream(&gateway);
    let engine = engine_shown(&gateway);
    match fallback(&gateway) {
        Some((named, _)) => assert_eq!((named.as_str(), engine.as_str()), ("epoll", "epoll")),
        None => assert_eq!(engine, "io_uring"),
    }
}

#[test]
fn where_io_uring_is_denied_the_gateway_serves_on_epoll_and_says_so() {
    // All of it, or only the entering of rings that may be set up.
    for wrapper in [without_io_uring(), without("426")] {
        let gateway = auto(mock(), wrapper).start();
        serves_a_stream(&gateway);
        assert_eq!(engine_shown(&gateway), "epoll");
        let (engine, reason) = fallback(&gateway).expect("a warning");
        assert_eq!(engine, "epoll");
        assert!(reason.contains("Operation not permitted"), "{reason}");
    }
}

#[test]
fn where_io_uring_is_denied_and_demanded_the_gateway_does_not_start() {
    let mut setup = Setup::new(Engine::IoUring, mock());
    setup.wrapper = without_io_uring();
    let mut gateway = setup.spawn();
    assert_eq!(gateway.ended().code(), Some(1));
    let stderr = wait_for("the reason", || {
        let text = gateway.stderr();
        text.contains("Error: ").then_some(text)
    });
    assert!(
        stderr.contains("Error: proxy.io_engine: Operation not permitted"),
        "{stderr}"
    );
    assert!(!stderr.contains("serving"), "{stderr}");
}

#[test]
fn where_locked_memory_is_scarce_a_demanded_ring_is_had_or_the_gateway_does_not_start() {
    let mut setup = Setup::new(Engine::IoUring, mock());
    setup.wrapper = scarce_memory(0, 64_003);
    let mut gateway = setup.spawn();
    let ended = wait_for("an outcome", || match gateway.child.try_wait().unwrap() {
        Some(status) => Some(Some(status)),
        None => gateway.logged("serving").map(|_| None),
    });
    match ended {
        Some(status) => {
            assert_eq!(status.code(), Some(1));
            wait_for("the reason", || {
                gateway
                    .stderr()
                    .contains("Error: proxy.io_engine: ")
                    .then_some(())
            });
        }
        None => assert_eq!(gateway.logged("serving").unwrap()["io_engine"], "io_uring"),
    }
}

/// The CPUs that each worker thread may run on, by the worker's number.
fn worker_cpus(gateway: &Gateway) -> Vec<String> {
    let tasks = format!("/proc/{}/task", gateway.child.id());
    let mut workers: Vec<(usize, String)> = std::fs::read_dir(tasks)
        .unwrap()
        .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("status")).ok())
        .filter_map(|status| {
            let field = |name: &str| {
                let line = status.lines().find(|line| line.starts_with(name))?;
                Some(line[name.len()..].trim().to_owned())
            };
            let number = field("Name:")?.strip_prefix("sluice-")?.parse().ok()?;
            Some((number, field("Cpus_allowed_list:")?))
        })
        .collect();
    workers.sort();
    let numbers: Vec<usize> = workers.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (0..workers.len()).collect::<Vec<_>>());
    workers.into_iter().map(|(_, cpus)| cpus).collect()
}

fn allowed_cpus() -> Vec<String> {
    let set = sched_getaffinity(None).unwrap();
    let cpus = (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu));
    cpus.map(|cpu| cpu.to_string()).collect()
}

/// With the defaults of `proxy.workers` and `proxy.pin_cpus`, kept to `cpus`.
fn on_cpus(cpus: &[String]) -> Gateway {
    let mut setup = Setup::new(Engine::Epoll, mock());
    let proxy = setup.config["proxy"].as_object_mut().unwrap();
    proxy.remove("workers");
    proxy.remove("pin_cpus");
    setup.wrapper = ["taskset".to_owned(), "-c".to_owned(), cpus.join(",")].into();
    let gateway = setup.start();
    let workers = gateway.logged("serving").unwrap()["workers"].as_u64();
    assert_eq!(workers, Some(worker_cpus(&gateway).len() as u64));
    gateway
}

#[test]
fn one_worker_per_allowed_cpu_each_pinned_to_its_own() {
    let all = allowed_cpus();
    let usable = std::thread::available_parallelism().unwrap().get();
    for cpus in [&all[..], &all[all.len() - 1..]] {
        let gateway = on_cpus(cpus);
        let placed = worker_cpus(&gateway);
        if usable < all.len() {
            // A CPU quota: fewer workers, and they float.
            assert!(placed.len() <= usable.min(cpus.len()));
            continue;
        }
        assert_eq!(placed, cpus);
        assert!(gateway.logged("workers are not pinned to CPUs").is_none());
    }
}

#[test]
fn more_workers_than_cpus_float() {
    let cpus = allowed_cpus();
    let mut setup = Setup::new(Engine::Epoll, mock())
        .with("proxy.workers", cpus.len() + 1)
        .with("proxy.pin_cpus", true);
    setup.wrapper = ["taskset".to_owned(), "-c".to_owned(), cpus.join(",")].into();
    let gateway = setup.start();
    let placed = worker_cpus(&gateway);
    assert_eq!(placed.len(), cpus.len() + 1);
    assert!(placed.iter().all(|at| *at == placed[0]), "{placed:?}");
    assert!(gateway.logged("workers are not pinned to CPUs").is_some());
    serves_a_stream(&gateway);
}

#[test]
fn several_workers_all_take_connections() {
    let gateway = Setup::new(Engine::Epoll, mock())
        .with("proxy.workers", 2)
        .start();
    // The kernel deals connections out by their ports' hash.
    wait_for("both workers to serve", || {
        serves_a_stream(&gateway);
        let lines = gateway.access_lines(1);
        let of = |worker: u64| lines.iter().any(|line| line["worker"] == worker);
        (of(0) && of(1)).then_some(())
    });
}

on_both_engines! {
    fn a_busy_port_fails_the_boot_although_workers_share_theirs(engine) {
        let first = Setup::new(engine, mock()).with("proxy.workers", 2).start();
        for (key, addr) in [
            ("proxy.addr", first.addr),
            ("observability.metrics.prometheus.addr", first.status_addr),
        ] {
            let addr = addr.to_string();
            let mut second = Setup::new(engine, mock()).with(key, addr.as_str()).spawn();
            assert_eq!(second.ended().code(), Some(1), "{key}");
            let report = format!("Error: {key} {addr}: Address already in use");
            wait_for(&report, || second.stderr().contains(&report).then_some(()));
        }
        serves_a_stream(&first);
    }
}
