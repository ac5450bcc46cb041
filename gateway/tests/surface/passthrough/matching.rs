//! Which requests are a route's.

use serde_json::json;

use super::{and, ask, ask_known, bearer, forward_client, route, setup};
use crate::on_both_engines;
use crate::support::Scripted;
use crate::support::gateway::{CALLER_KEY, chat};

on_both_engines! {
    fn paths_lead_to_the_longest_prefix_after_the_typed_routes(engine) {
        let upstream = Scripted::plain();
        let addr = upstream.addr();
        let gateway = setup(engine, &upstream, vec![
            route("a", addr, json!({"target_url": format!("http://{addr}/base/v1/")})),
            route("ab", addr, json!({"path_prefix": "/a/b"})),
            route("off", addr, json!({"enabled": false})),
            route("gone", addr, json!({"path_prefix": "/passthrough/vendor"})),
        ]).start_ready();
        for (line, want) in [
            ("GET /a", "GET /base/v1 HTTP/1.1"),
            ("GET /a/?q", "GET /base/v1/?q HTTP/1.1"),
            ("GET /a/x%2Fy/z?a=b&c", "GET /base/v1/x%2Fy/z?a=b&c HTTP/1.1"),
            ("GET /a/v1/models", "GET /base/v1/models HTTP/1.1"),
            ("GET /a/b", "GET / HTTP/1.1"),
            ("GET /a/b/c", "GET /c HTTP/1.1"),
            ("GET /a/bc", "GET /base/v1/bc HTTP/1.1"),
            ("GET /passthrough/vendor/x", "GET /x HTTP/1.1"),
        ] {
            let answer = ask_known(&gateway, line, b"");
            assert_eq!((answer.status, answer.text()), (200, "fine"), "{line}");
            assert_eq!(upstream.last().line(), want, "{line}");
            assert_eq!(upstream.last().values("host"), [addr.to_string()]);
        }
        let asked = upstream.asked().len();
        for (line, status) in [
            ("GET /ab", 404),
            ("GET /", 404),
            ("GET /off/x", 404),
            ("GET /A", 404),
            ("GET /v1/nothing", 404),
            ("GET /v1/chat/completions", 405),
            ("GET /passthrough/other", 410),
        ] {
            let answer = ask_known(&gateway, line, b"");
            assert_eq!(answer.status, status, "{line}");
        }
        assert_eq!(upstream.asked().len(), asked);
    }

    fn hosts_go_ahead_of_everything_and_nowhere_else(engine) {
        let upstream = Scripted::plain();
        let addr = upstream.addr();
        let on = |hosts: &[&str]| json!({"hosts": hosts, "path_prefix": null});
        let gateway = setup(engine, &upstream, vec![
            route("whole", addr, on(&["api.vendor.example", "*.wild.example"])),
            route("part", addr, json!({"hosts": ["part.example"], "path_prefix": "/p"})),
            route("own", addr, and(forward_client(), json!({"hosts": ["unknown.sluice.invalid"],
                "path_prefix": null, "target_url": null, "preserve_host": true}))),
            route("any", addr, json!({})),
        ]).with("proxy.url_rewrites", json!([{"match": "^/v1/", "rewrite": "/rewritten/"}])).start_ready();
        for (host, line, want) in [
            ("api.vendor.example", "POST /v1/chat/completions", "POST /v1/chat/completions HTTP/1.1"),
            ("API.Vendor.Example.:8080", "GET /livez", "GET /livez HTTP/1.1"),
            ("a.wild.example", "GET /x?y", "GET /x?y HTTP/1.1"),
            ("part.example", "GET /p/x", "GET /x HTTP/1.1"),
        ] {
            let headers = format!("host: {host}\r\n{}", bearer(CALLER_KEY));
            let answer = ask(&gateway, line, &headers, b"{}");
            assert_eq!((answer.status, answer.text()), (200, "fine"), "{host} {line}");
            assert_eq!(upstream.last().line(), want, "{host} {line}");
            assert_eq!(upstream.last().values("host"), [addr.to_string()]);
        }
        let asked = upstream.asked().len();
        for (host, line, status) in [
            ("part.example", "POST /v1/chat/completions", 404),
            ("part.example", "GET /any", 404),
            ("part.example", "GET /livez", 404),
            ("a.b.wild.example", "GET /x", 404),
            ("wild.example", "GET /x", 404),
            // The host that was asked for is dialled, and this one has no address.
            ("unknown.sluice.invalid", "GET /x", 502),
        ] {
            let headers = format!("host: {host}\r\nx-sluice-request-id: {host}\r\n{}", bearer(CALLER_KEY));
            assert_eq!(ask(&gateway, line, &headers, b"").status, status, "{host} {line}");
        }
        assert_eq!(upstream.asked().len(), asked);
        let line = gateway.access_line("unknown.sluice.invalid");
        assert!(line["error"].as_str().unwrap().contains("name resolution"), "{line}");
        assert_eq!((&line["provider"], &line["path"]), (&json!("byo"), &json!("/x")));
    }

    fn typed_routes_stay_as_they_are_beside_a_route_for_everything(engine) {
        let upstream = Scripted::plain();
        let gateway = setup(engine, &upstream, vec![
            route("all", upstream.addr(), json!({"path_prefix": "/"})),
        ]).start_ready();
        assert_eq!(gateway.get("/livez").text(), "ok");
        assert_eq!(gateway.get("/v1/models").json()["object"], "list");
        assert_eq!(gateway.post("/v1/chat/completions", &chat("nothing", false)).status, 404);
        assert_eq!(ask_known(&gateway, "GET /elsewhere", b"").text(), "fine");
        assert_eq!(ask_known(&gateway, "GET /v1/elsewhere", b"").text(), "fine");
        assert_eq!(upstream.last().line(), "GET /v1/elsewhere HTTP/1.1");
    }

    fn paths_that_lead_out_of_their_base_are_refused(engine) {
        let upstream = Scripted::plain();
        let gateway = setup(engine, &upstream, vec![
            route("a", upstream.addr(), json!({"hosts": ["h.example"], "path_prefix": "/a"})),
            route("b", upstream.addr(), json!({})),
        ]).start_ready();
        for dots in ["..", ".", "%2e%2e", ".%2E", "%252e%252e", "..;x", "..%3bx", "..%00", "%c0%ae.",
            "x%2f..%2fy", "x%5c..%5cy", "x%255c%2e%2e/y", "%25252e."] {
            for (headers, path) in [
                (format!("host: h.example\r\n{}", bearer(CALLER_KEY)), format!("/a/{dots}/x")),
                (bearer(CALLER_KEY), format!("/b/x/{dots}")),
            ] {
                let answer = ask(&gateway, &format!("GET {path}"), &headers, b"");
                assert_eq!((answer.status, &answer.error()["type"]), (400, &json!("invalid_request_error")), "{path}");
            }
        }
        assert!(upstream.asked().is_empty());
        assert_eq!(ask_known(&gateway, "GET /b/a..b/%2ehidden/...", b"").status, 200);
        assert_eq!(upstream.last().line(), "GET /a..b/%2ehidden/... HTTP/1.1");
    }
}
