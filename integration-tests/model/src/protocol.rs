//! Two clients, the store, the resource, and the messages in flight between them.

use std::{collections::BTreeSet, fmt::Write as _, time::Duration};

use stateright::{Model, Path, Property};

use crate::{
    LeaseOptions, Moment, Rule,
    schedule::Schedule,
    store::{Answer, Nonce, Request, Store, TTL, Tick},
};

/// The largest error of a clock's rate that clients assume, in per cent. It is larger than in practice, so that few ticks show it.
const DRIFT: u8 = 25;

/// The protocol, with limits of the number of events.
#[derive(Debug, Clone)]
pub struct Protocol {
    /// The rules that are left out.
    pub without: Vec<Rule>,
    /// The last tick.
    pub ticks: Tick,
    /// The number of attempts of each client.
    pub attempts: [u8; 2],
    /// The number of calls of an attempt, and of renewals of a grant.
    pub calls: u8,
    /// The number of grants, which delayed requests could make without end.
    pub grants: usize,
    /// Whether holders write to the resource.
    pub writes: bool,
}

/// The state at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    now: Tick,
    store: Store,
    clients: [Client; 2],
    resource: Resource,
    /// The messages in flight. A message may be delivered at any time, several times, or never. There is one answer to each call
    /// at a time, and it may be lost.
    in_flight: BTreeSet<Message>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Client {
    number: u8,
    /// The rate of its clock, in per cent of the store's.
    rate: u8,
    /// The number of attempts that it has begun.
    attempt: u8,
    phase: Phase,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Phase {
    /// Makes no attempt and holds no grant.
    Idle,
    /// Makes an attempt. Its calls are identified by when they were sent, on the store's clock.
    Asking { calls_left: u8, unanswered: BTreeSet<Tick> },
    /// Has a guard.
    Holding(Guard),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Guard {
    token: u8,
    /// The number of the grant, for the checker only.
    number: u8,
    /// When the request for the grant was sent, on the store's clock.
    began: Tick,
    valid_until: Moment,
    calls_left: u8,
    unanswered: BTreeSet<Tick>,
    /// Released but not latched lost, which happens only without S12.
    releasing: bool,
    /// Whether it was lost once, for the checker only.
    was_lost: bool,
}

/// The resource that the lease protects.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Resource {
    greatest_token: u8,
    latest_grant: u8,
    has_accepted_a_stale_write: bool,
}

/// A message on the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {
    /// To the store.
    Request {
        /// The request.
        request: Request,
        /// When it was sent, on the store's clock.
        sent: Tick,
    },
    /// To the client that sent the request.
    Answer {
        /// The attempt.
        about: Nonce,
        /// When the request was sent.
        sent: Tick,
        /// The answer of the store.
        answer: Answer,
    },
    /// To the resource.
    Write {
        /// The fencing token.
        token: u8,
        /// The number of the grant, for the checker only.
        number: u8,
    },
}

/// An event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Time advances by a tick.
    Tick,
    /// A client sends a request for the lease: the first of an attempt, or a repetition.
    Ask(u8),
    /// A client cancels its attempt, and releases a grant that may have been made (S15).
    GiveUp(u8),
    /// A client sends a renewal.
    Renew(u8),
    /// A client releases its grant.
    Release(u8),
    /// A client sends a write to the resource.
    Write(u8),
    /// A message arrives, perhaps repeatedly.
    Deliver(Message),
    /// An answer is lost.
    Lose(Message),
}

impl Protocol {
    /// Creates a protocol of two clients that acquire the lease once, keep it for longer than its ttl if they can, and write.
    #[must_use]
    pub fn of_two_tenures() -> Self {
        Self { without: Vec::new(), ticks: 5, attempts: [1, 1], calls: 1, grants: 2, writes: true }
    }

    /// Creates a protocol in which one client acquires the lease again, so that its own old requests may arrive.
    #[must_use]
    pub fn of_three_tenures() -> Self {
        Self { ticks: 4, attempts: [2, 1], grants: 3, writes: false, ..Self::of_two_tenures() }
    }

    /// Leaves out a rule.
    #[must_use]
    pub fn without(mut self, rule: Rule) -> Self {
        self.without.push(rule);
        self
    }

    fn keeps(&self, rule: Rule) -> bool {
        !self.without.contains(&rule)
    }

    fn schedule(&self) -> Schedule {
        let drift = if self.keeps(Rule::DeadlineAllowsForDrift) { f64::from(DRIFT) / 100.0 } else { 0.0 };
        Schedule::new(&LeaseOptions::new(duration(TTL)).with_clock_drift(drift))
    }

    /// Handles an answer to a call of this client.
    fn answered(&self, state: &mut State, client: u8, sent: Tick, answer: Answer) {
        let State { now, clients, in_flight, .. } = state;
        let client = &mut clients[usize::from(client)];
        let (nonce, schedule) = (client.nonce(), self.schedule());
        let (local_now, local_sent) = (client.local(*now), client.local(sent));
        let counted_from = if self.keeps(Rule::DeadlineCountsFromTheRequest) { local_sent } else { local_now };
        let calls = self.calls;
        match (&mut client.phase, answer) {
            (Phase::Asking { .. }, Answer::Granted { token, remaining, number }) => {
                match schedule.after_grant(counted_from, local_now, duration(remaining)) {
                    Some(plan) => {
                        let valid_until = plan.valid_until;
                        client.phase = Phase::Holding(Guard {
                            token,
                            number,
                            began: sent,
                            valid_until,
                            calls_left: calls,
                            unanswered: BTreeSet::new(),
                            releasing: false,
                            was_lost: false,
                        });
                    }
                    None => {
                        client.phase = Phase::Idle;
                        in_flight.insert(Message::Request { request: Request::Release(nonce), sent: 0 });
                    }
                }
            }
            (Phase::Asking { .. }, Answer::Spent) => client.phase = Phase::Idle,
            (Phase::Asking { unanswered, .. }, _) => {
                unanswered.remove(&sent);
            }
            (Phase::Holding(guard), Answer::Extended { remaining }) => {
                guard.unanswered.remove(&sent);
                if guard.is_held(local_now) || !self.keeps(Rule::DeadlineIsFinal) {
                    let current = guard.valid_until;
                    let plan = schedule.after_renewal(local_sent, current, counted_from, duration(remaining));
                    guard.valid_until = plan.valid_until;
                }
            }
            (Phase::Holding(_), Answer::Lost | Answer::Freed | Answer::NotHeld) => client.phase = Phase::Idle,
            (Phase::Holding(_) | Phase::Idle, _) => {}
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let (slow, fast) = (100 - DRIFT, 100 + DRIFT);
        let client = |number, rate| Client { number, rate, attempt: 0, phase: Phase::Idle };
        let state = |rates: [u8; 2]| State {
            now: 0,
            store: Store::default(),
            clients: [client(0, rates[0]), client(1, rates[1])],
            resource: Resource::default(),
            in_flight: BTreeSet::new(),
        };
        vec![state([slow, fast]), state([slow, slow])]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        // Before the first request, all moments are equal.
        let has_begun = state.clients.iter().any(|client| client.attempt > 0);
        actions.extend((has_begun && state.now < self.ticks).then_some(Action::Tick));
        for (number, client) in (0..).zip(&state.clients) {
            let may_ask = client.attempt < self.attempts[usize::from(number)];
            match &client.phase {
                Phase::Idle => actions.extend(may_ask.then_some(Action::Ask(number))),
                Phase::Holding(_) if !client.holds(state.now) => actions.extend(may_ask.then_some(Action::Ask(number))),
                Phase::Asking { calls_left, unanswered } => {
                    let may_ask = *calls_left > 0 && !unanswered.contains(&state.now);
                    actions.extend(may_ask.then_some(Action::Ask(number)));
                    actions.push(Action::GiveUp(number));
                }
                Phase::Holding(guard) => {
                    actions.extend(self.writes.then_some(Action::Write(number)));
                    let may_renew = !guard.releasing && guard.calls_left > 0 && !guard.unanswered.contains(&state.now);
                    actions.extend(may_renew.then_some(Action::Renew(number)));
                    actions.extend((!guard.releasing).then_some(Action::Release(number)));
                }
            }
        }
        for message in &state.in_flight {
            actions.push(Action::Deliver(*message));
            actions.extend(matches!(message, Message::Answer { .. }).then_some(Action::Lose(*message)));
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let State { now, store, clients, resource, in_flight } = &mut state;
        let now = *now;
        match action {
            Action::Tick => state.time_passes(),
            Action::Ask(number) => {
                let client = &mut clients[usize::from(number)];
                if !matches!(client.phase, Phase::Asking { .. }) {
                    client.attempt += 1;
                    client.phase = Phase::Asking { calls_left: self.calls, unanswered: BTreeSet::new() };
                }
                if let Phase::Asking { calls_left, unanswered } = &mut client.phase {
                    *calls_left -= 1;
                    unanswered.insert(now);
                }
                in_flight.insert(Message::Request { request: Request::Acquire(client.nonce()), sent: now });
            }
            Action::GiveUp(number) => {
                let client = &mut clients[usize::from(number)];
                client.phase = Phase::Idle;
                in_flight.insert(Message::Request { request: Request::Release(client.nonce()), sent: 0 });
            }
            Action::Renew(number) => {
                let client = &mut clients[usize::from(number)];
                let (nonce, sent) = (client.nonce(), client.local(now));
                in_flight.insert(Message::Request { request: Request::Renew(nonce), sent: now });
                if let Phase::Holding(guard) = &mut client.phase {
                    guard.calls_left -= 1;
                    guard.unanswered.insert(now);
                    if !self.keeps(Rule::UnknownRenewalKeepsTheDeadline) {
                        let current = guard.valid_until;
                        guard.valid_until =
                            self.schedule().after_renewal(sent, current, sent, duration(TTL)).valid_until;
                    }
                }
            }
            Action::Release(number) => {
                let client = &mut clients[usize::from(number)];
                in_flight.insert(Message::Request { request: Request::Release(client.nonce()), sent: 0 });
                match &mut client.phase {
                    Phase::Holding(guard) if !self.keeps(Rule::LatchBeforeRelease) => {
                        guard.releasing = true;
                        guard.unanswered.insert(0);
                    }
                    phase => *phase = Phase::Idle,
                }
            }
            Action::Write(number) => {
                if let Phase::Holding(Guard { token, number, .. }) = clients[usize::from(number)].phase {
                    in_flight.insert(Message::Write { token, number });
                }
            }
            Action::Deliver(Message::Request { request, sent }) => {
                let (Request::Acquire(about) | Request::Renew(about) | Request::Release(about)) = request;
                let answer = store.answer(request, now, &self.without);
                let is_answered = |message: &Message| matches!(message, Message::Answer { about: other, sent: then, .. } if (*other, *then) == (about, sent));
                if !in_flight.iter().any(is_answered) {
                    in_flight.insert(Message::Answer { about, sent, answer });
                }
            }
            Action::Lose(message) => {
                in_flight.remove(&message);
            }
            Action::Deliver(Message::Answer { about, sent, answer }) => {
                self.answered(&mut state, about.client, sent, answer);
            }
            Action::Deliver(Message::Write { token, number }) => {
                if token >= resource.greatest_token || !self.keeps(Rule::ResourceChecksTokens) {
                    resource.greatest_token = resource.greatest_token.max(token);
                    resource.has_accepted_a_stale_write |= number < resource.latest_grant;
                    resource.latest_grant = resource.latest_grant.max(number);
                }
            }
        }
        state.remove_unexpected_answers();
        (state != *last).then_some(state)
    }

    fn within_boundary(&self, state: &State) -> bool {
        state.store.grants.len() <= self.grants
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always("at most one client holds the lease", |_, state| {
                state.clients.iter().filter(|client| client.holds(state.now)).count() <= 1
            }),
            Property::<Self>::always("who holds the lease has a grant that is in force", |_, state| {
                let mut holders = state.clients.iter().filter(|client| client.holds(state.now));
                holders.all(|client| state.store.is_held_by(client.nonce(), state.now))
            }),
            Property::<Self>::always("tokens rise", |_, state| {
                state.store.grants.is_sorted_by(|one, next| one.1 < next.1)
            }),
            Property::<Self>::always("no two grants in a row have the same nonce", |_, state| {
                state.store.grants.is_sorted_by(|one, next| one.0 != next.0)
            }),
            Property::<Self>::always("a lease that was lost stays lost", |_, state| {
                !state.guards().any(|(client, guard)| guard.was_lost && client.holds(state.now))
            }),
            Property::<Self>::always("a grant that was over stays over", |_, state| !state.store.is_revived(state.now)),
            Property::<Self>::always("the resource accepts no stale write", |_, state| {
                !state.resource.has_accepted_a_stale_write
            }),
            // States that must be reachable, or the properties above prove nothing.
            Property::<Self>::sometimes("a lease is held for longer than a ttl", |_, state| {
                state.guards().any(|(client, guard)| client.holds(state.now) && state.now > guard.began + TTL)
            }),
            Property::<Self>::sometimes("a lost lease is taken over before its holder notices", |_, state| {
                state.guards().any(|(_, guard)| guard.was_lost)
                    && state.clients.iter().any(|client| client.holds(state.now))
            }),
            Property::<Self>::sometimes("a released lease is granted again within a ttl", |_, state| {
                state.now < TTL && state.store.grants.len() > 1
            }),
            Property::<Self>::sometimes("a retry meets its own grant", |_, state| {
                let is_less = |message: &Message| match message {
                    Message::Answer { answer: Answer::Granted { remaining, .. }, .. } => *remaining < TTL,
                    _ => false,
                };
                state.in_flight.iter().any(is_less)
            }),
            Property::<Self>::sometimes("a stale write is under way to a resource that will refuse it", |_, state| {
                let is_stale = |message: &Message| match message {
                    Message::Write { number, .. } => *number < state.resource.latest_grant,
                    _ => false,
                };
                state.in_flight.iter().any(is_stale)
            }),
        ]
    }
}

impl State {
    fn time_passes(&mut self) {
        self.now += 1;
        self.store.time_passed(self.now);
        for client in &mut self.clients {
            let local_now = client.local(self.now);
            if let Phase::Holding(guard) = &mut client.phase {
                guard.was_lost |= !guard.is_held(local_now);
            }
        }
    }

    fn guards(&self) -> impl Iterator<Item = (&Client, &Guard)> {
        self.clients.iter().filter_map(|client| match &client.phase {
            Phase::Holding(guard) => Some((client, guard)),
            Phase::Idle | Phase::Asking { .. } => None,
        })
    }

    /// Removes answers that have no effect, so that there are fewer states.
    fn remove_unexpected_answers(&mut self) {
        let clients = &self.clients;
        self.in_flight.retain(|message| match message {
            Message::Answer { about, sent, .. } => clients[usize::from(about.client)].waits_for(*about, *sent),
            Message::Request { .. } | Message::Write { .. } => true,
        });
    }
}

impl Client {
    fn nonce(&self) -> Nonce {
        Nonce { client: self.number, attempt: self.attempt }
    }

    /// Returns the moment on its clock at this moment of the store's clock.
    fn local(&self, tick: Tick) -> Moment {
        Moment::from_origin(duration(tick) * u32::from(self.rate) / 100)
    }

    /// Returns whether `is_held()` is true now.
    fn holds(&self, now: Tick) -> bool {
        matches!(&self.phase, Phase::Holding(guard) if guard.is_held(self.local(now)))
    }

    fn waits_for(&self, about: Nonce, sent: Tick) -> bool {
        match &self.phase {
            Phase::Idle => false,
            Phase::Asking { unanswered, .. } | Phase::Holding(Guard { unanswered, .. }) => {
                about == self.nonce() && unanswered.contains(&sent)
            }
        }
    }
}

impl Guard {
    fn is_held(&self, local_now: Moment) -> bool {
        local_now < self.valid_until
    }
}

fn duration(ticks: Tick) -> Duration {
    Duration::from_secs(ticks.into())
}

/// Formats the events on the path to a state, one for each line.
#[must_use]
pub fn describe(path: Path<State, Action>) -> String {
    let steps = path.into_vec();
    let rates: Vec<_> = steps[0].0.clients.iter().map(|client| client.rate).collect();
    let mut story = format!("  the clients' clocks run at {rates:?} % of the store's\n");
    for (state, action) in steps {
        if let Some(action) = action.filter(|action| *action != Action::Tick) {
            let _ = writeln!(story, "  tick {}: {action:?}", state.now);
        }
    }
    story
}
