//! The work under a lease: writes to the fenced resource.

use std::time::Duration;

use lease_core::LeaseHandle;
use lease_testkit::SeededRng;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    sync::watch,
    task::JoinHandle,
};

use crate::{belief::Beliefs, pause, resource::Write};

/// Writes to the resource for as long as the lease is held. It looks whether it is, and writes a few milliseconds later, as
/// work does that takes its time: whoever is frozen in between writes when he should not.
pub(crate) struct Writer {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Writer {
    pub(crate) fn start(beliefs: Beliefs, lease: LeaseHandle, resource: String, writer: String) -> Self {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            if let Err(error) = write(beliefs, lease, &resource, &writer, stopped).await {
                eprintln!("{writer}: no resource: {error}");
            }
        });
        Self { stop, task }
    }

    /// Ends it, after the write that is under way.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        let _ = self.task.await;
    }
}

async fn write(
    beliefs: Beliefs,
    lease: LeaseHandle,
    resource: &str,
    writer: &str,
    stopped: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let token = lease.token().get();
    let line = serde_json::to_string(&Write { name: lease.name().to_string(), token, writer: writer.to_owned() })?;
    let mut rng = SeededRng::new(token);
    let mut stream = TcpStream::connect(resource).await?;
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.split();
    let mut answers = BufReader::new(read).lines();
    while lease.is_held() && !*stopped.borrow() {
        beliefs.still(&lease);
        pause(rng.between(Duration::from_millis(2), Duration::from_millis(20))).await;
        write.write_all(format!("{line}\n").as_bytes()).await?;
        answers.next_line().await?;
    }
    Ok(())
}
