//! Upstream hosts given by name.

use crate::on_both_engines;
use crate::support::gateway::{chat, post};
use crate::support::{Setup, mock};

fn at(setup: &mut Setup, base: &str) {
    setup.resources["provider_keys"][0]["api_base"] = base.into();
}

on_both_engines! {
    fn a_name_is_resolved_once_and_its_address_used(engine) {
        let upstream = mock();
        let mut setup = Setup::new(engine, upstream);
        at(&mut setup, &format!("http://localhost:{}/v1", upstream.port()));
        let gateway = setup.start();
        for _ in 0..3 {
            // Each on a connection of its own.
            let answer = gateway.post("/v1/chat/completions", &chat("script/close=yes", false));
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        assert_eq!(gateway.metric("sluice_dns_lookups_total", &[]), 1.0);
        assert_eq!(gateway.metric("sluice_dns_lookups_total", &["result=\"found\""]), 1.0);
    }

    fn a_name_that_does_not_exist_fails_alone(engine) {
        let upstream = mock();
        let mut setup = Setup::new(engine, upstream).with("upstream.connect_timeout_ms", 2000);
        let keys = setup.resources["provider_keys"].as_array_mut().unwrap();
        let mut lost = keys[0].clone();
        lost["display_name"] = "lost".into();
        lost["api_base"] = "http://nowhere.invalid:1/v1".into();
        keys.push(lost);
        setup.resources["models"][0]["provider_key"] = "lost".into();
        let gateway = setup.start();
        let mut raw = gateway.connect();
        raw.send(&post("/v1/chat/completions", &chat("m", false)));
        // The worker does not wait for the name.
        let other = gateway.post("/v1/chat/completions", &chat("script/events=1", false));
        assert_eq!(other.status, 200, "{}", other.text());
        let answer = raw.response();
        assert!(!answer.text().contains("nowhere"), "{}", answer.text());
        let lines = gateway.access_lines(2);
        let line = lines.iter().find(|line| line["model"] == "m").expect("its line");
        match answer.status {
            502 => {
                assert_eq!(line["error_kind"], "transport_error");
                let cause = line["error"].as_str().expect("a cause");
                assert!(cause.starts_with("name resolution failed: "), "{cause}");
            }
            // A resolver that never answers meets the connect clock.
            status => assert_eq!((status, &line["error_kind"]), (504, &"timeout_error".into())),
        }
    }
}
