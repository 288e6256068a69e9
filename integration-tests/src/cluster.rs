//! What clusters of several kinds have in common.

use crate::{
    ServerError,
    server::{Kind, Server, blocking},
};

/// Servers that elect a leader among themselves.
#[allow(async_fn_in_trait, reason = "tests know which cluster they have")]
pub trait Cluster {
    /// The kind of its servers.
    type Kind: Kind;

    /// A server, to be harmed.
    ///
    /// # Panics
    ///
    /// When there is no such server; they count from 0.
    fn member(&self, member: usize) -> &Server<Self::Kind>;

    /// Who leads at the moment, as one of those sees it that can be reached.
    ///
    /// # Errors
    ///
    /// When none of them knows of a leader.
    async fn leader(&self) -> Result<usize, ServerError>;
}

/// Starts a cluster on ports that another process may take before its servers do: a failure whose text contains `taken` is repeated
/// with other ports.
pub(crate) async fn on_free_ports<C>(
    taken: &str,
    start: impl AsyncFn() -> Result<C, ServerError>,
) -> Result<C, ServerError> {
    let mut attempts = 5;
    loop {
        attempts -= 1;
        match start().await {
            Err(error) if attempts > 0 && error.to_string().contains(taken) => {}
            outcome => return outcome,
        }
    }
}

/// Starts all servers of a cluster at once, since none is ready before most of them are there.
pub(crate) async fn all_at_once<S, M>(starts: impl IntoIterator<Item = S>) -> Result<Vec<M>, ServerError>
where
    S: FnOnce() -> Result<M, ServerError> + Send + 'static,
    M: Send + 'static,
{
    let starting: Vec<_> = starts.into_iter().map(|start| tokio::spawn(blocking(start))).collect();
    let mut members = Vec::new();
    for member in starting {
        members.push(member.await.map_err(|error| ServerError::failed("harness", error))??);
    }
    Ok(members)
}
