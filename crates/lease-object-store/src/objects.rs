//! The backend: one object for each name.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use lease_core::{Error, ErrorKind, LeaseName, Result};
use lease_document::{About, Document, Documents, Looked, Page, Put, Sample, Version};
use object_store::{Attribute, Attributes, GetOptions, ObjectStore, PutMode, PutOptions, PutPayload, path::Path};

use crate::{
    call::{Call, Observed},
    error::{Access, Classifier, Failure},
    keys::Keys,
    listing::Listing,
    version::Compared,
};

/// The largest object that is read. A record has some kilobytes, and never 32 KiB: a larger object is none.
const LARGEST: u64 = 64 * 1024;

/// Lease records as objects.
pub(crate) struct Objects {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) listing: Listing,
    pub(crate) keys: Keys,
    pub(crate) classifier: Classifier,
    pub(crate) compared: Compared,
    pub(crate) about: About,
}

/// Prints no more than what is ours: the driver's stores have credentials.
impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects")
            .field("service", &self.classifier.service)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

impl Objects {
    /// Reads an object. Returns what the answer says of the clock as well.
    async fn read(&self, operation: &'static str, location: &Path) -> Result<(Option<Document>, Option<Sample>)> {
        let call = Call::default();
        let options = GetOptions::new().with_extensions(call.extensions());
        let outcome = async {
            let answer = self.store.get_opts(location, options).await?;
            let (e_tag, version, size) = (answer.meta.e_tag.clone(), answer.meta.version.clone(), answer.meta.size);
            let value = if size > LARGEST { None } else { Some(answer.bytes().await?) };
            Ok((value, self.compared.version(e_tag, version)))
        };
        let outcome = outcome.await;
        let observed = call.observed();
        match outcome {
            Ok((Some(value), Some(version))) => Ok((Some(Document::new(value.to_vec(), version)), observed.clock)),
            Ok((None, _)) => Err(self.error(operation, ErrorKind::Invalid, too_large(location))),
            Ok((_, None)) => Err(self.no_version(operation, ErrorKind::Unavailable)),
            Err(error) => match self.classifier.classify(operation, Access::Read, &error, &observed) {
                Failure::Missing => Ok((None, observed.clock)),
                Failure::Failed(error) => Err(error),
                Failure::Conflict => Err(self.error(operation, ErrorKind::Internal, "a read was refused".to_owned())),
            },
        }
    }

    /// Writes an object on a condition.
    pub(crate) async fn write(&self, location: &Path, value: Vec<u8>, mode: PutMode) -> Result<Put> {
        const OPERATION: &str = "write";
        let call = Call::default();
        let options =
            PutOptions { mode, attributes: attributes(), extensions: call.extensions(), ..PutOptions::default() };
        let outcome = self.store.put_opts(location, PutPayload::from(value), options).await;
        let observed = call.observed();
        let put = match outcome {
            Ok(answer) => match self.compared.version(answer.e_tag, answer.version) {
                Some(version) => Put::written(version),
                None => return Err(self.no_version(OPERATION, ErrorKind::Indeterminate)),
            },
            Err(error) => match self.classifier.classify(OPERATION, Access::Write, &error, &observed) {
                Failure::Conflict | Failure::Missing => Put::conflict(),
                Failure::Failed(error) => return Err(error),
            },
        };
        Ok(put.with_clock(observed.clock))
    }

    fn no_version(&self, operation: &'static str, kind: ErrorKind) -> Error {
        let message = "the answer has no ETag or no version, without which nothing can be written on condition: a proxy may \
                       have removed it; connect without that proxy";
        self.error(operation, kind, message.to_owned())
    }

    fn error(&self, operation: &'static str, kind: ErrorKind, message: String) -> Error {
        Error::new(kind, operation, message).in_store(self.classifier.service.store())
    }
}

fn too_large(location: &Path) -> String {
    format!(
        "the object {location} is too large for a lease record: another program wrote it; use a prefix of its own, or delete it"
    )
}

/// No cache keeps a record.
fn attributes() -> Attributes {
    Attributes::from_iter([(Attribute::ContentType, "application/json"), (Attribute::CacheControl, "no-store")])
}

#[async_trait]
impl Documents for Objects {
    fn about(&self) -> About {
        self.about.clone()
    }

    async fn get(&self, name: &LeaseName) -> Result<Looked> {
        let (document, clock) = self.read("read", &self.keys.location(name)).await?;
        Ok(Looked::new(document).with_clock(clock))
    }

    async fn put_if(&self, name: &LeaseName, value: Vec<u8>, expected: Option<&Version>) -> Result<Put> {
        let mode = expected.map_or(PutMode::Create, |version| PutMode::Update(self.compared.update(version)));
        self.write(&self.keys.location(name), value, mode).await
    }

    /// Reads a page of keys, and then each object. What has vanished in between is left out.
    async fn list(&self, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Result<Page> {
        let failed = |error: object_store::Error, observed: &Observed| match self.classifier.classify(
            "list",
            Access::Read,
            &error,
            observed,
        ) {
            Failure::Failed(error) => error,
            Failure::Conflict | Failure::Missing => {
                self.error("list", ErrorKind::Unavailable, "the list was refused: try again".to_owned())
            }
        };
        let (mut after, mut token) = (after.cloned(), None);
        loop {
            let keys = self.listing.page(&self.keys, prefix, after.as_ref(), token, limit.max(1)).await;
            let keys = keys.map_err(|(error, observed)| failed(error, &observed))?;
            let last = keys.names.last().cloned();
            let reads = stream::iter(keys.names.into_iter().map(|name| async move {
                let (document, clock) = self.read("list", &self.keys.location(&name)).await?;
                Ok::<_, Error>((document.map(|document| (name, document)), clock))
            }));
            let reads: Vec<_> = reads.buffered(self.about.concurrency).try_collect().await?;
            let clock = reads.iter().filter_map(|(_, clock)| *clock).max_by_key(|clock| clock.at);
            let documents: Vec<_> = reads.into_iter().filter_map(|(document, _)| document).collect();
            if documents.is_empty() && keys.has_more {
                // An empty page would be the last one.
                after = last.or(after);
                token = keys.token;
                continue;
            }
            return Ok(Page::new(documents).with_more(keys.has_more).with_clock(clock));
        }
    }
}
