//! Names of credentials that are in the environment of the process. [pure]

use std::sync::Arc;

use crate::tree::Fields;

/// The name of a credential, never the credential.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CredentialRef {
    name: Arc<str>,
    slug: Arc<str>,
}

impl CredentialRef {
    pub(super) fn new(name: &str) -> Self {
        let slug: String = name
            .chars()
            .map(|character| match character.to_ascii_uppercase() {
                upper if upper.is_ascii_alphanumeric() => upper,
                _ => '_',
            })
            .collect();
        Self {
            name: name.into(),
            slug: slug.into(),
        }
    }

    /// Reads `credential_ref`, which must be there.
    pub(super) fn read(fields: &Fields<'_>) -> Option<Self> {
        fields.take_required_str("credential_ref").map(Self::new)
    }

    /// As written.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// As it stands in names of variables: in upper case, `_` for all but letters and digits.
    pub fn slug(&self) -> &str {
        &self.slug
    }

    /// The environment variable `<prefix>_<slug>_<suffix>`, or `<prefix>_<slug>` without a suffix.
    pub fn variable(&self, prefix: &str, suffix: &str) -> String {
        let underscore = if suffix.is_empty() { "" } else { "_" };
        format!("{prefix}_{}{underscore}{suffix}", self.slug)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_named_after_the_reference() {
        let cases = [("prod-eu", "PROD_EU"), ("a.B 1é", "A_B_1_"), ("X", "X")];
        for (name, slug) in cases {
            assert_eq!(CredentialRef::new(name).slug(), slug);
        }
        let reference = CredentialRef::new("prod-eu");
        assert_eq!(reference.name(), "prod-eu");
        assert_eq!(
            reference.variable("DD_CRED", "API_KEY"),
            "DD_CRED_PROD_EU_API_KEY"
        );
        assert_eq!(reference.variable("OTLP_CRED", ""), "OTLP_CRED_PROD_EU");
    }
}
