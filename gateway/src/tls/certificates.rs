//! Which certificate answers a client. [pure]

use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::by_name::ByName;
use super::files::Pair;

/// The pairs of a listener, found by the name that a client asks for.
#[derive(Debug)]
pub(crate) struct Certificates {
    pairs: Vec<Arc<CertifiedKey>>,
    named: ByName<Vec<usize>>,
    /// For clients that ask for no name, or for one that no pair has: the first pair, and those
    /// with a name of it, for clients of other algorithms.
    fallback: Vec<usize>,
}

impl Certificates {
    /// Answers with `pairs`, of which the first is the fallback.
    pub(crate) fn new(pairs: &[Pair]) -> Self {
        let mut named = ByName::<Vec<usize>>::default();
        for (index, pair) in pairs.iter().enumerate() {
            for name in &pair.facts.names {
                named.entry(name).or_default().push(index);
            }
        }
        let names = |pair: &Pair| pair.facts.names.clone();
        let first = pairs.first().map(names).unwrap_or_default();
        let alike = |pair: &Pair| pair.facts.names.iter().any(|name| first.contains(name));
        let fallback = pairs.iter().enumerate();
        Self {
            fallback: fallback
                .filter(|(index, pair)| *index == 0 || alike(pair))
                .map(|(index, _)| index)
                .collect(),
            pairs: pairs.iter().map(|pair| Arc::clone(&pair.key)).collect(),
            named,
        }
    }

    /// Answers with one of `pairs` whatever name a client asks for: which was looked at before.
    pub(crate) fn any(pairs: &[Pair]) -> Self {
        Self {
            pairs: pairs.iter().map(|pair| Arc::clone(&pair.key)).collect(),
            named: ByName::default(),
            fallback: (0..pairs.len()).collect(),
        }
    }

    /// Those for `name`, of which any will do: an exact name goes before a wildcard.
    fn for_name(&self, name: Option<&str>) -> &[usize] {
        let Some(name) = name.map(str::to_ascii_lowercase) else {
            return &self.fallback;
        };
        self.named.find(&name).unwrap_or(&self.fallback)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let candidates = self.for_name(hello.server_name());
        let schemes = hello.signature_schemes();
        let can_sign = |index: &&usize| {
            let pair = &self.pairs[**index];
            pair.key.choose_scheme(schemes).is_some()
        };
        let fit = candidates.iter().find(can_sign);
        let chosen = fit.or(candidates.first())?;
        Some(Arc::clone(&self.pairs[*chosen]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::files::tests::pair_for;

    #[test]
    fn an_exact_name_goes_before_a_wildcard_and_the_first_pair_answers_the_rest() {
        let pairs = [
            pair_for(&["main.test"]),
            pair_for(&["*.ai.test"]),
            pair_for(&["one.ai.test", "two.test"]),
            pair_for(&["main.test", "old.test"]),
        ];
        let certificates = Certificates::new(&pairs);
        let cases = [
            (None, vec![0, 3]),
            (Some("main.test"), vec![0, 3]),
            (Some("MAIN.test"), vec![0, 3]),
            (Some("old.test"), vec![3]),
            (Some("one.ai.test"), vec![2]),
            (Some("two.ai.test"), vec![1]),
            (Some("a.two.ai.test"), vec![0, 3]),
            (Some("ai.test"), vec![0, 3]),
            (Some("elsewhere.test"), vec![0, 3]),
        ];
        for (name, want) in cases {
            assert_eq!(certificates.for_name(name), want, "{name:?}");
        }
    }
}
