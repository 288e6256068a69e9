//! Three candidates for one lease. The holder is frozen for longer than its ttl; the next one crashes; the next one hands over.
//!
//! Look for: each line has the seconds since the start, who, and what. Tokens rise. The frozen candidate reports its loss as soon as it runs
//! again, and by then another one holds the lease. After the crash the lease is free when its ttl is over, after the hand-over at once.
//!
//! ```console
//! cargo run --example failover
//! cargo run --example failover --features postgres -- --store postgres://user:password@host/database
//! ```
//!
//! Each candidate has a thread and a runtime of its own, so that it can be frozen as a whole, like a process.

use std::{
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use lease_core::{FencingToken, LeaseHandle, LossReason};
use lease_examples::Arguments;
use tokio::{sync::mpsc, time::sleep};

const NAME: &str = "examples/failover";
const TTL: Duration = Duration::from_secs(2);
/// How long a change of the holder may take at most.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is done to a holder.
#[derive(Debug, Clone, Copy)]
enum Order {
    Freeze,
    Crash,
    HandOver,
}

/// What happened to a candidate.
enum Change {
    Holds(LeaseHandle),
    Frozen,
    Crashed,
    HandsOver,
    Lost(LossReason),
    Failed(anyhow::Error),
}

struct Candidate {
    name: &'static str,
    orders: mpsc::Sender<Order>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let (changes, report) = channel();
    let candidates = ["alpha", "beta", "gamma"].map(|name| Candidate::start(name, &arguments, &changes));
    let mut course = Course { began: Instant::now(), holder: None, tokens: Vec::new() };
    for order in [Order::Freeze, Order::Crash, Order::HandOver] {
        let holder = course.next_holder(&report)?;
        thread::sleep(TTL / 4);
        let candidate = candidates.iter().find(|candidate| candidate.name == holder).context("an unknown holder")?;
        candidate.orders.blocking_send(order)?;
    }
    course.next_holder(&report)?;
    let tokens: Vec<_> = course.tokens.iter().map(ToString::to_string).collect();
    println!("tokens {} rose with every change, and no two candidates held the lease at once", tokens.join(" < "));
    Ok(())
}

/// The course of events. It checks each of them.
struct Course {
    began: Instant,
    holder: Option<LeaseHandle>,
    tokens: Vec<FencingToken>,
}

impl Course {
    /// Prints what happens until a candidate holds the lease. Returns its name.
    fn next_holder(&mut self, report: &Receiver<(&'static str, Change)>) -> Result<&'static str> {
        loop {
            let (who, change) = report.recv_timeout(PATIENCE).context("no candidate acquired the lease in time")?;
            let what = match change {
                Change::Holds(lease) => {
                    self.check(&lease)?;
                    let token = lease.token();
                    self.print(who, &format!("holds the lease, token {token}"));
                    self.tokens.push(token);
                    self.holder = Some(lease);
                    return Ok(who);
                }
                Change::Frozen => format!("is frozen for {:?}, the lease lasts {TTL:?}", TTL * 2),
                Change::Crashed => "crashes".to_owned(),
                Change::HandsOver => "hands over".to_owned(),
                Change::Lost(reason) => format!("has lost the lease: {reason}"),
                Change::Failed(error) => return Err(error.context(who)),
            };
            self.print(who, &what);
        }
    }

    /// Fails if two candidates hold the lease at once, or if the token has not risen.
    fn check(&self, lease: &LeaseHandle) -> Result<()> {
        ensure!(self.holder.as_ref().is_none_or(|old| !old.is_held()), "two candidates hold the lease");
        ensure!(self.tokens.last().is_none_or(|last| *last < lease.token()), "the token did not rise");
        Ok(())
    }

    fn print(&self, who: &str, what: &str) {
        println!("{:6.2} s  {who:5}  {what}", self.began.elapsed().as_secs_f64());
    }
}

impl Candidate {
    fn start(name: &'static str, arguments: &Arguments, changes: &Sender<(&'static str, Change)>) -> Self {
        let (orders, receiver) = mpsc::channel(1);
        let (arguments, changes) = (arguments.clone(), changes.clone());
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let report = |change| changes.send((name, change)).is_ok();
            let outcome =
                runtime.map_err(Into::into).and_then(|it| it.block_on(contend(&arguments, receiver, &report)));
            if let Err(error) = outcome {
                report(Change::Failed(error));
            }
        });
        Self { name, orders }
    }
}

/// Contends for the lease until it is ordered to crash: it then returns, and its runtime ends with everything on it.
async fn contend(
    arguments: &Arguments,
    mut orders: mpsc::Receiver<Order>,
    report: &(dyn Fn(Change) -> bool + Sync),
) -> Result<()> {
    let client = arguments.client().await?;
    loop {
        let lease = client.acquire(NAME, TTL).await?;
        report(Change::Holds(lease.handle()));
        let order = tokio::select! {
            reason = lease.lost() => {
                report(Change::Lost(reason));
                continue;
            }
            order = orders.recv() => order,
        };
        match order {
            Some(Order::Freeze) => {
                report(Change::Frozen);
                // Blocks the only thread of this runtime: nothing of this candidate runs, as under SIGSTOP.
                thread::sleep(TTL * 2);
                report(Change::Lost(lease.lost().await));
            }
            Some(Order::Crash) => {
                report(Change::Crashed);
                // A process that crashes does not run destructors.
                std::mem::forget(lease);
                return Ok(());
            }
            Some(Order::HandOver) => {
                report(Change::HandsOver);
                lease.release().await?;
                // The others go first.
                sleep(TTL).await;
            }
            None => return Ok(()),
        }
    }
}
