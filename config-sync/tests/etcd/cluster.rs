//! A cluster of three, of which members die.

use std::time::Duration;

use crate::direct::Direct;
use crate::heard::{Call, Follower, PREFIX, hasty};
use crate::support::etcd::Etcd;

#[test]
fn members_may_die_as_long_as_there_is_a_quorum_and_an_old_truth_is_not_confirmed() {
    let [mut first, second, mut third] = Etcd::start_three();
    let mut direct = Direct::connect(second.addr());
    direct.put("/sluice/models/a", "1");
    let mut all = hasty(&[first.addr(), second.addr(), third.addr()], PREFIX);
    // A cluster that elects takes a while.
    all.request_timeout = Some(Duration::from_secs(3));
    let of_three = Follower::start(all);
    let follower = &of_three;
    follower.confirmed_again();
    first.kill();
    follower.until("a loss", |heard| heard.losses().first().map(drop));
    put_when_elected(&second, "2");
    follower.heals(&mut direct);

    // One of three is left: it answers, but knows nothing that it may vouch for.
    let mut alone = hasty(&[second.addr()], PREFIX);
    alone.request_timeout = Some(Duration::from_secs(3));
    let follower = Follower::start(alone);
    follower.confirmed_again();
    third.kill();
    follower.until("losses", |heard| (heard.losses().len() >= 3).then_some(()));
    let heard = follower.lock();
    let mut last = heard.calls.iter().rev().take(3);
    let quiet = last.all(|call| matches!(call, Call::Lost(_)));
    assert!(quiet, "{heard:?}");
    drop(heard);

    third.restart();
    put_when_elected(&second, "3");
    for follower in [&of_three, &follower] {
        follower.heals(&mut direct);
    }
}

/// Puts a row as soon as the members that are left have a leader.
fn put_when_elected(member: &Etcd, value: &str) {
    let put = || member.run_ctl(&["put", "/sluice/models/a", value]);
    let done = (0..10).any(|_| put().is_ok());
    assert!(done, "no leader");
}
