//! A store that sends no request alone.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use lease_core::{
    AcquireRequest, Acquired, Break, Capabilities, Claim, FencingToken, GrantId, HolderId, LeaseName, LeaseRecord,
    LeaseStore, ReleaseRequest, Released, RenewRequest, Renewed, Result, Revocations, Wakeups,
};

use crate::calls::name;

/// Sends each single request between two others in one call, and checks the answers to those. Many providers implement a
/// batch apart from a single request, so the cases for single requests do not cover it.
#[derive(Debug)]
pub(crate) struct BetweenNeighbours(pub(crate) Arc<dyn LeaseStore>);

impl BetweenNeighbours {
    /// Returns requests for two free names, which sort before and after most others.
    fn neighbours(&self, ttl: Duration) -> [AcquireRequest; 2] {
        let limits = self.0.capabilities();
        // Long enough that no neighbour expires before it is answered.
        let ttl = ttl.max(Duration::from_secs(1)).clamp(limits.min_ttl, limits.max_ttl);
        ["!", "~"].map(|place| {
            let nonce = GrantId::random();
            let holder = HolderId::new("a neighbour").expect("a valid holder id");
            AcquireRequest::new(name(&format!("{place}{nonce}")), holder, nonce, ttl)
        })
    }

    /// Returns the claims to two grants. Returns `None` after a transient error.
    async fn grants(&self, ttl: Duration) -> Option<[Claim; 2]> {
        let requests = self.neighbours(ttl);
        let answers = self.0.acquire(&requests).await;
        let mut claims = Vec::new();
        for (request, answer) in requests.iter().zip(answers) {
            match answer {
                Ok(Acquired::Granted(grant)) => claims.push(request.claim(grant.handle)),
                Err(error) if error.is_transient() => return None,
                other => panic!("a free name was not granted: {other:?}"),
            }
        }
        claims.try_into().ok()
    }
}

/// Returns the answer to the request in the middle. Both neighbours must succeed or fail with a transient error.
fn middle<A: std::fmt::Debug>(answers: Vec<Result<A>>, is_good: impl Fn(&A) -> bool) -> Vec<Result<A>> {
    let Ok([before, own, after]) = <[_; 3]>::try_from(answers) else {
        panic!("the number of answers differs from the number of requests")
    };
    for neighbour in [before, after] {
        match neighbour {
            Ok(answer) => assert!(is_good(&answer), "beside {own:?}, a neighbour got {answer:?}"),
            Err(error) => assert!(error.is_transient(), "beside {own:?}, a neighbour got the error {error:?}"),
        }
    }
    vec![own]
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl LeaseStore for BetweenNeighbours {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn acquire(&self, requests: &[AcquireRequest]) -> Vec<Result<Acquired>> {
        let [request] = requests else { return self.0.acquire(requests).await };
        let [before, after] = self.neighbours(request.ttl);
        let answers = self.0.acquire(&[before, request.clone(), after]).await;
        middle(answers, |answer| matches!(answer, Acquired::Granted(_)))
    }

    async fn renew(&self, requests: &[RenewRequest]) -> Vec<Result<Renewed>> {
        let [request] = requests else { return self.0.renew(requests).await };
        let Some(claims) = self.grants(request.ttl).await else { return self.0.renew(requests).await };
        let ttl = self.neighbours(request.ttl)[0].ttl;
        let [before, after] = claims.map(|claim| RenewRequest::new(claim, ttl));
        let answers = self.0.renew(&[before, request.clone(), after]).await;
        middle(answers, |answer| matches!(answer, Renewed::Extended { .. }))
    }

    async fn release(&self, requests: &[ReleaseRequest]) -> Vec<Result<Released>> {
        let [request] = requests else { return self.0.release(requests).await };
        let long = Duration::from_secs(60);
        let Some(claims) = self.grants(long).await else { return self.0.release(requests).await };
        let [before, after] = claims.map(ReleaseRequest::new);
        let answers = self.0.release(&[before, request.clone(), after]).await;
        middle(answers, |answer| *answer == Released::Freed)
    }

    async fn inspect(&self, name: &LeaseName) -> Result<Option<LeaseRecord>> {
        self.0.inspect(name).await
    }

    async fn list(&self, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Result<Vec<LeaseRecord>> {
        self.0.list(prefix, after, limit).await
    }

    async fn break_lease(&self, name: &LeaseName, token: FencingToken, how: Break) -> Result<Released> {
        self.0.break_lease(name, token, how).await
    }

    fn subscribe(&self, name: &LeaseName) -> Wakeups {
        self.0.subscribe(name)
    }

    fn revocations(&self) -> Revocations {
        self.0.revocations()
    }

    fn part_of(&self, name: &LeaseName) -> u16 {
        self.0.part_of(name)
    }
}
