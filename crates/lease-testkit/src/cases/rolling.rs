//! Long random histories, from seeds, checked against a simple model.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use lease_core::{
    AcquireRequest, Acquired, Break, Claim, FencingToken, LeaseName, LeaseStore, Moment, Released, Renewed,
};

use crate::{
    SeededRng,
    bench::Bench,
    calls::{acquired, claim, inspected, name, release, renewed},
};

const STEPS: usize = 400;
/// The number of grants that a history must exceed.
const GRANTS: usize = 20;
/// The number of steps that wait for about a ttl.
const EXPIRIES: usize = 4;

/// Random operations in random order: tokens rise from grant to grant, and only the grant in force can be renewed, released
/// or broken (S7, S11, S22).
pub async fn s09_tokens_rise_over_any_history(bench: &Bench) {
    let stores = [bench.store().await, bench.store().await];
    for seed in [1, 2] {
        let mut rng = SeededRng::new(seed);
        let names = [name(&format!("{seed}/a")), name(&format!("{seed}/b"))];
        let mut model = Model::default();
        let mut step = 0;
        // Where steps are slow, the history continues until it has enough grants.
        while step < STEPS || (model.claims.len() <= GRANTS && step < STEPS * 4) {
            let context = format!("seed {seed}, step {step}");
            let (store, job) = (&**rng.pick(&stores), rng.pick(&names).clone());
            if step % (STEPS / EXPIRIES) == STEPS / EXPIRIES - 1 {
                bench.wait_until_free(store, &job).await;
                model.current.remove(&job);
            }
            match rng.below(10) {
                0..5 => model.acquire(bench, store, &bench.request(&job), &context).await,
                5..7 => model.renew(bench, store, &mut rng, &context).await,
                7 => model.release(bench, store, &mut rng, &context).await,
                8 => model.break_now(bench, store, &job, &mut rng, &context).await,
                _ => model.repeat(bench, store, &mut rng, &context).await,
            }
            step += 1;
        }
        assert!(model.claims.len() > GRANTS, "seed {seed}: only {} grants", model.claims.len());
    }
}

/// The model: what is certain, however long a call took.
#[derive(Default)]
struct Model {
    /// For each name, the token of its last grant.
    last: HashMap<LeaseName, FencingToken>,
    /// For each name, the grant in force, and until when it certainly is.
    current: HashMap<LeaseName, (Claim, Moment)>,
    /// The claims of all grants.
    claims: Vec<(AcquireRequest, Claim, FencingToken)>,
    tokens: HashSet<(LeaseName, FencingToken)>,
}

impl Model {
    fn is_current(&self, claim: &Claim) -> bool {
        self.current.get(&claim.name).is_some_and(|(current, _)| current == claim)
    }

    fn is_certain(&self, bench: &Bench, job: &LeaseName) -> bool {
        self.current.get(job).is_some_and(|(_, until)| bench.now() < *until)
    }

    fn in_force(&mut self, claim: &Claim, sent: Moment, remaining: Duration) {
        // Two per cent for the difference between the two clocks.
        let until = sent + remaining.mul_f64(0.98);
        let until = self.current.get(&claim.name).map_or(until, |(_, before)| until.max(*before));
        self.current.insert(claim.name.clone(), (claim.clone(), until));
    }

    async fn acquire(&mut self, bench: &Bench, store: &dyn LeaseStore, request: &AcquireRequest, context: &str) {
        let sent = bench.now();
        match acquired(store, request).await {
            Acquired::Granted(grant) => {
                assert!(
                    !self.is_certain(bench, &request.name),
                    "{context}: {} was granted while it was held",
                    request.name
                );
                let last = self.last.insert(request.name.clone(), grant.token);
                assert!(
                    last.is_none_or(|last| grant.token > last),
                    "{context}: {} is not greater than {last:?}",
                    grant.token
                );
                assert!(
                    self.tokens.insert((request.name.clone(), grant.token)),
                    "{context}: a token was granted twice"
                );
                let claim = claim(request, grant);
                self.current.remove(&request.name);
                self.in_force(&claim, sent, grant.remaining);
                self.claims.push((request.clone(), claim, grant.token));
            }
            Acquired::Held { .. } => {
                assert!(
                    self.current.contains_key(&request.name),
                    "{context}: {} was refused although it is free",
                    request.name
                );
            }
            Acquired::Spent => panic!("{context}: a new nonce is spent"),
            other => panic!("unexpected answer: {other:?}"),
        }
    }

    async fn renew(&mut self, bench: &Bench, store: &dyn LeaseStore, rng: &mut SeededRng, context: &str) {
        let Some(claim) = self.pick(rng) else { return };
        let sent = bench.now();
        match renewed(store, &claim, bench.ttl).await {
            Renewed::Extended { remaining } => {
                assert!(self.is_current(&claim), "{context}: the ended grant {claim:?} was renewed");
                self.in_force(&claim, sent, remaining);
            }
            Renewed::Lost(reason) => {
                assert!(
                    !(self.is_current(&claim) && self.is_certain(bench, &claim.name)),
                    "{context}: a grant in force was lost: {reason}"
                );
            }
            other => panic!("unexpected answer: {other:?}"),
        }
    }

    async fn release(&mut self, bench: &Bench, store: &dyn LeaseStore, rng: &mut SeededRng, context: &str) {
        let Some(claim) = self.pick(rng) else { return };
        match release(store, &claim).await {
            Released::Freed => {
                assert!(self.is_current(&claim), "{context}: the ended grant {claim:?} was released");
                self.current.remove(&claim.name);
            }
            Released::NotHeld => {
                assert!(
                    !(self.is_current(&claim) && self.is_certain(bench, &claim.name)),
                    "{context}: a grant in force was not released"
                );
            }
            other => panic!("unexpected answer: {other:?}"),
        }
    }

    async fn break_now(
        &mut self,
        bench: &Bench,
        store: &dyn LeaseStore,
        job: &LeaseName,
        rng: &mut SeededRng,
        context: &str,
    ) {
        let of_this: Vec<_> = self.claims.iter().filter(|(request, ..)| request.name == *job).collect();
        let Some((_, claim, token)) = (!of_this.is_empty()).then(|| *rng.pick(&of_this)) else { return };
        match store.break_lease(job, *token, Break::Now).await.expect("break answers") {
            Released::Freed => {
                assert!(self.is_current(claim), "{context}: the ended grant {claim:?} was broken");
                self.current.remove(job);
            }
            Released::NotHeld => {
                assert!(
                    !(self.is_current(claim) && self.is_certain(bench, job)),
                    "{context}: a grant in force was not broken"
                );
            }
            other => panic!("unexpected answer: {other:?}"),
        }
    }

    /// Delivers an earlier request again (S13).
    async fn repeat(&mut self, bench: &Bench, store: &dyn LeaseStore, rng: &mut SeededRng, context: &str) {
        let Some((request, claim, token)) = (!self.claims.is_empty()).then(|| rng.pick(&self.claims).clone()) else {
            return;
        };
        let is_last = self.last.get(&request.name) == Some(&token);
        if !store.capabilities().remembers_last_grant || !is_last && !self.is_certain(bench, &request.name) {
            // This is not the last grant of the name, so the store may not remember its nonce.
            return;
        }
        match acquired(store, &request).await {
            Acquired::Granted(grant) => {
                assert!(self.is_current(&claim), "{context}: the ended grant {claim:?} was granted again");
                assert_eq!(grant.token, token, "{context}");
                let record = inspected(store, &request.name).await;
                assert!(record.is_none_or(|record| record.token == token), "{context}");
            }
            Acquired::Held { .. } => assert!(!is_last, "{context}: the request was refused because of its own grant"),
            Acquired::Spent => {
                assert!(
                    !(self.is_current(&claim) && self.is_certain(bench, &claim.name)),
                    "{context}: the nonce of a grant in force is spent"
                );
            }
            other => panic!("unexpected answer: {other:?}"),
        }
    }

    fn pick(&self, rng: &mut SeededRng) -> Option<Claim> {
        // The latest claims are the ones that may be in force.
        let recent = self.claims.len().saturating_sub(6);
        let recent = &self.claims[recent..];
        (!recent.is_empty()).then(|| rng.pick(recent).1.clone())
    }
}
