//! Texts that reach metrics and logs, prepared once. [pure]

use std::sync::Arc;

/// Longest label value, in bytes. Longer names are cut.
pub const LABEL_BYTES_MAX: usize = 256;

/// Stands for what is not known.
const UNKNOWN: &str = "unknown";

/// Who called. Absent values are empty, an absent user name is `unknown`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct CallerLabels {
    /// Id of the API key.
    pub api_key_id: Arc<str>,
    /// Team of the key, or empty.
    pub team_id: Arc<str>,
    /// User of the key, or empty.
    pub user_id: Arc<str>,
    /// Name of the user, or `unknown`.
    pub user_name: Arc<str>,
}

impl CallerLabels {
    pub(crate) fn new(
        id: &Arc<str>,
        team_id: Option<&Arc<str>>,
        user_id: Option<&Arc<str>>,
        user_name: Option<&Arc<str>>,
    ) -> Self {
        let or = |value: Option<&Arc<str>>, absent: &str| value.map_or(absent.into(), value_of);
        Self {
            api_key_id: value_of(id),
            team_id: or(team_id, ""),
            user_id: or(user_id, ""),
            user_name: or(user_name, UNKNOWN),
        }
    }
}

/// Whom we call.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct TargetLabels {
    /// The model's vendor id.
    pub provider: Arc<str>,
    /// The row's display name; of a wildcard row its pattern, never the caller's text.
    pub model: Arc<str>,
    /// The row's upstream model id, `*` included.
    pub upstream_model: Arc<str>,
    /// Id of the provider key.
    pub provider_key_id: Arc<str>,
    /// Name of the provider key.
    pub provider_key_name: Arc<str>,
    /// Id of the model row.
    pub model_id: Arc<str>,
}

impl TargetLabels {
    pub(crate) fn new(
        model_id: &Arc<str>,
        display_name: &Arc<str>,
        provider: &Arc<str>,
        upstream_model: &Arc<str>,
        (key_id, key_name): (&Arc<str>, &Arc<str>),
    ) -> Self {
        Self {
            provider: value_of(provider),
            model: value_of(display_name),
            upstream_model: value_of(upstream_model),
            provider_key_id: value_of(key_id),
            provider_key_name: value_of(key_name),
            model_id: value_of(model_id),
        }
    }
}

impl TargetLabels {
    /// What metrics and logs say of a passthrough route's upstream, which has no model: `provider`
    /// with the provider key's id and name, where it has one.
    pub fn passthrough(provider: &Arc<str>, key: Option<(&Arc<str>, &Arc<str>)>) -> Self {
        let unknown: Arc<str> = UNKNOWN.into();
        let none: Arc<str> = "".into();
        let passthrough: Arc<str> = "passthrough".into();
        let key = key.unwrap_or((&unknown, &unknown));
        Self::new(&none, &passthrough, provider, &passthrough, key)
    }
}

/// `text` as a label value: without control characters, at most [`LABEL_BYTES_MAX`] bytes.
///
/// Shares the text where nothing changes.
fn value_of(text: &Arc<str>) -> Arc<str> {
    if text.len() <= LABEL_BYTES_MAX && !text.contains(char::is_control) {
        return Arc::clone(text);
    }
    printable(text, LABEL_BYTES_MAX).into()
}

/// `text` without control characters, cut after the last whole character within `bytes_max` bytes.
pub(crate) fn printable(text: &str, bytes_max: usize) -> String {
    let mut out = String::new();
    for character in text.chars().filter(|character| !character.is_control()) {
        if out.len() + character.len_utf8() > bytes_max {
            break;
        }
        out.push(character);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_cut_at_whole_characters_and_hold_no_control_characters() {
        let cases = [
            ("team-7".to_owned(), "team-7".to_owned()),
            ("a\nb\u{7f}c\u{85}".to_owned(), "abc".to_owned()),
            ("x".repeat(300), "x".repeat(256)),
            (format!("{}é", "x".repeat(255)), "x".repeat(255)),
            (
                format!("{}é", "x".repeat(254)),
                format!("{}é", "x".repeat(254)),
            ),
        ];
        for (text, want) in cases {
            assert_eq!(*value_of(&text.clone().into()), want, "{text:?}");
        }
    }

    #[test]
    fn absent_values_are_empty_or_unknown() {
        let id: Arc<str> = "id".into();
        let caller = CallerLabels::new(&id, None, None, None);
        assert_eq!((&*caller.team_id, &*caller.user_id), ("", ""));
        assert_eq!(&*caller.user_name, "unknown");
        let target = TargetLabels::new(&id, &id, &id, &id, (&id, &id));
        assert!(Arc::ptr_eq(&target.model, &id), "unchanged text is shared");
    }
}
