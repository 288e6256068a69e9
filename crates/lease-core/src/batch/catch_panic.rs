//! Turns a panic of a store into an error of the call. The panic is logged here, and nowhere else.

use std::{
    any::Any,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
};

/// Awaits a store call. Returns its output, or the message of its panic; it is not polled again after that.
pub(crate) async fn catch_panic_async<T>(operation: &str, call: impl Future<Output = T>) -> Result<T, String> {
    let mut call = pin!(call);
    poll_fn(|context| match catch_panic(operation, || call.as_mut().poll(context)) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

/// Calls a function of a store. Returns its output, or the message of its panic.
pub(crate) fn catch_panic<T>(operation: &str, call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let message = message_of(&*panic);
        tracing::error!(target: "lease", operation, "the store panicked: {message}");
        format!("the store panicked: {message}")
    })
}

fn message_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}
