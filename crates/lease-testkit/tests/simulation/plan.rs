//! The plan of a schedule: data that is drawn from a seed and can be reduced.

use std::{fmt, ops::RangeInclusive, time::Duration};

use lease_core::ErrorKind;
use lease_testkit::{Fault, Hints, Operation};
use proptest::{collection::vec, prelude::*, sample::select};

/// A plan. Times are in thousandths of the ttl.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) ttl: Duration,
    pub(crate) clients: Vec<ClientPlan>,
    /// Breaks by an operator: the time since the break before, and the name (S22).
    pub(crate) breaks: Vec<(u32, u8)>,
}

/// A client, with a clock, a connection and workers of its own.
#[derive(Debug, Clone)]
pub(crate) struct ClientPlan {
    /// The error of its clock, in parts per million.
    pub(crate) drift: i32,
    pub(crate) hints: Hints,
    /// Faults of its store: each hits every n-th call of the operation.
    pub(crate) faults: Vec<(Operation, FaultPlan, u32)>,
    pub(crate) disruptions: Vec<Disruption>,
    pub(crate) workers: Vec<Vec<Step>>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum FaultPlan {
    DelayRequest(u32),
    DelayAnswer(u32),
    Duplicate(u32),
    LoseRequest,
    LoseAnswer,
    Fail(ErrorKind),
}

/// A disruption of the whole client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Disruption {
    pub(crate) after: u32,
    pub(crate) duration: u32,
    pub(crate) kind: DisruptionKind,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum DisruptionKind {
    /// Calls stay in flight and are executed later.
    Freeze,
    /// Calls fail.
    Cut,
    /// The clock jumps, as over a suspend.
    Jump,
    /// The tasks that use the client are aborted and started again, as when a part of the application restarts.
    Abort,
    /// The client is closed and replaced by another one with the same holder id, as in an orderly restart.
    Close,
}

/// A step of a worker: acquires a lease, holds it for a while, and ends it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) pause: u32,
    /// The number of the name.
    pub(crate) name: u8,
    pub(crate) acquire: Acquire,
    pub(crate) works_for: u32,
    pub(crate) end: End,
    pub(crate) announce: bool,
    /// The maximum tenure is one ttl.
    pub(crate) short_tenure: bool,
    /// The name stays blocked for half a ttl after the grant.
    pub(crate) hold_at_least: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Acquire {
    Once,
    /// The caller may drop its wait before the limit (S15).
    Waiting {
        limit: u32,
        cancel_after: u32,
    },
    /// The caller drops its wait and begins again at every tick, `ticks` times (L2).
    Ticking {
        tick: u32,
        ticks: u8,
    },
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    Release,
    Drop,
    Abandon,
    /// To the client with this number.
    HandOver(u8),
}

impl Plan {
    pub(crate) fn time(&self, thousandths: u32) -> Duration {
        self.ttl * thousandths / 1000
    }

    /// Returns all plans that lack one part of this plan.
    pub(crate) fn without_a_part(&self) -> Vec<Self> {
        let mut smaller = Vec::new();
        let mut without = |change: &dyn Fn(&mut Self)| {
            let mut plan = self.clone();
            change(&mut plan);
            smaller.push(plan);
        };
        for index in 0..self.breaks.len() {
            without(&|plan| _ = plan.breaks.remove(index));
        }
        for (number, client) in self.clients.iter().enumerate() {
            without(&|plan| _ = plan.clients.remove(number));
            for index in 0..client.faults.len() {
                without(&|plan| _ = plan.clients[number].faults.remove(index));
            }
            for index in 0..client.disruptions.len() {
                without(&|plan| _ = plan.clients[number].disruptions.remove(index));
            }
            for (worker, steps) in client.workers.iter().enumerate() {
                without(&|plan| _ = plan.clients[number].workers.remove(worker));
                for index in 0..steps.len() {
                    without(&|plan| _ = plan.clients[number].workers[worker].remove(index));
                }
            }
        }
        smaller
    }

    pub(crate) fn fault(&self, fault: FaultPlan) -> Fault {
        match fault {
            FaultPlan::DelayRequest(delay) => Fault::DelayRequest(self.time(delay)),
            FaultPlan::DelayAnswer(delay) => Fault::DelayAnswer(self.time(delay)),
            FaultPlan::Duplicate(delay) => Fault::Duplicate(self.time(delay)),
            FaultPlan::LoseRequest => Fault::LoseRequest,
            FaultPlan::LoseAnswer => Fault::LoseAnswer,
            FaultPlan::Fail(kind) => Fault::Fail(kind),
        }
    }
}

/// Returns all plans with clock errors in this range, in parts per million. The simplest come first, because a failing plan
/// is reduced to them.
pub(crate) fn plans(drift: RangeInclusive<i32>) -> impl Strategy<Value = Plan> {
    let ttl = select(vec![Duration::from_millis(300), Duration::from_secs(2), Duration::from_secs(20)]);
    let breaks = vec((1000..8000_u32, 0..2_u8), 0..=2);
    (ttl, vec(client(drift), 2..=4), breaks).prop_map(|(ttl, clients, breaks)| Plan { ttl, clients, breaks })
}

fn client(drift: RangeInclusive<i32>) -> impl Strategy<Value = ClientPlan> {
    let hints = prop_oneof![2 => Just(Hints::Delivered), 1 => Just(Hints::Dropped)];
    let operation = select(vec![Operation::Acquire, Operation::Renew, Operation::Release, Operation::Inspect]);
    let faults = vec((operation, fault(), prop_oneof![1 => 4..12_u32, 2 => 1..4_u32]), 0..=6);
    let kind = select(vec![
        DisruptionKind::Freeze,
        DisruptionKind::Cut,
        DisruptionKind::Jump,
        DisruptionKind::Abort,
        DisruptionKind::Close,
    ]);
    let disruption =
        (500..5000_u32, 0..2000_u32, kind).prop_map(|(after, duration, kind)| Disruption { after, duration, kind });
    let workers = vec(vec(step(), 1..=4), 1..=2);
    (drift, hints, faults, vec(disruption, 0..=3), workers).prop_map(|(drift, hints, faults, disruptions, workers)| {
        ClientPlan { drift, hints, faults, disruptions, workers }
    })
}

fn fault() -> impl Strategy<Value = FaultPlan> {
    let delay = || prop_oneof![0..125_u32, 0..1000_u32, 1000..2000_u32];
    let kind = select(vec![ErrorKind::Unavailable, ErrorKind::Indeterminate, ErrorKind::Internal]);
    prop_oneof![
        1 => kind.prop_map(FaultPlan::Fail),
        1 => Just(FaultPlan::LoseRequest),
        1 => Just(FaultPlan::LoseAnswer),
        1 => delay().prop_map(FaultPlan::DelayAnswer),
        2 => delay().prop_map(FaultPlan::DelayRequest),
        2 => delay().prop_map(FaultPlan::Duplicate),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let acquire = prop_oneof![
        1 => Just(Acquire::Once),
        2 => (0..3000_u32, 0..4000_u32).prop_map(|(limit, cancel_after)| Acquire::Waiting { limit, cancel_after }),
        1 => (10..500_u32, 1..20_u8).prop_map(|(tick, ticks)| Acquire::Ticking { tick, ticks }),
    ];
    let works_for = prop_oneof![1 => Just(0), 4 => 0..3000_u32];
    let end = prop_oneof![
        3 => Just(End::Release),
        1 => Just(End::Drop),
        1 => Just(End::Abandon),
        1 => (0..4_u8).prop_map(End::HandOver),
    ];
    let flags = [0.3, 0.1, 0.1].map(prop::bool::weighted);
    (0..250_u32, 0..2_u8, acquire, works_for, end, flags).prop_map(
        |(pause, name, acquire, works_for, end, [announce, short_tenure, hold_at_least])| Step {
            pause,
            name,
            acquire,
            works_for,
            end,
            announce,
            short_tenure,
            hold_at_least,
        },
    )
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the ttl is {:?}", self.ttl)?;
        for (number, client) in self.clients.iter().enumerate() {
            let wrong = f64::from(client.drift) / 10_000.0;
            writeln!(f, "the clock of client-{number} gains {wrong} %; hints: {:?}", client.hints)?;
            for (operation, fault, every) in &client.faults {
                writeln!(f, "  on every {every}. {operation:?}: {:?}", self.fault(*fault))?;
            }
        }
        Ok(())
    }
}
