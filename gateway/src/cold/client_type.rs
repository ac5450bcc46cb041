//! The kind of client, from its `User-Agent`. [cold]

use std::collections::HashMap;
use std::sync::Arc;

use metrics::counter;
use regex::{Regex, RegexBuilder};

use crate::bridge::record::RequestRecord;

/// An operator's rule.
#[derive(Clone, Debug)]
pub struct ClientTypeRule {
    /// Regular expression, matched anywhere, case-insensitively.
    pub pattern: String,
    /// The label.
    pub client: String,
}

/// Agents remembered with their kind. Longer lists are forgotten and learnt again.
const REMEMBERED_MAX: usize = 1_024;
/// Bytes of an agent that are looked at.
const AGENT_BYTES_MAX: usize = 512;

/// Agents by a part of their name, in lower case. Earlier ones are more particular: many agents
/// also name the library they are built on.
const BUILT_IN: &[(&str, &str)] = &[
    ("claude-code", "claude-code"),
    ("claude-cli", "claude-code"),
    ("codex", "codex"),
    ("roo-code", "roo-code"),
    ("roocode", "roo-code"),
    ("kilocode", "kilocode"),
    ("kilo-code", "kilocode"),
    ("zoo-code", "zoo-code"),
    ("cline", "cline"),
    ("githubcopilot", "github-copilot"),
    ("github-copilot", "github-copilot"),
    ("cursor", "cursor"),
    ("opencode", "opencode"),
    ("qwen-code", "qwen-code"),
    ("qwencode", "qwen-code"),
    ("gemini-cli", "gemini-cli"),
    ("geminicli", "gemini-cli"),
    ("crush", "crush"),
    ("zed/", "zed"),
    ("aider", "aider"),
    ("langchain", "langchain"),
    ("llamaindex", "llamaindex"),
    ("llama-index", "llamaindex"),
    ("litellm", "litellm"),
    ("ai-sdk", "vercel-ai-sdk"),
    ("openai/python", "openai-python"),
    ("openai-python", "openai-python"),
    ("openai/js", "openai-node"),
    ("openai-node", "openai-node"),
    ("anthropic/python", "anthropic-python"),
    ("anthropic/js", "anthropic-typescript"),
    ("anthropic/typescript", "anthropic-typescript"),
    ("postman", "postman"),
    ("python-requests", "python-requests"),
    ("python-httpx", "httpx"),
    ("aiohttp", "aiohttp"),
    ("okhttp", "okhttp"),
    ("go-http-client", "go-http-client"),
    ("curl/", "curl"),
    ("mozilla/", "browser"),
    ("node", "node"),
];

/// Counts tokens by kind of client.
#[derive(Debug, Default)]
pub struct ClientTypes {
    rules: Vec<(Regex, Arc<str>)>,
    remembered: HashMap<Box<str>, Arc<str>>,
}

impl ClientTypes {
    /// With the operator's rules, which come before the built-in ones.
    ///
    /// # Errors
    ///
    /// When a pattern is no regular expression; the settings have refused those already.
    pub fn new(rules: &[ClientTypeRule]) -> Result<Self, regex::Error> {
        let compile = |rule: &ClientTypeRule| {
            let pattern = RegexBuilder::new(&rule.pattern)
                .case_insensitive(true)
                .build()?;
            Ok((pattern, Arc::from(rule.client.as_str())))
        };
        let rules = rules
            .iter()
            .map(compile)
            .collect::<Result<_, regex::Error>>()?;
        Ok(Self {
            rules,
            remembered: HashMap::new(),
        })
    }

    /// The kind of `user_agent`.
    pub fn of(&mut self, user_agent: &str) -> Arc<str> {
        let agent = crate::bridge::log::cut(user_agent.trim(), AGENT_BYTES_MAX);
        if let Some(known) = self.remembered.get(agent) {
            return Arc::clone(known);
        }
        let kind = self.classify(agent);
        if self.remembered.len() >= REMEMBERED_MAX {
            self.remembered.clear();
        }
        self.remembered.insert(agent.into(), Arc::clone(&kind));
        kind
    }

    fn classify(&self, agent: &str) -> Arc<str> {
        if agent.is_empty() {
            return "unknown".into();
        }
        if let Some((_, kind)) = self
            .rules
            .iter()
            .find(|(pattern, _)| pattern.is_match(agent))
        {
            return Arc::clone(kind);
        }
        let lower = agent.to_ascii_lowercase();
        let built_in = BUILT_IN.iter().find(|(part, _)| lower.contains(part));
        built_in.map_or("other", |(_, kind)| kind).into()
    }

    /// Counts the tokens of one request.
    pub fn count(&mut self, record: &RequestRecord) {
        let Some(target) = &record.target else { return };
        let kind = self.of(&record.user_agent);
        let usage = &record.usage;
        for (token_type, tokens) in [
            ("input", usage.prompt),
            ("output", usage.completion),
            ("total", usage.total),
        ] {
            counter!(
                "sluice_llm_tokens_by_client_total",
                "client_type" => Arc::clone(&kind),
                "model" => Arc::clone(&target.model),
                "token_type" => token_type,
            )
            .increment(tokens);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_recognised_by_their_most_particular_part() {
        let cases = [
            ("", "unknown"),
            ("   ", "unknown"),
            ("curl/8.5.0", "curl"),
            ("OpenAI/Python 1.50.0", "openai-python"),
            ("AsyncOpenAI/JS 4.1", "openai-node"),
            ("claude-cli/1.0 (external, cli)", "claude-code"),
            ("Mozilla/5.0 (X11) Cursor/0.4", "cursor"),
            ("Mozilla/5.0 (X11) Firefox/1", "browser"),
            ("something-else/1", "other"),
        ];
        let mut types = ClientTypes::default();
        for (agent, want) in cases {
            assert_eq!(&*types.of(agent), want, "{agent}");
        }
    }

    #[test]
    fn an_operators_rule_comes_first_and_ignores_case() {
        let rule = ClientTypeRule {
            pattern: "^curl/8".into(),
            client: "probe".into(),
        };
        let mut types = ClientTypes::new(&[rule]).unwrap();
        assert_eq!(&*types.of("CURL/8.5"), "probe");
        assert_eq!(&*types.of("curl/7"), "curl");
        let bad = ClientTypeRule {
            pattern: "(".into(),
            client: "x".into(),
        };
        assert!(ClientTypes::new(&[bad]).is_err());
    }

    #[test]
    fn the_memory_of_agents_is_bounded() {
        let mut types = ClientTypes::default();
        for at in 0..3 * REMEMBERED_MAX {
            types.of(&format!("agent/{at}"));
        }
        assert!(types.remembered.len() <= REMEMBERED_MAX);
    }
}
