//! Other services on the same table use only its five contract columns: they insert rows, take over expired ones with `version +
//! 1`, and delete the row on release.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use lease_core::{Acquired, Break, Clock, ErrorKind, LeaseStore, LossReason, Moment, Released, Renewed, SystemClock};
use lease_postgres::PostgresStore;
use sqlx::{AssertSqlSafe, PgPool};

use crate::common::{
    TTL, acquire, another, claim, expired, granted, is_held, name, pass, release, renew, renewal, request, sql, store,
    value,
};

/// A client of another service.
struct ContractClient {
    pool: PgPool,
    table: String,
    holder: String,
}

impl ContractClient {
    async fn of(store: &PostgresStore, holder: &str) -> Self {
        Self { pool: crate::common::pool().await, table: crate::common::table_of(store), holder: holder.to_owned() }
    }

    /// Returns the version, if the lease was granted.
    async fn acquire(&self, name: &str, ttl: Duration) -> Option<i64> {
        let text = format!(
            "insert into {table} as l (lease_name, holder_id, version, acquired_at_utc, expires_at_utc)
             values ($1, $2, 1, now(), now() + $3 * interval '1 millisecond')
             on conflict (lease_name) do update set
                 holder_id = excluded.holder_id, version = l.version + 1,
                 acquired_at_utc = excluded.acquired_at_utc, expires_at_utc = excluded.expires_at_utc
             where l.expires_at_utc <= now() or l.holder_id = excluded.holder_id
             returning version",
            table = self.table
        );
        sqlx::query_scalar(AssertSqlSafe(text))
            .bind(name)
            .bind(&self.holder)
            .bind(i64::try_from(ttl.as_millis()).unwrap())
            .fetch_optional(&self.pool)
            .await
            .unwrap()
    }

    async fn renew(&self, name: &str, version: i64) -> bool {
        let text = format!(
            "update {} set expires_at_utc = now() + interval '30 seconds'
             where lease_name = $1 and holder_id = $2 and version = $3 and expires_at_utc > now()",
            self.table
        );
        let query = sqlx::query(AssertSqlSafe(text)).bind(name).bind(&self.holder).bind(version);
        query.execute(&self.pool).await.unwrap().rows_affected() == 1
    }

    async fn release(&self, name: &str) {
        let text = format!("delete from {} where lease_name = $1 and holder_id = $2", self.table);
        sqlx::query(AssertSqlSafe(text)).bind(name).bind(&self.holder).execute(&self.pool).await.unwrap();
    }
}

#[tokio::test]
async fn each_respects_the_grants_of_the_other() {
    let store = store().await;
    let service = ContractClient::of(&store, "service").await;
    let mine = request("mine", "a");
    let grant = granted(&store, &mine).await;
    assert_eq!(service.acquire("mine", TTL).await, None);
    release(&store, &claim(&mine, grant)).await;
    let version = service.acquire("mine", TTL).await.unwrap();
    assert!(u64::try_from(version).unwrap() > grant.token.get());

    let answer = acquire(&store, &request("mine", "a")).await.unwrap();
    let Acquired::Held { by: Some(by), .. } = answer else { panic!("unexpected answer: {answer:?}") };
    assert_eq!((by.holder.as_str(), i64::try_from(by.token.get()).unwrap()), ("service", version));
    assert!(by.metadata.is_empty());

    service.release("mine").await;
    assert!(granted(&store, &request("mine", "a")).await.token > grant.token);
}

#[tokio::test]
async fn s9_tokens_rise_over_grants_of_other_services_though_they_delete() {
    let store = store().await;
    let service = ContractClient::of(&store, "service").await;
    let mut last = 0;
    for _ in 0..5 {
        let mine = request("job", "a");
        let grant = granted(&store, &mine).await;
        assert!(grant.token.get() > last);
        release(&store, &claim(&mine, grant)).await;
        let theirs = u64::try_from(service.acquire("job", TTL).await.unwrap()).unwrap();
        assert!(theirs > grant.token.get());
        service.release("job").await;
        last = theirs;
    }
}

/// The nonce of this library is still in the row after a take-over by another service.
#[tokio::test]
async fn a_stale_nonce_has_no_effect_after_a_take_over() {
    let store = store().await;
    // The other service may even use the same holder id.
    for their_name in ["service", "a"] {
        let service = ContractClient::of(&store, their_name).await;
        let job = format!("job-{their_name}");
        let mine = request(&job, "a").with_ttl(Duration::from_millis(250));
        let grant = granted(&store, &mine).await;
        expired(&store, &job).await;
        let version = service.acquire(&job, TTL).await.unwrap();
        let claim = claim(&mine, grant);
        let taken = LossReason::taken_over(
            crate::common::holder(their_name),
            lease_core::FencingToken::new(u64::try_from(version).unwrap()),
        );
        assert_eq!(renew(&store, &renewal(&claim, TTL)).await.unwrap(), Renewed::Lost(taken.clone()));
        let both = [renewal(&claim, TTL), renewal(&claim.clone().with_name(name("none")), TTL)];
        assert_eq!(store.renew(&both).await[0].as_ref().unwrap(), &Renewed::Lost(taken));
        assert_eq!(release(&store, &claim).await, Released::NotHeld);
        assert_eq!(acquire(&store, &mine).await.unwrap(), Acquired::Spent);
        assert!(is_held(&store, &request(&job, "a")).await);
        let record = store.inspect(&mine.name).await.unwrap().unwrap();
        assert_eq!((record.holder.as_str(), record.token.get()), (their_name, u64::try_from(version).unwrap()));
    }
}

#[tokio::test]
async fn a_reservation_has_no_effect_after_a_take_over() {
    let store = store().await;
    let service = ContractClient::of(&store, "service").await;
    let mine = request("job", "a");
    let grant = granted(&store, &mine).await;
    let hold = crate::common::plain_release(&claim(&mine, grant))
        .with_hold_for(Duration::from_millis(300))
        .with_reserved_for(crate::common::holder("heir"));
    store.release(&[hold]).await;
    assert_eq!(service.acquire("job", TTL).await, None);
    expired(&store, "job").await;
    service.acquire("job", TTL).await.unwrap();
    assert!(is_held(&store, &request("job", "heir")).await);
}

#[tokio::test]
async fn s22_grants_of_other_services_can_be_broken() {
    let store = store().await;
    let service = ContractClient::of(&store, "service").await;
    for how in [Break::AfterExpiry, Break::Now] {
        let job = format!("job-{how:?}");
        let version = service.acquire(&job, TTL).await.unwrap();
        let token = store.inspect(&name(&job)).await.unwrap().unwrap().token;
        assert_eq!(store.break_lease(&name(&job), token, how).await.unwrap(), Released::Freed);
        assert!(!service.renew(&job, version).await, "{how:?}");
        match how {
            Break::AfterExpiry => assert!(is_held(&store, &request(&job, "b")).await),
            Break::Now => assert!(granted(&store, &request(&job, "b")).await.token > token),
        }
    }
}

#[tokio::test]
async fn rows_that_only_other_software_writes_can_be_read() {
    let store = store().await;
    sql(
        &store,
        "insert into {table} (lease_name, holder_id, version, acquired_at_utc, expires_at_utc) values
         ('zero', '', 0, now(), now() + interval '1 hour'),
         ('negative', E'two\\nlines', -5, now(), now() + interval '1 hour'),
         ('for-ever', 'x', 1, '-infinity', 'infinity'),
         ('never', 'x', 1, 'infinity', '-infinity')",
    )
    .await;
    for job in ["zero", "negative", "for-ever"] {
        assert!(is_held(&store, &request(job, "a")).await, "{job}");

        assert_eq!(store.inspect(&name(job)).await.unwrap().unwrap().token.get(), 1);
    }
    assert_eq!(store.list("", None, 10).await.unwrap().len(), 3);
    granted(&store, &request("never", "a")).await;
    for job in ["zero", "negative", "for-ever"] {
        let token = lease_core::FencingToken::new(1).unwrap();
        assert_eq!(store.break_lease(&name(job), token, Break::Now).await.unwrap(), Released::Freed, "{job}");
        assert!(granted(&store, &request(job, "a")).await.token.get() > 1);
    }
}

/// The grants of the race, by the one clock of this process.
#[derive(Default)]
struct Referee {
    /// For each name: until when its last grant is valid, its token and its holder.
    valid: Mutex<HashMap<String, (Moment, u64, String)>>,
    /// The last token that was observed in time, and all tokens.
    tokens: Mutex<HashMap<String, (u64, HashSet<u64>)>>,
    ours: AtomicU64,
    theirs: AtomicU64,
    retries: AtomicU64,
}

impl Referee {
    /// Records a grant that was observed just now. Other services may grant a name again to its own holder.
    fn granted(&self, name: &str, token: u64, holder: &str, valid_until: Moment) {
        let now = SystemClock.now();
        let mut valid = self.valid.lock().unwrap();
        if valid_until <= now {
            // Observed after its validity. It may have replaced a longer grant of the same holder.
            if valid.get(name).is_some_and(|(_, _, earlier)| earlier == holder) {
                valid.remove(name);
            }
            return;
        }
        if let Some((until, other, earlier)) = valid.get(name) {
            let overlap = until.saturating_since(now);
            assert!(
                overlap.is_zero() || *other == token || earlier == holder,
                "{name}: {token} of {holder} overlaps {other} of {earlier} by {overlap:?}"
            );
        }
        valid.insert(name.to_owned(), (valid_until, token, holder.to_owned()));
    }

    /// Must be called before the release is sent.
    fn ends(&self, name: &str, token: u64) {
        let mut valid = self.valid.lock().unwrap();
        if valid.get(name).is_some_and(|(_, current, _)| *current == token) {
            valid.remove(name);
        }
    }

    /// Checks that the tokens of this library's grants rise, whatever other services did in between. Only grants that were
    /// observed in time are compared, because others may be observed in any order. No token may be granted twice.
    fn rises(&self, name: &str, token: u64, valid_until: Moment) {
        let mut tokens = self.tokens.lock().unwrap();
        let (last, all) = tokens.entry(name.to_owned()).or_default();
        assert!(all.insert(token), "{name}: {token} was granted twice");
        if valid_until > SystemClock.now() {
            assert!(token > *last, "{name}: {token} after {last}");
            *last = token;
        }
    }
}

/// Five clients of this library, with batches, single requests, lost answers and short leases, against three of another service.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_race_with_other_services_nothing_overlaps_and_tokens_rise() {
    const NAMES: u64 = 24;
    let store = store().await;
    let referee = Arc::new(Referee::default());
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    for number in 0..5_u64 {
        let (store, referee, stop) = (another(&store).await, Arc::clone(&referee), Arc::clone(&stop));
        tasks.push(tokio::spawn(async move { race_as_ours(&store, number, NAMES, &referee, &stop).await }));
    }
    for number in 0..3_u64 {
        let client = ContractClient::of(&store, &format!("service-{number}")).await;
        let (referee, stop) = (Arc::clone(&referee), Arc::clone(&stop));
        tasks.push(tokio::spawn(async move { race_as_theirs(&client, number, NAMES, &referee, &stop).await }));
    }
    pass(Duration::from_secs(4)).await;
    stop.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await.unwrap();
    }
    let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
    let (ours, theirs, retries) = (count(&referee.ours), count(&referee.theirs), count(&referee.retries));
    println!("{ours} grants of ours, {theirs} of theirs, {retries} met again by their nonce");
    assert!(ours > 200 && theirs > 100 && retries > 10, "{ours} {theirs} {retries}");
    let rows: i64 = value(&store, "select count(*) from {table}").await;
    assert!(rows <= i64::try_from(NAMES).unwrap());
}

/// A small generator, so that a run can be repeated by its seed.
fn rng(state: &mut u64, sides: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state % sides
}

async fn race_as_ours(store: &PostgresStore, number: u64, names: u64, referee: &Referee, stop: &AtomicBool) {
    let mut seed = 0x9e37_79b9 + number * 7919;
    while !stop.load(Ordering::SeqCst) {
        let count = if rng(&mut seed, 3) == 0 { 1 } else { 1 + rng(&mut seed, 8) };
        let first = rng(&mut seed, names);
        let requests: Vec<_> = (0..count)
            .map(|at| {
                request(&format!("job-{}", (first + at * 5) % names), &format!("ours-{number}"))
                    .with_ttl(Duration::from_millis(if rng(&mut seed, 3) == 0 { 15 } else { 400 }))
            })
            .collect();
        let mut requests: Vec<_> = requests;
        requests.sort_by(|one, two| one.name.cmp(&two.name));
        requests.dedup_by(|one, two| one.name == two.name);
        // In no order: the store orders them.
        let middle = rng(&mut seed, requests.len() as u64 + 1);
        requests.rotate_left(usize::try_from(middle).unwrap());
        let first_sent = SystemClock.now();
        let mut sent = first_sent;
        let mut answers = store.acquire(&requests).await;
        let lost = rng(&mut seed, 6) == 0;
        if lost {
            // As if the answers had been lost.
            let before = answers;
            sent = SystemClock.now();
            answers = store.acquire(&requests).await;
            for ((request, before), after) in requests.iter().zip(&before).zip(&answers) {
                let (Ok(Acquired::Granted(before)), Ok(Acquired::Granted(after))) = (before, after) else { continue };
                if after.token == before.token {
                    assert!(after.remaining <= before.remaining);
                    referee.retries.fetch_add(1, Ordering::SeqCst);
                } else {
                    // It expired, and a service that took over has deleted the row with the nonce.
                    let since = SystemClock.now().saturating_since(first_sent);
                    assert!(after.token > before.token && since >= request.ttl, "{before:?} {after:?} after {since:?}");
                }
            }
        }
        let mut won = Vec::new();
        for (request, answer) in requests.iter().zip(answers) {
            match answer {
                Ok(Acquired::Granted(grant)) => {
                    let token = grant.token.get();
                    referee.granted(request.name.as_str(), token, &request.grant.to_string(), sent + grant.remaining);
                    referee.rises(request.name.as_str(), token, sent + grant.remaining);
                    referee.ours.fetch_add(1, Ordering::SeqCst);
                    won.push((request, grant));
                }
                Ok(Acquired::Held { .. }) => {}
                Ok(Acquired::Spent) => assert!(lost || request.ttl < Duration::from_millis(100)),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
                other => panic!("unexpected answer: {other:?}"),
            }
        }
        pass(Duration::from_millis(rng(&mut seed, 12))).await;
        let renewals: Vec<_> =
            won.iter().map(|(request, grant)| renewal(&claim(request, *grant), request.ttl)).collect();
        let sent = SystemClock.now();
        for ((request, grant), answer) in won.iter().zip(store.renew(&renewals).await) {
            match answer {
                Ok(Renewed::Extended { remaining }) => {
                    referee.granted(
                        request.name.as_str(),
                        grant.token.get(),
                        &request.grant.to_string(),
                        sent + remaining,
                    );
                }
                Ok(Renewed::Lost(reason)) => {
                    assert!(request.ttl < Duration::from_millis(100), "{}: {reason}", request.name);
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
                other => panic!("unexpected answer: {other:?}"),
            }
        }
        // Some leases are left to expire.
        won.retain(|_| rng(&mut seed, 4) != 0);
        for (request, grant) in &won {
            referee.ends(request.name.as_str(), grant.token.get());
        }
        let releases: Vec<_> =
            won.iter().map(|(request, grant)| crate::common::plain_release(&claim(request, *grant))).collect();
        store.release(&releases).await;
    }
}

async fn race_as_theirs(client: &ContractClient, number: u64, names: u64, referee: &Referee, stop: &AtomicBool) {
    let mut seed = 0x85eb_ca6b + number * 104_729;
    while !stop.load(Ordering::SeqCst) {
        let name = format!("job-{}", rng(&mut seed, names));
        let ttl = Duration::from_millis(if rng(&mut seed, 2) == 0 { 15 } else { 300 });
        let sent = SystemClock.now();
        let Some(version) = client.acquire(&name, ttl).await else { continue };
        let token = u64::try_from(version).unwrap();
        referee.granted(&name, token, &client.holder, sent + ttl);
        referee.theirs.fetch_add(1, Ordering::SeqCst);
        pass(Duration::from_millis(rng(&mut seed, 8))).await;
        if rng(&mut seed, 4) != 0 {
            referee.ends(&name, token);
            client.release(&name).await;
        }
    }
}
