//! The rows of a store to the text of a resources file. [pure]
//!
//! Ids become names, credentials become variables. What comes out is loaded once as a file would
//! be, so that whoever exports learns of everything that the file would be refused for.

mod document;
mod read;
mod secrets;
#[cfg(test)]
mod tests;
mod yaml;

use std::collections::HashMap;
use std::fmt;

use zeroize::Zeroizing;

use crate::collection::Collection;
use crate::decode::OpenSecrets;
use crate::document::Document;
use crate::source::StoredRow;
use crate::source::file::problems_of;
use crate::tree::Value;
use read::Row;
use secrets::Taken;

/// The collections in the order in which a file shows them.
const ORDER: [Collection; Collection::ALL.len()] = [
    Collection::ProviderKeys,
    Collection::Models,
    Collection::ApiKeys,
    Collection::Guardrails,
    Collection::GuardrailAttachments,
    Collection::McpServers,
    Collection::McpPolicies,
    Collection::A2aAgents,
    Collection::CachePolicies,
    Collection::ObservabilityExporters,
    Collection::RateLimitPolicies,
    Collection::OidcProviders,
    Collection::ClaimMappings,
    Collection::PassthroughRoutes,
    Collection::McpAuthSettings,
    Collection::Ssls,
];

/// What is written in the place of a credential.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Secrets {
    /// A variable, to be set where the file is loaded.
    AsVariables,
    /// The credential itself.
    Revealed,
}

/// A variable that the file needs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Variable {
    /// Its name: `SLUICESECRET_<KIND>_<NAME>_<FIELD>`.
    pub name: String,
    /// The field it stands in: `provider_keys ("main"): api_key`.
    pub place: String,
}

/// A resources file, and what its reader should know.
pub struct Export {
    /// The text of the file. With revealed secrets it holds them.
    pub yaml: Zeroizing<String>,
    /// The variables in the order of the file, once per place.
    pub variables: Vec<Variable>,
    /// What differs from the store, and what to look at.
    pub warnings: Vec<String>,
    /// What keeps the file from being loaded, or from being complete. None of it holds a credential.
    pub blocking: Vec<String>,
}

/// The text may hold credentials.
impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export")
            .field("yaml", &"***")
            .field("variables", &self.variables)
            .field("warnings", &self.warnings)
            .field("blocking", &self.blocking)
            .finish()
    }
}

/// The resources file of the rows below `prefix`, which may end in a `/`. Sealed secrets are opened
/// by `opener`; as at the loader of a store, a row that stays sealed is rejected.
///
/// Never fails: whatever could not be written is told in `blocking`.
pub fn export(
    rows: &[StoredRow],
    prefix: &str,
    secrets: Secrets,
    opener: Option<&dyn OpenSecrets>,
) -> Export {
    let read::Rows {
        mut rows,
        mut warnings,
        mut blocking,
    } = read::read(rows, prefix, opener);
    let names = document::name_rows(&mut rows, &mut warnings);
    let mut taken = Taken::default();
    for row in &mut rows {
        document::use_names(row, &names);
        secrets::take(row, secrets, &mut taken);
        document::order_fields(row);
    }
    rows.sort_by(|a, b| (place_of(a), &a.name, &a.id).cmp(&(place_of(b), &b.name, &b.id)));
    warnings.extend(taken.warnings(secrets));
    let (yaml, problem) = yaml::write(&root(rows));
    blocking.extend(problem.map(str::to_owned));
    let values = &taken.values;
    let env = |name: &str| values.get(name).map(|value| value.to_string());
    let refused = problems_of(&yaml, &env).into_iter();
    blocking.extend(refused.map(|problem| format!("the file would be refused: {problem}")));
    let mut variables = taken.variables;
    variables.sort_by_key(|(collection, name, _)| (order_of(*collection), name.clone()));
    Export {
        yaml,
        variables: variables.into_iter().map(|(_, _, found)| found).collect(),
        warnings,
        blocking,
    }
}

fn order_of(collection: Collection) -> usize {
    let place = ORDER.iter().position(|known| *known == collection);
    place.unwrap_or(ORDER.len())
}

fn place_of(row: &Row) -> usize {
    order_of(row.collection)
}

/// The whole file as one value; takes the documents out of the rows, which come in file order.
fn root(rows: Vec<Row>) -> Document {
    let mut lists: HashMap<Collection, Vec<Value>> = HashMap::new();
    for mut row in rows {
        let value = row.document.value_mut().take();
        lists.entry(row.collection).or_default().push(value);
    }
    let mut root = serde_json::Map::new();
    root.insert("_format_version".to_owned(), Value::from("1"));
    for collection in ORDER {
        if let Some(list) = lists.remove(&collection) {
            root.insert(collection.name().to_owned(), Value::Array(list));
        }
    }
    Value::Object(root).into()
}
