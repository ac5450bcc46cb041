//! The metrics and status listener. [cold]
//!
//! A socket of its own; whom it answers is decided by where it is bound, and by the certificates that
//! its TLS asks for.

pub mod view;

use std::net::TcpListener as StdTcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use axum::http::{Method, Response, StatusCode};
use metrics::{counter, histogram};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::limited::Limited;
use super::metrics::Scrape;
use super::watchdog::unix_ms;
use crate::bridge::WorkerView;
use crate::bridge::health::HealthTable;
use crate::bridge::memory::Memory;
use crate::tls::listener::TlsListener;
use crate::tls::upstream::UpstreamTrust;
use config_sync::status::ConfigStatus;

/// Scrapes at a time; more are answered 503. One renders, one may wait.
const SCRAPES_MAX: usize = 2;
/// A scrape that waits longer than this for its turn is answered 503.
const SCRAPE_WAIT: Duration = Duration::from_secs(10);

/// What the listener shows.
#[derive(Clone, Debug)]
pub struct Status {
    inner: Arc<Inner>,
}

struct Inner {
    /// `None` when metrics are switched off.
    metrics_path: Option<String>,
    scrape: Arc<Mutex<Scrape>>,
    scrapes: Arc<Semaphore>,
    own: PrometheusHandle,
    config: ConfigStatus,
    workers: Vec<WorkerView>,
    health: Arc<HealthTable>,
    memory: Arc<Memory>,
    upstream_trust: Arc<UpstreamTrust>,
    io_engine: &'static str,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Status")
            .field("metrics_path", &self.metrics_path)
            .finish_non_exhaustive()
    }
}

impl Status {
    /// Shows `scrape` and the cold side's `own` metrics under `metrics_path`.
    pub fn new(
        metrics_path: Option<String>,
        scrape: Scrape,
        own: PrometheusHandle,
        io_engine: &'static str,
    ) -> Self {
        let (workers, config) = (scrape.workers().to_vec(), scrape.config().clone());
        let health = Arc::clone(scrape.health());
        let memory = Arc::clone(scrape.memory());
        let upstream_trust = Arc::clone(scrape.upstream_trust());
        let scrape = Arc::new(Mutex::new(scrape));
        let scrapes = Arc::new(Semaphore::new(SCRAPES_MAX));
        let inner = Inner {
            metrics_path,
            scrape,
            scrapes,
            own,
            config,
            workers,
            health,
            memory,
            upstream_trust,
            io_engine,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Answers on `listener` until `left` resolves: then accepts no more, and closes connections
    /// after their answer.
    ///
    /// # Errors
    ///
    /// When the listener cannot be handed to the runtime.
    pub async fn serve(
        self,
        listener: StdTcpListener,
        tls: Option<Arc<TlsListener>>,
        left: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        listener.set_nonblocking(true)?;
        let listener = Limited::new(TcpListener::from_std(listener)?, tls);
        let app = Router::new().fallback(answer).with_state(self);
        axum::serve(listener, app)
            .with_graceful_shutdown(left)
            .await
    }
}

async fn answer(State(status): State<Status>, request: Request) -> Response<Body> {
    let inner = &status.inner;
    let path = request.uri().path();
    let metrics = inner.metrics_path.as_deref() == Some(path);
    if !metrics && !matches!(path, "/status/ready" | "/status/config" | "/status/models") {
        return plain(StatusCode::NOT_FOUND, String::new());
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, String::new());
        refused
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match path {
        _ if metrics => scrape(inner).await,
        "/status/ready" => ready(inner, request.uri().query()),
        "/status/config" => json(view::config(
            &inner.config.view(),
            &inner.upstream_trust.unverified(),
            i64::try_from(unix_ms() / 1000).unwrap_or(i64::MAX),
        )),
        _ => json(view::models(&inner.config.view(), &inner.health, unix_ms())),
    }
}

async fn scrape(inner: &Inner) -> Response<Body> {
    let busy = || {
        plain(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many scrapes".to_owned(),
        )
    };
    let Ok(permit) = Arc::clone(&inner.scrapes).try_acquire_owned() else {
        return busy();
    };
    let start = Instant::now();
    let scrape = Arc::clone(&inner.scrape);
    // Rendering is pure work: off this thread, so that DNS answers do not wait for it.
    let rendered = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        scrape
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .render()
    });
    let Ok(Ok(mut text)) = tokio::time::timeout(SCRAPE_WAIT, rendered).await else {
        return busy();
    };
    counter!("sluice_scrapes_total").increment(1);
    histogram!("sluice_scrape_duration_seconds").record(start.elapsed().as_secs_f64());
    text.extend_from_slice(inner.own.render().as_bytes());
    let mut answer = Response::new(Body::from(text));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

fn ready(inner: &Inner, query: Option<&str>) -> Response<Body> {
    let applied = inner.config.view().applied.is_some();
    let code = if applied {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let verbose = query.is_some_and(|query| {
        query
            .split('&')
            .any(|part| part.split('=').next() == Some("verbose"))
    });
    if verbose {
        return plain(
            code,
            view::ready(
                applied,
                inner.io_engine,
                (&inner.workers, &inner.memory),
                unix_ms(),
            ),
        );
    }
    plain(
        code,
        if applied {
            "ok"
        } else {
            "no configuration available"
        }
        .to_owned(),
    )
}

fn plain(code: StatusCode, text: String) -> Response<Body> {
    with_type(code, text, "text/plain; charset=utf-8")
}

fn json(text: String) -> Response<Body> {
    with_type(StatusCode::OK, text, "application/json")
}

fn with_type(code: StatusCode, text: String, kind: &'static str) -> Response<Body> {
    let mut answer = Response::new(Body::from(text));
    *answer.status_mut() = code;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

#[cfg(test)]
mod tests;
