//! Commands from outside.

use std::time::Duration;

use crate::direct::Direct;
use crate::heard::{Follower, PREFIX, now, options};
use crate::support::black_hole::BlackHole;
use crate::support::etcd::Etcd;
use crate::support::fault_proxy::{Fault, FaultProxy};

#[test]
fn a_resync_connects_and_lists_again_and_loses_nothing() {
    let etcd = Etcd::start();
    let mut direct = Direct::connect(etcd.addr());
    direct.put("/sluice/models/a", "1");
    let proxy = FaultProxy::start(etcd.addr());
    let follower = Follower::start(options(&[proxy.addr()], PREFIX));
    follower.confirmed_again();
    follower.resync();
    follower.listed_after(1);
    follower.confirmed_again();
    assert_eq!(proxy.accepted(), 2);
    assert!(follower.lock().losses().is_empty());
    direct.put("/sluice/models/a", "2");
    follower.agrees_with(&mut direct, PREFIX);
    // The connection before is closed.
    follower.until("one connection", |_| (proxy.open() == 1).then_some(()));
}

#[test]
fn a_resync_does_not_wait_for_the_back_off() {
    let etcd = Etcd::start();
    let proxy = FaultProxy::start(etcd.addr());
    proxy.set(Fault::Cut);
    let mut slow = options(&[proxy.addr()], PREFIX);
    slow.clocks.backoff_unit = Duration::from_secs(600);
    let follower = Follower::start(slow);
    follower.until("a loss", |heard| heard.losses().first().map(drop));
    proxy.set(Fault::None);
    follower.resync();
    follower.listed_after(0);
}

#[test]
fn closing_the_commands_ends_the_follower_wherever_it_is() {
    let runtime = crate::direct::runtime();
    let hole = runtime.block_on(BlackHole::new());
    let mut slow = options(&[hole.addr()], PREFIX);
    slow.dial_timeout = Some(Duration::from_secs(600));
    let dialling = Follower::start(slow);
    let mut slow = options(&["127.0.0.1:1".parse().unwrap()], PREFIX);
    slow.clocks.backoff_unit = Duration::from_secs(600);
    let waiting = Follower::start(slow);
    waiting.until("a loss", |heard| heard.losses().first().map(drop));
    let started = now();
    drop((dialling, waiting));
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn no_endpoint_at_all_is_said_and_not_spun_on() {
    let follower = Follower::start(options(&[], PREFIX));
    follower.until("a loss", |heard| {
        (heard.losses().first()?.contains("etcd.endpoints")).then_some(())
    });
}
