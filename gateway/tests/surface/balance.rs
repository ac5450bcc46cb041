//! How evenly connections spread over workers.

use crate::on_both_engines;
use crate::support::gateway::{chat, get, post};
use crate::support::{Gateway, Raw, Setup, mock, wait_for};

const WORKERS: usize = 4;
const CONNECTIONS: usize = 800;
/// The kernel deals each connection by a hash of its addresses and ports, so a worker's share is as good as drawn:
/// binomial with p = 1/4. A share so far out that it, or one further out, is drawn less than once in ten million
/// times fails: four workers, two ways to come and two engines make that less than twice in a million runs.
const CHANCE: f64 = 1e-7;

/// The fewest and the most of `count` connections that one of `workers` workers gets, but for a chance of
/// [`CHANCE`].
fn share(count: usize, workers: usize) -> (usize, usize) {
    let p = 1.0 / workers as f64;
    let mut chance = (1.0 - p).powi(i32::try_from(count).expect("some hundreds"));
    let chances: Vec<f64> = (0..=count)
        .map(|drawn| {
            let this = chance;
            chance *= (count - drawn) as f64 / (drawn + 1) as f64 * p / (1.0 - p);
            this
        })
        .collect();
    let rare = |chances: &mut dyn Iterator<Item = &f64>| {
        let mut sum = 0.0;
        let rare = chances.take_while(|chance| {
            sum += **chance;
            sum < CHANCE / 2.0
        });
        rare.count()
    };
    let fewest = rare(&mut chances.iter());
    (fewest, count - rare(&mut chances.iter().rev()))
}

/// A figure of each worker about its callers' connections.
fn by_worker(gateway: &Gateway, name: &str) -> Vec<usize> {
    let of = |core: usize| {
        let core = format!("core=\"{core}\"");
        gateway.metric(name, &[&core, "side=\"downstream\""]) as usize
    };
    (0..WORKERS).map(of).collect()
}

fn open(gateway: &Gateway) -> Vec<usize> {
    by_worker(gateway, "sluice_runtime_core_connections")
}

fn opened(gateway: &Gateway) -> Vec<usize> {
    by_worker(gateway, "sluice_runtime_core_connections_opened_total")
}

fn even(what: &str, shares: &[usize]) {
    let (fewest, most) = share(CONNECTIONS, WORKERS);
    println!("{what} by worker: {shares:?}, each from {fewest} to {most}");
    assert_eq!(shares.iter().sum::<usize>(), CONNECTIONS);
    assert!(
        shares.iter().all(|share| (fewest..=most).contains(share)),
        "{what}: {shares:?}, not each from {fewest} to {most}"
    );
}

#[test]
fn what_may_be_drawn_is_known() {
    // Ten throws of a coin: none is no surprise. A thousand: 500, give or take 5.3 standard deviations of 15.8.
    assert_eq!(share(10, 2), (0, 10));
    assert_eq!(share(1_000, 2), (416, 584));
    assert_eq!(share(CONNECTIONS, WORKERS), (137, 267));
}

on_both_engines! {
    fn each_worker_has_its_share_of_kept_connections_and_of_short_ones(engine) {
        let gateway = Setup::new(engine, mock()).with("proxy.workers", WORKERS).start_ready();
        let request = post("/v1/chat/completions", &chat("m", false));
        let kept: Vec<Raw> = (0..CONNECTIONS)
            .map(|_| {
                let mut raw = gateway.connect();
                raw.send(&request);
                assert_eq!(raw.response().status, 200);
                raw
            })
            .collect();
        even("kept connections", &open(&gateway));
        drop(kept);
        wait_for("them to be gone", || {
            (open(&gateway) == [0; WORKERS]).then_some(())
        });
        let before = opened(&gateway);
        for _ in 0..CONNECTIONS {
            let mut raw = gateway.connect();
            raw.send(&get("/livez"));
            assert_eq!(raw.response().status, 200);
        }
        let short: Vec<usize> = opened(&gateway)
            .iter()
            .zip(before)
            .map(|(after, before)| after - before)
            .collect();
        even("short connections", &short);
    }
}
