//! What the log says of rows that load but may not do what their writer expects. [pure]

use std::sync::Arc;

use super::report::Reports;
use super::row::Place;
use super::serving::SERVED;
use crate::collection::Collection;
use crate::decode::Decoded;
use crate::resource::Resource;

/// Warns of the row, once per collection and kind of trouble; the sentence names the first row.
pub(super) fn of_row(place: &Place, decoded: &Decoded, reports: &mut Reports) {
    let Place { collection, id } = place;
    if !decoded.ignored.is_empty() {
        let fields = decoded.ignored.join(", ");
        reports.warn_once(&format!("{collection} ignores {fields}"), || {
            format!(
                "fields that this version does not know are ignored on {collection} {id}: {fields}"
            )
        });
    }
    if !SERVED.contains(collection) {
        reports.warn_once(&format!("{collection}"), || {
            format!("{collection} are loaded, and not enforced by this version")
        });
    }
    for (topic, text) in advice(&decoded.resource) {
        reports.warn_once(&format!("{collection} {topic}"), || {
            format!("{text} on {collection} {id}")
        });
    }
}

/// Warns of a collection that a newer version wrote, once.
pub(super) fn of_unknown(kind: &str, reports: &mut Reports) {
    reports.warn_once(&format!("{kind} unknown"), || {
        format!("rows of the collection {kind} are passed over: this version does not know it")
    });
}

/// Warns of a row that goes by another one's name.
pub(super) fn of_duplicate(
    collection: Collection,
    id: &Arc<str>,
    owner: Option<&Arc<str>>,
    reports: &mut Reports,
) {
    let owner = owner.map_or("", |owner| &**owner);
    reports.warn_once(&format!("{collection} named like {owner}"), || {
        format!("the name of {collection} {id} belongs to {owner}: it is found by its id only")
    });
}

/// Topic and sentence of each thing to know of a served row.
fn advice(resource: &Resource) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut unenforced: &[&str] = &[];
    if let Resource::ProviderKey(key) = resource {
        let checks = [
            (
                !key.verifies_certificates(),
                "tls.verify is false, so any certificate is accepted,",
            ),
            (
                key.adapter_disagrees,
                "provider and adapter name different vendors, and the adapter decides,",
            ),
            (
                !key.is_usable(),
                "no base URL or no adapter, so requests will fail,",
            ),
        ];
        let holding = checks.into_iter().filter(|(holds, _)| *holds);
        found.extend(holding.map(|(_, text)| (text.to_owned(), text.to_owned())));
        unenforced = &key.unenforced;
    } else if let Resource::Model(model) = resource {
        unenforced = &model.unenforced;
    } else if let Resource::ApiKey(key) = resource {
        unenforced = &key.unenforced;
    }
    found.extend(unenforced.iter().map(|field| {
        let text = format!("{field} is not enforced by this version,");
        (format!("unenforced {field}"), text)
    }));
    found
}
