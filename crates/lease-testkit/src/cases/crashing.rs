//! What was acknowledged is there after a crash of the server, and after less than that tokens rise (S1, S9).

use lease_core::{Acquired, Claim, FencingToken, LeaseName, LeaseStore, Renewed};

use crate::{
    Harm,
    bench::Bench,
    calls::{claim, extended, granted, name, only, release, renew, renewal, renewed},
};

/// Grants that were acknowledged are in force after a crash, where the store says so: a rival is refused, and the holder
/// renews them.
pub async fn s01_a_grant_outlives_a_crash_of_the_server(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    let mut grants = Vec::new();
    // The first one may wake up what writes, and the last one be too young for it.
    for number in 0..6 {
        let request = bench.request(&name(&format!("job/{number}"))).with_ttl(bench.ttl * 30);
        let grant = granted(&*store, &request).await;
        grants.push((claim(&request, grant), grant.token));
    }
    if bench.crash().await == Harm::CannotDo {
        return;
    }
    for (claim, token) in grants {
        after_the_crash(bench, [&*store, &*other], &claim, token).await;
    }
}

/// The same of a renewal that was acknowledged, when all that was granted before it is over.
pub async fn s01_a_renewal_outlives_a_crash_of_the_server(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    let request = bench.request(&name("job"));
    let grant = granted(&*store, &request).await;
    let over = bench.now() + bench.rounded(bench.ttl, &store.capabilities());
    let claim = claim(&request, grant);
    for times in 10..16 {
        extended(&*store, &claim, bench.ttl * times).await;
    }
    if bench.crash().await == Harm::CannotDo {
        return;
    }
    bench.pass(over.saturating_since(bench.now())).await;
    after_the_crash(bench, [&*store, &*other], &claim, grant.token).await;
}

async fn after_the_crash(bench: &Bench, [store, other]: [&dyn LeaseStore; 2], claim: &Claim, token: FencingToken) {
    let capabilities = store.capabilities();
    let rival = bench.request(&claim.name);
    let answer = bench
        .poll("a rival is answered", bench.ttl * 2 + bench.patience(), async || {
            match only(other.acquire(std::slice::from_ref(&rival)).await) {
                Ok(answer) => Some(answer),
                Err(error) => {
                    assert!(error.is_transient(), "{error}");
                    None
                }
            }
        })
        .await;
    match answer {
        Acquired::Held { .. } => {
            let (limit, request) = (bench.ttl * 2 + bench.patience(), renewal(claim, bench.ttl * 30));
            let renewed = bench.poll("the holder is answered", limit, async || renew(store, &request).await.ok()).await;
            assert!(
                matches!(renewed, Renewed::Extended { .. }),
                "it is refused to others, and to its holder: {renewed:?}"
            );
        }
        Acquired::Granted(grant) => {
            assert!(!capabilities.grants_survive_crash, "what was acknowledged is forgotten: two holders (S1)");
            let rises = grant.token > token || !capabilities.tokens_survive.data_loss;
            assert!(rises, "{} is not greater than {token}", grant.token);
            let renewed = renewed(store, claim, bench.ttl).await;
            assert!(matches!(renewed, Renewed::Lost(_)), "two holders: {renewed:?}");
        }
        other => panic!("{other:?}"),
    }
}

/// An older state of the store comes back, with fewer grants: tokens are greater than those that are forgotten, where the
/// store says so. Who held a lease by then has lost it, or holds it as before.
pub async fn s09_tokens_rise_after_an_older_backup_was_put_back(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    let (known, unknown) = (name("in-the-backup"), name("not-in-the-backup"));
    rounds(bench, &*store, &known, None).await;
    if bench.back_up().await == Harm::CannotDo {
        return;
    }
    let mut last = Vec::new();
    for job in [&known, &unknown] {
        last.push(rounds(bench, &*other, job, None).await);
    }
    bench.put_back().await;
    let survives = store.capabilities().tokens_survive.data_loss;
    for (job, last) in [&known, &unknown].into_iter().zip(last) {
        rounds(bench, &*store, job, survives.then_some(last)).await;
    }
}

/// Grants and releases a few times, from a token on.
async fn rounds(bench: &Bench, store: &dyn LeaseStore, job: &LeaseName, after: Option<FencingToken>) -> FencingToken {
    let mut last = after;
    for _ in 0..3 {
        let request = bench.request(job);
        let grant = granted(store, &request).await;
        assert!(last.is_none_or(|last| grant.token > last), "{job}: {} is not greater than {last:?}", grant.token);
        last = Some(grant.token);
        release(store, &claim(&request, grant)).await;
    }
    last.expect("a few grants")
}
