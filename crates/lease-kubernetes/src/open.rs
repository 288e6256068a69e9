//! Opens stores.

use kube::{Client, Config};
use lease_core::{Error, ErrorKind, Result};
use lease_document::DocumentStore;

use crate::{
    STORE,
    config::{client_of, discovered},
    leases::Leases,
    limit::within,
    objects::Objects,
    options::{CONNECT, KubernetesStoreOptions, check_namespace},
    preflight::preflight,
    store::KubernetesStore,
};

impl KubernetesStoreOptions {
    /// Connects as the pod's service account, or else as `KUBECONFIG` or `~/.kube/config` says.
    ///
    /// # Errors
    ///
    /// * `Invalid`: the options are invalid, there is neither a service account nor a kubeconfig, or the namespace is missing.
    /// * `Denied`: the credentials are not accepted, or the role lacks verbs, which the message lists.
    /// * `Unavailable`: the API server cannot be reached, or does not answer in time.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is written.
    pub async fn connect(&self) -> Result<KubernetesStore> {
        self.check()?;
        let client = async {
            let config = discovered().await?;
            client_of(config, self.connect_timeout).await
        };
        self.open(client).await
    }

    /// Connects as this configuration says.
    ///
    /// # Errors
    ///
    /// Those of [`connect`](Self::connect).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is written.
    pub async fn connect_with(&self, config: Config) -> Result<KubernetesStore> {
        self.check()?;
        self.open(client_of(config, self.connect_timeout)).await
    }

    /// Uses a client that the application has already. It stays bound to the runtime on which it was created. Its own retries should
    /// be off (`Config::default_retry`): this library has them, within the time that a lease allows.
    ///
    /// # Errors
    ///
    /// Those of [`connect`](Self::connect).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is written.
    pub async fn with_client(&self, client: Client) -> Result<KubernetesStore> {
        self.check()?;
        self.open(async { Ok(client) }).await
    }

    async fn open(&self, client: impl Future<Output = Result<Client>>) -> Result<KubernetesStore> {
        let opening = async {
            let client = client.await?;
            let namespace = self.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
            check_namespace(&namespace)?;
            let (leases, names) = (Leases::new(client, namespace), self.names()?);
            preflight(&leases, &names).await?;
            let objects = Objects::new(leases, names, self.expiry_judge);
            Ok(KubernetesStore::new(DocumentStore::new(objects)))
        };
        within(self.connect_timeout, opening).await.unwrap_or_else(|| {
            let message = format!("the API server has not answered within {:?}", self.connect_timeout);
            Err(Error::new(ErrorKind::Unavailable, CONNECT, message).in_store(STORE))
        })
    }
}

impl KubernetesStore {
    /// Connects with the default options; see [`KubernetesStoreOptions::connect`].
    ///
    /// # Errors
    ///
    /// Those of [`KubernetesStoreOptions::connect`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is written.
    pub async fn connect() -> Result<Self> {
        KubernetesStoreOptions::new().connect().await
    }

    /// Uses a client that the application has already; see [`KubernetesStoreOptions::with_client`].
    ///
    /// # Errors
    ///
    /// Those of [`KubernetesStoreOptions::connect`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is written.
    pub async fn with_client(client: Client) -> Result<Self> {
        KubernetesStoreOptions::new().with_client(client).await
    }
}
