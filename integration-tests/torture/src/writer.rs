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

use crate::{pause, resource::Write, tenure::Tenures};

/// Writes to the resource while the lease is held. It checks the lease, and writes a few milliseconds later, as slow work does: a
/// worker that is frozen in between writes too late.
pub(crate) struct Writer {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Writer {
    pub(crate) fn start(tenures: Tenures, lease: LeaseHandle, resource: String, writer: String) -> Self {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            if let Err(error) = write(tenures, lease, &resource, &writer, stopped).await {
                eprintln!("{writer}: cannot write to the resource: {error}");
            }
        });
        Self { stop, task }
    }

    /// Ends the writer after the write that is in flight.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        let _ = self.task.await;
    }
}

async fn write(
    tenures: Tenures,
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
        tenures.record_deadline(&lease);
        pause(rng.between(Duration::from_millis(2), Duration::from_millis(20))).await;
        write.write_all(format!("{line}\n").as_bytes()).await?;
        answers.next_line().await?;
    }
    Ok(())
}
