//! A client of the server: a backend.

use std::time::Duration;

use async_trait::async_trait;
use lease_core::{Capabilities, Error, ErrorKind, ExpiryJudge, LeaseName, Result, TokensSurvive};
use lease_document::{About, Change, Changes, Document, Documents, Looked, Page, Put, Sample, Version};

use super::bed::{Bed, Request, State};

/// What kind of store it is.
#[derive(Debug, Clone)]
pub struct Variant {
    pub judge: ExpiryJudge,
    /// The resolution of the server's clock; `None` if answers do not carry it.
    pub resolution: Option<Duration>,
    /// Whether the clock must be asked for.
    pub asks_for_clock: bool,
    pub tokens_from_versions: bool,
    /// Whether versions have numbers.
    pub numbers: bool,
    /// How long a request takes in each direction.
    pub latency: Duration,
    pub push: bool,
    pub can_delete: bool,
    pub ttl: Duration,
    pub concurrency: usize,
}

impl Default for Variant {
    fn default() -> Self {
        Self {
            judge: ExpiryJudge::ServerWallClock,
            resolution: Some(Duration::from_millis(1)),
            asks_for_clock: false,
            tokens_from_versions: true,
            numbers: true,
            latency: Duration::ZERO,
            push: false,
            can_delete: true,
            ttl: Duration::from_secs(2),
            concurrency: 32,
        }
    }
}

#[derive(Debug, Clone)]
pub struct MemoryDocuments {
    pub bed: Bed,
    pub variant: Variant,
}

impl MemoryDocuments {
    fn sample(&self, state: &mut State) -> Option<Sample> {
        let resolution = self.variant.resolution?;
        let (time, step) = (state.time(&*self.bed.clock).as_nanos(), resolution.as_nanos());
        let at = Duration::from_nanos(u64::try_from(time / step * step).unwrap());
        Some(Sample::new(at, resolution))
    }

    fn answered(&self, state: &mut State) -> Option<Sample> {
        if self.variant.asks_for_clock { None } else { self.sample(state) }
    }

    /// The way to the server. Fails if the network is cut before the request is sent, and later if it is cut meanwhile.
    async fn send(&self, request: Request, name: &LeaseName) -> Result<()> {
        let delay = {
            let mut state = self.bed.state();
            state.requests.push((request, name.clone()));
            if state.is_cut {
                return Err(Error::new(ErrorKind::Unavailable, "send", "the network is cut"));
            }
            state.request_delay
        };
        self.travel(delay, false).await
    }

    /// The way back.
    async fn receive(&self) -> Result<()> {
        let (is_lost, delay) = {
            let state = self.bed.state();
            (state.loses_answers, state.answer_delay)
        };
        self.travel(delay, is_lost).await
    }

    async fn travel(&self, delay: Duration, is_lost: bool) -> Result<()> {
        let mut connection = self.bed.connection();
        tokio::select! {
            biased;
            () = Bed::broken(&mut connection) => {
                Err(Error::new(ErrorKind::Indeterminate, "receive", "the connection was cut"))
            }
            () = async {
                self.bed.sleep(self.variant.latency + delay).await;
                if is_lost {
                    std::future::pending::<()>().await;
                }
                self.bed.thawed().await;
            } => Ok(()),
        }
    }

    /// The atomic step in the server.
    fn put(&self, name: &LeaseName, value: &[u8], expected: Option<&Version>) -> Put {
        let mut guard = self.bed.state();
        let state = &mut *guard;
        let sample = self.answered(state);
        if state.documents.get(name).map(|document| &document.version) != expected {
            return Put::conflict().with_clock(sample);
        }
        state.number += 1;
        let version = Version::new(format!("\"{}\"", state.number));
        let version = if self.variant.numbers { version.with_number(state.number) } else { version };
        let before = state.documents.insert(name.clone(), Document::new(value.to_vec(), version.clone()));
        state.before.insert(name.clone(), before);
        let is_silent = state.is_silent;
        drop(guard);
        if !is_silent {
            self.bed.changes.notify(name, Change::Written(value));
        }
        Put::written(version).with_clock(sample)
    }
}

#[async_trait]
impl Documents for MemoryDocuments {
    fn about(&self) -> About {
        let variant = &self.variant;
        let survive = TokensSurvive::new().restart();
        let survive = if variant.tokens_from_versions { survive.removal() } else { survive };
        let capabilities = Capabilities::new("documents")
            .with_ttl(Duration::from_millis(1), Duration::from_secs(366 * 86_400), Duration::from_micros(1))
            .with_expiry_judge(variant.judge)
            .with_tokens_survive(survive)
            .with_grants_survive_crash(true)
            .with_push(variant.push)
            .with_push_to_holders(variant.push)
            .with_calls_at_once(4);
        About::new(capabilities)
            .with_tokens_from_versions(variant.tokens_from_versions)
            .with_concurrency(variant.concurrency)
    }

    async fn get(&self, name: &LeaseName) -> Result<Looked> {
        self.send(Request::Get, name).await?;
        let looked = {
            let mut guard = self.bed.state();
            let state = &mut *guard;
            let percent = state.stale_percent;
            let document = match state.before.get(name).cloned() {
                Some(before) if state.chance(percent) => before,
                _ => state.documents.get(name).cloned(),
            };
            Looked::new(document).with_clock(self.answered(state))
        };
        self.receive().await?;
        Ok(looked)
    }

    async fn put_if(&self, name: &LeaseName, value: Vec<u8>, expected: Option<&Version>) -> Result<Put> {
        self.send(Request::Put, name).await?;
        let held_back = self.bed.state().held_back.clone();
        if let Some(mut held_back) = held_back {
            let (documents, name, expected) = (self.clone(), name.clone(), expected.cloned());
            tokio::spawn(async move {
                if held_back.wait_for(|is_held| !is_held).await.is_ok() {
                    documents.put(&name, &value, expected.as_ref());
                }
            });
            return Err(Error::new(ErrorKind::Indeterminate, "receive", "no answer: the request is still queued"));
        }
        let mut put = self.put(name, &value, expected);
        let (breaks, repeats) = {
            let mut state = self.bed.state();
            state.puts += 1;
            let hits = |every: usize| every > 0 && state.puts.is_multiple_of(every);
            (hits(state.breaks_every), hits(state.repeats_every))
        };
        if repeats {
            put = self.put(name, &value, expected);
        }
        self.receive().await?;
        if breaks {
            return Err(Error::new(ErrorKind::Indeterminate, "receive", "the connection broke"));
        }
        Ok(put)
    }

    async fn list(&self, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Result<Page> {
        self.send(Request::List, &LeaseName::new("list").unwrap()).await?;
        let page = {
            let mut guard = self.bed.state();
            let state = &mut *guard;
            let documents = state
                .documents
                .iter()
                .filter(|(name, _)| name.as_str().starts_with(prefix) && after.is_none_or(|after| *name > after));
            // Small pages.
            let page: Vec<_> =
                documents.take(limit.min(3)).map(|(name, document)| (name.clone(), document.clone())).collect();
            Page::new(page).with_clock(self.answered(state))
        };
        self.receive().await?;
        Ok(page)
    }

    async fn delete_if(&self, name: &LeaseName, expected: &Version) -> Result<bool> {
        if !self.variant.can_delete {
            return Err(Error::new(ErrorKind::Unsupported, "purge", "conditions of deletions are ignored"));
        }
        self.send(Request::Delete, name).await?;
        let deleted = {
            let mut guard = self.bed.state();
            let state = &mut *guard;
            let is_it = state.documents.get(name).is_some_and(|document| document.version == *expected);
            if is_it {
                let before = state.documents.remove(name);
                state.before.insert(name.clone(), before);
            }
            is_it
        };
        if deleted {
            self.bed.changes.notify(name, Change::Deleted);
        }
        self.receive().await?;
        Ok(deleted)
    }

    async fn clock(&self) -> Result<Option<Sample>> {
        self.send(Request::Clock, &LeaseName::new("clock").unwrap()).await?;
        let sample = self.sample(&mut self.bed.state());
        self.receive().await?;
        Ok(sample)
    }

    fn changes(&self) -> Changes {
        if self.variant.push { self.bed.changes.clone() } else { Changes::never() }
    }
}
