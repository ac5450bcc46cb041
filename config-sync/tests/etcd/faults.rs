//! Trouble on the way to a member that is well.

use std::net::SocketAddr;
use std::time::Duration;

use config_sync::source::etcd::{Endpoint, EtcdOptions};

use crate::direct::Direct;
use crate::heard::{Follower, PREFIX, hasty, options, pause};
use crate::support::black_hole::BlackHole;
use crate::support::etcd::Etcd;
use crate::support::fault_proxy::{Fault, FaultProxy};

/// A follower behind a proxy, with some rows listed.
struct Scene {
    follower: Follower,
    proxy: FaultProxy,
    direct: Direct,
    _etcd: Etcd,
}

impl Scene {
    fn new(options: fn(&[SocketAddr], &str) -> EtcdOptions) -> Self {
        let etcd = Etcd::start();
        let mut direct = Direct::connect(etcd.addr());
        for number in 0..20 {
            direct.put(format!("/sluice/models/{number}"), "before");
        }
        let proxy = FaultProxy::start(etcd.addr());
        let follower = Follower::start(options(&[proxy.addr()], PREFIX));
        follower.confirmed_again();
        Self {
            follower,
            proxy,
            direct,
            _etcd: etcd,
        }
    }

    /// Changes, adds and deletes a row.
    fn write(&mut self, value: &str) {
        self.direct.put("/sluice/models/0", value);
        self.direct
            .put(format!("/sluice/models/new-{value}"), value);
        self.direct.delete("/sluice/models/1");
    }

    /// Writes under `fault`, waits until the follower has noticed it, heals.
    fn suffer(&mut self, fault: Fault) {
        let before = self.follower.lock().losses().len();
        self.proxy.set(fault);
        self.write("during");
        self.follower.until("a loss", |heard| {
            (heard.losses().len() > before).then_some(())
        });
        self.write("later");
        self.proxy.set(Fault::None);
        self.follower.heals(&mut self.direct);
        self.write("after");
        self.follower.agrees_with(&mut self.direct, PREFIX);
    }
}

#[test]
fn a_connection_that_is_cut_is_made_again() {
    let mut scene = Scene::new(hasty);
    for _ in 0..3 {
        scene.suffer(Fault::Cut);
    }
}

#[test]
fn a_connection_that_swallows_everything_counts_as_dead() {
    let mut scene = Scene::new(hasty);
    scene.suffer(Fault::HalfOpen);
}

#[test]
fn a_connection_that_brings_no_answers_counts_as_dead() {
    let mut scene = Scene::new(hasty);
    scene.suffer(Fault::Mute);
}

#[test]
fn a_slow_connection_is_used_as_it_is() {
    let mut scene = Scene::new(options);
    scene.proxy.set(Fault::Slow(Duration::from_millis(30)));
    for round in 0..5 {
        scene.write(&format!("slow-{round}"));
        scene.follower.agrees_with(&mut scene.direct, PREFIX);
    }
    let listed = scene.follower.lock().listings();
    scene.follower.resync();
    scene.follower.listed_after(listed);
    assert!(scene.follower.lock().losses().is_empty());
}

#[test]
fn an_endpoint_that_never_answers_the_dial_is_passed_over() {
    let etcd = Etcd::start();
    let runtime = crate::direct::runtime();
    let hole = runtime.block_on(BlackHole::new());
    let mut some = options(&[hole.addr(), etcd.addr()], PREFIX);
    some.dial_timeout = Some(Duration::from_secs(2));
    let follower = Follower::start(some);
    follower.listed_after(0);
    let heard = follower.lock();
    let place = format!("etcd http://{}: ", hole.addr());
    assert_eq!(heard.losses().len(), 1, "{heard:?}");
    assert!(heard.losses()[0].starts_with(&place), "{heard:?}");
}

#[test]
fn a_name_that_does_not_resolve_is_passed_over() {
    let etcd = Etcd::start();
    let mut some = options(&[etcd.addr()], PREFIX);
    some.endpoints.insert(
        0,
        Endpoint::parse("http://no-such-host.invalid:2379").unwrap(),
    );
    let follower = Follower::start(some);
    follower.listed_after(0);
    let heard = follower.lock();
    assert!(heard.losses()[0].contains("no-such-host.invalid"));
}

#[test]
fn a_port_that_speaks_something_else_is_a_failure() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr: SocketAddr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        use std::io::Write;
        for stream in listener.incoming() {
            let _ = stream
                .unwrap()
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let follower = Follower::start(options(&[addr], PREFIX));
    follower.until("failures", |heard| {
        (heard.losses().len() >= 3).then_some(())
    });
    assert_eq!(follower.lock().listings(), 0);
}

#[test]
fn whatever_happens_on_the_way_the_follower_ends_up_with_what_is_stored() {
    let seed: u64 = rand_seed();
    println!("seed {seed}");
    let mut scene = Scene::new(hasty);
    let mut state = seed;
    let mut random = move |below: u64| {
        // Knuth's multiplier and increment.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for round in 0..12 {
        let fault = match random(5) {
            0 => Fault::None,
            1 => Fault::Cut,
            2 => Fault::HalfOpen,
            3 => Fault::Mute,
            _ => Fault::Slow(Duration::from_millis(random(40))),
        };
        scene.proxy.set(fault);
        for step in 0..10 {
            let key = format!("/sluice/models/{}", random(20));
            if random(4) == 0 {
                scene.direct.delete(&key);
            } else {
                scene.direct.put(key, format!("{round}-{step}"));
            }
            pause(Duration::from_millis(random(40)));
        }
    }
    scene.proxy.set(Fault::None);
    scene.follower.heals(&mut scene.direct);
    scene.write("after");
    scene.follower.agrees_with(&mut scene.direct, PREFIX);
}

/// The seed to replay, or another one each time.
fn rand_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let given = std::env::var("SEED").ok();
    given.map_or_else(
        || RandomState::new().build_hasher().finish(),
        |seed| seed.parse().unwrap(),
    )
}
