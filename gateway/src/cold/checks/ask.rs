//! What a checked model is asked, and what its answer says of it. [pure]

use std::rc::Rc;
use std::sync::Arc;

use config_sync::model::api_key::ApiKey;
use config_sync::model::labels::CallerLabels;

use super::schedule::Probe;
use crate::bridge::health::CheckOutcome;
use crate::dialect::Seed;
use crate::endpoint::{self, Call, Endpoint};
use crate::http::h1::{self, RequestHead};
use crate::provider::{Asker, Exchange, Outbound};
use crate::rejection::Rejection;
use crate::route::Route;
use crate::short_text::ShortText;

/// The request id of all checks.
const REQUEST_ID: &str = "background-model-check";
/// The caller that there is none of.
const NOBODY: &[u8] = b"POST /v1/chat/completions HTTP/1.1\r\nhost: sluice\r\n\r\n";
/// A check that took too long counts as this status.
const TIMEOUT_STATUS: u16 = 408;

/// What became of a check's request.
#[derive(Debug)]
pub(super) enum Met {
    Answer(Answer),
    /// No answer by the deadline.
    Timeout,
    /// The request could not be made or sent, or nobody answered it.
    Nothing,
}

/// An upstream's answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Of a success; else empty.
    pub(super) body: Vec<u8>,
}

/// What a check says of its model.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Verdict {
    pub(super) outcome: CheckOutcome,
    pub(super) status: Option<u16>,
    /// What went wrong, for the log; holds nothing that the upstream said.
    pub(super) cause: String,
}

/// The complete upstream request of a check: a chat call as a caller of the model would send it.
///
/// # Errors
///
/// What is wrong with the settings of the model or its key. Nothing of the credential is said.
pub(super) fn request(probe: &Probe) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    match begin(probe, &mut out) {
        Ok(_) => Ok(out),
        Err(why) => Err(said(&why)),
    }
}

/// Reads what came of the request.
pub(super) fn verdict(probe: &Probe, met: Met) -> Verdict {
    let (status, cause) = match met {
        Met::Nothing => (None, String::new()),
        Met::Timeout => (Some(TIMEOUT_STATUS), String::new()),
        Met::Answer(Answer { status, .. }) if !(200..300).contains(&status) => {
            (Some(status), format!("the upstream answered {status}"))
        }
        Met::Answer(Answer { status, body }) => match read(probe, &body) {
            Ok(()) => {
                return Verdict {
                    outcome: CheckOutcome::Passed,
                    status: Some(status),
                    cause: String::new(),
                };
            }
            Err(why) => (Some(status), said(&why)),
        },
    };
    let is_ignored = status.is_some_and(|status| probe.check.ignore_statuses.contains(&status));
    Verdict {
        outcome: if is_ignored {
            CheckOutcome::Ignored
        } else {
            CheckOutcome::Failed
        },
        status,
        cause,
    }
}

fn said(why: &Rejection) -> String {
    why.detail().unwrap_or_else(|| why.kind().to_owned())
}

/// Whether `body` is an answer to the call.
fn read(probe: &Probe, body: &[u8]) -> Result<(), Rejection> {
    let (mut exchange, call, route) = begin(probe, &mut Vec::new())?;
    exchange.answer(&call, &route, body).map(drop)
}

/// Prepares the call, and appends its request to `out`.
fn begin(probe: &Probe, out: &mut Vec<u8>) -> Result<(Exchange, Call, Route), Rejection> {
    let model = &probe.model;
    let body = serde_json::json!({
        "model": &*model.display_name,
        "messages": [{"role": "user", "content": &*probe.check.prompt}],
        "max_tokens": probe.check.max_tokens,
    });
    let body = body.to_string().into_bytes();
    let call = endpoint::parse(Endpoint::ChatCompletions, &body)?;
    let route = Route {
        target: Rc::new(Arc::clone(model)),
        provider_key: Rc::new(Arc::clone(&probe.key)),
        labels: Rc::new(Arc::new(model.labels(&probe.key))),
        health: Rc::new(Arc::clone(&probe.health)),
        upstream_model: ShortText::from(&*model.model_name),
    };
    let (head, key) = (nobody()?, no_key());
    let asker = Asker {
        head: &head,
        key: &key,
        request_id: REQUEST_ID,
    };
    let outbound = Outbound {
        route: &route,
        call: &call,
        asker: &asker,
    };
    // Only an answer to a caller would show them.
    let seed = || Seed {
        created_unix_s: 0,
        hex: [b'0'; 32],
    };
    let exchange = Exchange::begin(&outbound, &body, seed, out)?;
    Ok((exchange, call, route))
}

fn nobody() -> Result<RequestHead, Rejection> {
    let parsed = h1::parse_request(NOBODY, &h1::Limits::default());
    match parsed {
        Ok(Some((head, _))) => Ok(head),
        _ => Err(Rejection::Internal {
            detail: "the head of a check is no head".to_owned(),
        }),
    }
}

/// A key without a name: headers that are made of one are left out.
fn no_key() -> ApiKey {
    let nothing = Arc::<str>::default();
    ApiKey {
        id: Arc::clone(&nothing),
        name: None,
        allowed_models: Vec::new(),
        expires_at: None,
        disabled: false,
        team_id: None,
        user_id: None,
        user_name: None,
        rate_limit: None,
        mcp_access: None,
        mcp_rate_limits: Vec::new(),
        allowed_agents: Vec::new(),
        allowed_routes: Vec::new(),
        labels: Arc::new(CallerLabels {
            api_key_id: Arc::clone(&nothing),
            team_id: Arc::clone(&nothing),
            user_id: Arc::clone(&nothing),
            user_name: nothing,
        }),
    }
}

#[cfg(test)]
mod tests;
