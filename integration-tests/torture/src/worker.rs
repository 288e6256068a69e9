//! A worker: a process that contends for a few names, as an application does, and records its tenures.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use lease_core::{
    Clock, Error, ErrorKind, HolderId, Lease, LeaseClient, LeaseHandle, LeaseOptions, Moment, SystemClock, TryAcquired,
};
use lease_testkit::SeededRng;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use crate::{
    campaigner::Campaigner,
    child,
    count::OwnCounts,
    gauges::Gauges,
    log::Log,
    open::{ZOOKEEPER, open},
    pause,
    record::{Event, Sabotage},
    tenure::Tenures,
    wall_clock::WallClock,
    worker_store::WorkerStore,
    writer::Writer,
};

/// The settings of a worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WorkerSettings {
    /// `worker-2`, or `worker-2.1` after it was killed.
    pub(crate) name: String,
    /// The directory of the record.
    pub(crate) directory: PathBuf,
    /// The URL of its store.
    pub(crate) store: String,
    /// The address of the resource.
    pub(crate) resource: String,
    pub(crate) ttl: Duration,
    /// The leases for which it contends.
    pub(crate) leases: Vec<String>,
    pub(crate) seed: u64,
    pub(crate) sabotage: Option<Sabotage>,
}

/// Works until the controller requests the end, or ends itself.
///
/// # Errors
///
/// Returns an error without settings or record, or if the store can never be opened.
pub async fn run() -> Result<()> {
    let settings: WorkerSettings = child::settings()?;
    let mut end = child::end_with_controller();
    let log = Log::open(&settings.directory, &settings.name)?;
    if settings.store.starts_with(ZOOKEEPER) {
        // The reactor of its driver has three descriptors, which stay for the process.
        drop(open(&settings.store).await);
        pause(Duration::from_millis(200)).await;
    }
    let baseline = OwnCounts::now();
    baseline.log(&log, &settings.name);
    let gauges = Gauges::install()?;
    gauges.log(&log, &settings.name);
    let requests = Arc::new(AtomicU64::new(0));
    tokio::select! {
        contended = contend(&settings, &log, &requests, &gauges, &mut end) => contended?,
        () = log_requests(&log, &requests) => {}
    }
    log.write(Event::Requests { count: requests.load(Ordering::Relaxed) });
    baseline.restored().await.log(&log, &settings.name);
    gauges.log(&log, &settings.name);
    Ok(())
}

/// Records the number of requests twice a second: a worker that is killed cannot do it at its end.
async fn log_requests(log: &Log, requests: &AtomicU64) {
    loop {
        pause(Duration::from_millis(500)).await;
        log.write(Event::Requests { count: requests.load(Ordering::Relaxed) });
    }
}

async fn contend(
    settings: &WorkerSettings,
    log: &Log,
    requests: &Arc<AtomicU64>,
    gauges: &Gauges,
    end: &mut mpsc::UnboundedReceiver<()>,
) -> Result<()> {
    // The worker may start in the middle of an outage, as under a supervisor of processes.
    let opened = loop {
        match open(&settings.store).await {
            Ok(opened) => break opened,
            Err(error) => tokio::select! {
                () = pause(settings.ttl / 10) => eprintln!("{}: {error}", settings.name),
                _ = end.recv() => return Ok(()),
            },
        }
    };
    let (clock, on_host): (Arc<dyn Clock>, fn(Moment) -> Moment) = match settings.sabotage {
        Some(Sabotage::WallClock) => (Arc::new(WallClock), WallClock::on_host),
        _ => (Arc::new(SystemClock), |moment| moment),
    };
    let tenures = Tenures::new(log.clone(), on_host);
    let client = LeaseClient::builder(WorkerStore::new(opened, Arc::clone(requests), settings.sabotage))
        .holder(HolderId::new(settings.name.as_str())?)
        .clock(clock)
        .close_grace(settings.ttl)
        .observer(tenures.clone())
        .observer(gauges.observer())
        .build();
    let (stop, attempts) = (watch::Sender::new(false), Arc::new(AtomicU64::new(0)));
    let mut contenders = JoinSet::new();
    for (number, lease) in settings.leases.iter().enumerate() {
        let contender = Contender {
            settings: settings.clone(),
            lease: lease.clone(),
            client: client.clone(),
            log: log.clone(),
            tenures: tenures.clone(),
            rng: SeededRng::new(settings.seed.wrapping_add(number as u64)),
            attempts: Arc::clone(&attempts),
            stop: stop.subscribe(),
        };
        contenders.spawn(contender.run());
    }
    let rng = SeededRng::new(settings.seed.wrapping_add(settings.leases.len() as u64));
    contenders.spawn(Campaigner::new(settings, &client, &tenures, rng)?.run(stop.subscribe()));
    end.recv().await;
    stop.send_replace(true);
    while contenders.join_next().await.is_some() {}
    client.close().await?;
    Ok(())
}

/// The outcome of an attempt: `None` if it was dropped, no lease if another holder has it.
type Answer = Option<lease_core::Result<Option<Lease>>>;

/// Contends for one name.
struct Contender {
    settings: WorkerSettings,
    lease: String,
    client: LeaseClient,
    log: Log,
    tenures: Tenures,
    rng: SeededRng,
    attempts: Arc<AtomicU64>,
    stop: watch::Receiver<bool>,
}

impl Contender {
    async fn run(mut self) {
        while !*self.stop.borrow() {
            let attempt = self.attempts.fetch_add(1, Ordering::Relaxed) + 1;
            let ttl = self.settings.ttl;
            let options = LeaseOptions::new(ttl).with_wait_limit(self.rng.between(ttl, ttl * 3));
            // Other callers share the line with waiters that are dropped soon.
            let moment = self.rng.between(ttl / 50, ttl / 4);
            self.log.write(Event::Asked { name: self.lease.clone(), attempt });
            let outcome = match self.rng.below(8) {
                0 => None,
                1 => Some(self.attempt(false, options.clone().with_wait_limit(moment)).await),
                2 => Some(tokio::select! {
                    outcome = self.attempt(false, options.clone()) => outcome,
                    () = pause(moment) => None,
                }),
                kind => Some(self.attempt(kind <= 4, options.clone()).await),
            };
            match outcome {
                None => self.run_scope(attempt, options).await,
                Some(outcome) => self.answered(attempt, outcome).await,
            }
            let rest = self.rng.between(Duration::from_millis(2), ttl / 20);
            self.pause(rest).await;
        }
    }

    /// Tries to acquire the lease, once or until it is granted. Returns `None` if the worker ends before: the attempt is dropped
    /// then (S15).
    async fn attempt(&self, once: bool, options: LeaseOptions) -> Answer {
        let mut stop = self.stop.clone();
        let name = self.lease.as_str();
        let acquiring = async {
            if once {
                self.client.try_acquire(name, options).await.map(TryAcquired::acquired)
            } else {
                self.client.acquire(name, options).await.map(Some)
            }
        };
        tokio::select! {
            outcome = acquiring => Some(outcome),
            _ = stop.wait_for(|stop| *stop) => None,
        }
    }

    async fn answered(&mut self, attempt: u64, answer: Answer) {
        match answer {
            Some(Ok(Some(lease))) => self.hold(attempt, lease).await,
            Some(Ok(None)) => self.not_granted(attempt),
            Some(Err(error)) => self.failed(attempt, &error),
            None => self.unknown(attempt),
        }
    }

    /// Holds a lease for a while, writes to the resource, and ends the lease in one of the possible ways.
    async fn hold(&mut self, attempt: u64, lease: Lease) {
        let mut tenure = self.tenures.begin(attempt, lease.handle());
        let writer = self.writer(lease.handle());
        let length = self.length();
        tokio::select! {
            biased;
            reason = lease.lost() => {
                // The writer may finish a write that it has begun: the fenced resource refuses it.
                return tenure.lost(&reason.to_string());
            }
            () = self.pause(length) => writer.stop().await,
        }
        // The lease may have been lost while the writer finished.
        if !lease.is_held() {
            return tenure.lost(&lease.lost().await.to_string());
        }
        tenure.releasing();
        match self.rng.below(8) {
            0 => drop(lease),
            1 => lease.abandon(),
            _ => tenure.released(&lease.release().await),
        }
    }

    /// Runs a scope of exclusive work: the library drops it when the lease is lost, and releases the lease when it ends.
    async fn run_scope(&mut self, attempt: u64, options: LeaseOptions) {
        let (length, mut granted) = (self.length(), false);
        let work = async |handle: LeaseHandle| {
            granted = true;
            let mut tenure = self.tenures.begin(attempt, handle.clone());
            let writer = self.writer(handle);
            self.pause(length).await;
            writer.stop().await;
            tenure.releasing();
        };
        // The scope ends when the worker ends: its wait has a limit, and its work checks for the end.
        let outcome = self.client.run(self.lease.as_str(), options, work).await;
        if let Err(error) = outcome
            && !granted
        {
            self.failed(attempt, &error);
        }
    }

    fn writer(&self, handle: LeaseHandle) -> Writer {
        Writer::start(self.tenures.clone(), handle, self.settings.resource.clone(), self.settings.name.clone())
    }

    fn not_granted(&self, attempt: u64) {
        self.log.write(Event::NotGranted { name: self.lease.clone(), attempt });
    }

    fn unknown(&self, attempt: u64) {
        self.log.write(Event::Unknown { name: self.lease.clone(), attempt });
    }

    fn failed(&self, attempt: u64, error: &Error) {
        if is_unknown(error) { self.unknown(attempt) } else { self.not_granted(attempt) }
    }

    /// Returns the time to hold a lease: less than a ttl, or some renewals; with an injected defect many, since it has an effect
    /// only while leases are held.
    fn length(&mut self) -> Duration {
        let ttl = self.settings.ttl;
        if self.settings.sabotage.is_some() {
            self.rng.between(ttl * 2, ttl * 6)
        } else if self.rng.chance(0.4) {
            self.rng.between(ttl, ttl * 2)
        } else {
            self.rng.between(ttl / 50, ttl)
        }
    }

    /// Pauses for this time, or until the worker ends.
    async fn pause(&self, length: Duration) {
        let mut stop = self.stop.clone();
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = pause(length) => {}
        }
    }
}

/// Returns whether the outcome is unknown, so that the store may have granted the lease (C7).
fn is_unknown(error: &Error) -> bool {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.filter_map(|cause| cause.downcast_ref::<Error>()).any(|cause| cause.kind() == ErrorKind::Indeterminate)
}
