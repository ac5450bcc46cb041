//! Where the descriptors of a process are.

use std::fs;

use crate::engine::without;
use crate::on_both_engines;
use crate::support::gateway::{chat, post};
use crate::support::{Gateway, Raw, Setup, mock, wait_for};

const CONNECTIONS: usize = 40;
/// Scrapes that may be on their way, and what else comes and goes in the rest of the process.
const OTHERS_MAX: usize = 8;

/// Open descriptors in the table of the thread with this name.
fn open(gateway: &Gateway, name: &str) -> usize {
    let threads = fs::read_dir(format!("/proc/{}/task", gateway.child.id()));
    let threads = threads.expect("the kernel lists threads").flatten();
    let mut named = threads.filter(|thread| {
        let comm = fs::read_to_string(thread.path().join("comm"));
        comm.is_ok_and(|comm| comm.trim_end() == name)
    });
    let thread = named.next().expect("it runs");
    fs::read_dir(thread.path().join("fd"))
        .expect("it lives")
        .count()
}

fn files_max(gateway: &Gateway) -> f64 {
    let serving = gateway.logged("serving").expect("it serves");
    serving["open_files_max"].as_f64().expect("a limit")
}

on_both_engines! {
    fn each_worker_has_a_table_of_its_own(engine) {
        let gateway = Setup::new(engine, mock()).with("proxy.workers", 2).start_ready();
        let held: Vec<Raw> = (0..CONNECTIONS).map(|_| {
            let mut raw = gateway.connect();
            raw.send(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n");
            assert_eq!(raw.response().status, 200);
            raw
        }).collect();
        let of_workers = || open(&gateway, "sluice-0") + open(&gateway, "sluice-1");
        let metric = |name| gateway.metric(name, &[]) as usize;
        let (own, shared, all) = (of_workers(), open(&gateway, "sluice"), metric("process_open_fds"));
        drop(held);
        wait_for("the tables of workers to have places again", || {
            (of_workers() + CONNECTIONS == own).then_some(())
        });
        assert!(open(&gateway, "sluice").abs_diff(shared) <= OTHERS_MAX, "{shared}");
        let gone = all - metric("process_open_fds");
        assert!(gone.abs_diff(CONNECTIONS) <= OTHERS_MAX, "{gone}");
        assert_eq!(gateway.metric("process_max_fds", &[]), files_max(&gateway) * 3.0);
    }

    fn without_such_tables_one_is_shared(engine) {
        let mut setup = Setup::new(engine, mock());
        // close_range
        setup.wrapper = without("436");
        let gateway = setup.start_ready();
        let mut held = gateway.connect();
        held.send(&post("/v1/chat/completions", &chat("m", true)));
        assert!(held.response().text().ends_with("data: [DONE]\n\n"));
        assert_eq!(gateway.metric("process_max_fds", &[]), files_max(&gateway));
        assert!(open(&gateway, "sluice-0").abs_diff(open(&gateway, "sluice")) <= OTHERS_MAX);
        wait_for("it to be told", || gateway.logged("workers share one table of descriptors"));
    }
}
