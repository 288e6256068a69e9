use std::time::Duration;

use async_trait::async_trait;
use lease_core::{Error, ErrorKind, Result};
use lease_kubernetes::{KubernetesStore, KubernetesStoreOptions};

use super::document::count;
use crate::{Admin, Opened};

pub(crate) async fn open(url: &str) -> Result<Opened> {
    let namespace = url.split_once("://").map(|(_, namespace)| namespace.trim_end_matches('/'));
    let Some(namespace) = namespace.filter(|namespace| !namespace.contains(['/', '@', ':', '?'])) else {
        let message = "this is no URL of Kubernetes: write k8s://namespace; the address and the credentials are \
                       those of the pod or of KUBECONFIG";
        return Err(Error::new(ErrorKind::Invalid, "open", message));
    };
    let options = KubernetesStoreOptions::new();
    let options = if namespace.is_empty() { options } else { options.with_namespace(namespace) };
    Ok(Opened::new(options.connect().await?))
}

#[async_trait]
impl Admin for KubernetesStore {
    async fn purge(&self, older_than: Duration) -> Result<u64> {
        KubernetesStore::purge(self, "", older_than).await.map(count)
    }
}
