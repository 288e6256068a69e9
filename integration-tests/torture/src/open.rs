//! Opens the store of a worker, or of the controller, by a URL: one of `lease-url`, or one that says where a server of this machine is.

use std::{fs, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use integration_tests::{KubeApiserver, ObjectStorage};
use kube::Config;
use lease_core::{ExpiryJudge, LeaseStore};
use lease_kubernetes::KubernetesStoreOptions;
use lease_object_store::ObjectLeaseStoreOptions;
use lease_zookeeper::ZooKeeperStoreOptions;
use rustls_pki_types::{CertificateDer, pem::PemObject};

/// One server answers, so that its clock is one.
const ONE_CLOCK: ExpiryJudge = ExpiryJudge::ServersWallClocks { slack: Duration::ZERO };

/// The bucket of the object storage, which the controller makes.
pub(crate) const BUCKET: &str = "torture";

const STORAGE: &str = "s3+";
const KUBERNETES: &str = "kubernetes+";

/// The scheme of ZooKeeper.
pub(crate) const ZOOKEEPER: &str = "zookeeper://";

/// Returns the URL of the store in the bucket of this object storage, whatever the environment says.
pub(crate) fn on_object_storage(server: &str) -> String {
    format!("{STORAGE}{server}")
}

/// Returns the URL of the store on this API server of Kubernetes, with the file of the authority that its clients trust.
pub(crate) fn on_kubernetes(server: &str, authority: &Path) -> String {
    format!("{KUBERNETES}{server}#{}", authority.display())
}

/// Opens a store.
///
/// # Errors
///
/// Returns an error if the URL is not of a store, or as connecting to it does.
pub(crate) async fn open(url: &str) -> Result<Arc<dyn LeaseStore>> {
    if let Some(endpoint) = url.strip_prefix(STORAGE) {
        let options = ObjectLeaseStoreOptions::new()
            .with_expiry_judge(ONE_CLOCK)
            .with_poll_interval(Duration::from_secs(1))
            .with_option("endpoint", endpoint.trim_end_matches('/'))
            .with_option("allow_http", "true")
            .with_option("access_key_id", ObjectStorage::ACCESS_KEY)
            .with_option("secret_access_key", "any");
        return Ok(Arc::new(options.connect(&format!("s3://{BUCKET}/leases")).await?));
    }
    if url.starts_with(KUBERNETES) {
        let options = KubernetesStoreOptions::new().with_namespace("default").with_expiry_judge(ONE_CLOCK);
        return Ok(Arc::new(options.connect_with(kubernetes_config(url)?).await?));
    }
    if let Some(address) = url.strip_prefix(ZOOKEEPER) {
        let options = ZooKeeperStoreOptions::new().with_expiry_judge(ONE_CLOCK);
        return Ok(Arc::new(options.connect(address).await?));
    }
    Ok(lease_url::open(url).await?.store)
}

/// Returns the settings of a client of the API server that a URL of [`on_kubernetes`] names.
///
/// # Errors
///
/// Returns an error if the URL names none, or the file of its authority cannot be read.
pub(crate) fn kubernetes_config(url: &str) -> Result<Config> {
    let (address, authority) =
        url.trim_start_matches(KUBERNETES).split_once('#').context("no authority of the API server")?;
    let authority = fs::read(authority)?;
    let mut config = Config::new(address.parse().context("the address of the API server")?);
    config.root_cert = Some(vec![CertificateDer::from_pem_slice(&authority)?.to_vec()]);
    config.auth_info.token = Some(KubeApiserver::ADMIN_TOKEN.to_owned().into());
    config.default_retry = false;
    Ok(config)
}
