//! Futures in blocks that their thread uses again. [ring]
//!
//! A request passes through phases whose futures take kilobytes each, one after the other. In the future around them
//! each would keep its room for as long as a stream lasts. In blocks of their own they take it while they last, and the
//! next one gets memory that is warm; an allocator of general use has no short way for blocks of this size.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

/// Blocks come in multiples of it, bytes.
const STEP: usize = 512;
/// The largest block that is kept, in steps.
const STEPS_MAX: usize = 8;
/// Blocks of each size that are kept. Worst case per thread: 32 * (512 + 1,024 + ... + 4,096) = 576 KiB.
const KEPT_MAX: usize = 32;

thread_local! {
    static KEPT: RefCell<[Vec<Block>; STEPS_MAX]> = RefCell::default();
}

/// Memory of its own layout, with nothing in it.
#[derive(Debug)]
struct Block {
    at: NonNull<u8>,
    layout: Layout,
}

impl Block {
    /// A block for a value of `layout`, which is of at least a byte: one that was kept, or a new one.
    fn for_layout(layout: Layout) -> Self {
        let Some(steps) = steps(layout) else {
            return Self::new(layout);
        };
        let kept = KEPT.with_borrow_mut(|kept| kept[steps - 1].pop());
        kept.unwrap_or_else(|| {
            let whole = Layout::from_size_align(steps * STEP, layout.align());
            Self::new(whole.unwrap_or(layout))
        })
    }

    fn new(layout: Layout) -> Self {
        // SAFETY: the layout is of at least a byte.
        let at = unsafe { alloc(layout) };
        let at = NonNull::new(at).unwrap_or_else(|| handle_alloc_error(layout));
        Self { at, layout }
    }

    /// Keeps the block for another value, where there is room and it is of a size that is kept.
    fn keep(self) {
        let Some(steps) = steps(self.layout) else {
            return;
        };
        // A thread that ends keeps nothing.
        let _ = KEPT.try_with(|kept| {
            let kept = &mut kept.borrow_mut()[steps - 1];
            if kept.len() < KEPT_MAX {
                kept.push(self);
            }
        });
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: `new` alone makes blocks, with this layout, and each is dropped once.
        unsafe { dealloc(self.at.as_ptr(), self.layout) }
    }
}

/// The steps of a block for `layout`; `None` where such a block is not kept. All that are kept have one alignment, so
/// that any of a size will do.
const fn steps(layout: Layout) -> Option<usize> {
    let steps = layout.size().div_ceil(STEP);
    match layout.align() == align_of::<u128>() && steps >= 1 && steps <= STEPS_MAX {
        true => Some(steps),
        false => None,
    }
}

/// A future in a block, which is its place until it is dropped.
#[derive(Debug)]
pub(crate) struct Pooled<F> {
    /// Taken by the drop alone.
    block: Option<Block>,
    future: PhantomData<F>,
}

impl<F: Future> Pooled<F> {
    /// As for the value, and at least as for the blocks that are kept.
    const LAYOUT: Layout = {
        let layout = Layout::new::<(F, u8)>();
        match layout.align_to(align_of::<u128>()) {
            Ok(layout) => layout,
            Err(_) => layout,
        }
    };

    /// Puts `future` into a block.
    pub(crate) fn new(future: F) -> Self {
        let block = Block::for_layout(Self::LAYOUT);
        // SAFETY: the block is at least as large and as aligned as its layout, which holds a value of `F`.
        unsafe { block.at.cast::<F>().write(future) };
        Self {
            block: Some(block),
            future: PhantomData,
        }
    }
}

impl<F: Future> Future for Pooled<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Some(block) = &mut self.block else {
            return Poll::Pending;
        };
        // SAFETY: the block holds the future that `new` put there until the drop, it does not move, and `self` is
        // borrowed for as long as this reference lives.
        let future = unsafe { Pin::new_unchecked(block.at.cast::<F>().as_mut()) };
        future.poll(cx)
    }
}

// The future itself is in the block, and stays there.
impl<F> Unpin for Pooled<F> {}

impl<F> Drop for Pooled<F> {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            // SAFETY: the future is in its block, as in `poll`, and nobody gets to it after this. Where its drop
            // panics the block is freed, not kept.
            unsafe { block.at.cast::<F>().drop_in_place() };
            block.keep();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::{pending, ready};
    use std::rc::Rc;
    use std::task::Waker;

    use super::*;

    fn poll<F: Future>(future: &mut Pooled<F>) -> Poll<F::Output> {
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(future).poll(&mut cx)
    }

    fn kept() -> usize {
        KEPT.with_borrow(|kept| kept.iter().map(Vec::len).sum())
    }

    /// Pending once, then what `BYTES` bytes say that were held meanwhile.
    async fn holding<const BYTES: usize>(value: u8) -> u8 {
        let held = [value; BYTES];
        let mut is_first = true;
        std::future::poll_fn(|_| match std::mem::take(&mut is_first) {
            true => Poll::Pending,
            false => Poll::Ready(()),
        })
        .await;
        held[BYTES - 1]
    }

    #[test]
    fn a_block_is_used_again_by_the_next_future_of_its_size() {
        let mut first = Pooled::new(holding::<600>(7));
        let place = first.block.as_ref().map(|block| block.at);
        assert_eq!(
            (poll(&mut first), poll(&mut first)),
            (Poll::Pending, Poll::Ready(7))
        );
        drop(first);
        assert_eq!(kept(), 1);
        let mut second = Pooled::new(holding::<700>(8));
        assert_eq!(second.block.as_ref().map(|block| block.at), place);
        let mut larger = Pooled::new(holding::<3_000>(9));
        for (future, value) in [(&mut second as &mut dyn Dyn, 8), (&mut larger, 9)] {
            assert_eq!(future.twice(), [Poll::Pending, Poll::Ready(value)]);
        }
        drop((second, larger));
        assert_eq!(kept(), 2);
    }

    trait Dyn {
        fn twice(&mut self) -> [Poll<u8>; 2];
    }

    impl<F: Future<Output = u8>> Dyn for Pooled<F> {
        fn twice(&mut self) -> [Poll<u8>; 2] {
            [poll(self), poll(self)]
        }
    }

    #[test]
    fn a_future_of_any_size_is_dropped_once_and_where_it_was() {
        struct Dropped(Rc<Cell<u32>>);
        impl Drop for Dropped {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let drops = Rc::new(Cell::new(0));
        let (small, large) = (Dropped(Rc::clone(&drops)), Dropped(Rc::clone(&drops)));
        let mut unfinished = Pooled::new(async move {
            pending::<()>().await;
            drop(small);
        });
        let mut huge = Pooled::new(async move {
            let held = [1_u8; 100_000];
            ready(()).await;
            drop(large);
            held[99_999]
        });
        assert_eq!(poll(&mut unfinished), Poll::Pending);
        assert_eq!(poll(&mut huge), Poll::Ready(1));
        assert_eq!(drops.get(), 1);
        drop((unfinished, huge));
        assert_eq!((drops.get(), kept()), (2, 1));
        assert_eq!(poll(&mut Pooled::new(ready(3))), Poll::Ready(3));
    }

    #[test]
    fn only_so_many_blocks_are_kept() {
        let futures: Vec<_> = (0..KEPT_MAX + 9).map(|_| Pooled::new(ready(()))).collect();
        drop(futures);
        assert_eq!(kept(), KEPT_MAX);
    }
}
