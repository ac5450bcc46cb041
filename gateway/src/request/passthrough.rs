//! The life of a request that a passthrough route serves. [ring]
//!
//! Bounded by the body limit, the route's clocks and the client's hang-up, whichever comes first. Sent
//! once: an upstream's answer is relayed whatever it says, and a failure is not tried again.

mod answer;

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use config_sync::model::passthrough_route::RouteAuth;
use config_sync::model::{ApiKey, BaseUrl};
use config_sync::snapshot::Snapshot;

use self::answer::Answer;
use super::attempts::transport_id;
use super::context::Context;
use super::held::Held;
use super::serve::{admit, body_stop, check_length};
use crate::auth::{self, Denial};
use crate::bridge::domain::AuthDecision;
use crate::endpoint::Routed;
use crate::http::h1::{Method, RequestHead};
use crate::limit::{Claim, Part};
use crate::listener::client::Client;
use crate::passthrough::{
    Lookup, Outgoing, Route, Understood, host_of, is_confined, understand, write_request,
};
use crate::rejection::Rejection;
use crate::relay::Stop;
use crate::relay::unary::JOINED_BYTES_MAX;
use crate::short_text::ShortText;
use crate::upstream::attempt::{self, Destination, Reply, Request};
use crate::upstream::clocks::Clocks;
use crate::worker::Worker;
use crate::worker::alarm::Alarm;
use crate::worker::core::LocalSnapshot;

/// The route template, as metrics and logs name it.
pub(super) const ENDPOINT: &str = "/passthrough_route";
/// The `inbound_protocol` of all of them.
const PROTOCOL: &str = "passthrough";
/// Longest identity that is recorded, in characters.
const IDENTITY_CHARS_MAX: usize = 256;

/// What serves a request in the place of the typed routes.
pub(super) struct Passage {
    /// The generation that it was found in.
    snapshot: LocalSnapshot,
    /// `None` where routes have the host, and none of them the path.
    route: Option<Rc<Route>>,
}

/// The passage of a request whose host some route has.
pub(super) fn by_host(worker: &Worker, head: &RequestHead) -> Option<Passage> {
    let snapshot = worker.snapshot();
    let index = worker.passthrough(&snapshot);
    if index.is_hostless() {
        return None;
    }
    let route = match index.by_host(&host_of(head.authority()?), head.path()) {
        Lookup::Found(route) => Some(route),
        Lookup::NoSuchPath => None,
        Lookup::NoSuchHost => return None,
    };
    Some(Passage { snapshot, route })
}

/// The passage of a request that no typed route serves, to `path`.
pub(super) fn by_path(worker: &Worker, routed: &Routed<'_>, path: &str) -> Option<Passage> {
    match routed {
        Routed::Endpoint(..) | Routed::MethodNotAllowed { .. } => return None,
        Routed::NotFound | Routed::Gone => {}
    }
    let snapshot = worker.snapshot();
    let route = Some(worker.passthrough(&snapshot).by_path(path)?);
    Some(Passage { snapshot, route })
}

/// A request that was checked, ready to be sent.
struct Prepared {
    route: Rc<Route>,
    understood: Understood,
    /// The head, and a small body with it.
    head: Vec<u8>,
    body: Vec<u8>,
    /// The upstream, where the caller named it.
    named: Option<BaseUrl>,
    clocks: Clocks,
}

impl Passage {
    /// Every phase from the checked head to the response's last byte; `true` where the connection can
    /// carry another request.
    pub(super) async fn forward(
        self,
        ctx: &mut Context,
        head: &RequestHead,
        path: &str,
        client: &mut Client,
    ) -> Result<bool, Stop> {
        let worker = Rc::clone(&ctx.worker);
        ctx.record().inbound_protocol = PROTOCOL;
        check_length(&worker, head)?;
        let Self { snapshot, route } = self;
        let route = route.ok_or(Rejection::UnknownUrl)?;
        let _admitted = admit(&worker, client)?;
        let key = check_caller(ctx, &snapshot, &route, (head, path))?;
        let (body, share) = client
            .read_body(head.body(), worker.settings.body_bytes_max)
            .await
            .map_err(|failure| body_stop(failure, &worker))?;
        let understood = understand(&body);
        let mut held = hold(&worker, (&snapshot, key), &route, &understood).await?;
        let prepared = prepare(ctx, &snapshot, (route, understood), (head, path), body)?;
        // A long response pins no old generation.
        drop(snapshot);
        let reply = send(ctx, &prepared, head.method(), client).await?;
        let Prepared {
            route,
            understood,
            head: sent_head,
            body,
            clocks,
            ..
        } = prepared;
        worker.buffers.give(sent_head);
        worker.buffers.give(body);
        drop(share);
        let answer = Answer {
            reply,
            injected: route.injects(),
            clocks,
        };
        let relayed = answer.relay(ctx, (&understood, path), (head, client)).await;
        // Nothing of an answer was sent: what was reserved is taken back.
        if !matches!(relayed, Err(Stop::Rejected(_))) {
            let tokens = ctx.record().usage.charged();
            held.settle(tokens, worker.unix_ms().unsigned_abs());
        }
        relayed
    }
}

/// Counts the request against the limits of `key` and its policies; with an injected credential also
/// against those of the configured model of this provider that the body names.
async fn hold(
    worker: &Worker,
    (snapshot, key): (&Snapshot, &ApiKey),
    route: &Route,
    understood: &Understood,
) -> Result<Held, Rejection> {
    let policies = worker.policies(snapshot);
    let mut claim = Claim::new(&policies, key);
    let named = snapshot.resolve(&understood.model);
    if let Some(found) = named.filter(|_| route.injects())
        && found.model.provider == route.labels.provider
    {
        claim = claim.to(found.model);
    }
    Ok(Held::take(worker, &claim, Part::Whole).await?)
}

/// Checks where the request goes and who sends it, in the order that decides what a caller learns:
/// path, address, key, what the key may use.
fn check_caller<'s>(
    ctx: &mut Context,
    snapshot: &'s Snapshot,
    route: &'s Route,
    (head, path): (&RequestHead, &str),
) -> Result<&'s ApiKey, Rejection> {
    let worker = Rc::clone(&ctx.worker);
    let document = &route.document;
    let record = ctx.record();
    record.passthrough_route = Some(Arc::clone(&document.name));
    let identity = document.identity_header.as_deref();
    // A route that trusts a header for it says so; else the certificate's name stands.
    if let Some(named) = identity.and_then(|name| head.header(name)) {
        record.client_identity = Some(identity_text(named));
    }
    if !is_confined(path) {
        return Err(Rejection::UnconfinedPath);
    }
    if !route.admits(record.client_ip) {
        if matches!(document.auth, RouteAuth::Anonymous { .. }) {
            worker.shard().auth(AuthDecision::SourceNotAllowed);
        }
        return Err(Rejection::IpRestricted);
    }
    let (decision, found) = identify(snapshot, route, head, worker.unix_ms());
    worker.shard().auth(decision);
    let key = found?;
    record.caller = Some(key.labels.clone());
    if !key.may_relay(&document.name) {
        let route = (&*document.name).into();
        return Err(Rejection::RouteForbidden { route });
    }
    record.target = Some(Arc::clone(&route.labels));
    // Refused before its body is read.
    route.credential()?;
    Ok(key)
}

type Identified<'s> = Result<&'s Arc<ApiKey>, Rejection>;

/// The caller as the route knows it, and what the auth counter says of it.
fn identify<'s>(
    snapshot: &'s Snapshot,
    route: &'s Route,
    head: &RequestHead,
    now_unix_ms: i64,
) -> (AuthDecision, Identified<'s>) {
    match &route.document.auth {
        RouteAuth::GatewayKey => match auth::identify(snapshot, head, now_unix_ms) {
            Ok(key) => (AuthDecision::ApiKeyAllowed, Ok(key)),
            Err((rejection, denial)) => (denial.into(), Err(rejection)),
        },
        RouteAuth::HeaderKey { header } => {
            match auth::by_header(snapshot, head, header, now_unix_ms) {
                Ok(key) => (AuthDecision::ApiKeyAllowed, Ok(key)),
                Err(denial @ (Denial::MissingCredentials | Denial::UnknownKey)) => {
                    let header = header.clone();
                    (denial.into(), Err(Rejection::HeaderKey { header }))
                }
                Err(denial) => (denial.into(), Err(denial.into())),
            }
        }
        RouteAuth::Anonymous { .. } => {
            let principal = auth::as_principal(route.anonymous.as_ref(), now_unix_ms);
            let decision = match principal {
                Ok(_) => AuthDecision::AnonymousAllowed,
                Err(Denial::KeyDisabled) => AuthDecision::PrincipalDisabled,
                Err(Denial::KeyExpired) => AuthDecision::PrincipalExpired,
                Err(Denial::MissingCredentials | Denial::UnknownKey) => {
                    AuthDecision::PrincipalMissing
                }
            };
            (decision, principal.map_err(Rejection::from))
        }
    }
}

fn identity_text(value: &[u8]) -> ShortText {
    let text = String::from_utf8_lossy(value);
    let end = text.char_indices().nth(IDENTITY_CHARS_MAX);
    let cut = end.and_then(|(end, _)| text.get(..end));
    ShortText::from(cut.unwrap_or(&text))
}

/// Writes the upstream request.
fn prepare(
    ctx: &mut Context,
    snapshot: &Snapshot,
    (route, understood): (Rc<Route>, Understood),
    (head, path): (&RequestHead, &str),
    mut body: Vec<u8>,
) -> Result<Prepared, Rejection> {
    let worker = Rc::clone(&ctx.worker);
    let record = ctx.record();
    record.requested_model.clone_from(&understood.model);
    let named = route.named_base(&host_of(head.authority().unwrap_or_default()));
    let base = base_of(&route, named.as_ref())?;
    let outgoing = Outgoing {
        route: &route,
        head,
        path,
        authority: &base.authority,
        request_id: &record.request_id,
        credential: route.credential()?,
        body_len: body.len(),
    };
    let mut out = worker.buffers.take();
    write_request(&outgoing, |value| auth::is_key(snapshot, value), &mut out);
    if body.len() <= JOINED_BYTES_MAX {
        out.extend_from_slice(&body);
        worker.buffers.give(std::mem::take(&mut body));
    }
    Ok(Prepared {
        clocks: Clocks::of_route(route.document.timeout_ms, &worker.settings.upstream),
        route,
        understood,
        head: out,
        body,
        named,
    })
}

fn base_of<'b>(route: &'b Route, named: Option<&'b BaseUrl>) -> Result<&'b BaseUrl, Rejection> {
    let base = route.base.as_ref().or(named);
    base.ok_or(Rejection::UpstreamUnusable(
        "this passthrough route has no upstream",
    ))
}

/// Gets a response head from the upstream.
async fn send(
    ctx: &mut Context,
    prepared: &Prepared,
    method: &Method,
    client: &mut Client,
) -> Result<Reply, Stop> {
    let worker = Rc::clone(&ctx.worker);
    ctx.record().attempts = 1;
    let destination = Destination {
        base: base_of(&prepared.route, prepared.named.as_ref())?,
        tls: &prepared.route.tls,
    };
    let request = Request {
        head: &prepared.head,
        body: &prepared.body,
        method,
    };
    let mut alarm = Alarm::default();
    let sending = attempt::send_to(
        &worker,
        &destination,
        &request,
        &prepared.clocks,
        &mut alarm,
    );
    let sent = client.until_hangup(pin!(sending)).await?;
    let upstream_us = ctx.micros_to(worker.tick());
    ctx.record().upstream_us = Some(upstream_us);
    let labels = &prepared.route.labels;
    let reply = sent.map_err(|failure| {
        worker.shard().attempt(labels, false);
        Rejection::from(failure)
    })?;
    let status = reply.head.status();
    worker.shard().attempt(labels, (200..400).contains(&status));
    ctx.record().upstream_request_id = transport_id(&reply.head);
    if status == 101 {
        let detail = "the upstream changed the protocol, which nobody asked for".into();
        return Err(Rejection::Decode { detail }.into());
    }
    Ok(reply)
}
