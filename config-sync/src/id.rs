//! The id of a resource that was not given one. [pure]

use std::sync::Arc;

use uuid::Uuid;

/// Namespace of ids derived from names. A constant of the file format: ids, counters and references
/// survive a move of the file only while it stays.
const NAMESPACE: Uuid = Uuid::from_u128(0x63e5_0ab2_677a_54d3_8d1e_c0cb_29ce_ae94);

/// The id of a file entry: UUIDv5 of `<collection>/<identity>`.
pub fn derived(collection: &str, identity: &str) -> Arc<str> {
    let name = format!("{collection}/{identity}");
    Uuid::new_v5(&NAMESPACE, name.as_bytes()).to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_the_file_format() {
        assert_eq!(
            &*derived("models", "fast-chat"),
            "a35ce62a-7e17-51a6-a8a5-5d9c0c32855c"
        );
        assert_ne!(derived("models", "main"), derived("provider_keys", "main"));
    }
}
