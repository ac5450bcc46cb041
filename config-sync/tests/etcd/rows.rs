//! What is listed and watched while all is well.

use etcd_client::TxnOp;

use crate::direct::{Direct, Stop};
use crate::heard::{Call, Follower, PREFIX, options};
use crate::support::etcd::Etcd;

#[test]
fn rows_are_listed_and_then_every_change_is_told() {
    let etcd = Etcd::start();
    let mut direct = Direct::connect(etcd.addr());
    direct.put("/sluice/models/a", "1");
    let listed = direct.put("/sluice/models/b", "2");
    let follower = Follower::start(options(&[etcd.addr()], PREFIX));
    follower.listed_after(0);
    follower.confirmed_again();
    let mut last = 0;
    for step in 0..3 {
        last = match step {
            0 => direct.put("/sluice/models/c", "3"),
            1 => direct.put("/sluice/models/a", "4"),
            _ => direct.delete("/sluice/models/b"),
        };
        let seen = |heard: &crate::heard::Heard| (heard.revision == last).then_some(());
        follower.until("the change", seen);
    }
    follower.agrees_with(&mut direct, PREFIX);
    let heard = follower.lock();
    let Call::Listing { revision, rows } = heard.calls[0] else {
        panic!("{:?}", heard.calls);
    };
    assert_eq!((revision, rows, heard.revision), (listed, 2, last));
    assert_eq!(heard.batches(), [1, 1, 1]);
    assert_eq!((heard.listings(), heard.losses().len()), (1, 0));
}

#[test]
fn a_transaction_of_several_rows_is_one_batch() {
    let etcd = Etcd::start();
    let mut direct = Direct::connect(etcd.addr());
    direct.put("/sluice/models/old", "x");
    let follower = Follower::start(options(&[etcd.addr()], PREFIX));
    follower.confirmed_again();
    // More than etcd's messages usually hold, so that they would be cut if they could be.
    let value = "v".repeat(12 << 10);
    let put = |number| TxnOp::put(format!("/sluice/models/{number}"), value.clone(), None);
    let mut operations: Vec<TxnOp> = (0..100).map(put).collect();
    operations.push(TxnOp::delete("/sluice/models/old", None));
    operations.push(TxnOp::put("/neighbour/models/0", "", None));
    for _ in 0..3 {
        direct.together(operations.clone());
    }
    follower.agrees_with(&mut direct, PREFIX);
    let batches = follower.lock().batches();
    // The second time there is nothing left to delete; one answer may hold several transactions.
    assert_eq!(batches.iter().sum::<usize>(), 301);
    for changes in batches {
        assert!(
            [100, 101, 200, 201, 300, 301].contains(&changes),
            "{changes}"
        );
    }
}

#[test]
fn neighbours_of_the_prefix_are_not_ours() {
    let etcd = Etcd::start();
    let mut direct = Direct::connect(etcd.addr());
    let neighbours = [
        "/sluice",
        "/sluice0",
        "/sluice2/models/a",
        "/sluice-staging/models/a",
    ];
    for key in neighbours {
        direct.put(key, "x");
    }
    direct.put("/sluice/models/a", "ours");
    direct.put("/sluice/blue/models/a", "blue");
    direct.put("/sluice/blue2/models/a", "x");
    let follower = Follower::start(options(&[etcd.addr()], PREFIX));
    let blue = Follower::start(options(&[etcd.addr()], "/sluice/blue"));
    for (follower, want) in [(&follower, 3), (&blue, 1)] {
        follower.confirmed_again();
        assert_eq!(follower.lock().rows.len(), want);
    }
    let last = neighbours.map(|key| direct.put(key, "y")).into_iter().max();
    // They are not told, but that nothing of ours changed up to there is.
    let confirmed = |heard: &crate::heard::Heard| (heard.confirmed() >= last).then_some(());
    follower.until("a later confirmation", confirmed);
    for follower in [&follower, &blue] {
        assert!(follower.lock().batches().is_empty());
    }
    follower.agrees_with(&mut direct, PREFIX);
    blue.agrees_with(&mut direct, "/sluice/blue");
}

#[test]
fn a_quiet_store_is_confirmed_again_and_again() {
    let etcd = Etcd::start();
    let revision = Direct::connect(etcd.addr()).put("/sluice/models/a", "1");
    let follower = Follower::start(options(&[etcd.addr()], PREFIX));
    for _ in 0..10 {
        assert_eq!(follower.confirmed_again(), revision);
    }
    let heard = follower.lock();
    assert_eq!((heard.listings(), heard.losses().len()), (1, 0));
}

#[test]
fn pages_show_one_revision_while_rows_are_written() {
    let etcd = Etcd::start();
    let mut direct = Direct::connect(etcd.addr());
    let key = |number: usize| format!("/sluice/models/{number:04}");
    let numbers: Vec<usize> = (0..2500).collect();
    for some in numbers.chunks(125) {
        let rows: Vec<_> = some.iter().map(|it| (key(*it), "0".to_owned())).collect();
        direct.put_together(&rows);
    }
    let stop = Stop::default();
    let mut paged = options(&[etcd.addr()], PREFIX);
    paged.clocks.page_rows = 100;
    std::thread::scope(|scope| {
        // The first and the last row, far apart, always have the same value.
        let writer = scope.spawn(|| {
            let mut direct = Direct::connect(etcd.addr());
            for count in 1.. {
                if stop.is_set() {
                    return;
                }
                let value = count.to_string();
                direct.put_together(&[(key(0), value.clone()), (key(2499), value)]);
            }
        });
        let guard = stop.guard();
        let follower = Follower::start(paged);
        for round in 0..5 {
            follower.until("a whole listing", |heard| {
                let (first, last) = (&heard.rows.get(&key(0))?.0, &heard.rows.get(&key(2499))?.0);
                assert_eq!((first, heard.rows.len()), (last, 2500));
                (heard.listings() > round).then_some(())
            });
            follower.resync();
        }
        follower.listed_after(5);
        drop(guard);
        writer.join().unwrap();
        follower.agrees_with(&mut direct, PREFIX);
        assert_eq!(follower.lock().losses(), [""; 0]);
    });
}

#[test]
fn pages_that_are_too_large_are_read_in_halves() {
    let etcd = Etcd::start();
    let mut direct = Direct::connect(etcd.addr());
    for number in 0..70 {
        direct.put(format!("/sluice/models/{number}"), vec![b'x'; 1 << 20]);
    }
    let follower = Follower::start(options(&[etcd.addr()], PREFIX));
    follower.listed_after(0);
    let heard = follower.lock();
    assert_eq!((heard.rows.len(), heard.losses().len()), (70, 0));
}

#[test]
fn a_key_that_is_no_text_does_not_stop_the_others() {
    let etcd = Etcd::start();
    let mut direct = Direct::connect(etcd.addr());
    direct.put("/sluice/models/a", "1");
    direct.put(&b"/sluice/models/\xff"[..], "2");
    direct.put(&b"/sluice/models/\xff\xff"[..], "3");
    let mut paged = options(&[etcd.addr()], PREFIX);
    paged.clocks.page_rows = 1;
    let follower = Follower::start(paged);
    follower.confirmed_again();
    direct.put(&b"/sluice/models/\xfe"[..], "4");
    follower.until("the change", |heard| (heard.rows.len() == 4).then_some(()));
    let heard = follower.lock();
    let ids = ["\\xfe", "\\xff", "\\xff\\xff", "a"];
    let keys: Vec<_> = heard.rows.keys().collect();
    assert_eq!(
        keys,
        ids.map(|id| format!("/sluice/models/{id}")).each_ref()
    );
}
