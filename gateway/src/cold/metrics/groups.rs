//! Label sets: which series fall together under one line of a family. [cold]
//!
//! Each set renders the labels of a series once, when it first sees it; a scrape only adds
//! numbers and copies bytes.

use std::collections::HashMap;
use std::sync::Arc;

use super::DetailedLabels;
use super::text::label;
use crate::bridge::domain;
use crate::bridge::series::{CallerId, OTHER, SeriesLabels, TargetId};

/// Lines of one family with sums of their own; what comes later shares one line. With every family
/// at the limit a scrape has about 490,000 lines and 190 MB, and takes half a second.
pub const GROUPS_MAX: usize = 10_000;

/// The lines that share one set of label names, with their sums.
#[derive(Debug)]
pub struct Groups {
    index: HashMap<Arc<[u8]>, u32>,
    labels: Vec<Arc<[u8]>>,
    /// `width` cells per line.
    sums: Vec<u64>,
    width: usize,
    groups_max: usize,
    other: Arc<[u8]>,
}

impl Groups {
    /// No lines yet. `other` are the labels of the line beyond `groups_max`.
    pub fn new(width: usize, groups_max: usize, other: Vec<u8>) -> Self {
        Self {
            index: HashMap::new(),
            labels: Vec::new(),
            sums: Vec::new(),
            width,
            groups_max,
            other: other.into(),
        }
    }

    /// Number of the line with these labels, made if need be.
    pub fn line(&mut self, labels: &[u8]) -> u32 {
        if let Some(line) = self.index.get(labels) {
            return *line;
        }
        let labels = if self.labels.len() < self.groups_max {
            Arc::from(labels)
        } else if let Some(line) = self.index.get(&self.other) {
            return *line;
        } else {
            Arc::clone(&self.other)
        };
        let line = u32::try_from(self.labels.len()).expect("bounded by groups_max, which is small");
        self.index.insert(Arc::clone(&labels), line);
        self.labels.push(labels);
        self.sums.resize(self.sums.len() + self.width, 0);
        line
    }

    /// Forgets the sums, keeps the lines.
    pub fn clear(&mut self) {
        self.sums.fill(0);
    }

    /// The sums of a line.
    pub fn cells(&mut self, line: u32) -> &mut [u64] {
        let start = line as usize * self.width;
        &mut self.sums[start..start + self.width]
    }

    /// Labels and sums of every line, oldest first.
    pub fn lines(&self) -> impl Iterator<Item = (&[u8], &[u64])> {
        self.labels
            .iter()
            .map(|labels| &**labels)
            .zip(self.sums.chunks_exact(self.width))
    }
}

/// The label values of a series, absent ones filled in.
pub struct Values<'l> {
    labels: &'l SeriesLabels,
    provider: &'l str,
    model: &'l str,
    upstream_model: &'l str,
    provider_key_id: &'l str,
    provider_key_name: &'l str,
    caller: [&'l str; 4],
    status: [u8; 3],
}

impl<'l> Values<'l> {
    /// The values of `labels`.
    pub fn of(labels: &'l SeriesLabels) -> Self {
        let [
            provider,
            model,
            upstream_model,
            provider_key_id,
            provider_key_name,
        ] = match &labels.target {
            TargetId::Unknown => ["unknown", "unknown", "", "unknown", "unknown"],
            TargetId::Unresolved => ["unknown", "unresolved", "", "unknown", "unknown"],
            TargetId::Other => [OTHER; 5],
            TargetId::Known(t) => [
                &t.provider,
                &t.model,
                &t.upstream_model,
                &t.provider_key_id,
                &t.provider_key_name,
            ]
            .map(|value| &**value),
        };
        let caller = match &labels.caller {
            CallerId::Absent => [""; 4],
            CallerId::Other => [OTHER; 4],
            CallerId::Known(c) => {
                [&c.api_key_id, &c.team_id, &c.user_id, &c.user_name].map(|value| &**value)
            }
        };
        let digit = |place: u16| b'0' + (labels.status / place % 10) as u8;
        let status = [digit(100), digit(10), digit(1)];
        Self {
            labels,
            provider,
            model,
            upstream_model,
            provider_key_id,
            provider_key_name,
            caller,
            status,
        }
    }

    fn status(&self) -> &str {
        std::str::from_utf8(&self.status).unwrap_or("000")
    }

    /// `provider, model`.
    pub fn model(&self) -> Vec<u8> {
        render([("provider", self.provider), ("model", self.model)])
    }

    /// `provider, model, status` and, if asked for, `outcome`.
    pub fn by_status(&self, with_outcome: bool) -> Vec<u8> {
        let mut out = self.model();
        label(&mut out, "status", self.status());
        if with_outcome {
            label(&mut out, "outcome", domain::outcome(self.labels.status));
        }
        out
    }

    /// The detailed set D.
    pub fn detailed(&self, keep: DetailedLabels) -> Vec<u8> {
        let mut out = render([
            ("endpoint", self.labels.endpoint),
            ("inbound_protocol", self.labels.inbound_protocol),
            ("provider", self.provider),
            ("model", self.model),
            ("upstream_model", self.upstream_model),
            ("provider_key_id", self.provider_key_id),
            ("provider_key_name", self.provider_key_name),
        ]);
        let names = ["api_key_id", "team_id", "user_id", "user_name"];
        let kept = [keep.api_key_id, keep.team_id, keep.user_id, keep.user_name];
        for ((name, value), kept) in names.into_iter().zip(self.caller).zip(kept) {
            if kept {
                label(&mut out, name, value);
            }
        }
        out
    }

    /// `D, stream, status, outcome` and, if asked for, `is_fallback`.
    pub fn detailed_result(&self, keep: DetailedLabels, with_fallback: bool) -> Vec<u8> {
        let mut out = self.detailed(keep);
        label(&mut out, "stream", flag(self.labels.stream));
        if with_fallback {
            label(&mut out, "is_fallback", flag(self.labels.fallback));
        }
        label(&mut out, "status", self.status());
        label(&mut out, "outcome", domain::outcome(self.labels.status));
        out
    }

    /// `env_id, endpoint, model, provider, status_class, streaming`.
    pub fn latency(&self) -> Vec<u8> {
        render([
            ("env_id", ""),
            ("endpoint", self.labels.endpoint),
            ("model", self.model),
            ("provider", self.provider),
            ("status_class", domain::status_class(self.labels.status)),
            ("streaming", flag(self.labels.stream)),
        ])
    }

    /// `endpoint, model, provider_key_id, provider_key_name`.
    pub fn cancelled(&self) -> Vec<u8> {
        render([
            ("endpoint", self.labels.endpoint),
            ("model", self.model),
            ("provider_key_id", self.provider_key_id),
            ("provider_key_name", self.provider_key_name),
        ])
    }

    /// `handler, status_code, inbound_protocol, model, provider_key_id, provider_key_name`.
    pub fn usage_event(&self) -> Vec<u8> {
        render([
            ("handler", self.labels.endpoint),
            ("status_code", domain::status_class(self.labels.status)),
            ("inbound_protocol", self.labels.inbound_protocol),
            ("model", self.model),
            ("provider_key_id", self.provider_key_id),
            ("provider_key_name", self.provider_key_name),
        ])
    }
}

/// Label text from names and values.
pub fn render<const N: usize>(labels: [(&str, &str); N]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 * N);
    for (name, value) in labels {
        label(&mut out, name, value);
    }
    out
}

fn flag(on: bool) -> &'static str {
    if on { "true" } else { "false" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_cap_share_one() {
        let mut groups = Groups::new(1, 2, b"m=\"other\"".to_vec());
        for name in ["a", "b", "c", "d", "a"] {
            let line = groups.line(&render([("m", name)]));
            groups.cells(line)[0] += 1;
        }
        let lines: Vec<_> = groups
            .lines()
            .map(|(labels, sums)| (String::from_utf8(labels.to_vec()).unwrap(), sums[0]))
            .collect();
        let want = [("m=\"a\"", 2), ("m=\"b\"", 1), ("m=\"other\"", 2)];
        assert_eq!(lines, want.map(|(labels, sum)| (labels.to_owned(), sum)));
        groups.clear();
        assert!(groups.lines().all(|(_, sums)| sums == [0]));
    }

    #[test]
    fn what_is_absent_reads_unknown_or_empty() {
        let labels = SeriesLabels {
            endpoint: "/v1/embeddings",
            inbound_protocol: "openai",
            caller: CallerId::Absent,
            target: TargetId::Unresolved,
            stream: false,
            fallback: false,
            status: 404,
        };
        let got = String::from_utf8(Values::of(&labels).detailed(DetailedLabels::ALL)).unwrap();
        let want = "endpoint=\"/v1/embeddings\",inbound_protocol=\"openai\",\
            provider=\"unknown\",model=\"unresolved\",upstream_model=\"\",\
            provider_key_id=\"unknown\",provider_key_name=\"unknown\",\
            api_key_id=\"\",team_id=\"\",user_id=\"\",user_name=\"\"";
        assert_eq!(got, want);
        let none = DetailedLabels::NONE;
        assert!(
            !String::from_utf8(Values::of(&labels).detailed(none))
                .unwrap()
                .contains("user")
        );
    }
}
