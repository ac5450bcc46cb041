//! The `client_type` label: which tool is calling, by its User-Agent. [pure]

use std::sync::Arc;

use memchr::memmem::Finder;
use regex::bytes::{Regex, RegexBuilder};

/// Most operator rules; each costs one search per request.
pub const RULES_MAX: usize = 64;
/// Longest pattern of an operator rule, in bytes.
pub const PATTERN_BYTES_MAX: usize = 512;
/// Longest name of a client, in bytes.
pub const CLIENT_BYTES_MAX: usize = 64;
/// Memory that one compiled pattern may take, in bytes.
const PATTERN_SIZE_MAX: usize = 1024 * 1024;
/// How much of a User-Agent is looked at, in bytes. Real ones are below 300.
const USER_AGENT_BYTES_MAX: usize = 512;

/// The label of a present User-Agent that nothing recognises.
pub const OTHER: &str = "other";
/// The label of an absent or blank User-Agent.
pub const UNKNOWN: &str = "unknown";

/// What the gateway recognises by itself: a lower-case substring and its label, first match wins.
///
/// Tools stand before the libraries they are built on, libraries before the HTTP clients beneath
/// them, and `mozilla/` last: editors built on a browser carry it too.
const BUILT_IN: &[(&str, &str)] = &[
    ("claude-cli", "claude-code"),
    ("claude-code", "claude-code"),
    ("codex", "codex"),
    ("roo-code", "roo-code"),
    ("roocode", "roo-code"),
    ("kilo-code", "kilocode"),
    ("kilocode", "kilocode"),
    ("zoo-code", "zoo-code"),
    ("zoocode", "zoo-code"),
    ("cline", "cline"),
    ("githubcopilot", "github-copilot"),
    ("github-copilot", "github-copilot"),
    ("copilot/", "github-copilot"),
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
    ("llama_index", "llamaindex"),
    ("litellm", "litellm"),
    ("ai-sdk", "vercel-ai-sdk"),
    ("openai/python", "openai-python"),
    ("openai-python", "openai-python"),
    ("openai/js", "openai-node"),
    ("openai-node", "openai-node"),
    ("anthropic/python", "anthropic-python"),
    ("anthropic-sdk-python", "anthropic-python"),
    ("anthropic/js", "anthropic-typescript"),
    ("anthropic-sdk-typescript", "anthropic-typescript"),
    ("curl/", "curl"),
    ("python-requests", "python-requests"),
    ("httpx", "httpx"),
    ("aiohttp", "aiohttp"),
    ("okhttp", "okhttp"),
    ("go-http-client", "go-http-client"),
    ("postman", "postman"),
    ("node", "node"),
    ("undici", "node"),
    ("mozilla/", "browser"),
];

/// The classifier: operator rules, then the built-in table.
#[derive(Clone, Debug)]
pub struct ClientTypes {
    rules: Box<[Rule]>,
    built_in: Box<[(Finder<'static>, Arc<str>)]>,
    other: Arc<str>,
    unknown: Arc<str>,
}

/// One operator rule, compiled.
#[derive(Clone, Debug)]
pub struct Rule {
    pattern: Regex,
    client: Arc<str>,
}

/// What is wrong with an operator rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RuleError {
    /// The regular expression.
    Pattern(String),
    /// The label.
    Client(String),
}

impl Rule {
    /// Compiles one rule: `pattern` is searched anywhere, case does not matter.
    ///
    /// # Errors
    ///
    /// [`RuleError`] for a pattern that is empty, too long or no expression, or for a client that
    /// is not `^[a-z0-9][a-z0-9._-]*$` of at most 64 bytes.
    pub fn compile(pattern: &str, client: &str) -> Result<Self, RuleError> {
        if !(1..=PATTERN_BYTES_MAX).contains(&pattern.len()) {
            let message = format!("must be 1 to {PATTERN_BYTES_MAX} bytes long");
            return Err(RuleError::Pattern(message));
        }
        if !is_client(client) {
            let message = format!(
                "must be 1 to {CLIENT_BYTES_MAX} of `a-z`, `0-9`, `.`, `_`, `-`, \
                 starting with a letter or digit"
            );
            return Err(RuleError::Client(message));
        }
        let pattern = RegexBuilder::new(pattern)
            .case_insensitive(true)
            .size_limit(PATTERN_SIZE_MAX)
            .build()
            .map_err(|error| {
                let reason = crate::rewrite::reason(&error);
                RuleError::Pattern(format!("is no valid regular expression: {reason}"))
            })?;
        let client = Arc::from(client);
        Ok(Self { pattern, client })
    }
}

fn is_client(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= CLIENT_BYTES_MAX
        && text.bytes().next().is_some_and(plain)
        && text
            .bytes()
            .all(|byte| plain(byte) || matches!(byte, b'.' | b'_' | b'-'))
}

impl Default for ClientTypes {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl ClientTypes {
    /// The operator's `rules` in order, ahead of the built-in table.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self {
            rules: rules.into(),
            built_in: BUILT_IN
                .iter()
                .map(|(needle, client)| (Finder::new(needle), Arc::from(*client)))
                .collect(),
            other: OTHER.into(),
            unknown: UNKNOWN.into(),
        }
    }

    /// The label of a User-Agent. Never text chosen by the caller; allocates nothing.
    ///
    /// Costs a search per rule and table entry, about a microsecond: callers keep the answer with
    /// the connection, whose User-Agent rarely changes. Looks at the first 512 bytes.
    pub fn classify(&self, user_agent: Option<&[u8]>) -> &Arc<str> {
        let text = user_agent.unwrap_or_default().trim_ascii();
        if text.is_empty() {
            return &self.unknown;
        }
        let seen = text.get(..USER_AGENT_BYTES_MAX).unwrap_or(text);
        if let Some(rule) = self.rules.iter().find(|rule| rule.pattern.is_match(seen)) {
            return &rule.client;
        }
        let mut folded = [0; USER_AGENT_BYTES_MAX];
        for (lower, byte) in folded.iter_mut().zip(seen) {
            *lower = byte.to_ascii_lowercase();
        }
        let folded = folded.get(..seen.len()).unwrap_or(&folded);
        self.built_in
            .iter()
            .find(|(needle, _)| needle.find(folded).is_some())
            .map_or(&self.other, |(_, client)| client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_tools_are_recognised_by_their_user_agent() {
        let types = ClientTypes::default();
        let cases = [
            ("claude-cli/1.0.83 (external, cli)", "claude-code"),
            ("codex_cli_rs/0.21.0 (Mac OS 15.1; arm64)", "codex"),
            ("Cline/3.20", "cline"),
            ("RooCode/3.25.4", "roo-code"),
            ("Kilo-Code/4.80.0", "kilocode"),
            ("GitHubCopilotChat/0.29.1", "github-copilot"),
            ("opencode/0.3.2", "opencode"),
            ("QwenCode/0.0.5 (linux; x64)", "qwen-code"),
            ("GeminiCLI/0.1.15 (darwin; arm64)", "gemini-cli"),
            ("Zed/0.198.2", "zed"),
            ("OpenAI/Python 1.99.1", "openai-python"),
            ("AsyncOpenAI/Python 1.99.1", "openai-python"),
            ("OpenAI/JS 5.10.1", "openai-node"),
            ("Anthropic/Python 0.60.0", "anthropic-python"),
            ("AsyncAnthropic/Python 0.60.0", "anthropic-python"),
            ("Anthropic/JS 0.57.0", "anthropic-typescript"),
            ("ai-sdk/openai/2.0.2 runtime/node.js/22", "vercel-ai-sdk"),
            ("curl/8.5.0", "curl"),
            ("python-requests/2.32.3", "python-requests"),
            ("python-httpx/0.28.1", "httpx"),
            ("Python/3.12 aiohttp/3.11", "aiohttp"),
            ("Go-http-client/1.1", "go-http-client"),
            ("node", "node"),
            ("PostmanRuntime/7.44.1", "postman"),
            ("Mozilla/5.0 (X11) Cursor/1.2 Chrome/132", "cursor"),
            ("Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0", "browser"),
            ("acme-bot/1", "other"),
            (" ", "unknown"),
            ("", "unknown"),
        ];
        for (user_agent, want) in cases {
            let got = types.classify(Some(user_agent.as_bytes()));
            assert_eq!(&**got, want, "{user_agent}");
        }
        assert_eq!(&**types.classify(None), "unknown");
        assert_eq!(&**types.classify(Some(b"\xFF\xFE")), "other");
    }

    #[test]
    fn every_documented_label_has_a_table_entry() {
        let documented = "claude-code codex cline roo-code kilocode zoo-code github-copilot cursor \
            opencode qwen-code gemini-cli crush zed aider openai-python openai-node \
            anthropic-python anthropic-typescript langchain llamaindex litellm vercel-ai-sdk curl \
            python-requests httpx aiohttp okhttp go-http-client node postman browser";
        for label in documented.split_whitespace() {
            assert!(BUILT_IN.iter().any(|(_, known)| *known == label), "{label}");
        }
        for (needle, label) in BUILT_IN {
            assert!(documented.split_whitespace().any(|known| known == *label));
            assert_eq!(*needle, needle.to_lowercase());
        }
    }

    #[test]
    fn operator_rules_come_first_and_in_order() {
        let rule = |pattern, client| Rule::compile(pattern, client).expect("valid");
        let types = ClientTypes::new(vec![rule("^acme/2", "acme-next"), rule("ACME", "acme")]);
        let cases = [
            ("acme/2.0 curl/8", "acme-next"),
            ("curl/8 Acme", "acme"),
            ("curl/8", "curl"),
            ("   ", "unknown"),
        ];
        for (user_agent, want) in cases {
            let got = types.classify(Some(user_agent.as_bytes()));
            assert_eq!(&**got, want, "{user_agent}");
        }
    }

    #[test]
    fn a_long_user_agent_is_cut_and_not_a_panic() {
        let types = ClientTypes::default();
        let mut long = "x".repeat(USER_AGENT_BYTES_MAX);
        long.push_str("curl/8");
        assert_eq!(&**types.classify(Some(long.as_bytes())), "other");
        let fits = format!("{}curl/", "x".repeat(USER_AGENT_BYTES_MAX - 5));
        assert_eq!(&**types.classify(Some(fits.as_bytes())), "curl");
    }

    #[test]
    fn rules_out_of_bounds_are_refused() {
        let (long, longest) = ("a".repeat(513), "a".repeat(512));
        for pattern in ["", "(", "a(?=b)", long.as_str(), r"(\w{1000}){1000}"] {
            let got = Rule::compile(pattern, "a");
            assert!(matches!(got, Err(RuleError::Pattern(_))), "{pattern}");
        }
        let wide = "a".repeat(65);
        for client in ["", "A", "-a", ".a", "a b", "ä", wide.as_str()] {
            let got = Rule::compile("a", client);
            assert!(matches!(got, Err(RuleError::Client(_))), "{client}");
        }
        assert!(Rule::compile(&longest, "0.a_b-c").is_ok());
    }
}
