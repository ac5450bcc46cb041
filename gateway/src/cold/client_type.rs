//! Tokens by the kind of client that used them. [cold]

use std::collections::HashMap;
use std::sync::Arc;

use metrics::{Counter, counter};

use crate::bridge::record::RequestRecord;
use crate::client_type::ClientTypes;
use crate::short_text::ShortText;

/// Agents remembered with their kind. At the bound all are forgotten and learnt again.
const REMEMBERED_MAX: usize = 1_024;

/// Counts tokens by kind of client.
#[derive(Debug, Default)]
pub struct TokensByClient {
    types: ClientTypes,
    remembered: HashMap<Box<str>, Arc<str>>,
    counters: HashMap<(Arc<str>, Arc<str>), [Counter; 3]>,
    /// Agent, model and counters of the record before: most are like it.
    last: Option<(ShortText, Arc<str>, [Counter; 3])>,
}

impl TokensByClient {
    /// With the operator's rules and the built-in table.
    pub fn new(types: ClientTypes) -> Self {
        Self {
            types,
            ..Self::default()
        }
    }

    /// The kind of `user_agent`.
    fn kind_of(&mut self, user_agent: &str) -> Arc<str> {
        if let Some(known) = self.remembered.get(user_agent) {
            return Arc::clone(known);
        }
        let kind = Arc::clone(self.types.classify(Some(user_agent.as_bytes())));
        if self.remembered.len() >= REMEMBERED_MAX {
            self.remembered.clear();
        }
        self.remembered.insert(user_agent.into(), Arc::clone(&kind));
        kind
    }

    /// Counts the tokens of one request.
    pub fn count(&mut self, record: &RequestRecord) {
        let Some(target) = &record.target else { return };
        let model = &target.model;
        let alike = |(agent, last, _): &&(ShortText, Arc<str>, _)| {
            Arc::ptr_eq(last, model) && *agent == record.user_agent
        };
        if self.last.as_ref().filter(alike).is_none() {
            let key = (self.kind_of(&record.user_agent), Arc::clone(model));
            let counters = self
                .counters
                .entry(key)
                .or_insert_with_key(|(kind, model)| registered(kind, model));
            let counters = counters.clone();
            self.last = Some((record.user_agent.clone(), Arc::clone(model), counters));
        }
        let Some((_, _, counters)) = &self.last else {
            return;
        };
        let usage = &record.usage;
        let tokens = [usage.prompt, usage.completion, usage.total];
        for (counter, tokens) in counters.iter().zip(tokens) {
            counter.increment(tokens);
        }
    }
}

/// Counters of input, output and total tokens: looked up in the registry once.
fn registered(kind: &Arc<str>, model: &Arc<str>) -> [Counter; 3] {
    ["input", "output", "total"].map(|token_type| {
        counter!(
            "sluice_llm_tokens_by_client_total",
            "client_type" => Arc::clone(kind),
            "model" => Arc::clone(model),
            "token_type" => token_type,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_agents_is_bounded_and_right() {
        let mut tokens = TokensByClient::default();
        for at in 0..3 * REMEMBERED_MAX {
            tokens.kind_of(&format!("agent/{at}"));
        }
        assert!(tokens.remembered.len() <= REMEMBERED_MAX);
        for _ in 0..2 {
            assert_eq!(&*tokens.kind_of("curl/8.5.0"), "curl");
            assert_eq!(&*tokens.kind_of(""), "unknown");
        }
    }
}
