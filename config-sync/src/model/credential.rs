//! The shape of a provider key's credential. [pure]
//!
//! Messages name the expected shape and never hold any part of the value or of parser texts.

use zeroize::Zeroizing;

use super::provider_key::Adapter;
use super::template::is_header_value;
use crate::document::Document;
use crate::secret::Secret;
use crate::tree::{Value, kind};

const BEDROCK: &str =
    "must be JSON with access_key_id, secret_access_key, region and optionally session_token";
const VERTEX: &str = "must be JSON with project, region and exactly one of access_token and \
                      service_account_json (type service_account, private_key in PEM, client_email, token_uri)";
const AZURE: &str = "must be a key, or JSON with tenant_id, client_id, client_secret and \
                     optionally authority_host";
const PLAIN: &str = "must not hold line breaks or other control characters";

/// Checks `value` for `adapter`: plain text, JSON text, or the JSON itself as a mapping.
///
/// # Errors
///
/// What is accepted, for the operator.
pub(crate) fn read(value: &Value, adapter: Option<Adapter>) -> Result<Secret, String> {
    let text = match value {
        Value::String(text) => Zeroizing::new(text.clone()),
        Value::Object(_) if is_json(adapter, "{") => Zeroizing::new(value.to_string()),
        Value::Object(_) => return Err("must be a string for this adapter".to_owned()),
        other => return Err(format!("must be a string, not {}", kind(other))),
    };
    if text.is_empty() {
        return Err("must not be empty".to_owned());
    }
    check(&text, adapter).map_err(str::to_owned)?;
    Ok(Secret::from(text.as_str()))
}

fn check(text: &str, adapter: Option<Adapter>) -> Result<(), &'static str> {
    if !is_json(adapter, text) {
        // An Azure key is trimmed before it is sent.
        let sent = if adapter == Some(Adapter::AzureOpenai) {
            text.trim()
        } else {
            text
        };
        return is_header_value(sent.as_bytes()).then_some(()).ok_or(PLAIN);
    }
    let parsed = serde_json::from_str::<Value>(text).ok().map(Document::from);
    let fields = Shape(parsed.as_ref().map(Document::value));
    match adapter {
        Some(Adapter::Bedrock) => fields
            .has_all(&["access_key_id", "secret_access_key", "region"])
            .then_some(())
            .ok_or(BEDROCK),
        Some(Adapter::Vertex) => fields.is_vertex().then_some(()).ok_or(VERTEX),
        Some(Adapter::AzureOpenai) => fields
            .has_all(&["tenant_id", "client_id", "client_secret"])
            .then_some(())
            .ok_or(AZURE),
        Some(Adapter::Openai | Adapter::Anthropic) | None => Ok(()),
    }
}

fn is_json(adapter: Option<Adapter>, text: &str) -> bool {
    match adapter {
        Some(Adapter::Bedrock | Adapter::Vertex) => true,
        Some(Adapter::AzureOpenai) => text.trim_start().starts_with('{'),
        Some(Adapter::Openai | Adapter::Anthropic) | None => false,
    }
}

/// A JSON object to look for non-empty strings in; `None` where the text is no JSON.
#[derive(Clone, Copy)]
struct Shape<'v>(Option<&'v Value>);

impl<'v> Shape<'v> {
    fn text(self, key: &str) -> Option<&'v str> {
        let text = self.0?.get(key)?.as_str()?;
        (!text.is_empty()).then_some(text)
    }

    fn has_all(self, keys: &[&str]) -> bool {
        keys.iter().all(|key| self.text(key).is_some())
    }

    fn is_vertex(self) -> bool {
        let account = self.0.and_then(|value| value.get("service_account_json"));
        let account = account.filter(|account| !account.is_null());
        let one_of = self.text("access_token").is_some() != account.is_some();
        self.has_all(&["project", "region"]) && one_of && account.is_none_or(is_service_account)
    }
}

/// The account is written as a JSON text or as an object.
fn is_service_account(account: &Value) -> bool {
    let parsed = account
        .as_str()
        .and_then(|text| serde_json::from_str::<Value>(text).ok())
        .map(Document::from);
    let fields = Shape(Some(parsed.as_ref().map_or(account, Document::value)));
    fields.text("type") == Some("service_account")
        && fields.has_all(&["client_email", "token_uri"])
        && fields
            .text("private_key")
            .is_some_and(|key| key.contains("-----BEGIN"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_adapter_has_its_shape() {
        use Adapter::{Anthropic, AzureOpenai, Bedrock, Openai, Vertex};
        let bedrock = json!({"access_key_id": "canary", "secret_access_key": "s", "region": "r"});
        let token = json!({"project": "p", "region": "r", "access_token": "canary"});
        let account = json!({"type": "service_account", "client_email": "e", "token_uri": "u",
                             "private_key": "-----BEGIN PRIVATE KEY-----"});
        let both = json!({"project": "p", "region": "r", "access_token": "canary",
                          "service_account_json": account});
        let azure = json!({"tenant_id": "t", "client_id": "c", "client_secret": "canary"});
        let cases = [
            (Some(Openai), json!("sk-canary"), true),
            (None, json!("sk-canary"), true),
            (Some(Anthropic), json!("canary\n"), false),
            (Some(Openai), json!(""), false),
            (Some(Openai), json!(17), false),
            (Some(Openai), azure.clone(), false),
            (Some(Bedrock), bedrock.clone(), true),
            (Some(Bedrock), json!(bedrock.to_string()), true),
            (Some(Bedrock), json!("canary"), false),
            (Some(Bedrock), json!({"access_key_id": "canary"}), false),
            (Some(Vertex), token.clone(), true),
            (
                Some(Vertex),
                json!({"project": "p", "region": "r", "service_account_json": account}),
                true,
            ),
            (
                Some(Vertex),
                json!({"project": "p", "region": "r", "service_account_json": account.to_string()}),
                true,
            ),
            (Some(Vertex), both, false),
            (
                Some(Vertex),
                json!({"project": "p", "region": "r", "service_account_json": "canary"}),
                false,
            ),
            (Some(Vertex), json!({"project": "p", "region": "r"}), false),
            (Some(AzureOpenai), json!("canary"), true),
            (Some(AzureOpenai), azure.clone(), true),
            (Some(AzureOpenai), json!(format!("  {azure}")), true),
            (Some(AzureOpenai), json!("{canary"), false),
        ];
        for (adapter, value, accepted) in cases {
            let got = read(&value, adapter);
            assert_eq!(got.is_ok(), accepted, "{adapter:?} {value}");
            assert!(
                !format!("{got:?}").contains("canary"),
                "{adapter:?} {value}"
            );
        }
    }
}
