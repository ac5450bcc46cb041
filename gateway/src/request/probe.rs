//! The probes, which the gateway answers by itself. [ring]

use crate::endpoint::Endpoint;
use crate::http::h1::RequestHead;
use crate::listener::client::{Client, HungUp};
use crate::relay::{Header, ResponseWriter};
use crate::worker::Worker;

const TEXT: Header<'_> = ("content-type", b"text/plain; charset=utf-8");
const NO_SNIFFING: Header<'_> = ("x-content-type-options", b"nosniff");

/// Answers `/livez` or `/readyz`: no key, no limit, no record.
///
/// # Errors
///
/// [`HungUp`].
pub(crate) async fn answer(
    worker: &Worker,
    endpoint: Endpoint,
    head: &RequestHead,
    writer: &ResponseWriter,
    client: &mut Client,
) -> Result<(), HungUp> {
    let verbose = head.query().is_some_and(|query| {
        query
            .split('&')
            .any(|item| item.split('=').next() == Some("verbose"))
    });
    let (status, body) = match endpoint {
        Endpoint::Livez => {
            let fails = worker.is_draining() && !worker.settings.livez_during_drain;
            livez(fails, verbose)
        }
        _ => readyz(
            worker.is_draining(),
            worker.snapshot().generation() > 0,
            verbose,
        ),
    };
    let mut out = worker.buffers.take();
    writer.whole(
        worker,
        status,
        &[TEXT, NO_SNIFFING],
        body.as_bytes(),
        &mut out,
    );
    let sent = client.send(&out).await;
    worker.buffers.give(out);
    sent
}

fn livez(draining: bool, verbose: bool) -> (u16, String) {
    match (draining, verbose) {
        (false, false) => (200, "ok".to_owned()),
        (false, true) => (
            200,
            "[+]ping ok\n[+]shutdown ok\nlivez check passed\n".to_owned(),
        ),
        (true, _) => (
            503,
            "[+]ping ok\n[-]shutdown failed: reason withheld\nlivez check failed\n".to_owned(),
        ),
    }
}

fn readyz(draining: bool, configured: bool, verbose: bool) -> (u16, String) {
    if !draining && configured && !verbose {
        return (200, "ok".to_owned());
    }
    let shutdown = if draining {
        "[-]shutdown failed: draining"
    } else {
        "[+]shutdown ok"
    };
    let config = if configured {
        "[+]config ok"
    } else {
        "[-]config failed: not ready"
    };
    let (status, verdict) = match draining || !configured {
        true => (503, "readyz check failed"),
        false => (200, "readyz check passed"),
    };
    (status, format!("{shutdown}\n{config}\n{verdict}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_say_what_is_wrong_and_little_else() {
        let failed = "[+]ping ok\n[-]shutdown failed: reason withheld\nlivez check failed\n";
        assert_eq!(livez(false, false), (200, "ok".into()));
        assert_eq!(livez(true, false), (503, failed.into()));
        let cases = [
            ((false, true, false), 200, "ok"),
            (
                (false, true, true),
                200,
                "[+]shutdown ok\n[+]config ok\nreadyz check passed\n",
            ),
            (
                (true, true, false),
                503,
                "[-]shutdown failed: draining\n[+]config ok\nreadyz check failed\n",
            ),
            (
                (false, false, false),
                503,
                "[+]shutdown ok\n[-]config failed: not ready\nreadyz check failed\n",
            ),
        ];
        for ((draining, configured, verbose), status, body) in cases {
            assert_eq!(readyz(draining, configured, verbose), (status, body.into()));
        }
    }
}
