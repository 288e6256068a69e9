//! Where the API server is, and the credentials for it.

use std::time::Duration;

use kube::{
    Client, Config,
    config::{KubeConfigOptions, KubeconfigError},
};
use lease_core::{Error, ErrorKind, Result, in_full};

use crate::{
    STORE,
    error::{Context, Verb, invalid, unanswered},
    options::CONNECT,
};

/// Returns the configuration of the pod, or else that of the user.
pub(crate) async fn discovered() -> Result<Config> {
    let in_cluster = match Config::incluster() {
        Ok(config) => return Ok(config),
        Err(error) => error,
    };
    Config::from_kubeconfig(&KubeConfigOptions::default()).await.map_err(|error| {
        // What is wrong in a kubeconfig may be shown with what is beside it: a token.
        let kubeconfig = match &error {
            KubeconfigError::Parse(_) => "it is not valid YAML of a kubeconfig".to_owned(),
            error => in_full(error),
        };
        let message = format!(
            "there is neither a service account of a pod ({in_cluster}) nor a kubeconfig ({kubeconfig}): run in a pod with a service \
             account, or set KUBECONFIG"
        );
        invalid(CONNECT, message)
    })
}

/// Returns a client that sends each request once.
pub(crate) async fn client_of(mut config: Config, connect_timeout: Duration) -> Result<Client> {
    config.default_retry = false;
    config.connect_timeout = Some(connect_timeout);
    // A watch is silent for as long as nothing happens. Calls are given up by those who wait for them.
    config.read_timeout = None;
    // A plugin of the kubeconfig is run at once, and may take its time.
    let made = tokio::task::spawn_blocking(move || Client::try_from(config)).await;
    let made = made.map_err(|error| {
        Error::new(ErrorKind::Internal, CONNECT, "the client could not be made").in_store(STORE).with_source(error)
    })?;
    made.map_err(|error| match error {
        kube::Error::Auth(_) => unanswered(Context { operation: CONNECT, verb: Verb::Get, namespace: "" }, error),
        error => invalid(CONNECT, format!("the configuration of the API server cannot be used: {}", in_full(&error))),
    })
}
