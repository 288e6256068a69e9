//! Looking at leases, and breaking them.

use std::collections::BTreeMap;

use etcd_client::{Compare, CompareOp, GetOptions, PutOptions, SortOrder, SortTarget, TxnOp};
use lease_core::{Break, ErrorKind, FencingToken, LeaseName, LeaseRecord, Released, Result};

use crate::{
    error::{Access, Cure, Failure, here},
    keys::Role,
    record::{Entry, Found, How},
    shared::Shared,
    transactions::Step,
};

/// How many keys are read at a time: with the largest metadata they stay within the 4 MiB of an answer.
const PAGE: i64 = 256;

/// How often a break is tried whose key is renewed meanwhile.
const ROUNDS: usize = 8;

impl Shared {
    pub(crate) async fn inspect(&self, name: &LeaseName) -> Result<Option<LeaseRecord>> {
        const OPERATION: &str = "inspect";
        let began = self.connections.clock().now();
        for _ in 0..ROUNDS {
            let seen = self.read_one(OPERATION, name).await.map_err(|failure| failure.error)?;
            let Some(entry) = seen.grant.or(seen.block) else { return Ok(None) };
            let mut remaining = self.remaining(OPERATION, [entry.lease], began).await;
            let left = remaining.remove(&entry.lease).transpose().map_err(|failure| failure.error)?;
            // It is gone, and the key with it, unless that has moved meanwhile: only a key that is not there is nobody's (S19).
            let Some(left) = left.flatten() else { continue };
            if let Some(record) = entry.as_lease(name, left) {
                return Ok(Some(record));
            }
            let key = self.keys.grant(name);
            let message = format!("the value of {key} is not of this library: delete the key if nobody needs it");
            return Err(here(ErrorKind::Invalid, OPERATION, message));
        }
        Err(here(ErrorKind::Unavailable, OPERATION, "the lease changes all the time"))
    }

    pub(crate) async fn list(&self, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Result<Vec<LeaseRecord>> {
        const OPERATION: &str = "list";
        let began = self.connections.clock().now();
        let (mut from, end) = self.keys.range(prefix, after);
        let mut records = Vec::new();
        while records.len() < limit && from < end {
            let (page, next) = self.page(OPERATION, from, &end, limit).await.map_err(|failure| failure.error)?;
            let remaining = self.remaining(OPERATION, page.values().map(|entry| entry.lease), began).await;
            for (name, entry) in page {
                let left = remaining.get(&entry.lease).cloned().transpose().map_err(|failure| failure.error)?;
                // Both keys of a name may be on two pages.
                if records.last().is_some_and(|last: &LeaseRecord| last.name == name) {
                    continue;
                }
                // A value that is not of this library is nobody's lease.
                records.extend(match left.flatten() {
                    Some(left) => entry.as_lease(&name, left),
                    // Where the etcd lease is gone, so is the key, unless it has moved meanwhile.
                    None if entry.record.is_some() => self.inspect(&name).await?,
                    None => None,
                });
            }
            match next {
                Some(next) => from = next,
                None => break,
            }
        }
        records.truncate(limit);
        Ok(records)
    }

    /// Some names from this key on, and the key to go on with, if there are more.
    async fn page(
        &self,
        operation: &'static str,
        from: Vec<u8>,
        end: &[u8],
        limit: usize,
    ) -> Result<(BTreeMap<LeaseName, Entry>, Option<Vec<u8>>), Failure> {
        let options = GetOptions::new()
            .with_range(end)
            .with_limit(i64::try_from(limit).map_or(PAGE, |limit| limit.clamp(1, PAGE)))
            .with_sort(SortTarget::Key, SortOrder::Ascend);
        let answer = self.connections.call(operation, Access::Read, |client| {
            let (from, options) = (from.clone(), Some(options.clone()));
            Box::pin(async move { client.kv_client().get(from, options).await })
        });
        let answer = answer.await?;
        let mut page = BTreeMap::new();
        for pair in answer.kvs() {
            match self.keys.parse(pair.key()) {
                Some((name, Role::Grant)) => drop(page.insert(name, Entry::of_grant(pair))),
                // Of a name that has a grant as well, the grant counts; it comes first.
                Some((name, Role::Block)) => drop(page.entry(name).or_insert_with(|| Entry::of_block(pair))),
                Some((_, Role::Announcement)) | None => {}
            }
        }
        let last = answer.kvs().last().filter(|_| answer.more());
        Ok((page, last.map(|last| [last.key(), b"\0"].concat())))
    }

    pub(crate) async fn break_lease(&self, name: &LeaseName, token: FencingToken, how: Break) -> Result<Released> {
        for _ in 0..ROUNDS {
            let broken = match how {
                Break::Now => self.try_break_now(name, token).await,
                Break::AfterExpiry => self.try_break_after_expiry(name, token).await,
            };
            match broken {
                Ok(Some(released)) => return Ok(released),
                // It was renewed, or ended, since it was read.
                Ok(None) => {}
                Err(failure) => return Err(failure.error),
            }
        }
        Err(here(ErrorKind::Unavailable, "break", "the lease changes all the time"))
    }

    async fn try_break_now(&self, name: &LeaseName, token: FencingToken) -> Result<Option<Released>, Failure> {
        let Found { grant, block } = self.read_one("break", name).await?;
        let of_token = |entry: &Entry| entry.token == token.get();
        let (key, entry) = match (grant.filter(of_token), block.filter(of_token)) {
            (Some(grant), _) => (self.keys.grant(name), grant),
            // Only blocked any more.
            (None, Some(block)) => (self.keys.block(name), block),
            (None, None) => return Ok(Some(Released::NotHeld)),
        };
        let when = entry.is_unchanged(&key).to_vec();
        let step = Step { when, then: vec![TxnOp::delete(key, None)], ..Step::default() };
        let outcome = self.transactions.commit_one(&self.connections, "break", Access::Write, step).await?;
        Ok(outcome.succeeded.then_some(Released::Freed))
    }

    /// The grant's key goes, and with it every right to renew, release or fence (S22). A block takes its place on the same
    /// etcd lease, for what is left of it.
    async fn try_break_after_expiry(&self, name: &LeaseName, token: FencingToken) -> Result<Option<Released>, Failure> {
        let Some(entry) = self.read_one("break", name).await?.grant.filter(|entry| entry.token == token.get()) else {
            return Ok(Some(Released::NotHeld));
        };
        let (Some(record), true) = (&entry.record, entry.lease != 0) else {
            let message = "this key never expires by itself, or its value is not of this library: use Break::Now";
            let error = here(ErrorKind::Invalid, "break", message);
            return Err(Failure { error, cure: Cure::None });
        };
        let value = record.block(token.get(), How::Broken, None).to_bytes();
        let key = self.keys.grant(name);
        let mut when = entry.is_unchanged(&key).to_vec();
        // What it is on tells how long it lasts.
        when.push(Compare::lease(key.as_str(), CompareOp::Equal, entry.lease));
        let step = Step {
            when,
            then: vec![
                TxnOp::delete(key, None),
                TxnOp::put(self.keys.block(name), value, Some(PutOptions::new().with_lease(entry.lease))),
            ],
            ..Step::default()
        };
        match self.transactions.commit_one(&self.connections, "break", Access::Write, step).await {
            Ok(outcome) => Ok(outcome.succeeded.then_some(Released::Freed)),
            // It has expired since it was read.
            Err(Failure { cure: Cure::NewLease, .. }) => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}
