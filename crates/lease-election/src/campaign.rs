//! The task of a candidate: pauses, campaigns, leads, and ends its terms in order.

use std::{pin::Pin, sync::Arc, time::Duration};

use lease_core::{
    Error, ErrorKind, HolderId, Lease, LeaseName, LeaseOptions, LeaseState, LossReason, Metadata, Moment, Released,
    Result,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    CandidateOptions, Election, Health,
    health::Gate,
    offers::Offers,
    pause::Pause,
    registration,
    report::TermReport,
    state::{CandidateState, Standing, Status, replace},
    term::Term,
};

/// A command from a handle of the candidate to its task.
#[derive(Debug)]
pub(crate) enum Command {
    StepDown { stay_away: Duration, done: Done },
    HandOver { to: HolderId, done: Done },
    Stop { done: Done },
}

type Done = oneshot::Sender<Result<()>>;

/// The end of a term.
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
    state: Arc<CandidateState>,
    commands: mpsc::Receiver<Command>,
    health: watch::Receiver<Health>,
    lead_calls: watch::Receiver<Option<usize>>,
    gate: Gate,
    is_fit: bool,
    /// The metadata of the registration.
    published: watch::Sender<Metadata>,
    pause: Pause,
    /// The candidate does not campaign before this moment.
    away_until: Option<Moment>,
    offers: Offers,
}

impl Campaign {
    pub(crate) fn new(
        election: Election,
        id: HolderId,
        options: CandidateOptions,
        state: Arc<CandidateState>,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        let settings = election.options();
        let clock = Arc::clone(election.client().clock());
        let pause = Pause::new(clock, settings.retry_interval, (election.leader_name(), &id));
        let gate = Gate::new(settings.minimum_health, settings.health_hysteresis);
        let (health, lead_calls) = (state.health.subscribe(), state.lead_calls.subscribe());
        let published = watch::Sender::new(Metadata::empty());
        let mut campaign = Self {
            election,
            id,
            options,
            state,
            commands,
            health,
            lead_calls,
            gate,
            is_fit: true,
            published,
            pause,
            away_until: None,
            offers: Offers::default(),
        };
        campaign.judge_health();
        campaign
    }

    pub(crate) async fn run(mut self, name: LeaseName) {
        let options = self.lease_options();
        let client = self.election.client().clone();
        let publishing = registration::publish(client, name, options, self.published.subscribe(), self.pause.clone());
        let publishing = tokio::spawn(publishing);
        let stopped = self.campaign_until_stopped().await;
        // Drops the sender, which ends the registration.
        drop(self);
        let _ = publishing.await;
        if let Some(done) = stopped {
            let _ = done.send(Ok(()));
        }
    }

    /// Returns when the candidate stops, with the sender for the outcome if a caller waits for it.
    async fn campaign_until_stopped(&mut self) -> Option<Done> {
        loop {
            let lease = match self.win().await {
                Ok(lease) => lease,
                Err(done) => return done,
            };
            let term = Term::new(lease.handle());
            let report = TermReport::begin(self.election.client(), lease.handle());
            self.state.standing.send_replace(Standing::Leads { term: term.token() });
            self.state.leadership.send_replace(Some(term.clone()));
            let ending = self.lead(&lease, &term).await;
            if let Some(done) = self.end(lease, &term, ending, report).await {
                return done;
            }
        }
    }

    /// Campaigns until the candidate wins, whenever it is fit and need not stay away.
    async fn win(&mut self) -> Result<Lease, Option<Done>> {
        let client = self.election.client().clone();
        let clock = Arc::clone(client.clock());
        let name = self.election.leader_name().clone();
        let options = self.lease_options().with_metadata(self.options.metadata.clone()).with_announce(true);
        // Kept while the health changes, as long as the candidate is fit, so that its place in the queue is not lost.
        let mut acquiring = None;
        loop {
            let paused_until = self.away_until.filter(|until| *until > clock.now());
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
                Ok(()) = self.lead_calls.changed() => {}
                () = clock.sleep_until(paused_until.unwrap_or(Moment::from_origin(Duration::MAX))), if paused_until.is_some() => {}
                won = won => {
                    acquiring = None;
                    match won {
                        Ok(lease) => return Ok(lease),
                        Err(error) if error.kind() == ErrorKind::Closed => return Err(None),
                        Err(error) => {
                            tracing::warn!(target: "lease", candidate = %self.id, %error, "a candidate cannot campaign: it tries again");
                            self.away_until = Some(self.pause.end());
                        }
                    }
                }
            }
        }
    }

    /// Leads until there is a reason to end the term.
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
                Ok(()) = self.lead_calls.changed() => if *self.lead_calls.borrow() == Some(0) {
                    return self.step_down();
                },
                () = term.has_ended_early() => return self.step_down(),
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

    /// Ends a term in order: the work is notified, then dropped, and the lease is released only after the work has ended
    /// (S17). If the candidate stops with the term, returns the sender for the outcome.
    async fn end(&mut self, lease: Lease, term: &Term, ending: Ending, report: TermReport) -> Option<Option<Done>> {
        let settings = self.election.options().clone();
        let clock = Arc::clone(self.election.client().clock());
        if !matches!(ending, Ending::Lost) {
            report.draining();
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
        // Work that is not polled, or that blocks, cannot be dropped. The lease then expires, and is not released.
        let work_deadline = clock.now() + settings.lease_duration;
        let drained = tokio::select! {
            biased;
            () = term.is_idle() => true,
            _ = lease.lost() => false,
            () = clock.sleep_until(work_deadline) => false,
        };
        let handle = lease.handle();
        // Each of these ends the lease at once (S12); a release is sent when it is polled.
        let releasing: Option<Pin<Box<dyn Future<Output = Result<Released>> + Send>>> = match &ending {
            _ if !drained => {
                lease.abandon();
                None
            }
            Ending::Lost => {
                drop(lease);
                None
            }
            Ending::HandOver { to, .. } => Some(Box::pin(lease.hand_over(to.clone(), settings.retry_interval * 2))),
            Ending::StepDown { .. } | Ending::Stop { .. } => Some(Box::pin(lease.release())),
        };
        let reason = handle.lost().await;
        report.end(reason.clone());
        let outcome = match releasing {
            Some(releasing) => releasing.await.map(drop),
            None => Ok(()),
        };
        self.state.leadership.send_replace(None);
        self.state.standing.send_replace(Standing::Led { term: handle.token(), reason });
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

    /// Waits for a better candidate: fit, seen a moment ago, and of a higher priority. Each check lists all candidates, so
    /// there is one check per renewal interval.
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

    /// Returns whether the candidate is fit, need not stay away, and has work to lead for.
    fn would_campaign(&self) -> bool {
        let is_paused = self.away_until.is_some_and(|until| until > self.election.client().clock().now());
        self.is_fit && !is_paused && *self.lead_calls.borrow() != Some(0)
    }

    /// Publishes the candidate's metadata. A candidate that would not campaign is published as unfit, so that a leader does
    /// not offer it the leadership.
    fn publish(&self) {
        let health = self.health.borrow().clone();
        let fit = self.would_campaign();
        // Details that are too large are left out. `Candidate::set_health` returns an error for them.
        let plain = Health::with_score(health.score());
        let metadata = registration::metadata(&self.options, &health, fit)
            .or_else(|_| registration::metadata(&self.options, &plain, fit));
        if let Ok(metadata) = metadata {
            replace(&self.published, metadata);
        }
    }

    fn lease_options(&self) -> LeaseOptions {
        self.election.options().lease_options().with_holder(self.id.clone())
    }
}

/// Runs even if the runtime of the task ends: the candidate has then stopped.
impl Drop for Campaign {
    fn drop(&mut self) {
        self.state.leadership.send_replace(None);
        self.state.standing.send_if_modified(|standing| {
            let Standing::Leads { term } = *standing else { return false };
            *standing = Standing::Led { term, reason: LossReason::ClientGone };
            true
        });
        self.state.status.send_replace(Status::Stopped);
    }
}

/// Returns the error of a hand-over by a candidate that does not lead.
pub(crate) fn not_leading() -> Error {
    Error::new(ErrorKind::Lost, "hand over", "this candidate does not lead: only the leader can hand over")
}
