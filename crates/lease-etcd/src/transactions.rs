//! Many small transactions in one request.

use std::sync::atomic::{AtomicUsize, Ordering};

use etcd_client::{Client, Compare, KeyValue, Txn, TxnOp, TxnOpResponse, TxnResponse};
use futures::future::{BoxFuture, join_all};

use crate::{
    connections::{Connections, Reply},
    error::{Access, Cure, Failure, wrong_answer},
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

/// Commits steps: one alone as a plain transaction, many nested in one; reads side by side in one, since etcd takes a
/// transaction with others in it for a write, which every member stores (L2).
#[derive(Debug)]
pub(crate) struct Transactions {
    /// How many steps fit into one request, as far as is known.
    most: AtomicUsize,
    most_reads: AtomicUsize,
}

/// The server allows 128 operations in a transaction (`--max-txn-ops`); a step counts as one, and the largest of its three
/// lists, of which none is longer than four, counts on top once. A server that allows less says so.
const MOST_STEPS: usize = 120;

/// Of two operations each, which all count.
const MOST_READS: usize = 60;

/// The server takes 1.5 MiB in a request (`--max-request-bytes`).
const MOST_BYTES: usize = 1 << 20;

impl Transactions {
    pub(crate) fn new() -> Self {
        Self { most: AtomicUsize::new(MOST_STEPS), most_reads: AtomicUsize::new(MOST_READS) }
    }

    fn most(&self, access: Access) -> &AtomicUsize {
        match access {
            Access::Read => &self.most_reads,
            Access::Write => &self.most,
        }
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
        let chunks = chunks(self.most(access).load(Ordering::Relaxed), steps);
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
        connections.history().goes_on(before, response.header());
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
                    connections.history().goes_on(before, response.header());
                    let outcomes = match access {
                        Access::Read => reads(&response, &steps),
                        Access::Write => outcomes(&response, &steps),
                    };
                    let each = |outcome: Option<Outcome>| outcome.ok_or_else(|| wrong_answer(operation, access));
                    outcomes.unwrap_or_else(|| steps.iter().map(|_| None).collect()).into_iter().map(each).collect()
                }
                Err(failure) if splits(&failure) => {
                    if failure.cure == Cure::Split && failure.error.to_string().contains("too many operations") {
                        self.most(access).fetch_min(steps.len() / 2, Ordering::Relaxed);
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

fn chunks(most: usize, steps: Vec<Step>) -> Vec<Vec<Step>> {
    let requests = steps.len().div_ceil(most.max(1)).max(1);
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

/// All of them in one transaction.
fn nested(steps: &[Step]) -> Txn {
    Txn::new().and_then(steps.iter().map(|step| TxnOp::txn(step.clone().into_transaction())).collect::<Vec<_>>())
}

/// All that they read in one transaction.
fn side_by_side(steps: &[Step]) -> Txn {
    Txn::new().and_then(steps.iter().flat_map(|step| step.then.clone()).collect::<Vec<_>>())
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

/// What became of each step; nothing where the answer has another number or kind of parts than what was asked (S25).
fn outcomes(response: &TxnResponse, steps: &[Step]) -> Option<Vec<Option<Outcome>>> {
    let revision = revision(response)?;
    let responses = response.op_responses();
    let each = responses.iter().zip(steps).map(|(response, step)| match response {
        TxnOpResponse::Txn(response) => outcome(response, revision, step),
        _ => None,
    });
    (responses.len() == steps.len()).then(|| each.collect())
}

/// What each of the steps that were read side by side has found.
fn reads(response: &TxnResponse, steps: &[Step]) -> Option<Vec<Option<Outcome>>> {
    let revision = revision(response)?;
    let mut found = found(&response.op_responses())?.into_iter();
    let mut outcomes = Vec::new();
    for step in steps {
        let found: Vec<_> = found.by_ref().take(step.then.len()).collect();
        let is_whole = found.len() == step.then.len();
        outcomes.push(is_whole.then_some(Outcome { succeeded: response.succeeded(), revision, found }));
    }
    found.next().is_none().then_some(outcomes)
}

fn outcome(response: &TxnResponse, revision: i64, step: &Step) -> Option<Outcome> {
    let responses = response.op_responses();
    let succeeded = response.succeeded();
    let asked = if succeeded { &step.then } else { &step.otherwise };
    // Where nothing was done there was something to be read at most.
    let found = if succeeded { gets(&responses).collect() } else { found(&responses)? };
    (responses.len() == asked.len()).then_some(Outcome { succeeded, revision, found })
}

/// What was found, where there are gets only.
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

/// Nothing where there is none: a transaction has always one.
fn revision(response: &TxnResponse) -> Option<i64> {
    response.header().map(etcd_client::ResponseHeader::revision).filter(|revision| *revision > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(steps: &[usize]) -> Vec<usize> {
        let steps = steps.iter().map(|&bytes| Step { bytes, ..Step::default() }).collect();
        chunks(MOST_STEPS, steps).iter().map(Vec::len).collect()
    }

    #[test]
    fn requests_stay_within_the_limits_of_the_server() {
        assert_eq!(sizes(&[]), Vec::<usize>::new());
        assert_eq!(sizes(&[10; 120]), [120]);
        assert_eq!(sizes(&[10; 256]), [86, 86, 84]);
        assert_eq!(sizes(&[MOST_BYTES / 2; 5]), [2, 2, 1]);
        assert_eq!(sizes(&[MOST_BYTES * 2, 1]), [1, 1]);
    }

    fn looks(numbers: std::ops::Range<usize>) -> Vec<Step> {
        let look = |number| vec![TxnOp::get(format!("a {number}"), None), TxnOp::get(format!("b {number}"), None)];
        numbers.map(|number| Step { then: look(number), ..Step::default() }).collect()
    }

    /// S25: an answer with more, fewer or other parts than what was asked is none.
    #[tokio::test]
    async fn s25_an_answer_has_the_parts_that_were_asked_for() {
        let etcd = integration_tests::Etcd::shared().await;
        let client = Client::connect([etcd.url()], None).await.unwrap();
        let asked = looks(0..3);
        let flat = send(client.clone(), side_by_side(&asked)).await.unwrap();
        assert_eq!(reads(&flat, &asked).unwrap().iter().flatten().count(), 3);
        assert!(reads(&flat, &looks(0..2)).is_none(), "more than what was asked");
        assert_eq!(reads(&flat, &looks(0..4)).unwrap().iter().flatten().count(), 3, "nothing of the fourth");
        assert!(outcomes(&flat, &looks(0..6)).unwrap().iter().all(Option::is_none), "reads for transactions");

        let deep = send(client.clone(), nested(&asked)).await.unwrap();
        assert_eq!(outcomes(&deep, &asked).unwrap().iter().flatten().count(), 3);
        assert!(outcomes(&deep, &looks(0..2)).is_none() && outcomes(&deep, &looks(0..4)).is_none());
        assert!(reads(&deep, &asked).is_none(), "transactions for reads");

        let one = looks(0..1).remove(0);
        let alone = send(client, one.clone().into_transaction()).await.unwrap();
        assert!(outcome(&alone, 1, &one).is_some());
        assert!(outcome(&alone, 1, &Step::default()).is_none(), "more than what was asked");
    }
}
