//! Injects the faults that were drawn, and ends them.

use std::{cell::RefCell, collections::HashSet, path::Path, time::Duration};

use anyhow::Result;
use integration_tests::{Direction, Proxy, WallClock};
use lease_core::{Clock, Moment, SystemClock};
use rustix::process::Signal;

use crate::{
    case::entries,
    fault::{Fault, Strike},
    log::Log,
    process::Process,
    record::{Entry, Event, NETWORK_OF},
    server::Server,
    worker::WorkerSettings,
};

const DAY: Duration = Duration::from_secs(86_400);

/// Injects faults into the workers, their networks and the server.
pub(crate) struct Nemesis<'a> {
    /// The directory of the record.
    pub(crate) directory: &'a Path,
    pub(crate) log: Log,
    pub(crate) ttl: Duration,
    pub(crate) server: &'a Server,
    pub(crate) server_clock: Option<&'a WallClock>,
    pub(crate) workers: &'a [RefCell<Worker>],
}

/// A worker, over all its processes.
pub(crate) struct Worker {
    pub(crate) settings: WorkerSettings,
    pub(crate) process: Process,
    /// The number of its processes so far.
    pub(crate) starts: u32,
    /// The proxies between it and the store.
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) clock: Option<WallClock>,
}

impl Worker {
    pub(crate) fn start(settings: WorkerSettings, proxies: Vec<Proxy>, clock: Option<WallClock>) -> Result<Self> {
        let process = Process::start("worker", &settings, clock.as_ref())?;
        Ok(Self { settings, process, starts: 1, proxies, clock })
    }

    fn start_again(&mut self) -> Result<()> {
        let first = self.settings.name.split('.').next().unwrap_or_default();
        self.settings.name = format!("{first}.{}", self.starts);
        self.settings.seed = self.settings.seed.wrapping_add(1_000);
        self.starts += 1;
        self.process = Process::start("worker", &self.settings, self.clock.as_ref())?;
        Ok(())
    }

    fn shift_clock(&self, nanoseconds: i64) -> Result<()> {
        self.clock.as_ref().map_or(Ok(()), |clock| clock.shift(nanoseconds))?;
        Ok(())
    }
}

impl Nemesis<'_> {
    /// Injects the faults of one lane, one after the other. Their moments count from `began`.
    pub(crate) async fn strike(&self, began: Moment, strikes: &[Strike]) -> Result<()> {
        // Jumps of the server's clock add up.
        let mut server_shift = 0;
        for strike in strikes {
            SystemClock.sleep_until(began + strike.at).await;
            let targets: Vec<&RefCell<Worker>> = match strike.worker {
                Some(worker) => vec![self.victim(worker)?],
                None => self.workers.iter().collect(),
            };
            let end = began + strike.at + strike.lasts;
            match strike.fault {
                Fault::WorkerKilled | Fault::WorkerFrozen | Fault::WorkerClockJump => {
                    self.strike_worker(strike, targets[0], end).await?;
                }
                Fault::ServerClockJump => {
                    server_shift += jump(strike.severity, self.ttl);
                    self.began(strike, "server");
                    self.server.shift_clock(self.server_clock, server_shift).await?;
                    self.ended(strike, "server");
                    SystemClock.sleep_until(end).await;
                }
                fault if fault.is_of_servers() => {
                    if fault == Fault::LossyFailOver {
                        self.server.hold_back_data();
                        SystemClock.sleep_until(end).await;
                    }
                    self.began(strike, "server");
                    let harmed = self.server.harm(fault, strike.severity).await?;
                    self.redirect()?;
                    // There are two primaries until the clients on either side have connected: a connection attempt that
                    // hangs takes its five seconds.
                    let end = if fault == Fault::LossyFailOver { SystemClock.now() + self.ttl * 6 } else { end };
                    SystemClock.sleep_until(end).await;
                    self.server.heal(fault, harmed).await?;
                    self.ended(strike, "server");
                }
                _ => self.strike_network(strike, &targets, end).await,
            }
        }
        Ok(())
    }

    /// Returns this worker, or the next one that holds a lease.
    fn victim(&self, first: usize) -> Result<&RefCell<Worker>> {
        let entries = entries(self.directory)?;
        let holds = |worker: &&RefCell<Worker>| {
            let worker = worker.borrow();
            let (mut granted, mut ended) = (HashSet::new(), HashSet::new());
            for Entry { event, .. } in entries.iter().filter(|entry| entry.by == worker.settings.name) {
                match event {
                    Event::Granted { name, token, .. } => granted.insert((name, token)),
                    Event::Lost { name, token, .. } | Event::Releasing { name, token } => ended.insert((name, token)),
                    _ => false,
                };
            }
            granted.len() > ended.len()
        };
        let mut from_first = self.workers.iter().cycle().skip(first).take(self.workers.len());
        Ok(from_first.find(holds).unwrap_or(&self.workers[first]))
    }

    async fn strike_worker(&self, strike: &Strike, worker: &RefCell<Worker>, end: Moment) -> Result<()> {
        let name = worker.borrow().settings.name.clone();
        match strike.fault {
            Fault::WorkerKilled => {
                worker.borrow_mut().process.kill()?;
                self.began(strike, &name);
                SystemClock.sleep_until(end).await;
                self.ended(strike, &name);
                worker.borrow_mut().start_again()?;
            }
            Fault::WorkerFrozen => {
                self.began(strike, &name);
                worker.borrow().process.signal(Signal::STOP)?;
                SystemClock.sleep_until(end).await;
                self.ended(strike, &name);
                worker.borrow().process.signal(Signal::CONT)?;
            }
            _ => {
                let day = i64::try_from(DAY.as_nanos()).unwrap_or(i64::MAX);
                self.began(strike, &name);
                // Back first, while it holds a lease; the return is the jump forward.
                worker.borrow().shift_clock(-day)?;
                SystemClock.sleep_until(end).await;
                worker.borrow().shift_clock(0)?;
                self.ended(strike, &name);
            }
        }
        Ok(())
    }

    async fn strike_network(&self, strike: &Strike, targets: &[&RefCell<Worker>], end: Moment) {
        for target in targets {
            let worker = target.borrow();
            self.began(strike, &network_of(&worker));
            worker.proxies.iter().for_each(|proxy| self.harm_network(strike, proxy));
        }
        if strike.fault == Fault::LateThenCut {
            // After one or two renewals.
            SystemClock.sleep_until(end - self.ttl.mul_f64(1.3)).await;
            for target in targets {
                target.borrow().proxies.iter().for_each(|proxy| proxy.black_hole(Direction::Both));
            }
        }
        SystemClock.sleep_until(end).await;
        for target in targets {
            let worker = target.borrow();
            worker.proxies.iter().for_each(Proxy::heal);
            self.ended(strike, &network_of(&worker));
        }
    }

    /// Points the proxies of the workers to the current addresses of the servers, which a fail-over changes.
    fn redirect(&self) -> Result<()> {
        let addresses = self.server.addresses()?;
        for worker in self.workers {
            for (proxy, &address) in worker.borrow().proxies.iter().zip(&addresses) {
                proxy.redirect(address);
            }
        }
        Ok(())
    }

    fn harm_network(&self, strike: &Strike, proxy: &Proxy) {
        let Strike { direction, severity, .. } = *strike;
        match strike.fault {
            Fault::RequestsCut => proxy.black_hole(Direction::Requests),
            Fault::AnswersCut => proxy.black_hole(Direction::Answers),
            Fault::AnswersLost => proxy.drop_answers(),
            Fault::ConnectionsBroken => {
                proxy.cut_after(direction, 1 + (severity * 500.0) as u64);
                // Open connections break at once.
                if severity < 0.3 {
                    proxy.reset_connections();
                }
            }
            // Less than the timeout of an attempt, more than the margin of a deadline.
            Fault::LateThenCut => proxy.delay(Direction::Answers, self.ttl.mul_f64(0.11 + 0.03 * severity)),
            Fault::Latency => proxy.delay(direction, self.ttl.mul_f64(severity)),
            Fault::LowBandwidth => proxy.limit_bandwidth(direction, 300 + (20_000.0 * severity * severity) as u32),
            _ => proxy.black_hole(Direction::Both),
        }
    }

    fn began(&self, strike: &Strike, target: &str) {
        self.log.write(Event::FaultBegan { fault: strike.fault.name_in_record(), target: target.to_owned() });
    }

    fn ended(&self, strike: &Strike, target: &str) {
        self.log.write(Event::FaultEnded { fault: strike.fault.name_in_record(), target: target.to_owned() });
    }
}

fn network_of(worker: &Worker) -> String {
    format!("{NETWORK_OF}{}", worker.settings.name)
}

/// Returns the jump of a server's clock in nanoseconds. A jump back is at most a ttl, because it blocks names for that long.
fn jump(severity: f64, ttl: Duration) -> i64 {
    let ttl = ttl.as_nanos() as f64;
    (match severity {
        0.0..0.3 => -ttl * severity / 0.3,
        0.3..0.9 => ttl * severity * 3.0,
        _ => DAY.as_nanos() as f64,
    }) as i64
}
