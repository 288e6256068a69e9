//! The statements of the previous release (`tests/previous/`), beside those of this one on one table: during a rolling upgrade
//! both run.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use lease_core::{Acquired, Break, Clock, ErrorKind, GrantId, LeaseStore, Moment, Released, Renewed, SystemClock};
use lease_postgres::PostgresStore;
use sqlx::{
    AssertSqlSafe, PgConnection, PgPool, Postgres, Row,
    postgres::{PgArguments, PgListener, PgRow},
    query::Query,
};
use uuid::Uuid;

use crate::common::{
    TTL, acquire, claim, eventually, expired, granted, is_held, name, pass, release, renew, renewal, request, sql,
};

/// A process of the previous release.
#[derive(Clone)]
struct Previous {
    pool: PgPool,
    table: String,
    channel: String,
}

/// A grant by the previous release.
#[derive(Debug, Clone)]
struct Old {
    name: String,
    grant: Uuid,
    token: i64,
}

impl Previous {
    async fn of(store: &PostgresStore) -> Self {
        let (table, channel) = (crate::common::table_of(store), store.notification_channel());
        Self { pool: crate::common::pool().await, table, channel }
    }

    fn text(&self, source: &str) -> String {
        let plain = |source: &str| -> String {
            source.lines().filter(|line| !line.trim_start().starts_with("--")).flat_map(|line| [line, "\n"]).collect()
        };
        plain(source)
            .replace("{state}", plain(include_str!("previous/state.sql")).trim_end())
            .replace("{take_over}", plain(include_str!("previous/take_over.sql")).trim_end())
            .replace("{notify}", "pg_notify('{channel}', l.lease_name)::text")
            .replace("{lock_timeout}", "50ms")
            .replace("{channel}", &self.channel)
            .replace("{table}", &self.table)
    }

    fn query(&self, source: &str) -> Query<'static, Postgres, PgArguments> {
        sqlx::query(AssertSqlSafe(self.text(source)))
    }

    async fn run(&self, query: Query<'_, Postgres, PgArguments>) -> Result<Vec<PgRow>, sqlx::Error> {
        query.fetch_all(&self.pool).await
    }

    async fn acquire(&self, name: &str, ttl: Duration) -> Result<Option<Old>, sqlx::Error> {
        let grant = Uuid::from_u128(GrantId::random().as_u128());
        let query = self
            .query(include_str!("previous/acquire_one.sql"))
            .bind(name)
            .bind("previous")
            .bind(grant)
            .bind(i64::try_from(ttl.as_micros()).unwrap())
            .bind(None::<String>)
            .bind(false);
        let rows = self.run(query).await?;
        Ok(rows.first().map(|row| Old { name: name.to_owned(), grant, token: row.get("version") }))
    }

    async fn acquire_among_others(&self, name: &str) -> Option<Old> {
        let grants = [GrantId::random(), GrantId::random()].map(|grant| Uuid::from_u128(grant.as_u128()));
        let ttl = i64::try_from(TTL.as_micros()).unwrap();
        let query = self
            .query(include_str!("previous/acquire_many.sql"))
            .bind(vec![crate::common::unique("other"), name.to_owned()])
            .bind(vec!["previous"; 2])
            .bind(grants.to_vec())
            .bind(vec![ttl; 2])
            .bind(vec![None::<String>; 2])
            .bind(vec![false; 2])
            .bind(vec![true, false]);
        let rows = self.run(query).await.unwrap();
        let row = rows.iter().find(|row| row.get::<i64, _>("position") == 2)?;
        let token = row.get::<Option<i64>, _>("version")?;
        Some(Old { name: name.to_owned(), grant: grants[1], token })
    }

    async fn renew(&self, old: &Old, many: bool) -> bool {
        let ttl = i64::try_from(TTL.as_micros()).unwrap();
        if many {
            let query = self
                .query(include_str!("previous/renew_many.sql"))
                .bind(vec![old.name.clone()])
                .bind(vec!["previous"])
                .bind(vec![old.grant])
                .bind(vec![ttl])
                .bind(vec![None::<i64>])
                .bind(vec![None::<String>]);
            return self.run(query).await.unwrap()[0].get::<Option<i64>, _>("extended_us").is_some();
        }
        let query = self
            .query(include_str!("previous/renew_one.sql"))
            .bind(old.name.clone())
            .bind("previous")
            .bind(old.grant)
            .bind(ttl)
            .bind(None::<i64>)
            .bind(None::<String>);
        self.run(query).await.unwrap().first().is_some_and(|row| row.get::<Option<i64>, _>("remaining_us").is_some())
    }

    async fn release(&self, old: &Old, many: bool) -> bool {
        let query = if many {
            self.query(include_str!("previous/release_many.sql"))
                .bind(vec![old.name.clone()])
                .bind(vec!["previous"])
                .bind(vec![old.grant])
                .bind(vec![0_i64])
                .bind(vec![None::<String>])
        } else {
            self.query(include_str!("previous/release_one.sql"))
                .bind(old.name.clone())
                .bind("previous")
                .bind(old.grant)
                .bind(0_i64)
                .bind(None::<String>)
        };
        !self.run(query).await.unwrap().is_empty()
    }

    async fn end(&self, name: &str, token: i64) -> bool {
        let query = self.query(include_str!("previous/break.sql")).bind(name.to_owned()).bind(token).bind(true);
        !self.run(query).await.unwrap().is_empty()
    }

    async fn fence(&self, connection: &mut PgConnection, name: &str, token: i64) -> bool {
        let query = self.query(include_str!("previous/fence.sql")).bind(name.to_owned()).bind(token);
        query.fetch_optional(connection).await.unwrap().is_some_and(|row| row.get("is_held"))
    }
}

fn is_locked<T: std::fmt::Debug>(outcome: Result<T, sqlx::Error>) -> bool {
    outcome.unwrap_err().as_database_error().unwrap().code().unwrap() == "55P03"
}

#[tokio::test]
async fn each_respects_the_grants_of_the_other_and_tokens_rise() {
    let store = crate::common::store().await;
    let previous = Previous::of(&store).await;
    let mut last = 0;
    for many in [false, true] {
        // Granted by the previous release.
        let old = if many {
            previous.acquire_among_others("job").await.unwrap()
        } else {
            previous.acquire("job", TTL).await.unwrap().unwrap()
        };
        assert!(old.token > last);
        assert!(is_held(&store, &request("job", "new")).await);
        let answers = store.acquire(&[request("job", "new"), request(&crate::common::unique("other"), "new")]).await;
        assert!(matches!(answers[0], Ok(Acquired::Held { .. })), "{answers:?}");
        assert!(previous.renew(&old, many).await);
        let record = store.inspect(&name("job")).await.unwrap().unwrap();
        assert_eq!((record.holder.as_str(), i64::try_from(record.token.get()).unwrap()), ("previous", old.token));
        assert!(previous.release(&old, many).await);
        assert!(!previous.renew(&old, many).await);

        // Granted by this release.
        let new = request("job", "new");
        let grant = granted(&store, &new).await;
        last = i64::try_from(grant.token.get()).unwrap();
        assert!(last > old.token);
        assert!(previous.acquire("job", TTL).await.unwrap().is_none());
        assert!(previous.acquire_among_others("job").await.is_none());
        assert!(matches!(renew(&store, &renewal(&claim(&new, grant), TTL)).await, Ok(Renewed::Extended { .. })));
        assert!(!previous.renew(&old, many).await && !previous.release(&old, many).await);
        assert_eq!(release(&store, &claim(&new, grant)).await, Released::Freed);
    }
    // Each breaks grants of the other.
    let old = previous.acquire("broken", TTL).await.unwrap().unwrap();
    let token = lease_core::FencingToken::new(u64::try_from(old.token).unwrap()).unwrap();
    assert_eq!(store.break_lease(&name("broken"), token, Break::AfterExpiry).await.unwrap(), Released::Freed);
    assert!(!previous.renew(&old, false).await && previous.acquire("broken", TTL).await.unwrap().is_none());
    let new = request("broken-too", "new");
    let grant = granted(&store, &new).await;
    assert!(previous.end("broken-too", i64::try_from(grant.token.get()).unwrap()).await);
    assert!(matches!(renew(&store, &renewal(&claim(&new, grant), TTL)).await, Ok(Renewed::Lost(_))));
}

#[tokio::test]
async fn each_is_hinted_by_the_other() {
    let store = crate::common::store().await;
    let previous = Previous::of(&store).await;
    let mut wakeups = store.subscribe(&name("job"));
    assert!(crate::common::is_hinted_within(&mut wakeups, Duration::from_secs(5)).await);
    let old = previous.acquire("job", TTL).await.unwrap().unwrap();
    previous.release(&old, false).await;
    assert!(crate::common::is_hinted_within(&mut wakeups, Duration::from_secs(5)).await);

    let mut listener = PgListener::connect(crate::common::url().await).await.unwrap();
    listener.listen(&previous.channel).await.unwrap();
    let new = request("job", "new");
    let grant = granted(&store, &new).await;
    release(&store, &claim(&new, grant)).await;
    let heard = integration_tests::within("the hint", Duration::from_secs(5), listener.recv()).await.unwrap();
    assert_eq!(heard.payload(), "job");
}

#[tokio::test]
async fn neither_passes_the_fence_of_the_other() {
    let store = crate::common::fenced_store().await;
    let previous = Previous::of(&store).await;
    // Long enough for the fences, also on a busy machine.
    let short = Duration::from_millis(1500);

    let new = request("new", "new").with_ttl(short);
    let grant = granted(&store, &new).await;
    let mut transaction = crate::common::pool().await.begin().await.unwrap();
    store.fence(&mut transaction, &new.name, grant.token).await.unwrap();
    expired(&store, "new").await;
    assert!(is_locked(previous.acquire("new", TTL).await));
    transaction.commit().await.unwrap();
    assert!(previous.acquire("new", TTL).await.unwrap().is_some());

    let old = previous.acquire("old", short).await.unwrap().unwrap();
    let mut transaction = crate::common::pool().await.begin().await.unwrap();
    assert!(previous.fence(&mut transaction, "old", old.token).await);
    expired(&store, "old").await;
    assert_eq!(acquire(&store, &request("old", "new")).await.unwrap_err().kind(), ErrorKind::Unavailable);
    transaction.commit().await.unwrap();
    granted(&store, &request("old", "new")).await;
}

/// Until the table is migrated, a fence is refused, and everything else works. Afterwards the previous release still works.
#[tokio::test]
async fn a_table_of_the_previous_release_works_before_and_after_its_migration() {
    let unmigrated =
        lease_postgres::PostgresStoreOptions::new().with_fences(true).with_table(crate::common::unique("leases"));
    let store = unmigrated.with_pool(&crate::common::pool().await).unwrap();
    let previous = Previous::of(&store).await;
    let ddl = previous.text(include_str!("previous/ddl.sql"));
    sqlx::raw_sql(AssertSqlSafe(ddl)).execute(&crate::common::pool().await).await.unwrap();
    let old = previous.acquire("old", TTL).await.unwrap().unwrap();
    let new = request("new", "new");
    let grant = granted(&store, &new).await;
    let mut transaction = crate::common::pool().await.begin().await.unwrap();
    let error = store.fence(&mut transaction, &new.name, grant.token).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    drop(transaction);
    store.migrate().await.unwrap();
    assert!(previous.renew(&old, false).await && previous.renew(&old, true).await);
    assert!(matches!(renew(&store, &renewal(&claim(&new, grant), TTL)).await, Ok(Renewed::Extended { .. })));
    let mut transaction = crate::common::pool().await.begin().await.unwrap();
    store.fence(&mut transaction, &new.name, grant.token).await.unwrap();
}

/// The validity of each grant, by the one clock of this process.
#[derive(Clone, Default)]
struct Referee(Arc<Mutex<HashMap<String, (Moment, u64)>>>);

impl Referee {
    fn granted(&self, name: &str, token: u64, valid_until: Moment) {
        let now = SystemClock.now();
        if valid_until <= now {
            return;
        }
        let before = self.0.lock().unwrap().insert(name.to_owned(), (valid_until, token));
        if let Some((until, last)) = before {
            assert!(until <= now, "{name}: {token} overlaps {last} by {:?}", until.saturating_since(now));
            assert!(token > last, "{name}: {token} after {last}");
        }
    }

    /// Must be called before the release is sent.
    fn ends(&self, name: &str, token: u64) {
        if let Some(entry) = self.0.lock().unwrap().get_mut(name).filter(|(_, current)| *current == token) {
            entry.0 = SystemClock.now();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_race_nothing_overlaps_and_tokens_rise() {
    const NAMES: usize = 6;
    const ROUNDS: usize = 150;
    let store = crate::common::store().await;
    let referee = Referee::default();
    let ttl = |round: usize| Duration::from_millis(if round.is_multiple_of(4) { 20 } else { 300 });
    let mut tasks = Vec::new();
    for number in 0..3 {
        let (previous, judge) = (Previous::of(&store).await, referee.clone());
        tasks.push(tokio::spawn(async move {
            let mut won = 0;
            // Until it was granted the name often enough, however often it is refused.
            for round in (0..).take_while(|round| *round < ROUNDS * 10) {
                if round >= ROUNDS && won > 7 {
                    break;
                }
                let name = format!("job-{}", (round * 5 + number) % NAMES);
                let sent = SystemClock.now();
                let Ok(Some(old)) = previous.acquire(&name, ttl(round)).await else {
                    // So that its rounds do not end before the others release.
                    pass(Duration::from_millis(3)).await;
                    continue;
                };
                let token = u64::try_from(old.token).unwrap();
                judge.granted(&name, token, sent + ttl(round));
                won += 1;
                pass(Duration::from_millis(3)).await;
                if !round.is_multiple_of(3) {
                    judge.ends(&name, token);
                    previous.release(&old, round.is_multiple_of(2)).await;
                }
            }
            won
        }));
        let (new, judge) = (crate::common::another(&store).await, referee.clone());
        tasks.push(tokio::spawn(async move {
            let mut won = 0;
            for round in 0..ROUNDS {
                let wanted = [(round * 7 + number) % NAMES, (round * 7 + number + 1) % NAMES];
                let requests =
                    wanted.map(|at| request(&format!("job-{at}"), &format!("new-{number}")).with_ttl(ttl(round)));
                let requests = if round.is_multiple_of(2) { &requests[..] } else { &requests[..1] };
                let sent = SystemClock.now();
                let answers = new.acquire(requests).await;
                let mut claims = Vec::new();
                for (request, answer) in requests.iter().zip(answers) {
                    let Ok(Acquired::Granted(grant)) = answer else { continue };
                    judge.granted(request.name.as_str(), grant.token.get(), sent + grant.remaining);
                    won += 1;
                    claims.push((claim(request, grant), grant.token.get()));
                }
                pass(Duration::from_millis(3)).await;
                if !round.is_multiple_of(3) {
                    claims.iter().for_each(|(claim, token)| judge.ends(claim.name.as_str(), *token));
                    let releases: Vec<_> =
                        claims.iter().map(|(claim, _)| crate::common::plain_release(claim)).collect();
                    new.release(&releases).await;
                }
            }
            won
        }));
    }
    let mut won = Vec::new();
    for task in tasks {
        won.push(task.await.unwrap());
    }
    let (old, new): (usize, usize) = (won.iter().step_by(2).sum(), won.iter().skip(1).step_by(2).sum());
    assert!(old > 20 && new > 20, "{old} of the release before, {new} of this one");
    sql(&store, "update {table} set expires_at_utc = now()").await;
    eventually("all are free", async || store.list("", None, 10).await.unwrap().is_empty()).await;
}
