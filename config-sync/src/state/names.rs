//! Which row a name belongs to. [pure]

use std::collections::HashMap;
use std::sync::Arc;

use super::claims::Order;
use crate::collection::Collection;

/// The rows of each name, by collection. The first row owns the name; the others are duplicates.
#[derive(Default)]
pub(super) struct Names(HashMap<(Collection, Arc<str>), Vec<Order>>);

/// A row that became a duplicate, or no longer is one.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Shift {
    /// Its id.
    pub(super) id: Arc<str>,
    /// Whether another row owns its name now.
    pub(super) duplicate: bool,
}

impl Names {
    /// The row `order` goes by `name` from now on. Tells whom that shifts.
    pub(super) fn join(
        &mut self,
        collection: Collection,
        name: &Arc<str>,
        order: Order,
    ) -> Option<Shift> {
        let rows = self.0.entry((collection, Arc::clone(name))).or_default();
        let place = rows.binary_search(&order).err()?;
        rows.insert(place, order);
        let duplicate = rows.get(place.max(1))?;
        Some(Shift {
            id: Arc::clone(&duplicate.row),
            duplicate: true,
        })
    }

    /// The row `order` no longer goes by `name`. Tells whom that shifts.
    pub(super) fn part(
        &mut self,
        collection: Collection,
        name: &Arc<str>,
        order: &Order,
    ) -> Option<Shift> {
        let slot = (collection, Arc::clone(name));
        let rows = self.0.get_mut(&slot)?;
        let place = rows.binary_search(order).ok()?;
        let parted = rows.remove(place);
        let shifted = if place == 0 {
            rows.first().cloned()
        } else {
            Some(parted)
        };
        if rows.is_empty() {
            self.0.remove(&slot);
        }
        shifted.map(|order| Shift {
            id: order.row,
            duplicate: false,
        })
    }

    /// Id of the row that owns `name`.
    pub(super) fn owner(&self, collection: Collection, name: &Arc<str>) -> Option<&Arc<str>> {
        let rows = self.0.get(&(collection, Arc::clone(name)))?;
        rows.first().map(|order| &order.row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_created_then_the_lowest_id_owns_a_name() {
        let mut names = Names::default();
        let name: Arc<str> = "fast".into();
        let models = Collection::Models;
        let order = |created, id: &str| Order {
            created,
            row: id.into(),
        };
        let shift = |id: &str, duplicate| {
            let id = id.into();
            Some(Shift { id, duplicate })
        };
        assert_eq!(names.join(models, &name, order(5, "b")), None);
        assert_eq!(names.join(models, &name, order(5, "c")), shift("c", true));
        assert_eq!(names.join(models, &name, order(5, "a")), shift("b", true));
        assert_eq!(names.join(models, &name, order(1, "z")), shift("a", true));
        assert_eq!(&**names.owner(models, &name).unwrap(), "z");
        assert_eq!(names.owner(Collection::Guardrails, &name), None);
        assert_eq!(names.part(models, &name, &order(5, "b")), shift("b", false));
        assert_eq!(names.part(models, &name, &order(1, "z")), shift("a", false));
        assert_eq!(names.part(models, &name, &order(5, "a")), shift("c", false));
        assert_eq!(names.part(models, &name, &order(9, "x")), None);
        assert_eq!(names.part(models, &name, &order(5, "c")), None);
        assert!(names.0.is_empty());
    }
}
