//! One case: a store, a fault, a seed. The controller starts all processes, lets the nemesis inject the faults, and ends all
//! processes.

use std::{
    cell::RefCell,
    collections::HashSet,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use clap::ValueEnum;
use integration_tests::{Proxy, WallClock};
use lease_core::{Clock, LeaseStore, SystemClock};
use tokio::try_join;

use crate::{
    campaigner::LEADER,
    count::connections_to,
    fault::{Fault, Store, draw},
    log::{Log, nanoseconds, now},
    nemesis::{Nemesis, Worker},
    open::open,
    pause,
    process::Process,
    record::{self, Entry, Event, Sabotage},
    resource::ResourceSettings,
    server::Server,
    worker::WorkerSettings,
};

const WORKERS: usize = 4;
pub(crate) const LEASES: [&str; 4] = ["invoices", "ledger", "mail", "reports"];

/// The longest time for the clean end of a process, in which its leases are released, or the calls for that fail.
const END_TIMEOUT: Duration = Duration::from_secs(20);

/// A case: a store, a fault, and the seed of its moments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Case {
    /// The store.
    pub store: Store,
    /// The fault that is injected.
    pub fault: Fault,
    /// The defect that is injected on purpose, if any.
    pub sabotage: Option<Sabotage>,
    /// The seed from which the faults are drawn.
    pub seed: u64,
    /// The length of the time with faults, in ttls.
    pub length: f64,
}

impl Case {
    /// Returns the name, which can be that of a directory: `redis-worker-frozen-7`.
    #[must_use]
    pub fn name(&self) -> String {
        let sabotage = self.sabotage.and_then(|sabotage| sabotage.to_possible_value());
        let sabotage = sabotage.map_or_else(String::new, |value| format!("-{}", value.get_name()));
        format!("{}-{}{sabotage}-{}", self.store, self.fault, self.seed).replace(' ', "-")
    }

    /// Returns the ttl of the leases: etcd grants no less than two seconds, and some stores have a clock of whole seconds.
    fn ttl(&self) -> Duration {
        Duration::from_secs(match self.store {
            Store::Postgres | Store::Redis | Store::RedisCluster | Store::File => 1,
            Store::Etcd | Store::Consul | Store::ZooKeeper => 2,
            Store::Kubernetes => 3,
            Store::ObjectStorage => 5,
        })
    }

    /// Returns the bound of C5. In etcd, a new leader restarts the ttl of all leases after its election. Where every contender
    /// judges expiry, it has watched for a ttl, and does not look all the time.
    fn recovery(&self) -> Duration {
        // With the default slack of ZooKeeper, a lease is longer for others by four times two seconds.
        let looks = match self.store {
            Store::ZooKeeper => self.ttl() * 2 + Duration::from_secs(8),
            store if store.is_document() => self.ttl() * 2,
            _ => Duration::ZERO,
        };
        self.ttl() * 3 + Duration::from_secs(5) + looks
    }

    /// Returns the longest time of an election. In etcd, each attempt begins within twice the election timeout of a second, and
    /// votes may split once.
    fn election(&self) -> Duration {
        Duration::from_secs(if self.fault.needs_cluster(self.store) { 4 } else { 0 })
    }

    /// Runs the case, and returns the directory of its record, which is not judged.
    ///
    /// Await it on the main thread: the processes end with the thread that starts them.
    ///
    /// # Errors
    ///
    /// Returns an error if a server or a process does not start, or does not end.
    pub async fn run(&self, out: &Path) -> Result<PathBuf> {
        let directory = out.join(self.name());
        create_empty_directory(&directory)?;
        let directory = directory.canonicalize()?;
        self.write_case(&directory)?;
        let log = Log::open(&directory, "controller")?;

        let has_clock = self.fault == Fault::ServerClockJump;
        let server_clock = if has_clock { Some(WallClock::new().await?) } else { None };
        let server = Server::start(self.store, self.fault, server_clock.as_ref()).await?;
        let baseline = count_connections(&server, u64::MAX, &log).await?;
        server.prepare().await?;
        count_leases(&server, Duration::ZERO, &log).await?;

        let mut resource = Process::start(
            "resource",
            &ResourceSettings { directory: directory.clone(), sabotage: self.sabotage },
            None,
        )?;
        let address = resource.read_line()?;
        let mut workers = Vec::new();
        for number in 0..WORKERS {
            workers.push(RefCell::new(self.worker(number, &server, &directory, &address).await?));
        }
        pause(self.ttl() / 2).await;

        let nemesis = Nemesis {
            directory: &directory,
            log: Log::open(&directory, "nemesis")?,
            ttl: self.ttl(),
            server: &server,
            server_clock: server_clock.as_ref(),
            workers: &workers,
        };
        let time = self.ttl().mul_f64(self.length);
        let lanes = draw(self.store, self.fault, self.seed, time, self.ttl(), WORKERS);
        let began = SystemClock.now();
        let at_least = async {
            SystemClock.sleep_until(began + time).await;
            Ok(())
        };
        let [one, two, three] = &lanes[..] else { anyhow::bail!("there are three lanes") };
        try_join!(nemesis.strike(began, one), nemesis.strike(began, two), nemesis.strike(began, three), at_least)?;

        let healed = now();
        log.write_at(healed, Event::Healed);
        self.wait_for_recovery(&directory, healed).await?;
        for worker in workers {
            worker.into_inner().process.end(END_TIMEOUT).await?;
        }
        drop(resource);
        count_connections(&server, baseline, &log).await?;
        count_leases(&server, self.ttl() * 3, &log).await?;
        Ok(directory)
    }

    fn write_case(&self, directory: &Path) -> Result<()> {
        let case = record::Case {
            store: self.store.to_string(),
            fault: self.fault.to_string(),
            degradation: self.fault.degradation(self.store),
            sabotage: self.sabotage,
            seed: self.seed,
            ttl: nanoseconds(self.ttl()),
            recovery: nanoseconds(self.recovery()),
            election: nanoseconds(self.election()),
        };
        std::fs::write(directory.join("case.json"), serde_json::to_string_pretty(&case)?)?;
        Ok(())
    }

    async fn worker(&self, number: usize, server: &Server, directory: &Path, resource: &str) -> Result<Worker> {
        let mut proxies = Vec::new();
        for address in server.addresses()? {
            proxies.push(Proxy::start(address).await?);
        }
        let settings = WorkerSettings {
            name: format!("worker-{}", number + 1),
            directory: directory.to_owned(),
            store: server.url_through(&proxies, number, self.fault),
            resource: resource.to_owned(),
            ttl: self.ttl(),
            leases: LEASES.map(str::to_owned).to_vec(),
            seed: self.seed.wrapping_add((number as u64) << 16),
            sabotage: self.sabotage,
        };
        let jumps = matches!(self.fault, Fault::WorkerClockJump | Fault::Everything);
        let clock = if jumps { Some(WallClock::new().await?) } else { None };
        Worker::start(settings, proxies, clock)
    }

    /// Waits until every name was granted again and a quarter of a ttl longer, at most for the bound of C5.
    async fn wait_for_recovery(&self, directory: &Path, healed: u64) -> Result<()> {
        let deadline = SystemClock.now() + self.recovery();
        while SystemClock.now() < deadline {
            let mut granted = HashSet::new();
            for entry in entries(directory)? {
                if let Entry { at, event: Event::Granted { name, .. }, .. } = entry
                    && at > healed
                {
                    granted.insert(name);
                }
            }
            if LEASES.iter().chain([&LEADER]).all(|name| granted.contains(*name)) {
                break;
            }
            pause(Duration::from_millis(50)).await;
        }
        pause(self.ttl() / 4).await;
        Ok(())
    }
}

/// Counts the connections to a server when there are at most `expected`, or after five seconds: a server needs a moment to
/// detect that its clients have ended.
async fn count_connections(server: &Server, expected: u64, log: &Log) -> Result<u64> {
    let [address] = server.addresses()?[..] else { return Ok(0) };
    let deadline = SystemClock.now() + Duration::from_secs(5);
    while connections_to(address) > expected && SystemClock.now() < deadline {
        pause(Duration::from_millis(10)).await;
    }
    let count = connections_to(address);
    write_count(log, "connections", count);
    Ok(count)
}

/// Counts the leases on a server when there are none, or after this time: by one store, since where contenders judge expiry a new
/// one has watched nothing.
async fn count_leases(server: &Server, patience: Duration, log: &Log) -> Result<()> {
    let deadline = SystemClock.now() + patience;
    let store = open(&server.url()).await?;
    let (leases, buckets) = loop {
        let (leases, buckets) = (store.list("", None, 1_000).await?.len(), server.count_buckets().await?);
        if SystemClock.now() >= deadline || leases == 0 && buckets.unwrap_or(0) == 0 {
            break (leases, buckets);
        }
        pause(Duration::from_millis(50)).await;
    };
    write_count(log, "leases", leases as u64);
    if let Some(buckets) = buckets {
        write_count(log, "etcd leases", buckets);
    }
    Ok(())
}

fn write_count(log: &Log, what: &str, count: u64) {
    log.write(Event::Counted { what: what.to_owned(), of: "server".to_owned(), count });
}

/// Returns the entries that the workers of a case have written so far.
pub(crate) fn entries(directory: &Path) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for file in std::fs::read_dir(directory)? {
        let file = file?;
        if file.file_name().to_string_lossy().starts_with("worker") {
            let text = std::fs::read_to_string(file.path())?;
            // The last line may be incomplete.
            let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok());
            entries.extend(lines);
        }
    }
    Ok(entries)
}

/// Creates an empty directory in place of an existing one.
fn create_empty_directory(path: &Path) -> Result<()> {
    if path.exists() {
        std::fs::remove_dir_all(path)?;
    }
    std::fs::create_dir_all(path).with_context(|| format!("no directory {}", path.display()))
}
