//! The task of a candidate: rests, campaigns, leads, and ends its terms in order.

use std::{sync::Arc, time::Duration};

use lease_core::{
    Error, ErrorKind, FencingToken, HolderId, Lease, LeaseOptions, LeaseState, LossReason, Metadata, Moment, Result,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{CandidateOptions, Election, Health, health::Gate, offers::Offers, pause::Pause, registration, term::Term};

/// What a candidate's handles, its streams and its task share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) status: watch::Sender<Status>,
    /// The term, from its beginning to its end.
    pub(crate) leadership: watch::Sender<Option<Term>>,
    pub(crate) standing: watch::Sender<Standing>,
    pub(crate) health: watch::Sender<Health>,
    /// How many calls of `lead` there are; nothing before the first. With none left there is nobody to lead for.
    pub(crate) leads: watch::Sender<Option<usize>>,
}

impl Shared {
    /// Until a check has answered, a candidate of which nothing was said is not fit.
    pub(crate) fn await_health(&self) {
        self.health.send_if_modified(|health| {
            let is_presumed = health.is_presumed();
            if is_presumed {
                *health = Health::awaited();
            }
            is_presumed
        });
    }

    /// What is as it was is no news.
    pub(crate) fn set_health(&self, health: Health) {
        replace(&self.health, health);
    }
}

/// Tells receivers only of what is new.
fn replace<T: PartialEq>(sender: &watch::Sender<T>, new: T) {
    sender.send_if_modified(|old| {
        let is_news = *old != new;
        *old = new;
        is_news
    });
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    NotStarted,
    Running,
    Stopped,
}

/// How a candidate stands to the leadership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    NeverLed,
    Leads { term: FencingToken },
    Led { term: FencingToken, reason: LossReason },
}

/// What a candidate is told to do.
#[derive(Debug)]
pub(crate) enum Command {
    StepDown { stay_away: Duration, done: Done },
    HandOver { to: HolderId, done: Done },
    Stop { done: Done },
}

type Done = oneshot::Sender<Result<()>>;

/// How a term ends.
#[derive(Debug)]
enum Ending {
    /// The lease is lost.
    Lost,
    StepDown {
        stay_away: Duration,
        done: Option<Done>,
    },
    HandOver {
        to: HolderId,
        done: Option<Done>,
    },
    Stop {
        done: Option<Done>,
    },
}

pub(crate) struct Campaign {
    election: Election,
    id: HolderId,
    options: CandidateOptions,
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    health: watch::Receiver<Health>,
    leads: watch::Receiver<Option<usize>>,
    gate: Gate,
    is_fit: bool,
    card: watch::Sender<Metadata>,
    pause: Pause,
    /// Not to campaign before then.
    away_until: Option<Moment>,
    offers: Offers,
}

impl Campaign {
    pub(crate) fn new(
        election: Election,
        id: HolderId,
        options: CandidateOptions,
        shared: Arc<Shared>,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        let settings = election.options();
        let clock = Arc::clone(election.client().clock());
        let pause = Pause::new(clock, settings.retry_interval, (election.leader_name(), &id));
        let gate = Gate::new(settings.minimum_health, settings.health_hysteresis);
        let (health, leads) = (shared.health.subscribe(), shared.leads.subscribe());
        let card = watch::Sender::new(Metadata::empty());
        let mut campaign = Self {
            election,
            id,
            options,
            shared,
            commands,
            health,
            leads,
            gate,
            is_fit: true,
            card,
            pause,
            away_until: None,
            offers: Offers::default(),
        };
        campaign.judge_health();
        campaign
    }

    pub(crate) async fn run(mut self, name: lease_core::LeaseName) {
        let options = self.lease_options();
        let client = self.election.client().clone();
        let publishing = registration::publish(client, name, options, self.card.subscribe(), self.pause.clone());
        let publishing = tokio::spawn(publishing);
        let stopped = self.campaign_until_stopped().await;
        // Without its sender the card is taken away.
        drop(self);
        let _ = publishing.await;
        if let Some(done) = stopped {
            let _ = done.send(Ok(()));
        }
    }

    /// Who stopped it, if anybody waits for that.
    async fn campaign_until_stopped(&mut self) -> Option<Done> {
        loop {
            let lease = match self.win().await {
                Ok(lease) => lease,
                Err(done) => return done,
            };
            let term = Term::new(lease.handle());
            self.shared.standing.send_replace(Standing::Leads { term: term.token() });
            self.shared.leadership.send_replace(Some(term.clone()));
            let ending = self.lead(&lease, &term).await;
            if let Some(done) = self.end(lease, &term, ending).await {
                return done;
            }
        }
    }

    /// Campaigns, whenever it is fit and need not stay away, until it wins.
    async fn win(&mut self) -> Result<Lease, Option<Done>> {
        let client = self.election.client().clone();
        let clock = Arc::clone(client.clock());
        let name = self.election.leader_name().clone();
        let options = self.lease_options().with_metadata(self.options.metadata.clone()).with_announce(true);
        // Goes on while the health changes, as long as the candidate is fit: its place in the line is not lost.
        let mut acquiring = None;
        loop {
            let resting = self.away_until.filter(|until| *until > clock.now());
            self.publish();
            if self.would_campaign() {
                let (client, name, options) = (client.clone(), name.clone(), options.clone());
                acquiring.get_or_insert_with(|| Box::pin(async move { client.acquire(name, options).await }));
            } else {
                acquiring = None;
            }
            let won = async {
                match &mut acquiring {
                    Some(acquiring) => acquiring.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(Command::Stop { done }) => return Err(Some(done)),
                    Some(Command::StepDown { stay_away, done }) => {
                        let until = clock.now() + stay_away;
                        self.away_until = Some(self.away_until.map_or(until, |earlier| earlier.max(until)));
                        let _ = done.send(Ok(()));
                    }
                    Some(Command::HandOver { done, .. }) => {
                        let _ = done.send(Err(not_leading()));
                    }
                    None => return Err(None),
                },
                Ok(()) = self.health.changed() => self.judge_health(),
                Ok(()) = self.leads.changed() => {}
                () = clock.sleep_until(resting.unwrap_or(Moment::from_origin(Duration::MAX))), if resting.is_some() => {}
                won = won => {
                    acquiring = None;
                    match won {
                        Ok(lease) => return Ok(lease),
                        Err(error) if error.kind() == ErrorKind::Closed => return Err(None),
                        Err(error) => {
                            tracing::warn!(target: "lease", candidate = %self.id, %error, "cannot campaign");
                            self.away_until = Some(self.pause.end());
                        }
                    }
                }
            }
        }
    }

    /// Leads, until there is a reason to end.
    async fn lead(&mut self, lease: &Lease, term: &Term) -> Ending {
        let settings = self.election.options().clone();
        let clock = Arc::clone(self.election.client().clock());
        let mut states = lease.states();
        let better = self.better_candidate();
        tokio::pin!(better);
        loop {
            let drain_at = match lease.state() {
                LeaseState::Jeopardy { until, .. } => Some(until - settings.grace),
                _ => None,
            };
            tokio::select! {
                biased;
                _ = lease.lost() => return Ending::Lost,
                command = self.commands.recv() => return match command {
                    Some(Command::StepDown { stay_away, done }) => Ending::StepDown { stay_away, done: Some(done) },
                    Some(Command::HandOver { to, done }) => Ending::HandOver { to, done: Some(done) },
                    Some(Command::Stop { done }) => Ending::Stop { done: Some(done) },
                    None => Ending::Stop { done: None },
                },
                () = lease.closing() => return Ending::Stop { done: None },
                Ok(()) = self.health.changed() => {
                    self.judge_health();
                    if !self.is_fit && settings.step_down_when_unhealthy {
                        return self.step_down();
                    }
                }
                Ok(()) = self.leads.changed() => if *self.leads.borrow() == Some(0) {
                    return self.step_down();
                },
                () = term.is_given_up() => return self.step_down(),
                Some(_) = states.next() => {}
                () = clock.sleep_until(drain_at.unwrap_or(Moment::from_origin(Duration::MAX))), if drain_at.is_some() => {
                    return self.step_down();
                }
                to = &mut better => {
                    self.offers.made(&to, clock.now(), settings.lease_duration);
                    return Ending::HandOver { to, done: None };
                }
            }
        }
    }

    fn step_down(&mut self) -> Ending {
        Ending::StepDown { stay_away: self.pause.length(), done: None }
    }

    /// Ends a term in order: the work is asked to end, then dropped, and only when it has ended the lease is released (S17).
    /// With the stop of the candidate, says who asked for it.
    async fn end(&mut self, lease: Lease, term: &Term, ending: Ending) -> Option<Option<Done>> {
        let settings = self.election.options().clone();
        let clock = Arc::clone(self.election.client().clock());
        if !matches!(ending, Ending::Lost) {
            term.drain();
            let grace_ends = clock.now() + settings.grace;
            tokio::select! {
                biased;
                () = term.is_idle() => {}
                _ = lease.lost() => {}
                () = clock.sleep_until(grace_ends) => {}
            }
        }
        term.cut();
        // Work that is not polled, or blocks, cannot be dropped. Then the lease runs out, rather than being released.
        let patience_ends = clock.now() + settings.lease_duration;
        let drained = tokio::select! {
            biased;
            () = term.is_idle() => true,
            _ = lease.lost() => false,
            () = clock.sleep_until(patience_ends) => false,
        };
        let handle = lease.handle();
        let outcome = match &ending {
            _ if !drained => {
                lease.abandon();
                Ok(())
            }
            Ending::Lost => {
                drop(lease);
                Ok(())
            }
            Ending::HandOver { to, .. } => lease.hand_over(to.clone(), settings.retry_interval * 2).await.map(drop),
            Ending::StepDown { .. } | Ending::Stop { .. } => lease.release().await.map(drop),
        };
        let reason = handle.lost().await;
        self.shared.leadership.send_replace(None);
        self.shared.standing.send_replace(Standing::Led { term: handle.token(), reason });
        let done = match ending {
            Ending::Lost => None,
            Ending::HandOver { done, .. } => done,
            Ending::StepDown { stay_away, done } => {
                self.away_until = Some(clock.now() + stay_away);
                done
            }
            Ending::Stop { done } => return Some(done),
        };
        if let Some(done) = done {
            let _ = done.send(outcome);
        }
        None
    }

    /// Waits for a better candidate: healthy, alive a moment ago, and of a higher priority. It looks as often as it renews: each look
    /// reads the cards of all candidates.
    fn better_candidate(&self) -> impl Future<Output = HolderId> + use<> {
        let election = self.election.clone();
        let mut pause = self.pause.clone().with_length(election.options().renew_interval);
        let (own, offers) = (self.options.priority, self.offers.clone());
        async move {
            loop {
                pause.wait().await;
                let Ok(candidates) = election.candidates().await else { continue };
                let now = election.client().clock().now();
                let fresh = election.options().renew_interval * 2;
                let better = candidates
                    .into_iter()
                    .filter(|other| {
                        other.priority > own
                            && other.is_fit
                            && other.last_seen <= fresh
                            && !offers.is_declined(&other.id, now)
                    })
                    .max_by_key(|other| other.priority);
                if let Some(better) = better {
                    return better.id;
                }
            }
        }
    }

    fn judge_health(&mut self) {
        let health = self.health.borrow_and_update().clone();
        self.is_fit = !health.is_awaited() && self.gate.is_fit(health.score());
        self.publish();
    }

    /// Whether it is fit, need not stay away, and has somebody to lead for.
    fn would_campaign(&self) -> bool {
        let is_resting = self.away_until.is_some_and(|until| until > self.election.client().clock().now());
        self.is_fit && !is_resting && *self.leads.borrow() != Some(0)
    }

    /// Who would not campaign is not offered the leadership either.
    fn publish(&self) {
        let health = self.health.borrow().clone();
        let fit = self.would_campaign();
        // Too many details are left out; whoever sets them by hand is told before.
        let plain = Health::with_score(health.score());
        let card =
            registration::card(&self.options, &health, fit).or_else(|_| registration::card(&self.options, &plain, fit));
        if let Ok(card) = card {
            replace(&self.card, card);
        }
    }

    fn lease_options(&self) -> LeaseOptions {
        self.election.options().lease_options().with_holder(self.id.clone())
    }
}

/// Also when its runtime ends: nobody campaigns any more.
impl Drop for Campaign {
    fn drop(&mut self) {
        self.shared.leadership.send_replace(None);
        self.shared.standing.send_if_modified(|standing| {
            let Standing::Leads { term } = *standing else { return false };
            *standing = Standing::Led { term, reason: LossReason::ClientGone };
            true
        });
        self.shared.status.send_replace(Status::Stopped);
    }
}

pub(crate) fn not_leading() -> Error {
    Error::new(ErrorKind::Lost, "hand over", "this candidate does not lead")
}
