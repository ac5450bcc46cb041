//! What speaks to upstreams in their own protocol, chosen by the provider key. [pure]

pub mod openai;
mod retry_after;

use config_sync::model::model::Model;
use config_sync::model::provider_key::Adapter;

use crate::rejection::Rejection;
use crate::route::NO_PROVIDER_KEY;

/// The adapters of this version.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Family {
    /// OpenAI and every vendor with its wire format.
    Openai,
}

/// The adapter that serves `target`.
///
/// # Errors
///
/// [`Rejection::ProviderUnavailable`] where the target has no key, its key no adapter, or this
/// version does not have that adapter.
pub fn adapter_for(target: &Model) -> Result<Family, Rejection> {
    let unavailable = |sentence| Err(Rejection::ProviderUnavailable(sentence));
    let Some(key) = &target.provider_key else {
        return unavailable(NO_PROVIDER_KEY);
    };
    match key.adapter {
        Some(Adapter::Openai) => Ok(Family::Openai),
        Some(Adapter::Anthropic) => unavailable("this version has no adapter for anthropic"),
        Some(Adapter::Bedrock) => unavailable("this version has no adapter for bedrock"),
        Some(Adapter::Vertex) => unavailable("this version has no adapter for vertex"),
        Some(Adapter::AzureOpenai) => unavailable("this version has no adapter for azure-openai"),
        None => unavailable("the provider key of this model names no adapter"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::route::fixture;

    #[test]
    fn only_the_openai_family_is_served_and_the_rest_says_so() {
        for (key, want) in [
            (json!({}), Ok(Family::Openai)),
            (
                json!({"provider": "groq", "adapter": "openai"}),
                Ok(Family::Openai),
            ),
            (json!({"provider": "anthropic"}), Err("anthropic")),
            (
                json!({"provider": "azure", "adapter": "azure-openai"}),
                Err("azure-openai"),
            ),
            (json!({"provider": "groq"}), Err("no adapter")),
        ] {
            let key = fixture::provider_key(key);
            let target = fixture::model("m", Some(&key), json!({}));
            let got = adapter_for(&target).map_err(|rejection| {
                assert_eq!(rejection.kind(), "provider_unavailable");
                let mut out = Vec::new();
                rejection.write_envelope("r", &mut out);
                String::from_utf8(out).unwrap()
            });
            match (got, want) {
                (Ok(family), Ok(wanted)) => assert_eq!(family, wanted),
                (Err(said), Err(part)) => assert!(said.contains(part), "{said}"),
                (got, want) => panic!("{got:?} instead of {want:?}"),
            }
        }
        let dangling = fixture::model("m", None, json!({}));
        assert!(adapter_for(&dangling).is_err());
    }
}
