//! Lists that lie in place while they are short. [pure]

use arrayvec::ArrayVec;

/// Longest list that costs no allocation: groups rarely have more targets.
const INLINE_MAX: usize = 16;

/// A list; up to [`INLINE_MAX`] items without an allocation.
#[derive(Clone, Debug)]
pub(super) enum List<T> {
    Inline(ArrayVec<T, INLINE_MAX>),
    Heap(Vec<T>),
}

impl<T: Copy> List<T> {
    pub(super) fn new() -> Self {
        Self::Inline(ArrayVec::new())
    }

    pub(super) fn push(&mut self, item: T) {
        match self {
            Self::Inline(items) => {
                if items.try_push(item).is_err() {
                    let mut spilt = Vec::with_capacity(4 * INLINE_MAX);
                    spilt.extend_from_slice(items);
                    spilt.push(item);
                    *self = Self::Heap(spilt);
                }
            }
            Self::Heap(items) => items.push(item),
        }
    }

    pub(super) fn clear(&mut self) {
        self.truncate(0);
    }

    pub(super) fn truncate(&mut self, len: usize) {
        match self {
            Self::Inline(items) => items.truncate(len),
            Self::Heap(items) => items.truncate(len),
        }
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(T) -> bool) {
        match self {
            Self::Inline(items) => items.retain(|item| keep(*item)),
            Self::Heap(items) => items.retain(|item| keep(*item)),
        }
    }

    pub(super) fn as_slice(&self) -> &[T] {
        match self {
            Self::Inline(items) => items,
            Self::Heap(items) => items,
        }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [T] {
        match self {
            Self::Inline(items) => items,
            Self::Heap(items) => items,
        }
    }
}

impl<T: Copy> FromIterator<T> for List<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut list = Self::new();
        items.into_iter().for_each(|item| list.push(item));
        list
    }
}

/// Targets of one request, first choice first: positions in the group's list of targets.
///
/// Never empty, each position once. Up to 16 of them lie in place.
#[derive(Clone, Debug)]
pub struct Order(pub(super) List<u16>);

// It is held across the whole of a request.
const _: () = assert!(size_of::<Order>() <= 48);

impl Order {
    /// The positions, first choice first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = usize> + '_ {
        self.0.as_slice().iter().map(|at| usize::from(*at))
    }

    /// The position of the `nth` choice, from 0; `None` behind the last.
    pub fn nth(&self, nth: usize) -> Option<usize> {
        self.0.as_slice().get(nth).map(|at| usize::from(*at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_every_length_hold_what_was_put_in() {
        for length in 0..3 * INLINE_MAX {
            let want: Vec<usize> = (0..length).collect();
            let mut list: List<usize> = want.iter().copied().collect();
            assert_eq!(list.as_slice(), want);
            assert_eq!(matches!(list, List::Inline(_)), length <= INLINE_MAX);
            list.as_mut_slice().reverse();
            list.retain(|item| item % 2 == 0);
            let even: Vec<usize> = want.iter().rev().copied().filter(|n| n % 2 == 0).collect();
            assert_eq!(list.as_slice(), even);
            list.truncate(1);
            assert_eq!(list.as_slice().len(), even.len().min(1));
            list.clear();
            assert!(list.as_slice().is_empty());
        }
    }
}
