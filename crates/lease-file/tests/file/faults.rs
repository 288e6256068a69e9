//! A directory behind faults that a directory does not have: those of a network and of a server.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use lease_core::{Error, ErrorKind, LeaseName, Result};
use lease_document::{About, Changes, Documents, Looked, Page, Put, Version};
use lease_file::Directory;
use tokio::{sync::watch, time::sleep};

/// The faults in force.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct State {
    pub(crate) is_frozen: bool,
    pub(crate) is_cut: bool,
    pub(crate) loses_answers: bool,
    pub(crate) answer_delay: Duration,
    pub(crate) request_delay: Duration,
}

#[derive(Debug)]
pub(crate) struct Faulty {
    directory: Arc<Directory>,
    faults: watch::Receiver<State>,
}

impl Faulty {
    pub(crate) fn new(directory: Directory, faults: watch::Receiver<State>) -> Self {
        Self { directory: Arc::new(directory), faults }
    }

    /// A request that was sent is executed, whether or not somebody still waits for its answer.
    async fn through<T: Send + 'static>(
        &self,
        unanswered: ErrorKind,
        call: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let broken = |kind| Err(Error::new(kind, "test", "the network is cut"));
        let mut here = self.faults.clone();
        if here.borrow().is_cut {
            return broken(ErrorKind::Unavailable);
        }
        let mut there = self.faults.clone();
        let work = tokio::spawn(async move {
            let state = *there.wait_for(|state| !state.is_frozen).await.unwrap();
            sleep(state.request_delay).await;
            let outcome = call.await;
            let state = *there.wait_for(|state| !state.is_frozen).await.unwrap();
            sleep(state.answer_delay).await;
            if state.loses_answers {
                std::future::pending::<()>().await;
            }
            outcome
        });
        tokio::select! {
            outcome = work => outcome.unwrap(),
            _ = here.wait_for(|state| state.is_cut) => broken(unanswered),
        }
    }
}

#[async_trait]
impl Documents for Faulty {
    fn about(&self) -> About {
        self.directory.about()
    }

    async fn get(&self, name: &LeaseName) -> Result<Looked> {
        let (directory, name) = (Arc::clone(&self.directory), name.clone());
        self.through(ErrorKind::Unavailable, async move { directory.get(&name).await }).await
    }

    async fn put_if(&self, name: &LeaseName, value: Vec<u8>, expected: Option<&Version>) -> Result<Put> {
        let (directory, name, expected) = (Arc::clone(&self.directory), name.clone(), expected.cloned());
        self.through(ErrorKind::Indeterminate, async move { directory.put_if(&name, value, expected.as_ref()).await })
            .await
    }

    async fn list(&self, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Result<Page> {
        let (directory, prefix, after) = (Arc::clone(&self.directory), prefix.to_owned(), after.cloned());
        self.through(ErrorKind::Unavailable, async move { directory.list(&prefix, after.as_ref(), limit).await }).await
    }

    fn changes(&self) -> Changes {
        self.directory.changes()
    }
}
