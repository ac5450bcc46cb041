//! Which answers are kept, where, and for whom. [pure]

use std::sync::Arc;

use super::{field, refuse_nulls};
use crate::tree::{Fields, Problems, Unknown, Value};

/// Longest name in characters.
const NAME_CHARS_MAX: usize = 120;
/// Longest `applies_to` in characters.
const APPLIES_TO_CHARS_MAX: usize = 255;
/// A week.
const TTL_SECONDS_MAX: u32 = 604_800;
/// Most entries of a semantic cache in memory.
const ENTRIES_MAX: u32 = 10_000;

/// One policy.
#[derive(Clone, Debug, PartialEq)]
pub struct CachePolicy {
    /// Name.
    pub name: Arc<str>,
    /// Whether it applies. Default: yes.
    pub enabled: bool,
    /// Where answers are kept. Default: memory.
    pub backend: CacheBackend,
    /// Lifetime of an answer in seconds, 1 to 604800. Default 3600.
    pub ttl_seconds: u32,
    /// Which requests it is for. Default: all.
    pub applies_to: AppliesTo,
    /// Who may be given a kept answer. Default: the key it was kept for.
    pub scope: CacheScope,
    /// Answers kept under another number are not used. Default 0.
    pub purge_generation: u32,
    /// Use of answers to similar requests; `None`: only to the same.
    pub semantic: Option<SemanticCache>,
}

/// Where answers are kept.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum CacheBackend {
    /// In the process.
    #[default]
    Memory,
    /// In Redis; without one nothing is kept.
    Redis,
}

/// Which requests a policy is for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum AppliesTo {
    /// Every request.
    #[default]
    All,
    /// Those that ask for this display name.
    Model(Arc<str>),
    /// Those with the key of this id.
    ApiKey(Arc<str>),
    /// None: what the document says is of no known form.
    Nothing,
}

/// Who shares kept answers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum CacheScope {
    /// Each key has its own.
    #[default]
    ApiKey,
    /// Everyone.
    Env,
}

/// How similar requests are found.
#[derive(Clone, Debug, PartialEq)]
pub struct SemanticCache {
    /// Display name of the embedding model.
    pub embedding_model: Arc<str>,
    /// Least similarity, 0 to 1.
    pub threshold: f64,
    /// Entries kept in memory, 1 to 10000. Default 1000.
    pub entries_max: u32,
    /// Deadline of the embedding call in ms, never 0; `None`: none.
    pub embedding_timeout_ms: Option<u64>,
}

impl CachePolicy {
    /// Reads a document. The result is usable only if no problem was noted.
    pub fn read(value: &Value, problems: &Problems, unknown: Unknown) -> Option<Self> {
        let fields = Fields::new(value, "", problems, unknown);
        let backends = [
            ("memory", CacheBackend::Memory),
            ("redis", CacheBackend::Redis),
        ];
        let scopes = [("api_key", CacheScope::ApiKey), ("env", CacheScope::Env)];
        let name = field::required_text_within(&fields, "name", 1, NAME_CHARS_MAX);
        let enabled = fields.take_bool("enabled").unwrap_or(true);
        let backend = fields.take_choice("backend", &backends).unwrap_or_default();
        let ttl_seconds = fields
            .take_u32_in("ttl_seconds", 1, TTL_SECONDS_MAX)
            .unwrap_or(3600);
        let applies_to = read_applies_to(&fields);
        let scope = fields.take_choice("scope", &scopes).unwrap_or_default();
        let purge_generation = fields.take_u32("purge_generation").unwrap_or(0);
        let semantic = read_semantic(&fields);
        fields.finish();
        refuse_nulls(value, "", problems);
        Some(Self {
            name: name?.into(),
            enabled,
            backend,
            ttl_seconds,
            applies_to,
            scope,
            purge_generation,
            semantic,
        })
    }
}

fn read_applies_to(fields: &Fields<'_>) -> AppliesTo {
    const KEY: &str = "applies_to";
    let Some(text) = fields.take_nonempty_str(KEY) else {
        return AppliesTo::All;
    };
    if text.chars().count() > APPLIES_TO_CHARS_MAX {
        let message = format!("must be at most {APPLIES_TO_CHARS_MAX} characters");
        fields.problem(KEY, message);
    }
    match text.split_once(':') {
        None if text == "all" => return AppliesTo::All,
        Some(("model", name)) if !name.is_empty() => return AppliesTo::Model(name.into()),
        Some(("api_key", id)) if !id.is_empty() => return AppliesTo::ApiKey(id.into()),
        None | Some(_) => {}
    }
    if fields.unknown() == Unknown::Refused {
        fields.problem(KEY, "must be all, model:<display name> or api_key:<id>");
    }
    AppliesTo::Nothing
}

/// The block is open: what it holds beside the known fields is passed over, also on writes.
fn read_semantic(fields: &Fields<'_>) -> Option<SemanticCache> {
    const KEY: &str = "semantic";
    let value = fields.take(KEY)?;
    field::block(fields, KEY)?;
    let block = Fields::new(value, KEY, fields.problems(), Unknown::Ignored);
    let embedding_model = field::text(&block, "embedding_model");
    field::required(&block, "threshold");
    let threshold = field::number_within(&block, "threshold", 0.0, 1.0);
    let entries_max = block
        .take_u32_in("max_entries", 1, ENTRIES_MAX)
        .unwrap_or(1000);
    let embedding_timeout_ms = field::timeout_ms(&block, "embedding_timeout_ms");
    block.finish();
    Some(SemanticCache {
        embedding_model: embedding_model?,
        threshold: threshold?,
        entries_max,
        embedding_timeout_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with(extra: &Value) -> Value {
        let mut doc = json!({"name": "faq"});
        for (key, value) in extra.as_object().unwrap() {
            doc[key] = value.clone();
        }
        doc
    }

    #[test]
    fn each_field_is_read_or_its_mistake_is_named() {
        let semantic = |extra: Value| {
            let mut block = json!({"embedding_model": "e", "threshold": 0.9});
            for (key, value) in extra.as_object().unwrap() {
                block[key] = value.clone();
            }
            json!({ "semantic": block })
        };
        // Fields, paths of problems: strict, lenient.
        let cases = [
            (
                json!({"applies_to": "model:fast-chat", "ttl_seconds": 600, "scope": "env"}),
                "",
                "",
            ),
            (
                json!({"name": "x".repeat(120), "backend": "redis", "enabled": false}),
                "",
                "",
            ),
            (json!({"name": "x".repeat(121)}), "name", "name"),
            (json!({"name": ""}), "name", "name"),
            (json!({"backend": "disk"}), "backend", "backend"),
            (json!({"ttl_seconds": 604_800}), "", ""),
            (
                json!({"ttl_seconds": 604_801}),
                "ttl_seconds",
                "ttl_seconds",
            ),
            (json!({"ttl_seconds": 0}), "ttl_seconds", "ttl_seconds"),
            (json!({"scope": "team"}), "scope", "scope"),
            (
                json!({"purge_generation": -1}),
                "purge_generation",
                "purge_generation",
            ),
            (json!({"enabled": null}), "enabled", "enabled"),
            (json!({"novel": 1}), "novel", ""),
            (json!({"applies_to": ""}), "applies_to", "applies_to"),
            (
                json!({"applies_to": "x".repeat(256)}),
                "applies_to applies_to",
                "applies_to",
            ),
            (json!({"applies_to": "team:t"}), "applies_to", ""),
            (json!({"applies_to": "model:"}), "applies_to", ""),
            (semantic(json!({})), "", ""),
            (
                semantic(json!({"novel": null, "max_entries": 10_000, "embedding_timeout_ms": 0})),
                "",
                "",
            ),
            (
                semantic(json!({"threshold": 1.1})),
                "semantic.threshold",
                "semantic.threshold",
            ),
            (
                semantic(json!({"max_entries": 10_001})),
                "semantic.max_entries",
                "semantic.max_entries",
            ),
            (
                json!({"semantic": {}}),
                "semantic.embedding_model semantic.threshold",
                "semantic.embedding_model semantic.threshold",
            ),
            (json!({"semantic": true}), "semantic", "semantic"),
            (json!({"semantic": null}), "semantic", "semantic"),
        ];
        for (extra, strict, lenient) in cases {
            for (unknown, want) in [(Unknown::Refused, strict), (Unknown::Ignored, lenient)] {
                let problems = Problems::default();
                CachePolicy::read(&with(&extra), &problems, unknown);
                assert_eq!(problems.paths().join(" "), want, "{unknown:?} {extra}");
            }
        }
    }

    fn accepted(extra: &Value) -> CachePolicy {
        let problems = Problems::default();
        let policy = CachePolicy::read(&with(extra), &problems, Unknown::Ignored).unwrap();
        assert!(problems.is_empty(), "{extra}");
        policy
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let want = CachePolicy {
            name: "faq".into(),
            enabled: true,
            backend: CacheBackend::Memory,
            ttl_seconds: 3600,
            applies_to: AppliesTo::All,
            scope: CacheScope::ApiKey,
            purge_generation: 0,
            semantic: None,
        };
        assert_eq!(accepted(&json!({})), want);
        let block = json!({"semantic": {"embedding_model": "e", "threshold": 1}});
        let semantic = accepted(&block).semantic.unwrap();
        assert_eq!(
            (semantic.entries_max, semantic.embedding_timeout_ms),
            (1000, None)
        );
    }

    #[test]
    fn a_policy_of_no_known_form_applies_to_nothing() {
        let cases = [
            ("all", AppliesTo::All),
            ("model:a:b", AppliesTo::Model("a:b".into())),
            ("api_key:id", AppliesTo::ApiKey("id".into())),
            ("All", AppliesTo::Nothing),
            ("api_key:", AppliesTo::Nothing),
            ("model", AppliesTo::Nothing),
        ];
        for (text, want) in cases {
            assert_eq!(
                accepted(&json!({ "applies_to": text })).applies_to,
                want,
                "{text}"
            );
        }
    }
}
