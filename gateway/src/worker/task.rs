//! Tasks of a worker: spawned, kept from taking the worker down, and made to give way. [ring]

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

/// Starts `task` on this worker. A panic inside ends the task alone and goes to `on_panic`.
pub(crate) fn spawn<F, P>(task: F, on_panic: P)
where
    F: Future<Output = ()> + 'static,
    P: FnOnce(&str) + 'static,
{
    // Boxed before anything holds it: each layer of `async` keeps what it was given beside what it
    // made of it, and this one is kilobytes, for every connection.
    let mut task = Box::pin(task);
    let mut on_panic = Some(on_panic);
    monoio::spawn(poll_fn(move |cx| {
        // The task is dropped right after a panic and shares only `Cell`s and append-only maps with
        // the rest of the worker, so no half-made state is seen by others.
        match catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(cx))) {
            Ok(polled) => polled,
            Err(panic) => {
                if let Some(on_panic) = on_panic.take() {
                    on_panic(text_of(panic.as_ref()));
                }
                Poll::Ready(())
            }
        }
    }));
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&'static str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "a panic without a text"
    }
}
