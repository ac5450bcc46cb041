//! How documents name each other: one table of every reference, and a walk over a document's. [pure]
//!
//! Stores refer by id where the table says so; resources files write names there. Whoever resolves,
//! checks or writes references asks this table, so that a new field is one line here.

mod identity;
mod table;

use std::fmt::Write as _;

pub use identity::{attachment_label, identity, identity_fields, noun};
pub use table::REFERENCES;

use crate::collection::Collection;
use crate::tree::{Map, Value};

/// How a reference names its target.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum By {
    /// By id; a resources file may write the name instead, in the field `named` beside it.
    Id {
        /// The field of the name.
        named: &'static str,
    },
    /// By id; a resources file may write the name in the same place.
    IdInPlace,
    /// By name. `free`: a text with `*` is a pattern, and need not match anything yet.
    Name {
        /// Whether a pattern may match nothing.
        free: bool,
    },
    /// By a name that need not exist.
    LooseName,
}

/// One field that names documents of another collection, or of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reference {
    /// Where the field is.
    pub from: Collection,
    /// Its path: `a.b` a field of a field, `a[]` each item of a list, `a[**]` each item and whatever
    /// is below it in lists called `children`, a last `.*` each key of a mapping.
    pub path: &'static str,
    /// What it names.
    pub to: Collection,
    /// How it names it.
    pub by: By,
    /// A field beside it, and the text that must stand there.
    when: Option<(&'static str, &'static str)>,
    /// What stands before the id or name in the text.
    prefix: &'static str,
}

/// A mapping that has, or may have, the field of a reference.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Holder {
    /// JSON pointer (RFC 6901) of the mapping.
    pub pointer: String,
    /// Dotted path of the mapping; empty for the root.
    path: String,
    /// The reference's field in the mapping.
    pub field: &'static str,
}

impl Holder {
    /// The dotted path of a field of the mapping.
    pub fn path_of(&self, field: &str) -> String {
        dotted(&self.path, field)
    }

    /// The mapping itself, in the document that the holder was found in.
    pub fn fields_mut<'v>(&self, value: &'v mut Value) -> Option<&'v mut Map<String, Value>> {
        value.pointer_mut(&self.pointer)?.as_object_mut()
    }
}

/// One id or name written in a document.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Site<'v> {
    /// The field it stands in.
    pub reference: &'static Reference,
    /// Dotted path of the text, indices in brackets.
    pub path: String,
    /// Dotted path of the field: without the index of an item, or the key of a mapping.
    pub field: String,
    /// The id, name or pattern, without the prefix of the field.
    pub text: &'v str,
    /// JSON pointer of the string; `None` for the key of a mapping.
    pointer: Option<String>,
}

impl Reference {
    /// The mappings of `value` that have the field, or may have it.
    pub fn holders(&self, value: &Value) -> Vec<Holder> {
        let holders = self.places(value).into_iter();
        let field = self.leaf().0;
        let holder = |place: Place<'_>| Holder {
            pointer: place.pointer,
            path: place.path,
            field,
        };
        holders.map(holder).collect()
    }

    /// Every id or name that `value` holds in this field. What is no string is passed over.
    pub fn sites<'v>(&'static self, value: &'v Value) -> Vec<Site<'v>> {
        let (field, shape) = self.leaf();
        let mut sites = Vec::new();
        for holder in self.places(value) {
            let Some(place) = holder.field(field) else {
                continue;
            };
            match shape {
                Shape::Text => sites.extend(self.site(place.path.clone(), place)),
                Shape::Items => {
                    let items = place.items().into_iter();
                    sites.extend(items.filter_map(|item| self.site(place.path.clone(), item)));
                }
                Shape::Keys => {
                    let fields = place.value.as_object().into_iter().flatten();
                    sites.extend(fields.map(|(key, _)| Site {
                        reference: self,
                        path: dotted(&place.path, key),
                        field: place.path.clone(),
                        text: key,
                        pointer: None,
                    }));
                }
            }
        }
        sites
    }

    /// Whether something stands before the id or name.
    pub fn has_prefix(&self) -> bool {
        !self.prefix.is_empty()
    }

    fn site<'v>(&'static self, field: String, place: Place<'v>) -> Option<Site<'v>> {
        Some(Site {
            reference: self,
            text: place.value.as_str()?.strip_prefix(self.prefix)?,
            path: place.path,
            field,
            pointer: Some(place.pointer),
        })
    }

    /// The mappings at the path before the field, where the field beside it says so.
    fn places<'v>(&self, value: &'v Value) -> Vec<Place<'v>> {
        let mut places = vec![Place {
            value,
            pointer: String::new(),
            path: String::new(),
        }];
        let path = self.path.strip_suffix(".*").unwrap_or(self.path);
        let way = path.rsplit_once('.').map_or("", |(way, _)| way);
        for step in way.split('.').filter(|step| !step.is_empty()) {
            places = places.iter().flat_map(|place| place.step(step)).collect();
        }
        let applies = |place: &Place<'_>| {
            let says = |field| place.value.get(field).and_then(Value::as_str);
            place.value.is_object()
                && self
                    .when
                    .is_none_or(|(field, text)| says(field) == Some(text))
        };
        places.retain(applies);
        places
    }

    /// The last field of the path, and what stands in it.
    fn leaf(&self) -> (&'static str, Shape) {
        let (path, keys) = match self.path.strip_suffix(".*") {
            Some(path) => (path, true),
            None => (self.path, false),
        };
        let last = path.rsplit_once('.').map_or(path, |(_, last)| last);
        match last.strip_suffix("[]") {
            Some(field) => (field, Shape::Items),
            None if keys => (last, Shape::Keys),
            None => (last, Shape::Text),
        }
    }
}

/// The references of a collection's documents, in the order of the table.
pub fn of(collection: Collection) -> impl Iterator<Item = &'static Reference> {
    let table = REFERENCES.iter();
    table.filter(move |reference| reference.from == collection)
}

/// Every id and name that a document of `collection` holds in a field of the table.
pub fn sites(collection: Collection, value: &Value) -> Vec<Site<'_>> {
    of(collection)
        .flat_map(|reference| reference.sites(value))
        .collect()
}

/// Replaces ids and names by what `with` gives for them; keys of mappings are not visited.
pub fn rewrite(
    collection: Collection,
    value: &mut Value,
    with: &mut dyn FnMut(&Site<'_>) -> Option<String>,
) {
    let mut edits = Vec::new();
    for mut site in sites(collection, value) {
        let Some(pointer) = site.pointer.take() else {
            continue;
        };
        if let Some(text) = with(&site) {
            edits.push((pointer, format!("{}{text}", site.reference.prefix)));
        }
    }
    for (pointer, text) in edits {
        if let Some(place) = value.pointer_mut(&pointer) {
            *place = Value::String(text);
        }
    }
}

/// What the field of a reference holds.
#[derive(Clone, Copy)]
enum Shape {
    Text,
    Items,
    Keys,
}

/// A value within a document, and where it is.
#[derive(Clone)]
struct Place<'v> {
    value: &'v Value,
    pointer: String,
    path: String,
}

impl<'v> Place<'v> {
    fn field(&self, name: &str) -> Option<Self> {
        let value = self.value.get(name)?;
        let escaped = name.replace('~', "~0").replace('/', "~1");
        Some(Self {
            value,
            pointer: format!("{}/{escaped}", self.pointer),
            path: dotted(&self.path, name),
        })
    }

    fn items(&self) -> Vec<Self> {
        let items = self.value.as_array().into_iter().flatten().enumerate();
        let item = |(index, value)| {
            let mut path = self.path.clone();
            // Writing to a string cannot fail.
            let _ = write!(path, "[{index}]");
            Self {
                value,
                pointer: format!("{}/{index}", self.pointer),
                path,
            }
        };
        items.map(item).collect()
    }

    /// The values one step of a path leads to.
    fn step(&self, step: &str) -> Vec<Self> {
        if let Some(name) = step.strip_suffix("[**]") {
            let mut found = Vec::new();
            if let Some(list) = self.field(name) {
                list.tree(&mut found);
            }
            return found;
        }
        match step.strip_suffix("[]") {
            Some(name) => self.field(name).map_or(Vec::new(), |list| list.items()),
            None => self.field(step).into_iter().collect(),
        }
    }

    /// Each item of this list, and of the lists below; no deeper than parsers let documents be.
    fn tree(&self, found: &mut Vec<Self>) {
        for item in self.items() {
            found.push(item.clone());
            if let Some(children) = item.field("children") {
                children.tree(found);
            }
        }
    }
}

fn dotted(path: &str, field: &str) -> String {
    if path.is_empty() {
        field.to_owned()
    } else {
        format!("{path}.{field}")
    }
}

#[cfg(test)]
mod tests;
