//! Programs that others wrote: `curl`, `openssl`, and `nghttp2`'s `nghttp` and `h2load`.

use std::process::{Command, Output, Stdio};

use super::{NAME, Scene};
use crate::on_both_engines;
use crate::support::gateway::{CALLER_KEY, chat};
use crate::support::{Gateway, mock};

/// Runs `curl` against the gateway; its own name for the server is resolved by hand.
fn curl(scene: &Scene, gateway: &Gateway, arguments: &[&str]) -> Output {
    let resolve = format!("{NAME}:{}:127.0.0.1", gateway.addr.port());
    let url = format!("https://{NAME}:{}/v1/chat/completions", gateway.addr.port());
    let roots = scene.write("servers.pem", &scene.servers.pem);
    Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "60",
            "--cacert",
            &roots,
        ])
        .args(["--resolve", &resolve, "--url", &url])
        .args(["--header", &format!("authorization: Bearer {CALLER_KEY}")])
        .args(["--header", "content-type: application/json"])
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .stdin(Stdio::null())
        .output()
        .expect("curl is there")
}

/// Whether `openssl s_client` shakes hands with these options.
fn s_client(gateway: &Gateway, options: &[&str]) -> bool {
    let output = Command::new("openssl")
        .args([
            "s_client",
            "-connect",
            &gateway.addr.to_string(),
            "-servername",
            NAME,
        ])
        .args(options)
        .stdin(Stdio::null())
        .output()
        .expect("openssl is there");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // `New, TLSv1.2, Cipher is NAME` or `New, (NONE), Cipher is (NONE)`.
    let line = text.lines().find(|line| line.contains("Cipher is "));
    line.is_some_and(|line| !line.contains("(NONE)"))
}

/// One version of TLS, one rule for certificates, one protocol by ALPN: what `curl` is answered and how
/// the protocol is called, or nothing where hands are not shaken.
fn asked(scene: &Scene, gateway: &Gateway, words: &[&str]) -> Option<(String, String)> {
    let version = ["--write-out", "\n%{http_version}"];
    let answer = curl(scene, gateway, &[words, &version].concat());
    let text = String::from_utf8(answer.stdout).unwrap();
    let (body, version) = text.rsplit_once('\n')?;
    answer
        .status
        .success()
        .then(|| (body.to_owned(), version.to_owned()))
}

/// Whether `nghttp2`'s clients are there; says loudly where they are not.
fn has_nghttp() -> bool {
    let found = |name: &str| Command::new(name).arg("--version").output().is_ok();
    let has = found("nghttp") && found("h2load");
    if !has {
        eprintln!("SKIPPED: nghttp and h2load are not there (`make nghttp` installs them)");
    }
    has
}

/// Runs one of them against the gateway, by its address: neither verifies a name.
fn nghttp(program: &str, gateway: &Gateway, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .args(["--header", &format!("authorization: Bearer {CALLER_KEY}")])
        .args(["--header", "content-type: application/json"])
        .arg(format!("https://{}/v1/chat/completions", gateway.addr))
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .stdin(Stdio::null())
        .output()
        .expect("it is there")
}

/// `h2load` asks for 200 streams over four connections, and every one of them comes.
fn floods_well(gateway: &Gateway, stream: &str, version: &str) {
    let data = format!("--data={stream}");
    let words = [
        "--requests=200",
        "--clients=4",
        "--max-concurrent-streams=16",
        &data,
    ];
    let output = nghttp("h2load", gateway, &words);
    let text = String::from_utf8(output.stdout).unwrap();
    let all = "200 total, 200 started, 200 done, 200 succeeded, 0 failed, 0 errored, 0 timeout";
    let spoken = format!("TLS Protocol: TLSv{version}");
    for line in [all, "200 2xx", "Application protocol: h2", &spoken] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

on_both_engines! {
    fn nghttp_and_h2load_are_served_by_every_rule_for_certificates(engine) {
        if !has_nghttp() {
            return;
        }
        let scene = Scene::new();
        let (cert, key) = scene.write_pair("client", &scene.clients.client());
        let shown = [format!("--cert={cert}"), format!("--key={key}")];
        let whole = scene.write("whole.json", &chat("m", false).to_string());
        let stream = scene.write("stream.json", &chat("script/events=30", true).to_string());
        let cases = ["none", "optional", "require"].map(|rule| [(rule, "1.2"), (rule, "1.3")]);
        for (rule, version) in cases.into_iter().flatten() {
            let gateway = match rule {
                "none" => scene.setup(engine, mock()),
                rule => scene.asking(engine, mock(), rule),
            };
            let gateway = gateway.with("proxy.tls.max_version", version).start_ready();
            for shown in [&shown[..], &[]] {
                let case = format!("{rule} {version} {}", shown.len());
                let is_welcome = rule != "require" || !shown.is_empty();
                let ask = |body: &str| {
                    let data = format!("--data={body}");
                    let words: Vec<&str> = shown.iter().map(String::as_str).collect();
                    let words = [&words[..], &[&data, "--timeout=60", "--no-verify-peer"]].concat();
                    String::from_utf8(nghttp("nghttp", &gateway, &words).stdout).unwrap()
                };
                assert_eq!(ask(&whole).contains("chat.completion"), is_welcome, "{case}");
                let text = ask(&stream);
                let is_whole = text.contains("\"e29 ") && text.ends_with("data: [DONE]\n\n");
                assert_eq!(is_whole, is_welcome, "{case}: {text}");
            }
            // It shows no certificate.
            if rule != "require" {
                floods_well(&gateway, &stream, version);
            }
        }
    }

    fn every_version_rule_and_protocol_serves_whom_it_should(engine) {
        let scene = Scene::new();
        let (cert, key) = scene.write_pair("client", &scene.clients.client());
        let shown = ["--cert", &cert, "--key", &key];
        let (whole, stream) = (chat("m", false).to_string(), chat("script/events=9", true).to_string());
        for rule in ["none", "optional", "require"] {
            let gateway = match rule {
                "none" => scene.setup(engine, mock()),
                rule => scene.asking(engine, mock(), rule),
            };
            let gateway = gateway.start();
            for version in [["--tls-max", "1.2"], ["--tlsv1.3", "--no-progress-meter"]] {
                for (protocol, name) in [("--http1.1", "1.1"), ("--http2", "2")] {
                    let case = format!("{rule} {version:?} {protocol}");
                    for shown in [&shown[..], &[]] {
                        let words = |body| [&version[..], &[protocol, "--data", body], shown].concat();
                        let answer = asked(&scene, &gateway, &words(&whole));
                        if rule == "require" && shown.is_empty() {
                            assert_eq!(answer, None, "{case}");
                            continue;
                        }
                        let (body, spoken) = answer.expect(&case);
                        assert!(body.contains("chat.completion"), "{case}: {body}");
                        assert_eq!(spoken, name, "{case}");
                        let (body, _) = asked(&scene, &gateway, &words(&stream)).expect(&case);
                        assert!(body.ends_with("data: [DONE]\n\n"), "{case}: {body}");
                    }
                }
            }
        }
    }

    fn http2_is_not_offered_where_it_is_switched_off(engine) {
        let scene = Scene::new();
        let gateway = scene.setup(engine, mock()).with("proxy.http2.enabled", false).start();
        let body = chat("m", false).to_string();
        let answer = asked(&scene, &gateway, &["--http2", "--data", &body]);
        assert_eq!(answer.expect("served all the same").1, "1.1");
    }

    fn the_name_in_a_certificate_is_that_of_every_stream(engine) {
        let scene = Scene::new();
        let (cert, key) = scene.write_pair("client", &scene.clients.client());
        let gateway = scene.asking(engine, mock(), "require").start();
        let body = chat("m", false).to_string();
        let words = ["--http2", "--cert", &cert, "--key", &key, "--data", &body];
        assert_eq!(asked(&scene, &gateway, &words).expect("served").1, "2");
        let line = gateway.access_lines(1).remove(0);
        assert!(line["client_identity"].is_string(), "{line}");
    }

    fn curl_asks_and_streams_with_and_without_a_certificate(engine) {
        let scene = Scene::new();
        let gateway = scene.asking(engine, mock(), "require").start();
        let (cert, key) = scene.write_pair("client", &scene.clients.client());
        for version in ["--tls-max=1.2", "--tlsv1.3"] {
            let version: Vec<&str> = version.split('=').collect();
            let ask = |body: &str, more: &[&str]| {
                let words = [&version[..], &["--data", body], more].concat();
                curl(&scene, &gateway, &words)
            };
            let shown = ["--cert", &cert, "--key", &key];
            let answer = ask(&chat("m", false).to_string(), &shown);
            let text = String::from_utf8(answer.stdout).unwrap();
            let said = String::from_utf8_lossy(&answer.stderr).into_owned();
            assert!(text.contains("chat.completion"), "{text} {said}");
            let stream = ask(&chat("script/events=30", true).to_string(), &shown);
            let text = String::from_utf8(stream.stdout).unwrap();
            assert!(text.contains("\"e29 ") && text.ends_with("data: [DONE]\n\n"), "{text}");
            let refused = ask("{}", &[]);
            assert!(!refused.status.success(), "{version:?}");
        }
    }

    fn only_forward_secret_authenticated_ciphers_are_spoken(engine) {
        let scene = Scene::new();
        let gateway = scene.setup(engine, mock()).start();
        let rsa = scene.rsa_pair();
        let rsa_gateway = scene
            .setup(engine, mock())
            .with("proxy.tls.cert_file", rsa.0)
            .with("proxy.tls.key_file", rsa.1)
            .start();
        let suites = |gateway: &Gateway, kind: &str| {
            let names = ["AES256-GCM-SHA384", "AES128-GCM-SHA256", "CHACHA20-POLY1305"];
            names.map(|name| {
                let suite = format!("ECDHE-{kind}-{name}");
                s_client(gateway, &["-tls1_2", "-cipher", &suite])
            })
        };
        assert_eq!(suites(&gateway, "ECDSA"), [true; 3]);
        assert_eq!(suites(&rsa_gateway, "RSA"), [true; 3]);
        let names = ["TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"];
        for name in names {
            assert!(s_client(&gateway, &["-tls1_3", "-ciphersuites", name]), "{name}");
        }
        let name = "TLS_AES_128_CCM_SHA256";
        assert!(!s_client(&gateway, &["-tls1_3", "-ciphersuites", name]), "{name}");
        // No forward secrecy, CBC, SHA-1, CCM, anonymous, finite-field.
        let weak = [
            "AES128-GCM-SHA256", "AES256-GCM-SHA384", "AES128-SHA256", "AES256-SHA",
            "ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA384", "ECDHE-ECDSA-AES128-SHA",
            "ECDHE-RSA-AES128-SHA256", "ECDHE-RSA-AES256-SHA", "ECDHE-ECDSA-AES128-CCM",
            "DHE-RSA-AES128-GCM-SHA256", "DHE-RSA-AES256-SHA256", "AECDH-AES128-SHA", "PSK-AES128-GCM-SHA256",
        ];
        for gateway in [&gateway, &rsa_gateway] {
            for suite in weak {
                let cipher = format!("{suite}:@SECLEVEL=0");
                assert!(!s_client(gateway, &["-tls1_2", "-cipher", &cipher]), "{suite}");
            }
            for version in ["-tls1_1", "-tls1"] {
                assert!(!s_client(gateway, &[version, "-cipher", "DEFAULT:@SECLEVEL=0"]), "{version}");
            }
        }
    }
}
