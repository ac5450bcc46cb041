//! The bounds on what is taken in, as a client of HTTP/2 meets them.

use super::client::{H2, get, post};
use crate::on_both_engines;
use crate::support::gateway::chat;
use crate::support::{Setup, mock, wait_for};

const CHAT: &str = "/v1/chat/completions";

on_both_engines! {
    fn requests_beyond_the_limit_are_told_so_on_their_streams(engine) {
        let gateway = Setup::new(engine, mock())
            .with("proxy.max_requests_per_worker", 2)
            .start_ready();
        let mut h2 = H2::connect(&gateway);
        let (request, body) = post(CHAT, &chat("script/events=20,gap_ms=100", true));
        let streams = [(); 2].map(|()| h2.ask(request.clone(), &body));
        wait_for("two in flight", || (gateway.in_flight() == 2.0).then_some(()));
        // Before the body: none of it is sent.
        let asked = h2.begin(request, false).unwrap();
        let answer = h2.whole(asked.response).unwrap();
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
        assert_eq!(answer.error()["code"], "overloaded");
        assert_eq!(h2.answer(get("/livez"), b"").status, 200);
        assert_eq!(h2.answer(get("/v1/models"), b"").status, 200);
        for stream in streams {
            let answer = h2.whole(stream.response).unwrap();
            assert!(answer.text().ends_with("data: [DONE]\n\n"));
        }
        let (request, body) = post(CHAT, &chat("m", false));
        wait_for("room", || (h2.answer(request.clone(), &body).status == 200).then_some(()));
    }

    fn a_connection_beyond_the_limit_is_told_so_and_to_go(engine) {
        let gateway = Setup::new(engine, mock())
            .with("proxy.max_connections_per_worker", 1)
            .start_ready();
        let _held = gateway.connect();
        wait_for("the one place to be taken", || {
            let open = gateway.metric("sluice_runtime_core_connections", &["side=\"downstream\""]);
            (open == 1.0).then_some(())
        });
        let mut h2 = H2::connect(&gateway);
        let (request, body) = post(CHAT, &chat("m", false));
        let answer = h2.answer(request, &body);
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
        assert_eq!(h2.ended().map(|error| error.to_string()), None);
        let mut h2 = H2::connect(&gateway);
        assert_eq!(h2.answer(get("/livez"), b"").status, 200);
        // One that asks nothing is told to go as well.
        assert_eq!(H2::connect(&gateway).ended().map(|error| error.to_string()), None);
    }

    fn above_the_mark_of_memory_streams_are_refused(engine) {
        let gateway = Setup::new(engine, mock())
            .with("proxy.memory.high_bytes", 1)
            .start_ready();
        let mut h2 = H2::connect(&gateway);
        let (request, body) = post(CHAT, &chat("m", false));
        assert_eq!(h2.answer(request, &body).status, 503);
        let mut h2 = H2::connect(&gateway);
        assert_eq!(h2.answer(get("/readyz"), b"").status, 200);
    }
}
