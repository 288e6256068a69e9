//! A server in a container.

use std::sync::Mutex;

use testcontainers::{
    ContainerAsync, GenericImage, ImageExt,
    core::{ContainerPort, IntoContainerPort},
    runners::AsyncRunner,
};

use crate::{ServerError, account::Account, keeper::Keeper, ports::free_port};

/// The image and the settings of a container.
#[derive(Debug)]
pub struct Image {
    pub(crate) name: &'static str,
    pub(crate) tag: &'static str,
    pub(crate) environment: &'static [(&'static str, &'static str)],
    pub(crate) command: Vec<String>,
}

/// A container with one port. It is removed when this value is dropped or when this process ends.
#[derive(Debug)]
pub(crate) struct Container {
    container: ContainerAsync<GenericImage>,
    port: u16,
    /// Removes the container if this process ends without dropping it.
    _keeper: Mutex<Keeper>,
}

impl Container {
    /// Starts a container whose server listens on this port. The server may not be ready yet.
    pub(crate) async fn start(image: Image, port: u16) -> Result<Self, ServerError> {
        let Image { name, tag, environment, command } = image;
        // A fixed port, so that it is the same after a restart.
        let host_port = free_port()?;
        let mut request = GenericImage::new(name, tag)
            .with_exposed_port(ContainerPort::Tcp(port))
            .with_mapped_port(host_port, port.tcp())
            .with_cmd(command);
        for &(name, value) in environment {
            request = request.with_env_var(name, value);
        }
        let container = request.start().await.map_err(|error| ServerError::NoServer(one_line(&error)))?;
        let mut keeper = Keeper::new(Account::current(), "TERM")?;
        keeper.finally(&["docker", "rm", "--force", "--volumes", container.id()])?;
        Ok(Self { container, port: host_port, _keeper: Mutex::new(keeper) })
    }

    /// Returns the address of the server on the loopback interface.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) async fn pause(&self) -> Result<(), ServerError> {
        self.container.pause().await.map_err(failed)
    }

    pub(crate) async fn unpause(&self) -> Result<(), ServerError> {
        self.container.unpause().await.map_err(failed)
    }

    /// Sends SIGTERM, and SIGKILL after ten seconds.
    pub(crate) async fn stop(&self) -> Result<(), ServerError> {
        self.container.stop_with_timeout(Some(10)).await.map_err(failed)
    }

    /// Sends SIGKILL, shortly after SIGTERM: the interface of the engine has no shorter way.
    pub(crate) async fn kill(&self) -> Result<(), ServerError> {
        self.container.stop_with_timeout(Some(0)).await.map_err(failed)
    }

    pub(crate) async fn start_again(&self) -> Result<(), ServerError> {
        self.container.start().await.map_err(failed)
    }
}

fn failed(error: impl std::error::Error) -> ServerError {
    ServerError::Failed(one_line(&error))
}

/// Returns the text of an error and its causes, because the last cause is often the relevant one.
fn one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
