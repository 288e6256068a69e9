//! Counts of what must return to its baseline (C6).

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use lease_core::{Clock, SystemClock};
use tokio::runtime::Handle;

use crate::{log::Log, pause, record::Event};

/// The resources of the system that a process uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OwnCounts {
    tasks: u64,
    descriptors: u64,
}

impl OwnCounts {
    /// Returns the current counts of this process.
    pub(crate) fn now() -> Self {
        let descriptors = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        Self { tasks: Handle::current().metrics().num_alive_tasks() as u64, descriptors: descriptors as u64 }
    }

    /// Waits until this process uses at most these counts, at most for five seconds, and returns its counts.
    pub(crate) async fn restored(self) -> Self {
        let deadline = SystemClock.now() + Duration::from_secs(5);
        loop {
            let counts = Self::now();
            let is_restored = counts.tasks <= self.tasks && counts.descriptors <= self.descriptors;
            if is_restored || SystemClock.now() >= deadline {
                return counts;
            }
            pause(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn log(self, log: &Log, of: &str) {
        for (what, count) in [("tasks", self.tasks), ("descriptors", self.descriptors)] {
            log.write(Event::Counted { what: what.to_owned(), of: of.to_owned(), count });
        }
    }
}

/// Returns the number of connections to this address of this host. Those of the server to itself do not count: etcd opens some after
/// its start, whenever it gets to it.
pub(crate) fn connections_to(server: SocketAddr) -> u64 {
    const ESTABLISHED: &str = "01";
    const LISTENING: &str = "0A";
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let sockets: Vec<_> = table.lines().skip(1).filter_map(Socket::parse).collect();
    let port = format!(":{:04X}", server.port());
    let listening = sockets.iter().find(|socket| socket.local.ends_with(&port) && socket.state == LISTENING);
    let own = listening.map_or_else(BTreeSet::new, |socket| sockets_beside(socket.inode));
    let is_connected = |socket: &&Socket<'_>| socket.remote.ends_with(&port) && socket.state == ESTABLISHED;
    sockets.iter().filter(is_connected).filter(|socket| !own.contains(socket.inode)).count() as u64
}

/// A line of `/proc/net/tcp`.
struct Socket<'a> {
    local: &'a str,
    remote: &'a str,
    state: &'a str,
    inode: &'a str,
}

impl<'a> Socket<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split_whitespace().skip(1);
        let [local, remote, state] = [fields.next()?, fields.next()?, fields.next()?];
        // Queues, timer, retransmissions, user and timeout are between.
        Some(Self { local, remote, state, inode: fields.nth(5)? })
    }
}

/// Returns the inodes of all sockets of the process that has this one.
fn sockets_beside(inode: &str) -> BTreeSet<String> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut sockets = processes.map(|process| sockets_of(&process.path()));
    sockets.find(|sockets| sockets.contains(inode)).unwrap_or_default()
}

fn sockets_of(process: &Path) -> BTreeSet<String> {
    let descriptors = std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    let targets = descriptors.filter_map(|descriptor| std::fs::read_link(descriptor.path()).ok());
    let inode = |target: PathBuf| Some(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned());
    targets.filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        net::{TcpListener, TcpStream},
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn a_server_that_connects_to_itself_has_no_connections() -> std::io::Result<()> {
        let server = TcpListener::bind("127.0.0.1:0")?;
        let address = server.local_addr()?;
        let own = TcpStream::connect(address)?;
        assert_eq!(connections_to(address), 0);
        drop(own);

        let script = format!("exec 3<>/dev/tcp/127.0.0.1/{} && echo connected && read -r", address.port());
        let mut other =
            Command::new("bash").args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(other.stdout.take().expect("a pipe")).read_line(&mut line)?;
        assert_eq!(connections_to(address), 1);
        other.kill()?;
        other.wait()?;
        Ok(())
    }
}
