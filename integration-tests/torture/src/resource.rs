//! The fenced resource: a process that accepts writes with tokens, and refuses stale ones.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use crate::{
    child,
    log::Log,
    record::{Event, Sabotage},
};

/// The settings of the resource.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ResourceSettings {
    /// The directory of the record.
    pub(crate) directory: PathBuf,
    pub(crate) sabotage: Option<Sabotage>,
}

/// A write: a line of JSON, answered by another line.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Write {
    pub(crate) name: String,
    pub(crate) token: u64,
    pub(crate) writer: String,
}

/// The largest token seen, for each name.
type Seen = Arc<Mutex<HashMap<String, u64>>>;

/// Serves as the resource until the controller ends. Prints its address first.
///
/// # Errors
///
/// Returns an error without settings, record or port.
pub async fn run() -> Result<()> {
    let settings: ResourceSettings = child::settings()?;
    child::end_with_controller();
    let log = Log::open(&settings.directory, "resource")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let seen = Seen::default();
    let is_fenced = settings.sabotage != Some(Sabotage::FencingOff);
    loop {
        let (connection, _) = listener.accept().await.context("the resource accepts no connections")?;
        tokio::spawn(serve(connection, log.clone(), Arc::clone(&seen), is_fenced));
    }
}

async fn serve(mut connection: TcpStream, log: Log, seen: Seen, is_fenced: bool) -> std::io::Result<()> {
    connection.set_nodelay(true)?;
    let (read, mut write) = connection.split();
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await? {
        let Write { name, token, writer } = serde_json::from_str(&line)?;
        let answer = {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            let largest = seen.entry(name.clone()).or_default();
            if token < *largest && is_fenced {
                // Under the lock, so that the record has the order of the decisions.
                log.write(Event::Refused { name, token, writer, largest: *largest });
                "refused\n"
            } else {
                *largest = token.max(*largest);
                log.write(Event::Accepted { name, token, writer });
                "accepted\n"
            }
        };
        write.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}
