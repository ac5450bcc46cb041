//! What a service manager hears on its socket.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use rustix::process::Signal;

use crate::on_both_engines;
use crate::support::{Engine, PATIENCE, Setup, mock};
use crate::upgrade::Generations;

fn hear(socket: &UnixDatagram) -> String {
    let mut buf = [0; 256];
    let count = socket.recv(&mut buf).expect("a datagram");
    String::from_utf8(buf[..count].to_vec()).expect("text")
}

fn is_told_of_its_life(engine: Engine, socket: &UnixDatagram, name: &str) {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut setup = Setup::new(engine, mock());
    setup.env.push(("NOTIFY_SOCKET".into(), name.into()));
    let mut gateway = setup.start();
    assert_eq!(hear(socket), "READY=1");
    assert_eq!(gateway.get("/livez").status, 200);
    gateway.signal(Signal::TERM);
    assert_eq!(hear(socket), "STOPPING=1");
    assert_eq!(gateway.ended().code(), Some(0));
}

on_both_engines! {
    fn the_manager_hears_of_ready_and_stopping(engine) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        is_told_of_its_life(engine, &socket, path.to_str().unwrap());
    }

    fn an_abstract_socket_is_as_good(engine) {
        let name = format!("sluice-test-{}-{}", std::process::id(), engine.name());
        let addr = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&addr).unwrap();
        is_told_of_its_life(engine, &socket, &format!("@{name}"));
    }

    fn the_manager_hears_who_took_over(engine) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut setup = Setup::new(engine, mock());
        setup.env.push(("NOTIFY_SOCKET".into(), path.to_str().unwrap().into()));
        let mut gateway = Generations::start(setup);
        assert_eq!(hear(&socket), "READY=1");
        let new = gateway.upgrade();
        // The new process says that it serves; whose it is, only the old one may say.
        assert_eq!(hear(&socket), "READY=1");
        assert_eq!(hear(&socket), format!("MAINPID={new}"));
        assert_eq!(gateway.ended().code(), Some(0));
        gateway.signal_newest(Signal::TERM);
        assert_eq!(hear(&socket), "STOPPING=1");
    }

    fn a_manager_that_is_not_there_stops_nothing(engine) {
        let mut setup = Setup::new(engine, mock());
        setup.env.push(("NOTIFY_SOCKET".into(), "/not/there".into()));
        let gateway = setup.start();
        assert_eq!(gateway.get("/livez").status, 200);
        let warning = crate::support::wait_for("a warning", || {
            gateway.logged("the service manager could not be told")
        });
        assert_eq!(warning["level"], "WARN");
    }
}
