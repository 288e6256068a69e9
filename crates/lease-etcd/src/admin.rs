//! Inspects, lists and breaks leases.

use std::collections::BTreeMap;

use etcd_client::{Compare, CompareOp, GetOptions, PutOptions, SortOrder, SortTarget, TxnOp};
use lease_core::{Break, ErrorKind, FencingToken, LeaseName, LeaseRecord, Released, Result};

use crate::{
    error::{Access, Cure, Failure, store_error, too_many_changes},
    keys::Role,
    record::{Entry, Found, How},
    shared::Shared,
    transactions::Step,
};

/// The number of keys per page. With the largest metadata, a page stays below the limit of 4 MiB for an answer.
const PAGE_SIZE: i64 = 256;

/// The maximum number of attempts for a lease that is renewed meanwhile.
const ROUNDS: usize = 8;

impl Shared {
    pub(crate) async fn inspect(&self, name: &LeaseName) -> Result<Option<LeaseRecord>> {
        const OPERATION: &str = "inspect";
        let began = self.connections.clock().now();
        for _ in 0..ROUNDS {
            let found = self.read_one(OPERATION, name).await.map_err(|failure| failure.error)?;
            let Some(entry) = found.grant.or(found.block) else { return Ok(None) };
            let mut remaining = self.remaining(OPERATION, [entry.lease], began).await;
            let left = remaining.remove(&entry.lease).transpose().map_err(|failure| failure.error)?;
            // The etcd lease has ended, and the key with it, unless the key was moved meanwhile. Only a missing key shows
            // that the name is free (S19).
            let Some(left) = left.flatten() else { continue };
            if let Some(record) = entry.as_lease(name, left) {
                return Ok(Some(record));
            }
            let key = self.keys.grant(name);
            let message = format!("the value of the key {key} is not a lease: delete the key if it is not needed");
            return Err(store_error(ErrorKind::Invalid, OPERATION, message));
        }
        Err(too_many_changes(OPERATION))
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
                // The two keys of a name may be on two pages.
                if records.last().is_some_and(|last: &LeaseRecord| last.name == name) {
                    continue;
                }
                // A value that this crate has not written is not a lease.
                records.extend(match left.flatten() {
                    Some(left) => entry.as_lease(&name, left),
                    // The etcd lease has ended, and the key with it, unless the key was moved meanwhile.
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

    /// Returns a page of names from this key on, and the first key of the next page, if there is one.
    async fn page(
        &self,
        operation: &'static str,
        from: Vec<u8>,
        end: &[u8],
        limit: usize,
    ) -> Result<(BTreeMap<LeaseName, Entry>, Option<Vec<u8>>), Failure> {
        let options = GetOptions::new()
            .with_range(end)
            .with_limit(i64::try_from(limit).map_or(PAGE_SIZE, |limit| limit.clamp(1, PAGE_SIZE)))
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
                // If a name has a grant and a block, the grant counts. It comes first.
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
                // The grant was renewed, or has ended, since it was read.
                Ok(None) => {}
                Err(failure) => return Err(failure.error),
            }
        }
        Err(too_many_changes("break"))
    }

    async fn try_break_now(&self, name: &LeaseName, token: FencingToken) -> Result<Option<Released>, Failure> {
        let Found { grant, block } = self.read_one("break", name).await?;
        let of_token = |entry: &Entry| entry.token == token.get();
        let (key, entry) = match (grant.filter(of_token), block.filter(of_token)) {
            (Some(grant), _) => (self.keys.grant(name), grant),
            // The grant has ended; only the block is left.
            (None, Some(block)) => (self.keys.block(name), block),
            (None, None) => return Ok(Some(Released::NotHeld)),
        };
        let when = entry.is_unchanged(&key).to_vec();
        let step = Step { when, then: vec![TxnOp::delete(key, None)], ..Step::default() };
        let outcome = self.transactions.commit_one(&self.connections, "break", Access::Write, step).await?;
        Ok(outcome.succeeded.then_some(Released::Freed))
    }

    /// Deletes the grant's key, which ends every right to renew or release, and makes the fence fail (S22). Puts a block in
    /// its place, on the same etcd lease, for the time that is left.
    async fn try_break_after_expiry(&self, name: &LeaseName, token: FencingToken) -> Result<Option<Released>, Failure> {
        let Some(entry) = self.read_one("break", name).await?.grant.filter(|entry| entry.token == token.get()) else {
            return Ok(Some(Released::NotHeld));
        };
        let (Some(record), true) = (&entry.record, entry.lease != 0) else {
            let message = "the key of the lease never expires, or its value is not a lease: use Break::Now";
            let error = store_error(ErrorKind::Invalid, "break", message);
            return Err(Failure { error, cure: Cure::None });
        };
        let value = record.block(token.get(), How::Broken, None).to_bytes();
        let key = self.keys.grant(name);
        let mut when = entry.is_unchanged(&key).to_vec();
        // The block must be on the etcd lease that the grant is on, so that it lasts as long.
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
            // The grant has expired since it was read.
            Err(Failure { cure: Cure::NewLease, .. }) => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}
