//! A directory as a backend of `lease-document`.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use lease_core::{Capabilities, Error, ErrorKind, ExpiryJudge, LeaseName, Result, TokensSurvive};
use lease_document::{About, Changes, Document, Documents, Looked, Page, Put, Version};
use tokio::{sync::Semaphore, task};

use crate::{
    error::{STORE, io_error, unknown},
    file_system,
    files::{Files, Read},
    host,
    versions::Written,
    watch,
};

/// How many calls work on the file system at once. One that hangs keeps its place.
const CALLS_AT_ONCE: usize = 16;

/// The backend. [`FileStore`](crate::FileStore) makes leases of it.
#[derive(Debug)]
pub struct Directory {
    files: Arc<Files>,
    permits: Arc<Semaphore>,
    changes: Changes,
    is_watched: OnceLock<()>,
}

impl Directory {
    /// Opens a directory; see [`open`](crate::open).
    ///
    /// # Errors
    ///
    /// As [`open`](crate::open).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        let files = off_runtime("open", move || {
            let boot = host::boot()?;
            host::refuse_time_namespace()?;
            file_system::refuse_shared(&root)?;
            Files::open(root.clone(), boot).map_err(|cause| io_error("open", &root, cause))
        });
        Ok(Self {
            files: Arc::new(files.await?),
            permits: Arc::new(Semaphore::new(CALLS_AT_ONCE)),
            changes: Changes::new(),
            is_watched: OnceLock::new(),
        })
    }

    async fn with_files<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Files) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let (files, permits) = (Arc::clone(&self.files), Arc::clone(&self.permits));
        let permit = permits.acquire_owned().await;
        off_runtime(operation, move || {
            let _permit = permit;
            work(&files).map_err(|cause| io_error(operation, &files.root, cause))
        })
        .await
    }
}

/// Runs what blocks on a thread for that.
async fn off_runtime<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    task::spawn_blocking(work).await.unwrap_or_else(|cause| {
        let message = format!(
            "the work on the directory was cut off, as by the end of its runtime: look what was done ({cause})"
        );
        Err(Error::new(ErrorKind::Indeterminate, operation, message).in_store(STORE).with_source(cause))
    })
}

fn document(read: Read) -> Document {
    Document::new(read.value, Version::new(read.tag)).with_dead_holder(read.is_of_earlier_boot)
}

#[async_trait]
impl Documents for Directory {
    fn about(&self) -> About {
        let year = Duration::from_secs(365 * 24 * 60 * 60);
        let capabilities = Capabilities::new(STORE)
            .with_ttl(Duration::from_millis(100), year, Duration::from_millis(1))
            .with_expiry_judge(ExpiryJudge::ServerMonotonicClock)
            .with_tokens_survive(TokensSurvive::new().removal().restart().data_loss())
            .with_push(true)
            .with_push_to_holders(true);
        About::new(capabilities).with_concurrency(CALLS_AT_ONCE)
    }

    async fn get(&self, name: &LeaseName) -> Result<Looked> {
        let name = name.clone();
        self.with_files("read", move |files| {
            let read = files.read(&name)?;
            // After the read: of a directory that was unmounted meanwhile, no name is free.
            let now = files.now()?;
            Ok(Looked::new(read.map(document)).with_clock(now))
        })
        .await
    }

    async fn put_if(&self, name: &LeaseName, value: Vec<u8>, expected: Option<&Version>) -> Result<Put> {
        let (name, expected) = (name.clone(), expected.map(|version| version.tag.clone()));
        let (written, now) = self
            .with_files("write", move |files| {
                let now = files.now()?;
                Ok((files.write(&name, &value, expected.as_deref())?, now))
            })
            .await?;
        match written {
            Written::Done(stored) => Ok(Put::written(Version::new(stored.tag())).with_clock(now)),
            Written::Conflict => Ok(Put::conflict().with_clock(now)),
            Written::Unknown(cause) => Err(unknown(&self.files.root, cause)),
        }
    }

    async fn list(&self, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Result<Page> {
        let (prefix, after) = (prefix.to_owned(), after.cloned());
        self.with_files("list", move |files| {
            let names = files
                .names()?
                .into_iter()
                .filter(|name| name.as_str().starts_with(&prefix) && after.as_ref().is_none_or(|after| name > after));
            let mut documents = Vec::new();
            for name in names.take(limit) {
                if let Some(read) = files.read(&name)? {
                    documents.push((name, document(read)));
                }
            }
            Ok(Page::new(documents).with_clock(files.now()?))
        })
        .await
    }

    fn changes(&self) -> Changes {
        self.is_watched.get_or_init(|| {
            if let Err(error) = watch::start(Arc::downgrade(&self.files), self.changes.clone()) {
                tracing::warn!(target: "lease", store = STORE, %error, "no thread to watch the directory: waiters poll");
            }
        });
        self.changes.clone()
    }
}
