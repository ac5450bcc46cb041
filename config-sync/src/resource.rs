//! Any resource, as read from its document. [pure]

use crate::collection::Collection;
use crate::model::{ApiKeyDocument, ModelDocument, ProviderKeyDocument};
use crate::tree::{Problems, Unknown, Value};

/// A checked document of one of the collections.
#[derive(Clone, Debug)]
pub enum Resource {
    /// An upstream credential.
    ProviderKey(Box<ProviderKeyDocument>),
    /// A model.
    Model(Box<ModelDocument>),
    /// A caller credential.
    ApiKey(Box<ApiKeyDocument>),
}

impl Resource {
    /// Reads a document of `collection`. The result is usable only if no problem was noted.
    pub fn read(
        collection: Collection,
        value: &Value,
        problems: &Problems,
        unknown: Unknown,
    ) -> Option<Self> {
        match collection {
            Collection::ProviderKeys => Some(Self::ProviderKey(Box::new(
                ProviderKeyDocument::read(value, problems, unknown),
            ))),
            Collection::Models => ModelDocument::read(value, problems, unknown)
                .map(Box::new)
                .map(Self::Model),
            Collection::ApiKeys => Some(Self::ApiKey(Box::new(ApiKeyDocument::read(
                value, problems, unknown,
            )))),
            _ => {
                problems.push("", "this collection is not supported by this version");
                None
            }
        }
    }
}
