//! The access line: one record as one JSON object. [cold]

use std::io::Write;
use std::net::IpAddr;

use time::OffsetDateTime;

use crate::bridge::record::{RequestRecord, UsageSource};
use crate::bridge::tried::Tried;
use crate::json;

/// Longest value that came from outside, in characters.
const VALUE_CHARS_MAX: usize = 256;
/// Longest cause of an error, in characters.
const ERROR_CHARS_MAX: usize = 2_048;

/// The start of a member, made when the program is compiled: its comma, its name and its colon.
macro_rules! member {
    ($name:literal) => {
        concat!(",\"", $name, "\":").as_bytes()
    };
}

/// Appends access lines. Keeps the text of the last second, which most lines share.
#[derive(Debug, Default)]
pub struct Lines {
    second: i64,
    second_text: Vec<u8>,
}

impl Lines {
    /// Appends one line.
    pub fn append(&mut self, record: &RequestRecord, out: &mut Vec<u8>) {
        let denied = record.status == 401 && record.caller.is_none();
        out.extend_from_slice(b"{\"ts\":\"");
        self.timestamp(record.finished_unix_ms, out);
        out.extend_from_slice(if denied {
            b"\",\"level\":\"info\",\"target\":\"auth\",\"message\":\"authentication denied\""
        } else {
            b"\",\"level\":\"info\",\"message\":\"proxy request completed\""
        });
        text(out, member!("request_id"), &record.request_id);
        optional(out, member!("trace_id"), record.trace_id.as_deref());
        text(out, member!("method"), record.method);
        text(out, member!("path"), &record.path);
        number(out, member!("status"), u64::from(record.status));
        millis(out, member!("latency_ms"), record.total_us);
        who(record, out);
        tokens(record, out);
        timing(record, out);
        number(out, member!("bytes_in"), record.bytes_in);
        number(out, member!("bytes_out"), record.bytes_out);
        if record.stream {
            number(out, member!("events"), u64::from(record.events));
        }
        optional(out, member!("error_kind"), record.error_kind);
        if let Some(error) = &record.error {
            out.extend_from_slice(member!("error"));
            string(out, error, ERROR_CHARS_MAX);
        }
        text(out, member!("end"), record.end.label());
        optional(
            out,
            member!("finish_reason"),
            record.finish_reason.as_deref(),
        );
        optional(
            out,
            member!("provider_request_id"),
            record.provider_request_id.as_deref(),
        );
        optional(
            out,
            member!("upstream_request_id"),
            record.upstream_request_id.as_deref(),
        );
        number(out, member!("attempts"), u64::from(record.attempts));
        if record.group.is_some() {
            let attempts = u64::from(record.attempts);
            number(out, member!("routing_attempt_count"), attempts);
            let fallbacks = u64::from(record.fallbacks);
            number(out, member!("routing_fallback_count"), fallbacks);
        }
        attempts(&record.tried, out);
        if let Some(limit) = &record.limit {
            text(out, member!("limit_scope"), limit.dimension.label());
            text(out, member!("limit_layer"), limit.layer.label());
            let policy = Some(&*limit.policy_id).filter(|id| !id.is_empty());
            optional(out, member!("limit_policy_id"), policy);
        }
        number(out, member!("worker"), u64::from(record.worker));
        out.extend_from_slice(b"}\n");
    }

    /// RFC 3339, UTC, milliseconds.
    fn timestamp(&mut self, unix_ms: i64, out: &mut Vec<u8>) {
        let second = unix_ms.div_euclid(1_000);
        if self.second_text.is_empty() || self.second != second {
            let at =
                OffsetDateTime::from_unix_timestamp(second).unwrap_or(OffsetDateTime::UNIX_EPOCH);
            self.second = second;
            self.second_text.clear();
            let (date, time) = (at.date(), at.time());
            let month = u8::from(date.month());
            write!(
                self.second_text,
                "{:04}-{month:02}-{:02}T{:02}:{:02}:{:02}.",
                date.year(),
                date.day(),
                time.hour(),
                time.minute(),
                time.second(),
            )
            .expect("a vector takes every write");
        }
        out.extend_from_slice(&self.second_text);
        let millis = unix_ms.rem_euclid(1_000);
        for place in [100, 10, 1] {
            out.push(b'0' + (millis / place % 10) as u8);
        }
        out.push(b'Z');
    }
}

fn who(record: &RequestRecord, out: &mut Vec<u8>) {
    text(out, member!("inbound_protocol"), record.inbound_protocol);
    if let Some(target) = &record.target {
        text(out, member!("provider"), &target.provider);
        text(out, member!("served_by_model"), &target.model);
    }
    if !record.requested_model.is_empty() {
        text(out, member!("model"), &record.requested_model);
    }
    if !record.upstream_model.is_empty() {
        text(out, member!("upstream_model"), &record.upstream_model);
    }
    optional(
        out,
        member!("passthrough_route_name"),
        record.passthrough_route.as_deref(),
    );
    if let Some(caller) = &record.caller {
        text(out, member!("api_key_id"), &caller.api_key_id);
    }
    optional(
        out,
        member!("client_identity"),
        record.client_identity.as_deref(),
    );
    out.extend_from_slice(member!("client_ip"));
    address(out, record.client_ip);
    if !record.user_agent.is_empty() {
        text(out, member!("user_agent"), &record.user_agent);
    }
    out.extend_from_slice(member!("stream"));
    out.extend_from_slice(if record.stream { b"true" } else { b"false" });
}

/// The attempts, as the usage events of each would name their parts.
fn attempts(tried: &[Tried], out: &mut Vec<u8>) {
    if tried.is_empty() {
        return;
    }
    out.extend_from_slice(member!("attempt_list"));
    let mut before = b'[';
    for (index, one) in tried.iter().enumerate() {
        out.push(before);
        before = b',';
        out.extend_from_slice(b"{\"attempt_index\":");
        out.extend_from_slice(itoa::Buffer::new().format(index).as_bytes());
        text(out, member!("attempt_kind"), one.kind.label());
        text(out, member!("attempt_model"), &one.target.model);
        text(out, member!("model_id"), &one.target.model_id);
        text(out, member!("provider"), &one.target.provider);
        number(out, member!("status_code"), u64::from(one.status));
        optional(out, member!("error_class"), one.error_class);
        match one.spent_us {
            Some(micros) => millis(out, member!("upstream_latency_ms"), micros),
            None => out.extend_from_slice(b",\"dispatched\":false"),
        }
        let id = one.upstream_request_id.as_deref();
        optional(out, member!("upstream_request_id"), id);
        if let Some(tokens) = one.discarded_tokens {
            number(out, member!("discarded_tokens"), tokens);
        }
        out.push(b'}');
    }
    out.push(b']');
}

/// Appends an address as a JSON string.
fn address(out: &mut Vec<u8>, address: IpAddr) {
    out.push(b'"');
    match address {
        IpAddr::V4(v4) => {
            for (at, octet) in v4.octets().into_iter().enumerate() {
                if at > 0 {
                    out.push(b'.');
                }
                out.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
            }
        }
        IpAddr::V6(v6) => write!(out, "{v6}").expect("a vector takes every write"),
    }
    out.push(b'"');
}

fn tokens(record: &RequestRecord, out: &mut Vec<u8>) {
    let usage = &record.usage;
    text(out, member!("usage_source"), usage.source.label());
    if usage.source == UsageSource::Absent {
        return;
    }
    number(out, member!("prompt_tokens"), usage.prompt);
    number(out, member!("completion_tokens"), usage.completion);
    number(out, member!("total_tokens"), usage.total);
    for (name, count) in [
        (member!("cached_prompt_tokens"), usage.cached_prompt),
        (member!("reasoning_tokens"), usage.reasoning),
        (member!("cache_creation_tokens"), usage.cache_creation),
        (member!("cache_read_tokens"), usage.cache_read),
    ] {
        if count > 0 {
            number(out, name, count);
        }
    }
    if usage.source == UsageSource::Estimated {
        out.extend_from_slice(member!("usage_estimated"));
        out.extend_from_slice(b"true");
    }
    if record.cost_micro_usd > 0 {
        number(out, member!("cost_micro_usd"), record.cost_micro_usd);
    }
}

fn timing(record: &RequestRecord, out: &mut Vec<u8>) {
    for (name, micros) in [
        (member!("head_ms"), record.head_us),
        (member!("ttft_ms"), record.ttft_us),
        (member!("upstream_ms"), record.upstream_us),
    ] {
        if let Some(micros) = micros {
            millis(out, name, micros);
        }
    }
}

fn text(out: &mut Vec<u8>, member: &[u8], value: &str) {
    out.extend_from_slice(member);
    string(out, value, VALUE_CHARS_MAX);
}

fn optional(out: &mut Vec<u8>, member: &[u8], value: Option<&str>) {
    if let Some(value) = value {
        text(out, member, value);
    }
}

fn number(out: &mut Vec<u8>, member: &[u8], value: u64) {
    out.extend_from_slice(member);
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Milliseconds with the microseconds as a fraction.
fn millis(out: &mut Vec<u8>, member: &[u8], micros: u64) {
    number(out, member, micros / 1_000);
    let fraction = micros % 1_000;
    if fraction > 0 {
        out.push(b'.');
        for place in [100, 10, 1] {
            out.push(b'0' + (fraction / place % 10) as u8);
        }
    }
}

/// Appends a JSON string without control characters, cut at `chars_max` characters.
fn string(out: &mut Vec<u8>, value: &str, chars_max: usize) {
    out.push(b'"');
    if value.len() <= chars_max && json::is_plain_ascii(value.as_bytes()) {
        out.extend_from_slice(value.as_bytes());
    } else {
        for letter in value
            .chars()
            .filter(|letter| !letter.is_control())
            .take(chars_max)
        {
            if matches!(letter, '"' | '\\') {
                out.push(b'\\');
            }
            out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests;
