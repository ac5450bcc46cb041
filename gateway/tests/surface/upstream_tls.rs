//! TLS to providers: whom the gateway trusts, and bytes that survive any cut.

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::on_both_engines;
use crate::support::gateway::{chat, post};
use crate::support::tls::{Authority, Behaviour, LARGE_BYTES, Leaf, TlsUpstream};
use crate::support::{Engine, Gateway, Response, Setup, wait_for};

/// A server for `localhost` and the authority behind it.
struct Scene {
    authority: Authority,
    upstream: TlsUpstream,
    files: TempDir,
}

impl Scene {
    fn new(behaviour: &Behaviour) -> Self {
        let authority = Authority::new();
        let leaf = authority.server("localhost");
        Self::with(authority, &leaf, behaviour)
    }

    fn with(authority: Authority, leaf: &Leaf, behaviour: &Behaviour) -> Self {
        let files = tempfile::tempdir().unwrap();
        Self {
            upstream: TlsUpstream::start(leaf, behaviour),
            authority,
            files,
        }
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A gateway that does not know the authority.
    fn distrusting(&self, engine: Engine) -> Setup {
        let mut setup = Setup::new(engine, self.upstream.addr);
        let base = format!("https://localhost:{}/v1", self.upstream.addr.port());
        setup.resources["provider_keys"][0]["api_base"] = base.into();
        setup
    }

    /// A gateway that knows it.
    fn trusting(&self, engine: Engine) -> Setup {
        let ca = self.file("ca.pem", &self.authority.pem);
        self.distrusting(engine).with("upstream.tls.ca_file", ca)
    }
}

fn ask(gateway: &Gateway, model: &str, stream: bool) -> Response {
    gateway.post(
        "/v1/chat/completions",
        &chat(&format!("script/{model}"), stream),
    )
}

fn content(answer: &Response) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let json = answer.json();
    json["choices"][0]["message"]["content"]
        .as_str()
        .expect("text")
        .to_owned()
}

/// The request failed below HTTP: the caller learns that, the operator learns why.
fn refused(gateway: &Gateway, cause: &str) {
    let answer = ask(gateway, "plain", false);
    assert_eq!(answer.status, 502, "{}", answer.text());
    let error = answer.error();
    let text = answer.text().to_ascii_lowercase();
    for word in [
        "certificate",
        "tls",
        "handshake",
        "unknownissuer",
        "rustls",
        "localhost",
        "eof",
    ] {
        assert!(!text.contains(word), "{word} in {text}");
    }
    let line = &gateway.access_lines(1)[0];
    assert_eq!(line["error_kind"], "transport_error", "{error}");
    assert_eq!(
        (&line["status"], &line["end"]),
        (&json!(502), &json!("upstream_failed"))
    );
    let detail = line["error"].as_str().expect("a cause");
    assert!(detail.contains(cause), "{detail}");
}

on_both_engines! {
    fn answers_and_streams_come_through(engine) {
        let scene = Scene::new(&Behaviour::default());
        let gateway = scene.trusting(engine).start();
        assert_eq!(content(&ask(&gateway, "plain", false)), "hi");
        let stream = ask(&gateway, "stream", true);
        assert_eq!(stream.status, 200);
        for event in 0..5 {
            assert!(stream.text().contains(&format!("e{event} ")), "{}", stream.text());
        }
        assert!(stream.text().ends_with("data: [DONE]\n\n"), "{}", stream.text());
        let seen = &scene.upstream.seen()[0];
        assert_eq!(seen.version, rustls::ProtocolVersion::TLSv1_3);
        assert_eq!(seen.server_name.as_deref(), Some("localhost"));
        assert_eq!(seen.alpn.as_deref(), Some(&b"http/1.1"[..]), "HTTP/2 is not spoken");
        assert!(seen.head.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{}", seen.head);
        assert!(!seen.client_certificate);
    }

    fn connections_are_used_again_and_new_ones_resume_the_session(engine) {
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            let behaviour = Behaviour { only: Some(version), ..Behaviour::default() };
            let scene = Scene::new(&behaviour);
            let gateway = scene.trusting(engine).start();
            for _ in 0..3 {
                ask(&gateway, "plain", false);
                ask(&gateway, "stream", true);
            }
            ask(&gateway, "close", false);
            assert_eq!(content(&ask(&gateway, "plain", false)), "hi");
            let seen = scene.upstream.seen();
            let connections: Vec<usize> = seen.iter().map(|seen| seen.connection).collect();
            assert_eq!(connections, [0, 0, 0, 0, 0, 0, 0, 1], "{version:?}");
            let resumed: Vec<bool> = seen.iter().map(|seen| seen.resumed).collect();
            assert_eq!(resumed[6..], [false, true], "{version:?}");
            assert_eq!(gateway.metric("sluice_runtime_core_upstream_reused_total", &[]), 6.0);
        }
    }

    fn records_cut_anywhere_make_the_same_answer(engine) {
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            let behaviour = Behaviour { drip: true, only: Some(version), ..Behaviour::default() };
            let scene = Scene::new(&behaviour);
            let gateway = scene.trusting(engine).start();
            assert_eq!(content(&ask(&gateway, "plain", false)), "hi");
            let stream = ask(&gateway, "stream", true);
            assert!(stream.text().ends_with("data: [DONE]\n\n"), "{}", stream.text());
            assert_eq!(content(&ask(&gateway, "plain", false)), "hi");
            assert_eq!(scene.upstream.seen().last().unwrap().connection, 0);
        }
    }

    fn a_mebibyte_passes_in_both_directions(engine) {
        let scene = Scene::new(&Behaviour::default());
        let gateway = scene.trusting(engine).start();
        let prompt: String = ('a'..='z').cycle().take(1 << 20).collect();
        let mut body = chat("script/large", false);
        body["messages"][0]["content"] = prompt.clone().into();
        let answer = gateway.post("/v1/chat/completions", &body);
        assert_eq!(content(&answer), "x".repeat(LARGE_BYTES));
        let seen = scene.upstream.seen();
        let sent: Value = serde_json::from_slice(&seen[0].body).expect("whole");
        assert!(sent["messages"][0]["content"] == prompt.as_str(), "the prompt differs");
        // A caller who has the head reads on at leisure.
        let mut raw = gateway.connect();
        raw.send(&post("/v1/chat/completions", &body));
        assert_eq!(content(&raw.response()).len(), LARGE_BYTES);
        assert_eq!(scene.upstream.seen()[1].connection, 0);
    }

    fn an_unknown_authority_is_refused_and_the_cause_stays_in_the_log(engine) {
        let scene = Scene::new(&Behaviour::default());
        let gateway = scene.distrusting(engine).start();
        refused(&gateway, "UnknownIssuer");
        wait_for("the server to be told", || (!scene.upstream.failures().is_empty()).then_some(()));
        assert!(scene.upstream.seen().is_empty(), "no request, no credential");
    }

    fn an_end_without_a_closing_alert_is_a_cut_unless_the_length_was_known(engine) {
        let scene = Scene::new(&Behaviour::default());
        let gateway = scene.trusting(engine).start();
        assert_eq!(content(&ask(&gateway, "until-close", false)), "hi");
        assert_eq!(content(&ask(&gateway, "length-then-vanish", false)), "hi");
        let cut = ask(&gateway, "until-vanish", false);
        assert_eq!(cut.status, 502, "{}", cut.text());
        let stream = ask(&gateway, "stream-vanish", true);
        assert!(stream.text().contains("e4 ") && !stream.text().contains("[DONE]"), "{}", stream.text());
        let lines = gateway.access_lines(4);
        assert_eq!(lines[2]["error_kind"], "transport_error");
        assert_eq!(lines[3]["end"], "upstream_failed", "{}", lines[3]);
        assert_eq!(content(&ask(&gateway, "plain", false)), "hi", "the worker serves on");
    }
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let authority = Authority::new();
    let leaf = authority.server("elsewhere.test");
    let scene = Scene::with(authority, &leaf, &Behaviour::default());
    refused(
        &scene.trusting(Engine::IoUring).start(),
        "not valid for name",
    );
}

#[test]
fn a_certificate_whose_time_is_over_is_refused() {
    let authority = Authority::new();
    let leaf = authority.expired("localhost");
    let scene = Scene::with(authority, &leaf, &Behaviour::default());
    refused(&scene.trusting(Engine::IoUring).start(), "expired");
}

#[test]
fn an_upstream_that_speaks_no_tls_is_refused() {
    let scene = Scene::new(&Behaviour::default());
    let mut setup = scene.trusting(Engine::IoUring);
    let plain = crate::support::mock();
    let base = format!("https://localhost:{}/v1", plain.port());
    setup.resources["provider_keys"][0]["api_base"] = base.into();
    refused(&setup.start(), "TLS handshake failed");
}

/// Files taken in the place of earlier ones, or refused.
fn reloads(gateway: &Gateway, result: &str) -> f64 {
    let result = format!(r#"result="{result}""#);
    gateway.metric("sluice_upstream_tls_reloads_total", &[&result])
}

/// Replaces a file as a whole, as careful operators do.
fn replace(scene: &Scene, name: &str, text: &str) {
    let fresh = scene.file("fresh", text);
    std::fs::rename(fresh, scene.files.path().join(name)).unwrap();
}

on_both_engines! {
    fn a_key_names_the_server_that_answers_behind_an_address(engine) {
        let authority = Authority::new();
        let leaf = authority.server("provider.test");
        let scene = Scene::with(authority, &leaf, &Behaviour::default());
        let mut setup = scene.trusting(engine);
        let base = format!("https://{}/v1", scene.upstream.addr);
        setup.resources["provider_keys"][0]["api_base"] = base.into();
        refused(&setup.clone().start(), "not valid for name");
        setup.resources["provider_keys"][0]["tls"] = json!({"server_name": "provider.test"});
        let gateway = setup.start();
        assert_eq!(content(&ask(&gateway, "plain", false)), "hi");
        let seen = &scene.upstream.seen()[0];
        assert_eq!(seen.server_name.as_deref(), Some("provider.test"));
        // What the provider is asked for is where the request was sent to.
        let host = format!("host: {}\r\n", scene.upstream.addr);
        assert!(seen.head.to_ascii_lowercase().contains(&host), "{}", seen.head);
    }

    fn a_new_authority_is_trusted_without_a_restart_and_a_broken_one_changes_nothing(engine) {
        let scene = Scene::new(&Behaviour::default());
        let stranger = Authority::new();
        let ca = scene.file("ca.pem", &stranger.pem);
        let gateway = scene.distrusting(engine).with("upstream.tls.ca_file", ca).start_ready();
        assert_eq!(ask(&gateway, "close", false).status, 502);
        replace(&scene, "ca.pem", &scene.authority.pem);
        gateway.signal(Signal::HUP);
        wait_for("the new authority", || (reloads(&gateway, "taken") >= 1.0).then_some(()));
        assert_eq!(content(&ask(&gateway, "close", false)), "hi");
        replace(&scene, "ca.pem", "no certificate");
        gateway.signal(Signal::HUP);
        wait_for("a refusal", || (reloads(&gateway, "refused") >= 1.0).then_some(()));
        assert_eq!(content(&ask(&gateway, "close", false)), "hi");
        let said = "trust in upstreams cannot be reloaded; the former one stays in use";
        let line = wait_for("a word in the log", || gateway.logged(said));
        assert!(line["error"].as_str().unwrap().contains("upstream.tls.ca_file"), "{line}");
        // Without a signal too.
        let taken = reloads(&gateway, "taken");
        replace(&scene, "ca.pem", &stranger.pem);
        wait_for("the change to be noticed", || (reloads(&gateway, "taken") > taken).then_some(()));
        assert_eq!(ask(&gateway, "close", false).status, 502);
    }

    fn a_new_certificate_of_ours_is_shown_without_a_restart(engine) {
        let authority = Authority::new();
        let leaf = authority.server("localhost");
        let behaviour = Behaviour {
            client_authority: Some(authority.pem.clone()),
            ..Behaviour::default()
        };
        let scene = Scene::with(authority, &leaf, &behaviour);
        let foreign = Authority::new().client();
        let gateway = scene
            .trusting(engine)
            .with("upstream.tls.client_cert_file", scene.file("client.pem", &foreign.cert))
            .with("upstream.tls.client_key_file", scene.file("client.key", &foreign.key))
            .start_ready();
        assert_eq!(ask(&gateway, "plain", false).status, 502);
        let client = scene.authority.client();
        replace(&scene, "client.pem", &client.cert);
        // A pair whose halves do not fit is no pair yet.
        gateway.signal(Signal::HUP);
        wait_for("a refusal", || (reloads(&gateway, "refused") >= 1.0).then_some(()));
        replace(&scene, "client.key", &client.key);
        gateway.signal(Signal::HUP);
        wait_for("the new pair", || (reloads(&gateway, "taken") >= 1.0).then_some(()));
        assert_eq!(content(&ask(&gateway, "plain", false)), "hi");
    }
}

#[test]
fn what_is_not_verified_is_shown_and_warned_about_at_each_load() {
    let scene = Scene::new(&Behaviour::default());
    let unverified = |gateway: &Gateway, scope: &str| {
        let scope = format!("scope=\"{scope}\"");
        gateway.metric("sluice_upstream_tls_unverified", &[&scope])
    };
    let careful = scene.trusting(Engine::Epoll).start_ready();
    assert!(careful.config()["unverified_upstreams"].is_null());
    let both =
        |gateway: &Gateway| ["deployment", "provider_key"].map(|scope| unverified(gateway, scope));
    assert_eq!(both(&careful), [0.0, 0.0]);
    let mut setup = scene
        .distrusting(Engine::Epoll)
        .with("upstream.tls.verify", false);
    setup.resources["provider_keys"][0]["tls"] = json!({"verify": false});
    let gateway = setup.start_ready();
    assert_eq!(both(&gateway), [1.0, 1.0]);
    let shown = gateway.config()["unverified_upstreams"].clone();
    let want = json!({"deployment": true, "provider_keys": 1, "names": ["up"]});
    assert_eq!(shown, want);
    let warnings = || {
        gateway
            .stderr()
            .matches("upstream.tls.verify is false")
            .count()
    };
    assert_eq!(warnings(), 1);
    gateway.signal(Signal::HUP);
    wait_for("another warning", || (warnings() == 2).then_some(()));
}

#[test]
fn an_address_is_a_name_that_certificates_can_hold() {
    let authority = Authority::new();
    let leaf = authority.server("127.0.0.1");
    let scene = Scene::with(authority, &leaf, &Behaviour::default());
    let mut setup = scene.trusting(Engine::IoUring);
    let base = format!("https://{}/v1", scene.upstream.addr);
    setup.resources["provider_keys"][0]["api_base"] = base.into();
    assert_eq!(content(&ask(&setup.start(), "plain", false)), "hi");
}

#[test]
fn a_provider_keys_own_authority_counts_for_that_key_alone() {
    let scene = Scene::new(&Behaviour::default());
    let mut setup = scene.distrusting(Engine::IoUring);
    let mut trusting = setup.resources["provider_keys"][0].clone();
    trusting["display_name"] = "trusting".into();
    trusting["tls"] = json!({"ca_cert": scene.authority.pem});
    let keys = setup.resources["provider_keys"].as_array_mut().unwrap();
    keys.push(trusting);
    setup.resources["models"][0]["provider_key"] = "trusting".into();
    let gateway = setup.start();
    for _ in 0..2 {
        let answer = gateway.post("/v1/chat/completions", &chat("m", false));
        assert_eq!(content(&answer), "hi");
        // Neither a pooled connection nor a session of the other key is used.
        assert_eq!(ask(&gateway, "plain", false).status, 502);
    }
    assert_eq!(scene.upstream.seen().len(), 2);
}

#[test]
fn verification_can_be_switched_off_for_the_deployment_with_a_warning() {
    let authority = Authority::new();
    let leaf = authority.expired("elsewhere.test");
    let scene = Scene::with(authority, &leaf, &Behaviour::default());
    let gateway = scene
        .distrusting(Engine::IoUring)
        .with("upstream.tls.verify", false)
        .start();
    assert_eq!(content(&ask(&gateway, "plain", false)), "hi");
    let warnings = gateway.stderr();
    let warnings = warnings
        .lines()
        .filter(|line| line.contains("upstream.tls.verify"));
    assert!(
        warnings
            .clone()
            .all(|line| line.contains(r#""level":"WARN""#))
    );
    assert_eq!(warnings.count(), 1, "{}", gateway.stderr());
}

#[test]
fn verification_can_be_switched_off_for_one_provider_key_with_a_warning() {
    let scene = Scene::new(&Behaviour::default());
    let mut setup = scene.distrusting(Engine::IoUring);
    setup.resources["provider_keys"][0]["tls"] = json!({"verify": false});
    let gateway = setup.start();
    assert_eq!(content(&ask(&gateway, "plain", false)), "hi");
    let stderr = gateway.stderr();
    let warned = stderr
        .lines()
        .any(|line| line.contains("WARN") && line.contains("verify"));
    assert!(warned, "{stderr}");
}

on_both_engines! {
    fn a_client_certificate_is_shown_where_it_is_asked_for(engine) {
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            let authority = Authority::new();
            let (leaf, client) = (authority.server("localhost"), authority.client());
            let behaviour = Behaviour {
                client_authority: Some(authority.pem.clone()),
                only: Some(version),
                ..Behaviour::default()
            };
            let scene = Scene::with(authority, &leaf, &behaviour);
            let without = scene.trusting(engine).start();
            assert_eq!(ask(&without, "plain", false).status, 502);
            assert_eq!(without.access_lines(1)[0]["error_kind"], "transport_error");
            let with = scene
                .trusting(engine)
                .with("upstream.tls.client_cert_file", scene.file("client.pem", &client.cert))
                .with("upstream.tls.client_key_file", scene.file("client.key", &client.key))
                .start();
            assert_eq!(content(&ask(&with, "plain", false)), "hi");
            assert!(scene.upstream.seen().iter().all(|seen| seen.client_certificate));
        }
    }
}

#[test]
fn a_client_key_that_does_not_fit_stops_the_boot() {
    let scene = Scene::new(&Behaviour::default());
    let (one, other) = (scene.authority.client(), scene.authority.client());
    let mut gateway = scene
        .trusting(Engine::IoUring)
        .with(
            "upstream.tls.client_cert_file",
            scene.file("client.pem", &one.cert),
        )
        .with(
            "upstream.tls.client_key_file",
            scene.file("client.key", &other.key),
        )
        .spawn();
    assert_eq!(gateway.ended().code(), Some(1));
    wait_for("the reason", || {
        gateway
            .stderr()
            .contains("Error: upstream.tls")
            .then_some(())
    });
}
