//! What belongs to a server's name: an exact name goes before a wildcard. [pure]

use std::collections::HashMap;

/// Items by name. A wildcard, `*.` before a name, stands for any one label there.
#[derive(Debug)]
pub(super) struct ByName<T> {
    exact: HashMap<Box<str>, T>,
    /// By what follows the first label.
    wildcard: HashMap<Box<str>, T>,
}

impl<T> Default for ByName<T> {
    fn default() -> Self {
        Self {
            exact: HashMap::new(),
            wildcard: HashMap::new(),
        }
    }
}

impl<T> ByName<T> {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wildcard.is_empty()
    }

    /// That of `name`, which is in lower case.
    pub(super) fn find(&self, name: &str) -> Option<&T> {
        let parent = || self.wildcard.get(name.split_once('.')?.1);
        self.exact.get(name).or_else(parent)
    }

    /// The place of `name`, a wildcard or not, in lower case.
    pub(super) fn entry(
        &mut self,
        name: &str,
    ) -> std::collections::hash_map::Entry<'_, Box<str>, T> {
        match name.strip_prefix("*.") {
            Some(rest) => self.wildcard.entry(rest.into()),
            None => self.exact.entry(name.into()),
        }
    }
}
