//! A rolling upgrade: processes of the previous release, whose scripts are in `tests/previous`, together with processes of this
//! one.

use std::time::Duration;

use fred::{
    clients::SubscriberClient,
    prelude::{ClientLike, Config, EventInterface, PubsubInterface},
};
use integration_tests::{Redis, Reply};
use lease_core::{Acquired, Break, ErrorKind, FencingToken, GrantId, LeaseStore, LossReason, Released, Renewed};
use lease_redis::RedisStore;

use crate::common::{
    TTL, acquire, claim, granted, is_hinted_within, key, name, redis, release, renew, renewal, request, store, unique,
};

const RECORD: &str = include_str!("previous/record.lua");
const ACQUIRE: &str = include_str!("previous/acquire.lua");
const RENEW: &str = include_str!("previous/renew.lua");
const RELEASE: &str = include_str!("previous/release.lua");
const BREAK: &str = include_str!("previous/break.lua");
const LOOK: &str = include_str!("previous/look.lua");
const FENCED_WRITE: &str = include_str!("previous/fenced_write.lua");

const RETENTION: &str = "86400000";
const TTL_MICROSECONDS: &str = "30000000";

/// A process of the previous release.
struct Previous<'a> {
    store: &'a RedisStore,
    holder: &'static str,
    nonce: String,
}

impl<'a> Previous<'a> {
    fn new(store: &'a RedisStore, holder: &'static str) -> Self {
        Self { store, holder, nonce: GrantId::random().to_string() }
    }

    fn owner(&self) -> String {
        format!("h\n{}\n{}\n", self.nonce, self.holder)
    }

    async fn call(&self, script: &str, name: &str, arguments: &[&str]) -> Reply {
        let (script, key) = ([RECORD, script].concat(), key(self.store, name));
        let mut command = vec!["EVAL", &script, "1", &key, RETENTION];
        command.extend(arguments);
        let Reply::Many(mut answers) = redis(&command).await else { panic!("the script returned no list") };
        assert_eq!(answers.len(), 1);
        answers.remove(0)
    }

    async fn acquire(&self, name: &str) -> Reply {
        let grant = format!("{}\n{TTL_MICROSECONDS}\n0\n", self.owner());
        self.call(ACQUIRE, name, &[TTL_MICROSECONDS, "", &grant]).await
    }

    async fn renew(&self, name: &str) -> Reply {
        self.call(RENEW, name, &[TTL_MICROSECONDS, "", "", &self.owner()]).await
    }

    async fn release(&self, name: &str) -> Reply {
        self.call(RELEASE, name, &["0", "", &self.owner()]).await
    }
}

fn token(reply: &Reply) -> u64 {
    match reply {
        Reply::Integer(token) => token.unsigned_abs(),
        other => panic!("unexpected answer: {other:?}"),
    }
}

fn texts(reply: Reply) -> Vec<String> {
    match reply {
        Reply::Many(texts) => texts.iter().map(Reply::text).collect(),
        other => panic!("unexpected answer: {other:?}"),
    }
}

#[tokio::test]
async fn s09_both_releases_exclude_each_other_and_tokens_rise() {
    let store = store().await;
    let mut last = 0;
    for round in 0..3 {
        let old = Previous::new(&store, "old");
        let of_old = token(&old.acquire("job").await);
        assert!(of_old > last, "{round}");
        // The new release reads the lease, and can neither acquire, release nor renew it.
        let new = request("job", "new");
        let Acquired::Held { by: Some(by), .. } = acquire(&store, &new).await.unwrap() else {
            panic!("the lease has two holders")
        };
        assert_eq!((by.holder.as_str(), by.token.get()), ("old", of_old));
        assert_eq!(store.inspect(&name("job")).await.unwrap().unwrap().token.get(), of_old);
        assert_eq!(store.list("", None, 10).await.unwrap().len(), 1);
        let grant = lease_core::Grant::new(FencingToken::new(of_old).unwrap(), TTL);
        assert_eq!(release(&store, &claim(&new, grant)).await, Released::NotHeld);
        let Renewed::Lost(LossReason::TakenOver { by: Some(by), .. }) =
            renew(&store, &renewal(&claim(&new, grant), TTL)).await.unwrap()
        else {
            panic!("the old release holds the lease")
        };
        assert_eq!(by.as_str(), "old");
        assert_eq!(token(&old.renew("job").await), 30_000_000);
        assert_eq!(old.release("job").await, Reply::Integer(1));

        // And the reverse.
        let grant = granted(&store, &new).await;
        assert!(grant.token.get() > of_old);
        last = grant.token.get();
        let held = texts(old.call(LOOK, "job", &[]).await);
        assert_eq!(held[..3], ["held", "new", &last.to_string()]);
        let late = Previous::new(&store, "old");
        assert_eq!(texts(late.acquire("job").await)[..2], ["held", "new"]);
        assert_eq!(texts(late.renew("job").await)[..2], ["taken", "new"]);
        assert_eq!(late.release("job").await, Reply::Integer(0));
        let claim = claim(&new, grant);
        assert!(matches!(renew(&store, &renewal(&claim, TTL)).await.unwrap(), Renewed::Extended { .. }));
        assert_eq!(release(&store, &claim).await, Released::Freed);
    }
}

#[tokio::test]
async fn s22_each_release_breaks_leases_of_the_other() {
    let store = store().await;
    let old = Previous::new(&store, "old");
    let of_old = token(&old.acquire("job").await);
    let broken = store.break_lease(&name("job"), FencingToken::new(of_old).unwrap(), Break::Now).await.unwrap();
    assert_eq!(broken, Released::Freed);
    assert_eq!(texts(old.renew("job").await), ["lost", "broken"]);
    let new = request("job", "new");
    let grant = granted(&store, &new).await;
    assert_eq!(old.call(BREAK, "job", &["afterexpiry", &grant.token.to_string()]).await, Reply::Integer(1));
    let answer = renew(&store, &renewal(&claim(&new, grant), TTL)).await.unwrap();
    assert_eq!(answer, Renewed::Lost(LossReason::Broken));
}

#[tokio::test]
async fn l1_each_release_gets_the_hints_of_the_other() {
    let store = store().await;
    let old = Previous::new(&store, "old");
    old.acquire("job").await;
    let mut wakeups = store.subscribe(&name("job"));
    let soon = Duration::from_secs(5);
    assert!(is_hinted_within(&mut wakeups, soon).await, "the subscription is complete");
    old.release("job").await;
    assert!(is_hinted_within(&mut wakeups, soon).await, "a release by the old process");

    let subscriber = SubscriberClient::new(Config::from_url(Redis::shared().await.url()).unwrap(), None, None, None);
    let mut messages = subscriber.message_rx();
    subscriber.init().await.unwrap();
    subscriber.subscribe(key(&store, "job")).await.unwrap();
    let channel = async {
        // The subscription may be complete later, without a sign: repeat until a message arrives.
        loop {
            let new = request("job", "new");
            let grant = granted(&store, &new).await;
            release(&store, &claim(&new, grant)).await;
            tokio::select! {
                message = messages.recv() => return message.unwrap().channel.to_string(),
                () = crate::common::pass(Duration::from_millis(50)) => {}
            }
        }
    };
    tokio::select! {
        channel = channel => assert_eq!(channel, key(&store, "job")),
        () = crate::common::pass(soon) => panic!("the old release gets no hint"),
    }
}

#[tokio::test]
async fn s09_each_release_refuses_late_writes_of_the_other() {
    let (store, data) = (store().await, unique("data"));
    let by_old = async |token: &str| redis(&["EVAL", FENCED_WRITE, "1", &data, token, "by the old release"]).await;
    assert_eq!(by_old("5").await, Reply::Integer(1));
    let error = store.fenced_write(&data, "x", FencingToken::new(4).unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost, "{error}");
    store.fenced_write(&data, "x", FencingToken::new(6).unwrap()).await.unwrap();
    assert_eq!(by_old("5").await, Reply::Integer(0));
    assert_eq!(redis(&["HGET", &data, "value"]).await.text(), "x");
}
