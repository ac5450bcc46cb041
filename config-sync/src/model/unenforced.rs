//! Which settings of a document have no effect in this version. [pure]
//!
//! A document that carries them stays loadable, a mistake in them is still found, and the snapshot
//! warns once per kind of field.

/// The names of `found` that are set.
pub(crate) fn set(found: &[(&'static str, bool)]) -> Vec<&'static str> {
    let set = found.iter().filter(|(_, is_set)| *is_set);
    set.map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_set_is_named() {
        assert_eq!(set(&[("a", true), ("b", false), ("c", true)]), ["a", "c"]);
    }
}
