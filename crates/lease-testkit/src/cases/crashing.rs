//! Acknowledged grants after a crash of the server, and tokens after a loss of data (S1, S9).

use lease_core::{Acquired, Claim, FencingToken, LeaseName, LeaseStore, Renewed};

use crate::{
    Injection,
    bench::Bench,
    calls::{claim, extended, granted, name, only, release, renew, renewal, renewed},
};

/// Acknowledged grants are in force after a crash, where the store declares it: a rival is refused, and the holder can
/// renew.
pub async fn s01_a_grant_outlives_a_crash_of_the_server(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    let mut grants = Vec::new();
    // The first grant may start the task that writes to disk, and the last one may be too recent for it.
    for number in 0..6 {
        let request = bench.request(&name(&format!("job/{number}"))).with_ttl(bench.ttl * 30);
        let grant = granted(&*store, &request).await;
        grants.push((claim(&request, grant), grant.token));
    }
    if bench.crash().await == Injection::Unsupported {
        return;
    }
    for (claim, token) in grants {
        after_the_crash(bench, [&*store, &*other], &claim, token).await;
    }
}

/// An acknowledged renewal is in force after a crash, when the original grant would have expired.
pub async fn s01_a_renewal_outlives_a_crash_of_the_server(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    let request = bench.request(&name("job"));
    let grant = granted(&*store, &request).await;
    let over = bench.now() + bench.rounded(bench.ttl, &store.capabilities());
    let claim = claim(&request, grant);
    for times in 10..16 {
        extended(&*store, &claim, bench.ttl * times).await;
    }
    if bench.crash().await == Injection::Unsupported {
        return;
    }
    bench.sleep(over.saturating_since(bench.now())).await;
    after_the_crash(bench, [&*store, &*other], &claim, grant.token).await;
}

async fn after_the_crash(bench: &Bench, [store, other]: [&dyn LeaseStore; 2], claim: &Claim, token: FencingToken) {
    let capabilities = store.capabilities();
    let rival = bench.request(&claim.name);
    let answer = bench
        .poll("the rival is answered", bench.ttl * 2 + bench.tolerance(), async || {
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
            let (limit, request) = (bench.ttl * 2 + bench.tolerance(), renewal(claim, bench.ttl * 30));
            let renewed = bench.poll("the holder is answered", limit, async || renew(store, &request).await.ok()).await;
            assert!(
                matches!(renewed, Renewed::Extended { .. }),
                "the lease is refused to others and to its holder: {renewed:?}"
            );
        }
        Acquired::Granted(grant) => {
            assert!(!capabilities.grants_survive_crash, "an acknowledged grant was forgotten: two holders (S1)");
            let rises = grant.token > token || !capabilities.tokens_survive.data_loss;
            assert!(rises, "{} is not greater than {token}", grant.token);
            let renewed = renewed(store, claim, bench.ttl).await;
            assert!(matches!(renewed, Renewed::Lost(_)), "granted to a rival, and renewed for its holder: {renewed:?}");
        }
        other => panic!("unexpected answer: {other:?}"),
    }
}

/// After an older backup was restored, tokens are greater than those of the forgotten grants, where the store declares it. A
/// former holder has either lost its lease or holds it as before.
pub async fn s09_tokens_rise_after_an_older_backup_was_put_back(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    let (known, unknown) = (name("in-the-backup"), name("not-in-the-backup"));
    rounds(bench, &*store, &known, None).await;
    if bench.back_up().await == Injection::Unsupported {
        return;
    }
    let mut last = Vec::new();
    for job in [&known, &unknown] {
        last.push(rounds(bench, &*other, job, None).await);
    }
    bench.restore_backup().await;
    let survives = store.capabilities().tokens_survive.data_loss;
    for (job, last) in [&known, &unknown].into_iter().zip(last) {
        rounds(bench, &*store, job, survives.then_some(last)).await;
    }
}

/// Grants and releases a few times. Each token must be greater than `last`. Returns the last token.
async fn rounds(bench: &Bench, store: &dyn LeaseStore, job: &LeaseName, after: Option<FencingToken>) -> FencingToken {
    let mut last = after;
    for _ in 0..3 {
        let request = bench.request(job);
        let grant = granted(store, &request).await;
        assert!(last.is_none_or(|last| grant.token > last), "{job}: {} is not greater than {last:?}", grant.token);
        last = Some(grant.token);
        release(store, &claim(&request, grant)).await;
    }
    last.expect("at least one grant")
}
