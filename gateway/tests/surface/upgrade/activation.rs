//! Sockets that a service manager has opened.

use super::Generations;
use super::generations::until_ended;
use crate::on_both_engines;
use crate::support::gateway::chat;
use crate::support::{Setup, mock};

/// Opens two sockets as systemd would, says where the first one listens, becomes the program.
const MANAGER: &str = "
import os, socket, sys
sockets = [socket.create_server(('127.0.0.1', 0)) for _ in range(2)]
sys.stderr.write('{\"message\":\"manager\",\"port\":%d}\\n' % sockets[0].getsockname()[1])
sys.stderr.flush()
high = [os.dup2(s.fileno(), 50 + i) for i, s in enumerate(sockets)]
for i, fd in enumerate(high): os.dup2(fd, 3 + i)
for fd in high: os.close(fd)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='2', LISTEN_FDNAMES='proxy:metrics')
os.execv(sys.argv[1], sys.argv[1:])
";

on_both_engines! {
    fn they_are_taken_and_passed_on(engine) {
        // More workers than sockets: they share.
        let mut setup = Setup::new(engine, mock()).with("proxy.workers", 2);
        setup.wrapper = ["python3", "-c", MANAGER].map(str::to_owned).to_vec();
        let gateway = Generations::start(setup);
        let port = gateway.until_said("manager", 1)["port"].clone();
        assert_eq!(port, gateway.addr.port());
        let old = gateway.newest();
        for _ in 0..8 {
            let answer = gateway.post("/v1/chat/completions", &chat("m", false));
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        gateway.upgrade();
        until_ended(old);
        assert_eq!(gateway.get("/readyz").status, 200);
        gateway.until_ready();
    }
}

#[test]
fn a_descriptor_that_is_no_listening_socket_ends_the_start() {
    let cases = [
        ("SLUICE_LISTEN_FDS", "proxy=0"),
        ("SLUICE_LISTEN_FDS", "proxy=2000"),
        ("SLUICE_LISTEN_FDS", "admin=7"),
        ("SLUICE_READY_FD", "x"),
    ];
    for (name, value) in cases {
        let mut setup = Setup::new(crate::support::Engine::Epoll, mock());
        setup.env.push((name.to_owned(), value.to_owned()));
        let mut gateway = setup.spawn();
        assert_eq!(gateway.ended().code(), Some(1), "{value}");
        let text = crate::support::wait_for("a word", || {
            Some(gateway.stderr()).filter(|text| text.contains("Error"))
        });
        assert!(text.contains(name), "{text}");
    }
}
