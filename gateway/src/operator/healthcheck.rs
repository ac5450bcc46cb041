//! `sluice healthcheck`: whether the gateway of a startup file answers, for images without a shell. [boot]

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::{OperatorError, because};
use crate::cli::HealthcheckArgs;
use crate::settings::{self, ClientVerify, ListenerTls, Settings};
use crate::upstream::trust::any_certificate;

/// Longest wait for each step: connecting, one read, one write.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest line that a status is looked for in, bytes.
const STATUS_LINE_BYTES_MAX: usize = 256;

/// Where to ask, and what a good answer is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Question {
    addr: SocketAddr,
    tls: bool,
    path: &'static str,
    /// Only 200 will do; else any answer is a sign of life.
    must_be_200: bool,
}

/// Asks the gateway of the startup file on this host whether it lives, or with `--ready` whether it
/// serves.
///
/// # Errors
///
/// The startup file is refused, nobody answers within 5 s, or the answer is not 200.
pub fn healthcheck(args: &HealthcheckArgs) -> Result<(), OperatorError> {
    let (settings, _) = settings::load(&args.config, settings::process_env())
        .map_err(|error| OperatorError(error.to_string()))?;
    let question = question(&settings, args.ready).map_err(OperatorError)?;
    let place = format!("{}{}", question.addr, question.path);
    let status = ask(question).map_err(|error| because(&place, error))?;
    if question.must_be_200 && status != 200 {
        return Err(OperatorError(format!("{place}: {status}")));
    }
    println!("OK: {place} {status}");
    Ok(())
}

/// The proxy listener is asked as a caller would; where that takes a client certificate, the status
/// listener is.
fn question(settings: &Settings, ready: bool) -> Result<Question, String> {
    let proxy = (settings.proxy.addr, settings.proxy.tls.as_ref());
    let prometheus = &settings.observability.prometheus;
    let status = (prometheus.addr, prometheus.tls.as_ref());
    let (setting, (addr, tls), path, must_be_200) = if !demands_certificate(proxy.1) {
        let path = if ready { "/readyz" } else { "/livez" };
        ("proxy.addr", proxy, path, true)
    } else if !demands_certificate(status.1) {
        let setting = "observability.metrics.prometheus.addr";
        (setting, status, "/status/ready", ready)
    } else {
        return Err("both listeners demand client certificates: nobody can be asked".to_owned());
    };
    if addr.port() == 0 {
        return Err(format!(
            "{setting}: port 0 is the kernel's choice, which is not known here"
        ));
    }
    Ok(Question {
        addr: SocketAddr::new(from_here(addr.ip()), addr.port()),
        tls: tls.is_some(),
        path,
        must_be_200,
    })
}

fn demands_certificate(tls: Option<&ListenerTls>) -> bool {
    let ca = tls.and_then(|tls| tls.client_ca.as_ref());
    ca.is_some_and(|ca| ca.verify == ClientVerify::Require)
}

/// The address that reaches a listener from its own host.
fn from_here(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        _ => ip,
    }
}

fn ask(question: Question) -> io::Result<u16> {
    let stream = TcpStream::connect_timeout(&question.addr, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    if !question.tls {
        return exchange(stream, question.path);
    }
    let name = ServerName::IpAddress(question.addr.ip().into());
    let session = ClientConnection::new(config()?, name).map_err(io::Error::other)?;
    exchange(StreamOwned::new(session, stream), question.path)
}

/// Whose certificate it is does not matter: the question is whether our own process answers.
fn config() -> io::Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = any_certificate(Arc::clone(&provider));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn exchange(mut stream: impl Read + Write, path: &str) -> io::Result<u16> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let mut line = Vec::with_capacity(STATUS_LINE_BYTES_MAX);
    let mut byte = [0];
    while line.len() < STATUS_LINE_BYTES_MAX && stream.read(&mut byte)? == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    let line = String::from_utf8_lossy(&line);
    let rest = line.strip_prefix("HTTP/1.1 ");
    let status = rest.and_then(|rest| rest.split(' ').next()?.trim().parse().ok());
    status.ok_or_else(|| io::Error::other("no HTTP answer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers with what it was given, and keeps what it was asked.
    struct Canned(io::Cursor<Vec<u8>>, Vec<u8>);

    impl Read for Canned {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.0.read(buf)
        }
    }

    impl Write for Canned {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_status_is_read_and_anything_else_is_no_answer() {
        let long = "H".repeat(10_000);
        let cases = [
            ("HTTP/1.1 200 OK\r\n\r\n", Some(200)),
            ("HTTP/1.1 503\r\n\r\n", Some(503)),
            ("SSH-2.0-OpenSSH\r\n", None),
            ("HTTP/1.1 \r\n", None),
            ("", None),
            (&long, None),
        ];
        for (answer, want) in cases {
            let mut canned = Canned(io::Cursor::new(answer.as_bytes().to_vec()), Vec::new());
            assert_eq!(exchange(&mut canned, "/livez").ok(), want, "{answer}");
            assert!(canned.1.starts_with(b"GET /livez HTTP/1.1\r\n"));
        }
    }

    #[test]
    fn a_wildcard_is_asked_on_loopback() {
        let cases = [
            ("0.0.0.0", "127.0.0.1"),
            ("::", "::1"),
            ("10.0.0.1", "10.0.0.1"),
        ];
        for (bound, want) in cases {
            let want: IpAddr = want.parse().expect(want);
            assert_eq!(from_here(bound.parse().expect(bound)), want);
        }
    }
}
