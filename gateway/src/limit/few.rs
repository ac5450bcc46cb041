//! A short list that allocates only when it is longer than usual. [pure]

use arrayvec::ArrayVec;

/// Layers of a request that take no allocation. More are as many as policies match at once.
const INLINE: usize = 8;

/// Items in the order they came.
#[derive(Debug)]
pub(super) struct Few<T> {
    inline: ArrayVec<T, INLINE>,
    more: Vec<T>,
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self {
            inline: ArrayVec::new(),
            more: Vec::new(),
        }
    }
}

impl<T> Few<T> {
    pub(super) fn push(&mut self, item: T) {
        if let Err(full) = self.inline.try_push(item) {
            self.more.push(full.element());
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.inline.iter().chain(&self.more)
    }

    pub(super) fn clear(&mut self) {
        self.inline.clear();
        self.more.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_stay_in_order_beyond_the_inline_ones() {
        let mut few = Few::default();
        (0..20).for_each(|item| few.push(item));
        assert!(few.iter().copied().eq(0..20));
        few.clear();
        assert!(few.iter().next().is_none());
    }
}
