//! Stores whose history was cut short or went back.

use std::time::Duration;

use crate::direct::{Direct, Stop};
use crate::heard::{Follower, PREFIX, options, pause};
use crate::support::etcd::Etcd;
use crate::support::fault_proxy::{Fault, FaultProxy};

#[test]
fn a_history_compacted_while_nobody_listened_is_no_loss() {
    let etcd = Etcd::start();
    let mut direct = Direct::connect(etcd.addr());
    direct.put("/sluice/models/a", "1");
    let proxy = FaultProxy::start(etcd.addr());
    let follower = Follower::start(options(&[proxy.addr()], PREFIX));
    follower.confirmed_again();
    proxy.set(Fault::Cut);
    let mut last = 0;
    for number in 0..50 {
        last = direct.put(format!("/sluice/models/{number}"), "2");
    }
    direct.delete("/sluice/models/a");
    direct.compact(last);
    proxy.set(Fault::None);
    follower.heals(&mut direct);
}

#[test]
fn a_history_compacted_between_pages_is_listed_again() {
    let etcd = Etcd::start();
    let mut direct = Direct::connect(etcd.addr());
    for number in 0..100 {
        direct.put(format!("/sluice/models/{number:03}"), "1");
    }
    let proxy = FaultProxy::start(etcd.addr());
    // A listing takes 20 pages of some 100 ms; the history is cut every 30 ms, or as often as the disk
    // can do it.
    proxy.set(Fault::Slow(Duration::from_millis(50)));
    let mut paged = options(&[proxy.addr()], PREFIX);
    paged.clocks.page_rows = 5;
    let stop = Stop::default();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut direct = Direct::connect(etcd.addr());
            while !stop.is_set() {
                let revision = direct.put("/sluice/models/000", "2");
                direct.compact(revision);
                pause(Duration::from_millis(30));
            }
        });
        let guard = stop.guard();
        let follower = Follower::start(paged);
        let compacted = |heard: &crate::heard::Heard| {
            let mut losses = heard.losses().into_iter();
            losses.find(|why| why.contains("compacted")).map(drop)
        };
        // Said only after several in a row: not one of those listings came to its end.
        follower.until("many compactions", compacted);
        drop(guard);
        writer.join().unwrap();
        proxy.set(Fault::None);
        follower.heals(&mut direct);
    });
}

#[test]
fn a_store_restored_to_a_lower_revision_is_taken_as_it_is() {
    let mut etcd = Etcd::start();
    let mut direct = Direct::connect(etcd.addr());
    direct.put("/sluice/models/kept", "old");
    direct.put("/sluice/models/deleted", "back again");
    let backup = etcd.save();
    direct.delete("/sluice/models/deleted");
    let mut last = 0;
    for number in 0..50 {
        last = direct.put("/sluice/models/kept", format!("new {number}"));
    }
    direct.put("/sluice/models/lost", "x");
    let follower = Follower::start(options(&[etcd.addr()], PREFIX));
    follower.confirmed_again();
    follower.agrees_with(&mut direct, PREFIX);
    follower.lock().may_regress = true;
    etcd.restore(&backup);
    let mut direct = Direct::connect(etcd.addr());
    follower.heals(&mut direct);
    let heard = follower.lock();
    assert!(heard.revision < last, "{heard:?}");
    assert_eq!(heard.rows["/sluice/models/kept"].0, b"old");
    drop(heard);
    // Its revisions, which the follower has seen before, are heard as they come.
    let revision = direct.put("/sluice/models/kept", "newer");
    assert!(revision < last);
    let seen = |heard: &crate::heard::Heard| (heard.revision == revision).then_some(());
    follower.until("the change", seen);
    follower.agrees_with(&mut direct, PREFIX);
}

#[test]
fn another_store_at_the_same_address_is_taken_as_it_is() {
    let (old, new) = (Etcd::start(), Etcd::start());
    let mut direct = Direct::connect(old.addr());
    for number in 0..10 {
        direct.put(format!("/sluice/models/{number}"), "old");
    }
    let mut direct = Direct::connect(new.addr());
    direct.put("/sluice/models/0", "new");
    let proxy = FaultProxy::start(old.addr());
    let follower = Follower::start(options(&[proxy.addr()], PREFIX));
    follower.confirmed_again();
    follower.lock().may_regress = true;
    proxy.retarget(new.addr());
    proxy.set(Fault::Cut);
    follower.until("a loss", |heard| heard.losses().first().map(drop));
    proxy.set(Fault::None);
    follower.heals(&mut direct);
}

#[test]
fn a_member_that_was_killed_is_followed_again_when_it_returns() {
    let mut etcd = Etcd::start();
    let mut direct = Direct::connect(etcd.addr());
    direct.put("/sluice/models/a", "1");
    let follower = Follower::start(options(&[etcd.addr()], PREFIX));
    follower.confirmed_again();
    etcd.kill();
    follower.until("a loss", |heard| heard.losses().first().map(drop));
    etcd.restart();
    let mut direct = Direct::connect(etcd.addr());
    direct.put("/sluice/models/b", "2");
    follower.heals(&mut direct);
}
