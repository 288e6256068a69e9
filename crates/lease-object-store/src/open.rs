//! Opens a store.

use std::{sync::Arc, time::Duration};

use futures::future::{Either, select};
use lease_core::{Capabilities, Clock, ErrorKind, ExpiryJudge, Result, SystemClock, TokensSurvive};
use lease_document::{About, DocumentStore};
use object_store::ObjectStore;

use crate::{
    ObjectLeaseStore, ObjectLeaseStoreOptions, builders,
    error::{Classifier, connect_error},
    keys::Keys,
    listing::Listing,
    objects::Objects,
    preflight,
    service::Service,
    version::Compared,
};

/// How far the clocks of a service's servers may be from the middle of all, by default.
const SLACK: Duration = Duration::from_secs(2);
/// The largest ttl.
const MAX_TTL: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// The time limit for connecting.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);

impl ObjectLeaseStore {
    /// Connects to a bucket or container with the default options; see [`ObjectLeaseStoreOptions::connect`].
    ///
    /// # Errors
    ///
    /// As for [`ObjectLeaseStoreOptions::connect`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: at most the probe is left behind.
    pub async fn connect(url: &str) -> Result<Self> {
        ObjectLeaseStoreOptions::new().connect(url).await
    }

    /// Creates a store in the application's object store, with the default options; see
    /// [`ObjectLeaseStoreOptions::with_store`].
    ///
    /// # Errors
    ///
    /// As for [`ObjectLeaseStoreOptions::with_store`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: at most the probe is left behind.
    pub async fn with_store(store: Arc<dyn ObjectStore>) -> Result<Self> {
        ObjectLeaseStoreOptions::new().with_store(store).await
    }
}

impl ObjectLeaseStoreOptions {
    /// Connects to a bucket or container: `s3://bucket/prefix`, `az://container/prefix` or `gs://bucket/prefix`. Credentials,
    /// region and endpoint are those of [`with_option`](Self::with_option), or of the environment.
    ///
    /// It takes three requests, by which the store finds out whether the service keeps the conditions of writes. The first store
    /// with a prefix writes the object `.conditional-write-probe` there, by a fourth one. A warning in the log says when a bucket of
    /// S3 or an account of Azure keeps old versions.
    ///
    /// If the process has no provider of cryptography for rustls, ring becomes it. An application that installs another one does so
    /// first.
    ///
    /// # Errors
    ///
    /// * `Invalid`: the URL, an option or the prefix is not right, or the bucket does not exist.
    /// * `Denied`: the service refuses the credentials, or they lack a right.
    /// * `Unsupported`: the service ignores the conditions of writes, or has none.
    /// * `Unavailable`: the service does not answer within 15 s, or there are no credentials.
    ///
    /// No error contains the URL or the value of an option.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: at most the probe is left behind.
    pub async fn connect(&self, url: &str) -> Result<ObjectLeaseStore> {
        let (service, container, prefix) = builders::parse(url)?;
        self.check(service.store())?;
        let (store, pages) = builders::build(service, &container, self)?;
        let prefix = prefix.as_ref().unwrap_or(&self.prefix);
        self.open(service, store, Listing::Pages(pages), prefix).await
    }

    /// Creates a store in the application's object store. The options of the driver are not used.
    ///
    /// Build the store with a [`Connector`](crate::Connector): then answers show the service's clock, and it judges expiry as after
    /// [`connect`](Self::connect). Otherwise contenders judge it (S2). Switch the driver's retries off, and keep caches away. A list
    /// of leases reads all keys of the prefix for every page of 256, because the trait promises no order.
    ///
    /// # Errors
    ///
    /// As for [`connect`](Self::connect); `Invalid` also if a server's clock is to judge expiry, and answers do not show it.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: at most the probe is left behind.
    pub async fn with_store(&self, store: Arc<dyn ObjectStore>) -> Result<ObjectLeaseStore> {
        self.check(Service::Given.store())?;
        self.open(Service::Given, Arc::clone(&store), Listing::Stream(store), &self.prefix).await
    }

    async fn open(
        &self,
        service: Service,
        store: Arc<dyn ObjectStore>,
        listing: Listing,
        prefix: &str,
    ) -> Result<ObjectLeaseStore> {
        let capabilities = Capabilities::new(service.store())
            .with_ttl(service.min_ttl(), MAX_TTL, Duration::from_micros(1))
            // A counter that is raised to a clock of whole seconds: a record that is removed and made anew within a second may
            // have a smaller token.
            .with_tokens_survive(TokensSurvive::new().restart())
            .with_grants_survive_crash(true)
            .with_calls_at_once(4)
            .with_poll_interval(self.poll_interval);
        let mut objects = Objects {
            store,
            listing,
            keys: Keys::new(prefix, service.store())?,
            classifier: Classifier { service },
            compared: Compared::ETag,
            about: About::new(capabilities),
        };
        let shows_clock = within(service, CONNECT_LIMIT, preflight::probe(&mut objects)).await?;
        let judge = self.judge(service, shows_clock)?;
        let mut capabilities = objects.about.capabilities.clone().with_expiry_judge(judge);
        if objects.compared == Compared::Version {
            // Google's service, whoever has built the store.
            capabilities.min_ttl = Service::Google.min_ttl();
        }
        objects.about.capabilities = capabilities;
        Ok(ObjectLeaseStore::new(DocumentStore::new(objects)))
    }

    fn judge(&self, service: Service, shows_clock: bool) -> Result<ExpiryJudge> {
        match self.expiry_judge {
            Some(ExpiryJudge::Contenders) => Ok(ExpiryJudge::Contenders),
            Some(judge) if shows_clock => Ok(judge),
            None if shows_clock => Ok(ExpiryJudge::ServersWallClocks { slack: SLACK }),
            None => Ok(ExpiryJudge::Contenders),
            Some(_) => {
                let message = "the answers do not show the server's clock, or come from a cache: build the store with a \
                               `Connector`, or let contenders judge expiry";
                Err(connect_error(ErrorKind::Invalid, service.store(), message))
            }
        }
    }
}

async fn within<T>(service: Service, limit: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    let clock = SystemClock;
    match select(std::pin::pin!(work), clock.sleep_until(clock.now() + limit)).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right(_) => {
            let message = format!("the service did not answer within {limit:?}");
            Err(connect_error(ErrorKind::Unavailable, service.store(), message))
        }
    }
}
