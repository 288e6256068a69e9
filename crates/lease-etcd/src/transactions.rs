//! Many small transactions in one request.

use std::sync::atomic::{AtomicUsize, Ordering};

use etcd_client::{Client, Compare, KeyValue, Txn, TxnOp, TxnOpResponse, TxnResponse};
use futures::future::{BoxFuture, join_all};

use crate::{
    connections::{Connections, Reply},
    error::{Access, Cure, Failure},
};

/// A transaction of its own for one name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Step {
    pub(crate) when: Vec<Compare>,
    pub(crate) then: Vec<TxnOp>,
    pub(crate) otherwise: Vec<TxnOp>,
    /// About how large its keys and values are together.
    pub(crate) bytes: usize,
}

impl Step {
    fn into_transaction(self) -> Txn {
        Txn::new().when(self.when).and_then(self.then).or_else(self.otherwise)
    }
}

/// What became of a [`Step`].
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Whether `then` was done, rather than `otherwise`.
    pub(crate) succeeded: bool,
    /// The revision of everything that the request has changed, and so the create revision of the keys that it has made.
    pub(crate) revision: i64,
    /// What the gets have found, in their order.
    pub(crate) found: Vec<Option<KeyValue>>,
}

/// Commits steps: one alone as a plain transaction, many nested in one.
#[derive(Debug)]
pub(crate) struct Transactions {
    /// How many steps fit into one request, as far as is known.
    most: AtomicUsize,
}

/// The server allows 128 operations in a transaction (`--max-txn-ops`); a step counts as one, and the largest of its three
/// lists, of which none is longer than four, counts on top once. A server that allows less says so.
const MOST_STEPS: usize = 120;

/// The server takes 1.5 MiB in a request (`--max-request-bytes`).
const MOST_BYTES: usize = 1 << 20;

impl Transactions {
    pub(crate) fn new() -> Self {
        Self { most: AtomicUsize::new(MOST_STEPS) }
    }

    /// Commits steps, whose keys must all differ, and answers one each, in order. A request that is refused for a reason that
    /// is not the connection's is split until only the one to blame is left without (L7); except where an etcd lease is
    /// gone: then the caller brings another.
    pub(crate) async fn commit(
        &self,
        connections: &Connections,
        operation: &'static str,
        access: Access,
        steps: Vec<Step>,
    ) -> Vec<Result<Outcome, Failure>> {
        let chunks = self.chunks(steps);
        let answers =
            join_all(chunks.into_iter().map(|chunk| self.commit_chunk(connections, operation, access, chunk)));
        answers.await.into_iter().flatten().collect()
    }

    /// Commits one step.
    pub(crate) async fn commit_one(
        &self,
        connections: &Connections,
        operation: &'static str,
        access: Access,
        step: Step,
    ) -> Result<Outcome, Failure> {
        let transaction = step.into_transaction();
        let response = connections.call(operation, access, |client| send(client, transaction.clone())).await?;
        Ok(outcome(&response, revision(&response)))
    }

    fn commit_chunk<'a>(
        &'a self,
        connections: &'a Connections,
        operation: &'static str,
        access: Access,
        mut steps: Vec<Step>,
    ) -> BoxFuture<'a, Vec<Result<Outcome, Failure>>> {
        Box::pin(async move {
            if steps.len() == 1 {
                let step = steps.remove(0);
                return vec![self.commit_one(connections, operation, access, step).await];
            }
            match connections.call(operation, access, |client| send(client, nested(&steps))).await {
                Ok(response) => outcomes(&response),
                Err(failure) if splits(&failure) => {
                    if failure.cure == Cure::Split && failure.error.to_string().contains("too many operations") {
                        self.most.fetch_min(steps.len() / 2, Ordering::Relaxed);
                    }
                    let second = steps.split_off(steps.len() / 2);
                    let first = self.commit_chunk(connections, operation, access, steps);
                    let second = self.commit_chunk(connections, operation, access, second);
                    let (mut first, second) = futures::future::join(first, second).await;
                    first.extend(second);
                    first
                }
                Err(failure) => steps.iter().map(|_| Err(failure.clone())).collect(),
            }
        })
    }

    fn chunks(&self, steps: Vec<Step>) -> Vec<Vec<Step>> {
        let requests = steps.len().div_ceil(self.most.load(Ordering::Relaxed).max(1)).max(1);
        // As large as each other: they go at the same time, and the answer comes with the last of them.
        let most = steps.len().div_ceil(requests);
        let mut chunks: Vec<Vec<Step>> = Vec::new();
        let mut bytes = 0;
        for step in steps {
            bytes += step.bytes;
            match chunks.last_mut() {
                Some(chunk) if chunk.len() < most && bytes <= MOST_BYTES => chunk.push(step),
                _ => {
                    bytes = step.bytes;
                    chunks.push(vec![step]);
                }
            }
        }
        chunks
    }
}

/// All of them in one transaction.
fn nested(steps: &[Step]) -> Txn {
    Txn::new().and_then(steps.iter().map(|step| TxnOp::txn(step.clone().into_transaction())).collect::<Vec<_>>())
}

fn send(client: Client, transaction: Txn) -> Reply<TxnResponse> {
    Box::pin(async move { client.kv_client().txn(transaction).await })
}

/// Whether a smaller request may fare better: nothing was done, and it is not for want of a server.
fn splits(failure: &Failure) -> bool {
    use lease_core::ErrorKind::{Denied, Internal, Invalid, Unsupported};
    match failure.cure {
        Cure::Split => true,
        // Rights may differ from name to name.
        Cure::None => matches!(failure.error.kind(), Denied | Invalid | Unsupported | Internal),
        Cure::NewLease | Cure::Reconnect | Cure::Login | Cure::NoLogin => false,
    }
}

fn outcomes(response: &TxnResponse) -> Vec<Result<Outcome, Failure>> {
    let revision = revision(response);
    let each = response.op_responses().into_iter().map(|response| match response {
        TxnOpResponse::Txn(response) => Ok(outcome(&response, revision)),
        // What was asked is answered in kind.
        _ => Ok(Outcome { succeeded: false, revision, found: Vec::new() }),
    });
    each.collect()
}

fn outcome(response: &TxnResponse, revision: i64) -> Outcome {
    let found = response.op_responses().into_iter().filter_map(|response| match response {
        TxnOpResponse::Get(found) => Some(found.kvs().first().cloned()),
        _ => None,
    });
    Outcome { succeeded: response.succeeded(), revision, found: found.collect() }
}

fn revision(response: &TxnResponse) -> i64 {
    response.header().map_or(0, etcd_client::ResponseHeader::revision)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(steps: &[usize]) -> Vec<usize> {
        let steps = steps.iter().map(|&bytes| Step { bytes, ..Step::default() }).collect();
        Transactions::new().chunks(steps).iter().map(Vec::len).collect()
    }

    #[test]
    fn requests_stay_within_the_limits_of_the_server() {
        assert_eq!(sizes(&[]), Vec::<usize>::new());
        assert_eq!(sizes(&[10; 120]), [120]);
        assert_eq!(sizes(&[10; 256]), [86, 86, 84]);
        assert_eq!(sizes(&[MOST_BYTES / 2; 5]), [2, 2, 1]);
        assert_eq!(sizes(&[MOST_BYTES * 2, 1]), [1, 1]);
    }
}
