//! Programs that others wrote: `curl` and `openssl`.

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

on_both_engines! {
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
