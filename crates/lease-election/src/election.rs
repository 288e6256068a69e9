//! An election, and what everybody can see of it.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lease_core::{Error, ErrorKind, HolderId, LeaseClient, LeaseName, Result};

use crate::{Candidate, CandidateInfo, CandidateOptions, ElectionOptions, Leader, LeadershipChanges, group::Group};

/// How many candidates are asked for at a time.
const PAGE: usize = 100;

/// The election of a leader for a group of candidates. Cheap to clone.
///
/// Candidates campaign; observers only look: [`Election::current_leader`], [`Election::changes`], [`Election::candidates`].
/// All elections of one [`LeaseClient`] share its renewal task.
#[derive(Debug, Clone)]
pub struct Election(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: LeaseClient,
    group: Group,
    options: ElectionOptions,
    /// Those of the candidates that this process has here.
    ids: Mutex<HashSet<HolderId>>,
}

impl Election {
    /// The election of the group with this name, on any text; groups with different names never meet.
    ///
    /// # Errors
    ///
    /// When the name is empty or too long, or the options cannot be kept (S23).
    pub fn new(client: LeaseClient, group: &str, options: ElectionOptions) -> Result<Self> {
        options.validate(client.capabilities())?;
        Ok(Self(Arc::new(Inner { client, group: Group::new(group)?, options, ids: Mutex::default() })))
    }

    /// A candidate, which campaigns at once unless its options say otherwise.
    ///
    /// # Errors
    ///
    /// When its id is too long, or that of another candidate of this election; when its metadata is too large, or when it is
    /// called outside a tokio runtime.
    pub fn candidate(&self, options: CandidateOptions) -> Result<Candidate> {
        Candidate::new(self.clone(), options)
    }

    /// Who leads now.
    ///
    /// # Errors
    ///
    /// When the store cannot be asked: that nobody leads is never guessed (S19).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn current_leader(&self) -> Result<Option<Leader>> {
        Ok(self.client().inspect(self.leader_name()).await?.and_then(Leader::of))
    }

    /// All live candidates, and who of them leads. Not a snapshot.
    ///
    /// # Errors
    ///
    /// When the store cannot be asked.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn candidates(&self) -> Result<Vec<CandidateInfo>> {
        let leader = self.current_leader().await?.map(|leader| leader.id);
        let mut candidates = Vec::new();
        let mut after = None;
        loop {
            let page = self.client().list(self.0.group.candidates(), after.as_ref(), PAGE).await?;
            // A store may give fewer than it is asked for: only an empty page is the end.
            let Some(last) = page.last() else { return Ok(candidates) };
            after = Some(last.name.clone());
            let live = page.into_iter().filter(|record| !record.released);
            candidates.extend(live.map(|record| CandidateInfo::of(record, leader.as_ref())));
        }
    }

    /// The changes of leadership, for observers: the current state first, then the latest one after each change.
    ///
    /// # Errors
    ///
    /// When the client is closed, or it is called outside a tokio runtime.
    pub fn changes(&self) -> Result<LeadershipChanges> {
        LeadershipChanges::new(self, None)
    }

    /// Takes the id for one candidate.
    pub(crate) fn take_id(&self, id: &HolderId) -> Result<()> {
        if self.ids().insert(id.clone()) {
            return Ok(());
        }
        let message =
            format!("{id} is a candidate of this election already: give each one an id, by CandidateOptions::with_id");
        Err(Error::new(ErrorKind::Invalid, "election", message))
    }

    pub(crate) fn give_id_back(&self, id: &HolderId) {
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
