//! An election: its leader and its candidates.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lease_core::{Error, ErrorKind, HolderId, LeaseClient, LeaseName, Result};

use crate::{CandidateInfo, ElectionOptions, Leader, group::Group};

/// The number of candidates per call of `list`.
const PAGE_SIZE: usize = 100;

/// The election of a leader for a group of candidates. It is cheap to clone.
///
/// [`Election::candidate`] creates a candidate, which campaigns. Observers use [`Election::current_leader`],
/// [`Election::candidates`] and [`Election::changes`]. All elections of one [`LeaseClient`] share its renewal task.
#[derive(Debug, Clone)]
pub struct Election(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: LeaseClient,
    group: Group,
    options: ElectionOptions,
    /// The ids of the candidates that were created from this election and its clones.
    ids: Mutex<HashSet<HolderId>>,
}

impl Election {
    /// Creates the election of the group with this name. The name may be any text; groups with different names share nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when the name is empty or too long, or when the store cannot keep the options (S23).
    pub fn new(client: LeaseClient, group: &str, options: ElectionOptions) -> Result<Self> {
        options.validate(client.capabilities())?;
        Ok(Self(Arc::new(Inner { client, group: Group::new(group)?, options, ids: Mutex::default() })))
    }

    /// Returns the leader of the group, or `None` if there is none.
    ///
    /// # Errors
    ///
    /// When the store does not answer. `None` is never returned without an answer of the store (S19).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn current_leader(&self) -> Result<Option<Leader>> {
        Ok(self.client().inspect(self.leader_name()).await?.and_then(Leader::of))
    }

    /// Returns all live candidates, and which of them leads. The result is not a snapshot.
    ///
    /// # Errors
    ///
    /// When the store does not answer.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn candidates(&self) -> Result<Vec<CandidateInfo>> {
        let leader = self.current_leader().await?.map(|leader| leader.id);
        let mut candidates = Vec::new();
        let mut after = None;
        loop {
            let page = self.client().list(self.0.group.candidates(), after.as_ref(), PAGE_SIZE).await?;
            // A store may return fewer records than the limit. Only an empty page is the end.
            let Some(last) = page.last() else { return Ok(candidates) };
            after = Some(last.name.clone());
            let live = page.into_iter().filter(|record| !record.released);
            candidates.extend(live.map(|record| CandidateInfo::of(record, leader.as_ref())));
        }
    }

    /// Reserves the id for one candidate.
    pub(crate) fn reserve_id(&self, id: &HolderId) -> Result<()> {
        if self.ids().insert(id.clone()) {
            return Ok(());
        }
        let message =
            format!("{id} is a candidate of this election already: set another id with CandidateOptions::with_id");
        Err(Error::new(ErrorKind::Invalid, "election", message))
    }

    pub(crate) fn free_id(&self, id: &HolderId) {
        self.ids().remove(id);
    }

    fn ids(&self) -> MutexGuard<'_, HashSet<HolderId>> {
        self.0.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn client(&self) -> &LeaseClient {
        &self.0.client
    }

    pub(crate) fn options(&self) -> &ElectionOptions {
        &self.0.options
    }

    pub(crate) fn leader_name(&self) -> &LeaseName {
        &self.0.group.leader
    }

    pub(crate) fn candidate_name(&self, id: &HolderId) -> Result<LeaseName> {
        Ok(self.0.group.candidate(id)?)
    }
}
