//! Reads the keys of names.

use etcd_client::TxnOp;
use lease_core::LeaseName;

use crate::{
    error::{Access, Failure, wrong_answer},
    keys::Role,
    record::{Entry, Found},
    shared::Shared,
    transactions::{Outcome, Step},
};

impl Shared {
    /// Returns the operations that read the keys of a name: the key of its grant, and that of its block.
    pub(crate) fn gets(&self, name: &LeaseName) -> Vec<TxnOp> {
        vec![TxnOp::get(self.keys.grant(name), None), TxnOp::get(self.keys.block(name), None)]
    }

    /// Reads the keys of these names.
    pub(crate) async fn read(&self, operation: &'static str, names: &[&LeaseName]) -> Vec<Result<Found, Failure>> {
        let steps = names.iter().map(|name| Step { then: self.gets(name), bytes: 0, ..Step::default() }).collect();
        let outcomes = self.transactions.commit(&self.connections, operation, Access::Read, steps).await;
        let found = names.iter().zip(outcomes);
        found.map(|(name, outcome)| self.found(operation, Access::Read, name, &outcome?)).collect()
    }

    /// Reads the keys of one name.
    pub(crate) async fn read_one(&self, operation: &'static str, name: &LeaseName) -> Result<Found, Failure> {
        let step = Step { then: self.gets(name), ..Step::default() };
        let outcome = self.transactions.commit_one(&self.connections, operation, Access::Read, step).await?;
        self.found(operation, Access::Read, name, &outcome)
    }

    /// Returns what the operations of [`Shared::gets`] have found for this name. Fails if a key belongs to another name
    /// (S25).
    pub(crate) fn found(
        &self,
        operation: &'static str,
        access: Access,
        name: &LeaseName,
        outcome: &Outcome,
    ) -> Result<Found, Failure> {
        let mut found = Found::default();
        for pair in outcome.found.iter().flatten() {
            match self.keys.parse(pair.key()) {
                Some((other, Role::Grant)) if other == *name => found.grant = Some(Entry::of_grant(pair)),
                Some((other, Role::Block)) if other == *name => found.block = Some(Entry::of_block(pair)),
                _ => return Err(wrong_answer(operation, access)),
            }
        }
        Ok(found)
    }
}
