//! Models in the order of their names, in chunks that copies share. [pure]

use std::sync::Arc;

use crate::model::Model;

/// Most models of one chunk; a fuller one is cut in two.
const CHUNK_MAX: usize = 128;
/// A chunk with fewer joins a neighbour, where both fit into one.
const CHUNK_FEW: usize = CHUNK_MAX / 4;

/// One model per name, sorted by name. A clone shares every chunk until one of the two changes it.
#[derive(Clone, Default)]
pub(super) struct Listed {
    /// None is empty; every name of a chunk is below those of the next.
    chunks: Arc<Vec<Arc<Vec<Arc<Model>>>>>,
    copied: u64,
}

impl Listed {
    /// Puts `model` under its name, in place of what was there.
    pub(super) fn insert(&mut self, model: Arc<Model>) {
        let name = Arc::clone(&model.display_name);
        let at = self.chunk_of(&name).min(self.chunks.len().max(1) - 1);
        if self.chunks.is_empty() {
            Arc::make_mut(&mut self.chunks).push(Arc::default());
        }
        let chunk = self.chunk_mut(at);
        match chunk.binary_search_by(|known| known.display_name.cmp(&name)) {
            Ok(found) => chunk[found] = model,
            Err(place) => chunk.insert(place, model),
        }
        if chunk.len() > CHUNK_MAX {
            let upper = chunk.split_off(CHUNK_MAX / 2);
            Arc::make_mut(&mut self.chunks).insert(at + 1, Arc::new(upper));
        }
    }

    /// Takes the model called `name` out.
    pub(super) fn remove(&mut self, name: &str) {
        let at = self.chunk_of(name);
        let Some(chunk) = self.chunks.get(at) else {
            return;
        };
        let Ok(place) = chunk.binary_search_by(|known| (*known.display_name).cmp(name)) else {
            return;
        };
        let chunk = self.chunk_mut(at);
        chunk.remove(place);
        if chunk.len() < CHUNK_FEW {
            self.join(at);
        }
    }

    /// The models, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// How many entries were copied so far because a clone shared their chunk.
    pub(super) fn copied(&self) -> u64 {
        self.copied
    }

    /// Index of the only chunk that may hold `name`; their number if it is above all.
    fn chunk_of(&self, name: &str) -> usize {
        self.chunks.partition_point(|chunk| {
            let last = chunk.last().map(|model| &*model.display_name);
            last.is_some_and(|last| last < name)
        })
    }

    fn chunk_mut(&mut self, at: usize) -> &mut Vec<Arc<Model>> {
        let chunk = &mut Arc::make_mut(&mut self.chunks)[at];
        if Arc::strong_count(chunk) > 1 {
            self.copied += chunk.len() as u64;
        }
        Arc::make_mut(chunk)
    }

    /// Merges the small chunk `at` with the one after or before it, or drops it once empty.
    fn join(&mut self, at: usize) {
        let chunks = Arc::make_mut(&mut self.chunks);
        if chunks[at].is_empty() {
            chunks.remove(at);
            return;
        }
        let few = chunks[at].len();
        let fits = |other: Option<&Arc<Vec<Arc<Model>>>>| {
            other.is_some_and(|other| other.len() + few <= CHUNK_MAX)
        };
        let first = if fits(chunks.get(at + 1)) {
            at
        } else if at > 0 && fits(chunks.get(at - 1)) {
            at - 1
        } else {
            return;
        };
        let second = chunks.remove(first + 1);
        self.copied += second.len() as u64;
        self.chunk_mut(first).extend(second.iter().cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::tests::model;
    use std::collections::BTreeMap;

    fn names(listed: &Listed) -> Vec<&str> {
        listed.iter().map(|model| &*model.display_name).collect()
    }

    fn check(listed: &Listed) {
        let sizes: Vec<usize> = listed.chunks.iter().map(|chunk| chunk.len()).collect();
        assert!(
            sizes.iter().all(|size| (1..=CHUNK_MAX).contains(size)),
            "{sizes:?}"
        );
        let pairs = sizes
            .windows(2)
            .filter(|pair| pair[0] + pair[1] < CHUNK_FEW);
        assert_eq!(pairs.count(), 0, "{sizes:?}");
    }

    #[test]
    fn names_stay_sorted_whatever_comes_and_goes() {
        let mut listed = Listed::default();
        let mut map = BTreeMap::new();
        for step in 0..4000_u32 {
            let number = step.wrapping_mul(2_654_435_761) % 900;
            let name = format!("m{number}");
            // Grows first, then shrinks.
            if step % 5 == 0 || (step > 2000 && step % 5 != 1) {
                listed.remove(&name);
                map.remove(&name);
            } else {
                let id = step.to_string();
                listed.insert(model(&id, &name));
                map.insert(name, id);
            }
        }
        check(&listed);
        assert_eq!(names(&listed), map.keys().collect::<Vec<_>>());
        let ids: Vec<&str> = listed.iter().map(|model| &*model.id).collect();
        assert_eq!(ids, map.values().collect::<Vec<_>>());
        for name in map.keys() {
            listed.remove(name);
        }
        assert_eq!((names(&listed).len(), listed.chunks.len()), (0, 0));
    }

    #[test]
    fn a_change_leaves_clones_alone_and_copies_one_chunk() {
        let mut listed = Listed::default();
        for number in 0..2000 {
            listed.insert(model("1", &format!("m{number}")));
        }
        assert_eq!(listed.copied(), 0, "nobody shared anything");
        let before = listed.clone();
        listed.insert(model("2", "m77"));
        listed.remove("m78");
        assert!(
            listed.copied() <= 2 * CHUNK_MAX as u64,
            "{}",
            listed.copied()
        );
        assert_eq!((names(&before).len(), names(&listed).len()), (2000, 1999));
        assert!(before.iter().all(|model| &*model.id == "1"));
    }
}
