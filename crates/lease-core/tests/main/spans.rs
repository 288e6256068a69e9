//! The spans of a client, as a tracing backend sees them.

#![allow(clippy::disallowed_methods, reason = "the clock of the test is that of its paused runtime")]

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use lease_core::{Break, Correlation, HolderId, LeaseOptions};
use tokio::time::sleep;
use tracing::{
    Instrument, Level, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber::DefaultGuard,
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
};

use crate::support::{TTL, TroubledStore, builder, settle};

/// A span that was closed, or is still open.
#[derive(Debug, Clone)]
struct Recorded {
    name: &'static str,
    parent: Option<&'static str>,
    level: Level,
    fields: BTreeMap<&'static str, String>,
    is_closed: bool,
}

impl Recorded {
    fn get(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(String::as_str)
    }
}

/// Records all spans of this library, in the order of their beginning.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<(u64, Recorded)>>>);

impl Spans {
    fn start() -> (Self, DefaultGuard) {
        let spans = Self::default();
        let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(spans.clone()));
        (spans, guard)
    }

    fn all(&self) -> Vec<Recorded> {
        self.0.lock().unwrap().iter().map(|(_, span)| span.clone()).collect()
    }

    /// Returns the one span of this name.
    fn one(&self, name: &str) -> Recorded {
        let mut found = self.all();
        found.retain(|span| span.name == name);
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        found.remove(0)
    }

    fn change(&self, id: &Id, change: impl FnOnce(&mut Recorded)) {
        let mut spans = self.0.lock().unwrap();
        // The registry uses an id again.
        if let Some((_, span)) = spans.iter_mut().rev().find(|(of, _)| *of == id.into_u64()) {
            change(span);
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let metadata = attributes.metadata();
        let parent = context.span(id).unwrap().parent().map(|parent| parent.name());
        let mut fields = BTreeMap::new();
        attributes.record(&mut Fields(&mut fields));
        let span = Recorded { name: metadata.name(), parent, level: *metadata.level(), fields, is_closed: false };
        self.0.lock().unwrap().push((id.into_u64(), span));
    }

    fn on_record(&self, id: &Id, record: &Record<'_>, _: Context<'_, S>) {
        self.change(id, |span| record.record(&mut Fields(&mut span.fields)));
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        self.change(&id, |span| span.is_closed = true);
    }
}

struct Fields<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

fn holder(id: &str) -> HolderId {
    HolderId::new(id).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_a_span_from_its_grant_to_its_release() {
    let (spans, _guard) = Spans::start();
    let client = builder(&TroubledStore::new()).holder(holder("a")).build();
    let options = LeaseOptions::new(TTL).with_correlation(Correlation::new("req-7").unwrap());
    let lease = client.acquire("job", options).instrument(tracing::info_span!("request")).await.unwrap();
    let token = lease.token().to_string();
    sleep(TTL * 5).await;
    let (acquire, hold) = (spans.one("lease.acquire"), spans.one("lease.hold"));
    assert!(acquire.is_closed && !hold.is_closed);
    assert_eq!((acquire.parent, hold.parent), (Some("request"), Some("request")));
    lease.release().await.unwrap();
    let (hold, release) = (spans.one("lease.hold"), spans.one("lease.release"));
    assert!(hold.is_closed && release.is_closed);
    for (span, kind) in [(&acquire, "client"), (&hold, "internal"), (&release, "client")] {
        let expected = [
            ("otel.kind", kind),
            ("lease.name", "job"),
            ("lease.holder", "a"),
            ("lease.token", &token),
            ("lease.store", "memory"),
            ("correlation.id", "req-7"),
        ];
        for (field, value) in expected {
            assert_eq!(span.get(field), Some(value), "{field} of {span:?}");
        }
        assert_eq!((span.get("otel.status_code"), span.get("error.type")), (None, None), "{span:?}");
    }
    let names: Vec<_> = spans.all().iter().map(|span| span.name).collect();
    assert_eq!(names, ["request", "lease.acquire", "lease.hold", "lease.release"], "renewals have no span");
}

#[tokio::test(start_paused = true)]
async fn a_loss_ends_the_span_with_its_reason_even_if_the_guard_lives_on() {
    let (spans, _guard) = Spans::start();
    let client = builder(&TroubledStore::new()).build();
    let lease = client.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
    assert_eq!(spans.one("lease.try_acquire").get("lease.token"), Some(&*lease.token().to_string()));
    client.break_lease("job", lease.token(), Break::Now).await.unwrap();
    lease.lost().await;
    let hold = spans.one("lease.hold");
    assert_eq!(
        (hold.is_closed, hold.get("otel.status_code"), hold.get("error.type")),
        (true, Some("ERROR"), Some("broken"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_a_span_of_its_own_with_the_holder_that_it_met() {
    let (spans, _guard) = Spans::start();
    let store = TroubledStore::new();
    let first = builder(&store).holder(holder("a")).build();
    let second = builder(&store).holder(holder("b")).build();
    let held = first.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
    let limited = LeaseOptions::new(TTL).with_wait_limit(Duration::from_millis(500));
    // Without hints, the next attempt comes with the poll: the first one has met the holder.
    let _mute = first.try_acquire("mute", TTL).await.unwrap().acquired().unwrap();
    second.acquire("mute", limited).await.unwrap_err();
    let (acquire, wait) = (spans.one("lease.acquire"), spans.one("lease.wait"));
    assert_eq!(
        (wait.parent, wait.get("lease.held_by"), wait.get("lease.holder")),
        (Some("lease.acquire"), Some("a"), Some("b"))
    );
    assert_eq!((acquire.get("otel.status_code"), acquire.get("error.type")), (Some("ERROR"), Some("wait_limit")));
    settle().await;
    assert!(spans.one("lease.wait").is_closed && spans.one("lease.acquire").is_closed);

    let waiting = tokio::spawn({
        let second = second.clone();
        async move { (second.acquire("job", TTL).await, second.acquire("other", TTL).await) }
    });
    settle().await;
    let tried = second.try_acquire("job", TTL).await.unwrap();
    assert!(!tried.is_acquired());
    let mut tries = spans.all().into_iter().filter(|span| span.name == "lease.try_acquire");
    assert_eq!(tries.next_back().unwrap().get("lease.held_by"), Some("a"));
    held.release().await.unwrap();
    let (won, other) = waiting.await.unwrap();
    let waits: Vec<_> = spans.all().into_iter().filter(|span| span.name == "lease.wait").collect();
    assert!(
        waits.len() == 2 && waits[1].is_closed && waits[1].get("error.type").is_none(),
        "a free name: no wait. {waits:?}"
    );
    drop((won.unwrap(), other.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_says_how() {
    let (spans, _guard) = Spans::start();
    let client = builder(&TroubledStore::new()).build();
    client.try_acquire("poison", TTL).await.unwrap_err();
    let tried = spans.one("lease.try_acquire");
    assert_eq!((tried.get("otel.status_code"), tried.get("error.type")), (Some("ERROR"), Some("invalid")));
    let cling = client.try_acquire("cling", TTL).await.unwrap().acquired().unwrap();
    cling.release().await.unwrap_err();
    let release = spans.one("lease.release");
    assert_eq!((release.get("otel.status_code"), release.get("error.type")), (Some("ERROR"), Some("indeterminate")));
}

#[tokio::test(start_paused = true)]
async fn nothing_above_debug_for_renewals_and_looks() {
    let (spans, _guard) = Spans::start();
    let client = builder(&TroubledStore::new()).build();
    client
        .run("job", TTL, async |lease| {
            lease.renew().await.unwrap();
            client.inspect("job").await.unwrap();
            client.list("", None, 10).await.unwrap();
            sleep(TTL).await;
        })
        .await
        .unwrap();
    client.close().await.unwrap();
    let levels: Vec<_> = spans.all().iter().map(|span| (span.name, span.level)).collect();
    let expected = [
        ("lease.acquire", Level::INFO),
        ("lease.hold", Level::INFO),
        ("lease.run", Level::INFO),
        ("lease.renew", Level::DEBUG),
        ("lease.inspect", Level::DEBUG),
        ("lease.list", Level::DEBUG),
        ("lease.release", Level::INFO),
        ("lease.close", Level::INFO),
    ];
    assert_eq!(levels, expected);
    for span in spans.all() {
        assert!(span.is_closed && span.get("otel.kind").is_some(), "{span:?}");
    }
}
