//! What happens in a schedule: data that is drawn by a seed, and can be made smaller.

use std::{fmt, ops::RangeInclusive, time::Duration};

use lease_core::ErrorKind;
use lease_testkit::{Fault, Hints, Operation};
use proptest::{collection::vec, prelude::*, sample::select};

/// All that is planned. Times are parts of the ttl, in thousandths.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) ttl: Duration,
    pub(crate) clients: Vec<ClientPlan>,
    /// An operator breaks the lease of this name, this long after the one before (S22).
    pub(crate) breaks: Vec<(u32, u8)>,
}

/// One client, with a clock, a connection and workers of its own.
#[derive(Debug, Clone)]
pub(crate) struct ClientPlan {
    /// How wrong its clock is, in parts per million.
    pub(crate) drift: i32,
    pub(crate) hints: Hints,
    /// On every so many calls.
    pub(crate) faults: Vec<(Operation, FaultPlan, u32)>,
    pub(crate) troubles: Vec<Trouble>,
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

/// What becomes of a whole client for a while.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trouble {
    pub(crate) after: u32,
    pub(crate) lasts: u32,
    pub(crate) kind: TroubleKind,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum TroubleKind {
    /// Its calls are kept, and delivered later.
    Freeze,
    /// Its calls are refused.
    Cut,
    /// Its clock jumps, as over a suspend.
    Jump,
    /// The tasks that use it end, as with the runtime of an application's part, and are begun again.
    Abort,
    /// It is closed, and another one with the same holder id takes its place, as after a restart in order.
    Close,
}

/// A worker takes a lease, holds it for a while, and ends it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) pause: u32,
    /// One of a few names.
    pub(crate) name: u8,
    pub(crate) asks: Asks,
    pub(crate) works: u32,
    pub(crate) ends: Ends,
    pub(crate) announce: bool,
    /// Held for a ttl at most.
    pub(crate) short_tenure: bool,
    /// Blocked for half a ttl at least.
    pub(crate) holds_on: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Asks {
    Once,
    /// Some callers go away before their wait is over (S15).
    Waiting {
        limit: u32,
        patience: u32,
    },
    /// Some come and go at every tick of something else, for so many ticks (L2).
    Ticking {
        tick: u32,
        ticks: u8,
    },
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Ends {
    Release,
    Drop,
    Abandon,
    /// In favour of the client of this number.
    HandOver(u8),
}

impl Plan {
    pub(crate) fn time(&self, thousandths: u32) -> Duration {
        self.ttl * thousandths / 1000
    }

    /// All plans that lack one part of this one.
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
            for index in 0..client.troubles.len() {
                without(&|plan| _ = plan.clients[number].troubles.remove(index));
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

/// All plans whose clocks are as wrong as this, in parts per million. The simplest come first: they are what a plan that
/// fails is reduced to.
pub(crate) fn plans(drift: RangeInclusive<i32>) -> impl Strategy<Value = Plan> {
    let ttl = select(vec![Duration::from_millis(300), Duration::from_secs(2), Duration::from_secs(20)]);
    let breaks = vec((1000..8000_u32, 0..2_u8), 0..=2);
    (ttl, vec(client(drift), 2..=4), breaks).prop_map(|(ttl, clients, breaks)| Plan { ttl, clients, breaks })
}

fn client(drift: RangeInclusive<i32>) -> impl Strategy<Value = ClientPlan> {
    let hints = prop_oneof![2 => Just(Hints::Delivered), 1 => Just(Hints::Dropped)];
    let operation = select(vec![Operation::Acquire, Operation::Renew, Operation::Release, Operation::Inspect]);
    let faults = vec((operation, fault(), prop_oneof![1 => 4..12_u32, 2 => 1..4_u32]), 0..=6);
    let kind =
        select(vec![TroubleKind::Freeze, TroubleKind::Cut, TroubleKind::Jump, TroubleKind::Abort, TroubleKind::Close]);
    let trouble = (500..5000_u32, 0..2000_u32, kind).prop_map(|(after, lasts, kind)| Trouble { after, lasts, kind });
    let workers = vec(vec(step(), 1..=4), 1..=2);
    (drift, hints, faults, vec(trouble, 0..=3), workers)
        .prop_map(|(drift, hints, faults, troubles, workers)| ClientPlan { drift, hints, faults, troubles, workers })
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
    let asks = prop_oneof![
        1 => Just(Asks::Once),
        2 => (0..3000_u32, 0..4000_u32).prop_map(|(limit, patience)| Asks::Waiting { limit, patience }),
        1 => (10..500_u32, 1..20_u8).prop_map(|(tick, ticks)| Asks::Ticking { tick, ticks }),
    ];
    let works = prop_oneof![1 => Just(0), 4 => 0..3000_u32];
    let ends = prop_oneof![
        3 => Just(Ends::Release),
        1 => Just(Ends::Drop),
        1 => Just(Ends::Abandon),
        1 => (0..4_u8).prop_map(Ends::HandOver),
    ];
    let flags = [0.3, 0.1, 0.1].map(prop::bool::weighted);
    (0..250_u32, 0..2_u8, asks, works, ends, flags).prop_map(
        |(pause, name, asks, works, ends, [announce, short_tenure, holds_on])| Step {
            pause,
            name,
            asks,
            works,
            ends,
            announce,
            short_tenure,
            holds_on,
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
