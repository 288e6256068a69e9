//! Commits many small transactions in few requests.

use std::sync::atomic::{AtomicUsize, Ordering};

use etcd_client::{Client, Compare, KeyValue, Txn, TxnOp, TxnOpResponse, TxnResponse};
use futures::future::{BoxFuture, join_all};

use crate::{
    connections::{Connections, Reply},
    error::{Access, Cure, Failure, wrong_answer},
};

/// A transaction for one name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Step {
    pub(crate) when: Vec<Compare>,
    pub(crate) then: Vec<TxnOp>,
    pub(crate) otherwise: Vec<TxnOp>,
    /// The approximate size of its keys and values.
    pub(crate) bytes: usize,
}

impl Step {
    fn into_transaction(self) -> Txn {
        Txn::new().when(self.when).and_then(self.then).or_else(self.otherwise)
    }
}

/// The outcome of a [`Step`].
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Whether `then` was executed, and not `otherwise`.
    pub(crate) succeeded: bool,
    /// The revision of all changes of the request, which is the create revision of the keys that it has created.
    pub(crate) revision: i64,
    /// The results of the gets, in their order.
    pub(crate) found: Vec<Option<KeyValue>>,
}

/// Commits steps. A single step is a plain transaction; several are nested in one. Several reads are put side by side in one
/// transaction, because etcd treats a transaction with nested ones as a write, which every member stores (L2).
#[derive(Debug)]
pub(crate) struct Transactions {
    /// The numbers of writing and of reading steps that fit into one request, as far as is known.
    max_steps: AtomicUsize,
    max_reads: AtomicUsize,
}

/// The server allows 128 operations in a transaction (`--max-txn-ops`). Each step counts as one, and the longest of all their
/// lists, none of which has more than four entries, is added once. If a server allows less, its error says so.
const MAX_STEPS: usize = 120;

/// Each reading step has two operations, and each of them counts.
const MAX_READS: usize = 60;

/// The server accepts requests of up to 1.5 MiB (`--max-request-bytes`).
const MAX_BYTES: usize = 1 << 20;

impl Transactions {
    pub(crate) fn new() -> Self {
        Self { max_steps: AtomicUsize::new(MAX_STEPS), max_reads: AtomicUsize::new(MAX_READS) }
    }

    fn max(&self, access: Access) -> &AtomicUsize {
        match access {
            Access::Read => &self.max_reads,
            Access::Write => &self.max_steps,
        }
    }

    /// Commits steps, whose keys must all differ. Returns one outcome per step, in order. If the server refuses a request for
    /// a reason other than the connection, the request is split until only the step that causes the refusal fails (L7). It is
    /// not split if an etcd lease has ended: the caller then repeats it with another one.
    pub(crate) async fn commit(
        &self,
        connections: &Connections,
        operation: &'static str,
        access: Access,
        steps: Vec<Step>,
    ) -> Vec<Result<Outcome, Failure>> {
        let chunks = chunks(self.max(access).load(Ordering::Relaxed), steps);
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
        let transaction = step.clone().into_transaction();
        let before = connections.history().revision();
        let response = connections.call(operation, access, |client| send(client, transaction.clone())).await?;
        connections.history().observe(before, response.header());
        revision(&response)
            .and_then(|revision| outcome(&response, revision, &step))
            .ok_or_else(|| wrong_answer(operation, access))
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
            let before = connections.history().revision();
            let transaction = match access {
                Access::Read => side_by_side(&steps),
                Access::Write => nested(&steps),
            };
            match connections.call(operation, access, |client| send(client, transaction.clone())).await {
                Ok(response) => {
                    connections.history().observe(before, response.header());
                    let outcomes = match access {
                        Access::Read => reads(&response, &steps),
                        Access::Write => outcomes(&response, &steps),
                    };
                    let each = |outcome: Option<Outcome>| outcome.ok_or_else(|| wrong_answer(operation, access));
                    outcomes.unwrap_or_else(|| steps.iter().map(|_| None).collect()).into_iter().map(each).collect()
                }
                Err(failure) if splits(&failure) => {
                    if failure.cure == Cure::Split && failure.error.to_string().contains("too many operations") {
                        self.max(access).fetch_min(steps.len() / 2, Ordering::Relaxed);
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
}

fn chunks(max: usize, steps: Vec<Step>) -> Vec<Vec<Step>> {
    let requests = steps.len().div_ceil(max.max(1)).max(1);
    // Chunks of equal size: they are sent at the same time, and the caller waits for the last answer.
    let max = steps.len().div_ceil(requests);
    let mut chunks: Vec<Vec<Step>> = Vec::new();
    let mut bytes = 0;
    for step in steps {
        bytes += step.bytes;
        match chunks.last_mut() {
            Some(chunk) if chunk.len() < max && bytes <= MAX_BYTES => chunk.push(step),
            _ => {
                bytes = step.bytes;
                chunks.push(vec![step]);
            }
        }
    }
    chunks
}

/// Returns one transaction with all steps nested in it.
fn nested(steps: &[Step]) -> Txn {
    Txn::new().and_then(steps.iter().map(|step| TxnOp::txn(step.clone().into_transaction())).collect::<Vec<_>>())
}

/// Returns one transaction with all the reads of these steps.
fn side_by_side(steps: &[Step]) -> Txn {
    Txn::new().and_then(steps.iter().flat_map(|step| step.then.clone()).collect::<Vec<_>>())
}

fn send(client: Client, transaction: Txn) -> Reply<TxnResponse> {
    Box::pin(async move { client.kv_client().txn(transaction).await })
}

/// Returns whether a smaller request may succeed: the server has refused this one without executing it.
fn splits(failure: &Failure) -> bool {
    use lease_core::ErrorKind::{Denied, Internal, Invalid, Unsupported};
    match failure.cure {
        Cure::Split => true,
        // Rights may differ from name to name.
        Cure::None => matches!(failure.error.kind(), Denied | Invalid | Unsupported | Internal),
        Cure::NewLease | Cure::Reconnect | Cure::Login | Cure::NoLogin => false,
    }
}

/// Returns the outcome of each nested step. `None` where the answer has parts of another number or kind than the request
/// (S25).
fn outcomes(response: &TxnResponse, steps: &[Step]) -> Option<Vec<Option<Outcome>>> {
    let revision = revision(response)?;
    let responses = response.op_responses();
    let each = responses.iter().zip(steps).map(|(response, step)| match response {
        TxnOpResponse::Txn(response) => outcome(response, revision, step),
        _ => None,
    });
    (responses.len() == steps.len()).then(|| each.collect())
}

/// Returns the outcome of each of the steps that were read side by side. `None` as for [`outcomes`].
fn reads(response: &TxnResponse, steps: &[Step]) -> Option<Vec<Option<Outcome>>> {
    let revision = revision(response)?;
    let mut found = found(&response.op_responses())?.into_iter();
    let mut outcomes = Vec::new();
    for step in steps {
        let found: Vec<_> = found.by_ref().take(step.then.len()).collect();
        let is_complete = found.len() == step.then.len();
        outcomes.push(is_complete.then_some(Outcome { succeeded: response.succeeded(), revision, found }));
    }
    found.next().is_none().then_some(outcomes)
}

fn outcome(response: &TxnResponse, revision: i64, step: &Step) -> Option<Outcome> {
    let responses = response.op_responses();
    let succeeded = response.succeeded();
    let requested = if succeeded { &step.then } else { &step.otherwise };
    // `otherwise` has only gets.
    let found = if succeeded { gets(&responses).collect() } else { found(&responses)? };
    (responses.len() == requested.len()).then_some(Outcome { succeeded, revision, found })
}

/// Returns the results of the gets, if all responses are of gets.
fn found(responses: &[TxnOpResponse]) -> Option<Vec<Option<KeyValue>>> {
    let found: Vec<_> = gets(responses).collect();
    (found.len() == responses.len()).then_some(found)
}

fn gets(responses: &[TxnOpResponse]) -> impl Iterator<Item = Option<KeyValue>> {
    responses.iter().filter_map(|response| match response {
        TxnOpResponse::Get(found) => Some(found.kvs().first().cloned()),
        _ => None,
    })
}

/// Returns the revision of the answer. Every valid answer of a transaction has one.
fn revision(response: &TxnResponse) -> Option<i64> {
    response.header().map(etcd_client::ResponseHeader::revision).filter(|revision| *revision > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(steps: &[usize]) -> Vec<usize> {
        let steps = steps.iter().map(|&bytes| Step { bytes, ..Step::default() }).collect();
        chunks(MAX_STEPS, steps).iter().map(Vec::len).collect()
    }

    #[test]
    fn requests_stay_within_the_limits_of_the_server() {
        assert_eq!(sizes(&[]), Vec::<usize>::new());
        assert_eq!(sizes(&[10; 120]), [120]);
        assert_eq!(sizes(&[10; 256]), [86, 86, 84]);
        assert_eq!(sizes(&[MAX_BYTES / 2; 5]), [2, 2, 1]);
        assert_eq!(sizes(&[MAX_BYTES * 2, 1]), [1, 1]);
    }

    fn reading_steps(numbers: std::ops::Range<usize>) -> Vec<Step> {
        let gets = |number| vec![TxnOp::get(format!("a {number}"), None), TxnOp::get(format!("b {number}"), None)];
        numbers.map(|number| Step { then: gets(number), ..Step::default() }).collect()
    }

    /// S25: an answer with more, fewer or other parts than the request is not used.
    #[tokio::test]
    async fn s25_an_answer_has_the_parts_of_the_request() {
        let etcd = integration_tests::Etcd::shared().await;
        let client = Client::connect([etcd.url()], None).await.unwrap();
        let steps = reading_steps(0..3);
        let flat = send(client.clone(), side_by_side(&steps)).await.unwrap();
        assert_eq!(reads(&flat, &steps).unwrap().iter().flatten().count(), 3);
        assert!(reads(&flat, &reading_steps(0..2)).is_none(), "more than requested");
        assert_eq!(reads(&flat, &reading_steps(0..4)).unwrap().iter().flatten().count(), 3, "nothing of the fourth");
        assert!(outcomes(&flat, &reading_steps(0..6)).unwrap().iter().all(Option::is_none), "reads for transactions");

        let deep = send(client.clone(), nested(&steps)).await.unwrap();
        assert_eq!(outcomes(&deep, &steps).unwrap().iter().flatten().count(), 3);
        assert!(outcomes(&deep, &reading_steps(0..2)).is_none() && outcomes(&deep, &reading_steps(0..4)).is_none());
        assert!(reads(&deep, &steps).is_none(), "transactions for reads");

        let one = reading_steps(0..1).remove(0);
        let alone = send(client, one.clone().into_transaction()).await.unwrap();
        assert!(outcome(&alone, 1, &one).is_some());
        assert!(outcome(&alone, 1, &Step::default()).is_none(), "more than requested");
    }
}
