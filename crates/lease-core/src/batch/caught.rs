//! A panic in a store is an error of the call, not the end of the task that makes it. It is logged here, and nowhere else.

use std::{
    any::Any,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
};

/// What a call of a store brings, or what it says when it panics. The call is not polled again then.
pub(crate) async fn caught<T>(operation: &str, call: impl Future<Output = T>) -> Result<T, String> {
    let mut call = pin!(call);
    poll_fn(|context| match unwinding(operation, || call.as_mut().poll(context)) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

/// What a function of a store answers, or what it says when it panics.
pub(crate) fn unwinding<T>(operation: &str, call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let words = words_of(&*panic);
        tracing::error!(target: "lease", operation, "the store panicked: {words}");
        format!("the store panicked: {words}")
    })
}

fn words_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}
