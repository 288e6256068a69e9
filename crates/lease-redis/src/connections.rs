//! Connections: how they are made, used by all calls at once, and replaced when they hang.
//!
//! The driver pairs answers with commands in their order, and throws away an answer that nobody waits for any more. So a call
//! that is abandoned spoils nothing by itself. What must not be used again is a connection that **hangs**: after a call was
//! abandoned or timed out, a `PING` is sent behind it, and where that is not answered either, the client connects anew (S24).
//!
//! Nor is that order believed (S25): each call has a tag, which comes back with its answer, and a connection that gives the
//! answer to one call to another one ends. An error of the server has no tag, so it is believed when it comes a second time.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use fred::{
    clients::{Client, WithOptions},
    error::{Error as DriverError, ErrorKind as DriverErrorKind},
    prelude::{ClientLike, ClusterInterface, Config, Options, ServerInterface, Value},
    types::{ClusterHash, CustomCommand, RespVersion},
};
use lease_core::{Clock, GrantId, Result, SystemClock};

use crate::{
    RedisStoreOptions, WaitReplicas,
    call::{
        Access, Answered, Asked, Confirmed, Failure, Form, Node, Sent, Target, nodes_of, refusal_of_a_replica, tagged,
    },
    driver::{connection, longest_wait, missing, performance, reconnect_policy, timed_out, until_connected},
    error::{classify, is_no_script, is_of_server, is_read_only, repeatable_while_connecting},
    keys::Keys,
    lane::{Call, Lane, Lanes, OwnLanes},
    scripts::Script,
    url,
};

/// How long the `PING` behind an abandoned call may take, apart from what replicas may.
const PROBE_PATIENCE: Duration = Duration::from_millis(500);

/// How long a call waits for another server at the most.
const LONGEST_MOVE: Duration = Duration::from_secs(1);

/// The store's connections.
pub(crate) struct Connections {
    lanes: Lanes,
    next: AtomicUsize,
    /// That of the next call. No other store begins at the same.
    next_tag: AtomicU64,
    place: String,
    is_clustered: bool,
    command_timeout: Duration,
    probe_patience: Duration,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the clients: their configuration has the password.
        f.debug_struct("Connections").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Connections {
    /// A client of the store's own, connected.
    pub(crate) async fn open(mut config: Config, options: &RedisStoreOptions) -> Result<Self> {
        let place = url::place(&config);
        // The first connection fails at once and says why; later ones are made again and again.
        config.fail_fast = true;
        config.version = RespVersion::RESP3;
        let passwords = url::passwords(&config);
        let client =
            Client::new(config, Some(performance(options)), Some(connection(options)), Some(reconnect_policy()));
        // Its outcome is waited for from before the beginning on: it comes once.
        let mut connected = Box::pin(client.wait_for_connect());
        let at_once = futures::poll!(&mut connected);
        debug_assert!(at_once.is_pending(), "nobody has connected it");
        // From here on, nothing is left behind by whoever gives up.
        let lane = Lane::new(client.clone(), Some(client.connect()));
        let clock = SystemClock;
        let outcome = tokio::select! {
            outcome = connected => outcome,
            () = clock.sleep_until(clock.now() + options.connect_timeout) => Err(timed_out()),
        };
        outcome.map_err(|error| {
            let source = repeatable_while_connecting(&error, &passwords);
            classify("connect", &place, Failure { source, sent: Sent::No, access: Access::Read })
        })?;
        let lanes = OwnLanes::new(client.clone(), lane);
        Ok(Self::new(Lanes::Own(lanes), client.is_clustered(), place, options))
    }

    /// Whether this client can give the answer to one command to another one: in Cluster, while it follows redirections.
    /// That is a setting of the client, which no command can change.
    pub(crate) fn mixes_up_answers(client: &Client) -> bool {
        client.is_clustered() && client.connection_config().max_redirections != 0
    }

    /// Clients of the application.
    pub(crate) fn borrow(clients: Vec<Client>, options: &RedisStoreOptions) -> Self {
        let place = clients.first().map(|client| url::place(&client.client_config())).unwrap_or_default();
        let is_clustered = clients.first().is_some_and(ClientLike::is_clustered);
        let lanes = clients.into_iter().map(|client| Arc::new(Lane::new(client, None))).collect();
        Self::new(Lanes::Borrowed(lanes), is_clustered, place, options)
    }

    fn new(lanes: Lanes, is_clustered: bool, place: String, options: &RedisStoreOptions) -> Self {
        Self {
            lanes,
            next: AtomicUsize::new(0),
            // Half of the numbers, so that they stay below 2^63.
            next_tag: AtomicU64::new((GrantId::random().as_u128() as u64) >> 1),
            place,
            is_clustered,
            command_timeout: options.command_timeout,
            probe_patience: PROBE_PATIENCE + longest_wait(options),
        }
    }

    /// What the connections lead to, in words.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    pub(crate) fn is_clustered(&self) -> bool {
        self.is_clustered
    }

    /// Those that have another connection than when they were last looked at, and which one.
    pub(crate) fn not_looked_at(&self) -> Vec<(Arc<Lane>, u64)> {
        let is_new = |lane: &Arc<Lane>| lane.not_looked_at().map(|generation| (Arc::clone(lane), generation));
        match &self.lanes {
            Lanes::Own(lanes) => is_new(&lanes.of_this_runtime()).into_iter().collect(),
            Lanes::Borrowed(lanes) => lanes.iter().filter_map(is_new).collect(),
        }
    }

    /// All clients that are of use here.
    pub(crate) fn clients(&self) -> Vec<Client> {
        match &self.lanes {
            Lanes::Own(lanes) => vec![lanes.of_this_runtime().client()],
            Lanes::Borrowed(lanes) => lanes.iter().map(|lane| lane.client()).collect(),
        }
    }

    /// A client: the first one, where there are several.
    pub(crate) fn client(&self) -> Client {
        self.clients().swap_remove(0)
    }

    /// The servers that may have keys of ours.
    pub(crate) async fn primaries(&self, lane: &Lane, keys: &Keys) -> Result<Vec<Node>, Failure> {
        if !self.is_clustered {
            return Ok(vec![Node { target: Target::Keys, a_key: keys.prefix().to_owned() }]);
        }
        let client = self.connected(lane, Access::Read).await?;
        nodes_of(client.cached_cluster_state(), keys)
    }

    /// Runs a script with these keys and arguments. The server may have forgotten it at any time: then they are made once
    /// more, and go with its text, in a single command again. So they are after an error of the server, which is believed when
    /// it comes twice, and where a replica has refused, as soon as there is another server.
    pub(crate) async fn run(
        &self,
        script: &Script,
        access: Access,
        words: impl Fn() -> (Vec<String>, Vec<Value>) + Send + Sync,
        wait: Option<WaitReplicas>,
    ) -> Result<Answered, Failure> {
        let lane = self.pick();
        self.run_on(&lane, script, access, words, wait).await
    }

    pub(crate) async fn run_on(
        &self,
        lane: &Arc<Lane>,
        script: &Script,
        access: Access,
        words: impl Fn() -> (Vec<String>, Vec<Value>) + Send + Sync,
        wait: Option<WaitReplicas>,
    ) -> Result<Answered, Failure> {
        let first = lane.generation();
        let (mut is_forgotten, mut has_failed, mut was_refused) = (false, false, false);
        loop {
            let generation = lane.generation();
            let form = if is_forgotten { Form::Text(script.text()) } else { Form::Name(script.sha()) };
            let mut failure = match self.evaluate(lane, generation, access, form, words(), wait).await {
                Ok(answered) => {
                    let asked = match (is_forgotten, has_failed) {
                        (false, false) => Asked::Once,
                        (true, false) if lane.generation() == first => Asked::WithItsText,
                        _ => Asked::Again,
                    };
                    return Ok(Answered { asked, ..answered });
                }
                Err(failure) => failure,
            };
            if failure.sent == Sent::ToReplica && !was_refused && lane.is_own {
                was_refused = true;
                self.another_server(lane, generation).await;
                continue;
            }
            if failure.sent == Sent::Perhaps && is_of_server(&failure.source) && !has_failed {
                if is_no_script(&failure.source) && !is_forgotten {
                    is_forgotten = true;
                } else {
                    has_failed = true;
                    if is_read_only(failure.source.details()) && lane.is_own {
                        self.another_server(lane, generation).await;
                    }
                }
                continue;
            }
            if failure.sent == Sent::No && (has_failed || is_forgotten) {
                failure.sent = Sent::Perhaps;
            }
            return Err(failure);
        }
    }

    async fn evaluate(
        &self,
        lane: &Arc<Lane>,
        generation: u64,
        access: Access,
        form: Form<'_>,
        words: (Vec<String>, Vec<Value>),
        wait: Option<WaitReplicas>,
    ) -> Result<Answered, Failure> {
        let tag = self.tag();
        let (name, target, words) = form.command(words, tag);
        // Where it goes is said by the options of the call.
        let command = CustomCommand::new_static(name, None, false);
        let (value, confirmed) = if let Some(wait) = wait {
            // Both in one, so that they are on one connection: WAIT speaks of what was written on its own.
            let work = async move |client: WithOptions<Client>| {
                let pipeline = client.pipeline().with_options(client.options());
                pipeline.custom::<(), _>(command, words).await?;
                let milliseconds = i64::try_from(wait.timeout.as_millis()).unwrap_or(i64::MAX);
                pipeline.wait::<()>(wait.count.into(), milliseconds).await?;
                let mut answers = pipeline.try_all::<Value>().await.into_iter();
                // The script's answer says what was done. Whatever is wrong with that of WAIT, no replica has confirmed it.
                let value = answers.next().unwrap_or_else(|| Err(missing()))?;
                Ok((value, Confirmed::read(answers.next().unwrap_or_else(|| Err(missing())))))
            };
            let (value, confirmed) =
                self.call_on(lane, &target, access, wait.timeout, |client| Box::pin(work(client))).await?;
            (value, Some(confirmed))
        } else {
            let work = async move |client: WithOptions<Client>| client.custom::<Value, _>(command, words).await;
            (self.call_on(lane, &target, access, Duration::ZERO, |client| Box::pin(work(client))).await?, None)
        };
        let Some(values) = tagged(value, tag) else { return Err(self.mixed_up(lane, generation, access)) };
        if let Some(refusal) = refusal_of_a_replica(&values) {
            self.refused();
            let source = DriverError::new(DriverErrorKind::Unknown, refusal);
            return Err(Failure { source, sent: Sent::ToReplica, access });
        }
        lane.was_answered();
        Ok(Answered { values, asked: Asked::Once, confirmed })
    }

    /// Asks for what has no room for a tag, with a `PING` behind it that has: if the answers were those to other calls, it
    /// would be seen there.
    pub(crate) async fn ask(
        &self,
        lane: &Arc<Lane>,
        target: &Target,
        command: &'static str,
        words: Vec<Value>,
    ) -> Result<Value, Failure> {
        let (tag, generation) = (self.tag(), lane.generation());
        let work = async move |client: WithOptions<Client>| {
            let pipeline = client.pipeline().with_options(client.options());
            pipeline.custom::<(), _>(CustomCommand::new_static(command, None, false), words).await?;
            let ping = CustomCommand::new_static("PING", None, false);
            pipeline.custom::<(), _>(ping, vec![Value::from(tag)]).await?;
            let mut answers = pipeline.try_all::<Value>().await.into_iter();
            let answer = answers.next().unwrap_or_else(|| Err(missing()));
            let is_mine = match answers.next() {
                Some(Ok(pong)) => pong.as_u64() == Some(tag.unsigned_abs()),
                // Both failed, or the second was refused: neither is the answer to another call.
                Some(Err(error)) if answer.is_ok() => return Err(error),
                Some(Err(_)) | None => true,
            };
            Ok((answer, is_mine))
        };
        let call = self.call_on(lane, target, Access::Read, Duration::ZERO, |client| Box::pin(work(client)));
        let (answer, is_mine) = call.await?;
        if !is_mine {
            return Err(self.mixed_up(lane, generation, Access::Read));
        }
        answer.map_err(|source| Failure { source, sent: Sent::Perhaps, access: Access::Read })
    }

    fn tag(&self) -> i64 {
        (self.next_tag.fetch_add(1, Ordering::Relaxed) & (u64::MAX >> 1)) as i64
    }

    /// The connection gives answers to the wrong calls: it ends (S25), whoever's it is.
    fn mixed_up(&self, lane: &Arc<Lane>, generation: u64, access: Access) -> Failure {
        tracing::error!(
            store = crate::STORE,
            place = self.place,
            "an answer belonged to another call: the connection ends"
        );
        lane.leave(generation);
        let source = DriverError::new(DriverErrorKind::Protocol, "the answer belonged to another call");
        Failure { source, sent: Sent::Mixed, access }
    }

    /// A replica was asked: after a fail-over, the server's name or the sentinels lead elsewhere.
    pub(crate) fn refused(&self) {
        match &self.lanes {
            Lanes::Own(lanes) => lanes.of_this_runtime().was_refused(),
            Lanes::Borrowed(lanes) => lanes.iter().for_each(Lane::was_refused),
        }
    }

    /// Waits until the lane has left its server, though not for long.
    async fn another_server(&self, lane: &Arc<Lane>, generation: u64) {
        let clock = SystemClock;
        let deadline = clock.now() + self.command_timeout.min(LONGEST_MOVE);
        lane.leave(generation);
        while lane.generation() == generation && clock.now() < deadline {
            clock.sleep_until(clock.now() + Duration::from_millis(1)).await;
        }
    }

    /// Makes a call. Nothing is sent before there is a connection, so that what its caller gives up then has not happened.
    async fn call_on<T, F>(
        &self,
        lane: &Arc<Lane>,
        target: &Target,
        access: Access,
        extra_time: Duration,
        command: impl FnOnce(WithOptions<Client>) -> F + Send,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, DriverError>> + Send,
    {
        let client = self.connected(lane, access).await?;
        let (cluster_hash, cluster_node) = match target {
            Target::Keys => (None, None),
            Target::Slot(slot) => (Some(ClusterHash::Custom(*slot)), None),
            Target::Node(server) => (None, Some(server.clone())),
        };
        let options = Options {
            // Repeating is for those who know the deadline.
            max_attempts: Some(1),
            timeout: Some(self.command_timeout + extra_time),
            cluster_hash: cluster_hash.filter(|_| self.is_clustered),
            cluster_node,
            ..Options::default()
        };
        let probe = Options { timeout: Some(self.probe_patience), max_attempts: Some(1), ..options.clone() };
        let call = Call { lane, client: &client, probe: Some(probe) };
        match command(client.with_options(&options)).await {
            Ok(answer) => {
                call.finish();
                Ok(answer)
            }
            Err(source) => {
                if *source.kind() == DriverErrorKind::Timeout {
                    drop(call);
                } else {
                    call.finish();
                    self.notice(source.details());
                }
                Err(Failure { source, sent: Sent::Perhaps, access })
            }
        }
    }

    /// A server that says it is a replica is left: after a fail-over, its name or the sentinels lead elsewhere.
    pub(crate) fn notice(&self, reply: &str) {
        if is_read_only(reply) {
            self.refused();
        }
    }

    /// One after the other, those that are connected first.
    pub(crate) fn pick(&self) -> Arc<Lane> {
        let borrowed = match &self.lanes {
            Lanes::Own(lanes) => return lanes.of_this_runtime(),
            Lanes::Borrowed(lanes) => lanes,
        };
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let lanes = (0..borrowed.len()).map(|at| &borrowed[(start + at) % borrowed.len()]);
        let connected = lanes.clone().find(|lane| lane.client().is_connected());
        Arc::clone(connected.unwrap_or(&borrowed[start % borrowed.len()]))
    }

    /// The lane's client, as soon as it is connected.
    async fn connected(&self, lane: &Lane, access: Access) -> Result<Client, Failure> {
        let client = lane.client();
        if until_connected(&client, self.command_timeout).await {
            Ok(client)
        } else {
            Err(Failure { source: timed_out(), sent: Sent::No, access })
        }
    }
}
