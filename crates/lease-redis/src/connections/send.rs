//! Sends one command, and makes sure that the answer belongs to it.

use std::{
    future::Future,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use fred::{
    clients::{Client, WithOptions},
    error::{Error as DriverError, ErrorKind as DriverErrorKind},
    prelude::{ClientLike, Options, ServerInterface, Value},
    types::CustomCommand,
};

use super::{
    Connections,
    call::{Answered, Arguments, Attempts, CallOptions, Confirmed, ScriptRef, replica_error, without_tag},
    connection::{CallGuard, Connection},
};
use crate::{
    STORE,
    driver::{foreign_answer, missing_answer, timed_out, until_connected},
    failure::{Access, Failure, Sent},
};

impl Connections {
    /// Sends a script once.
    pub(super) async fn send_script(
        &self,
        connection: &Arc<Connection>,
        generation: u64,
        script: ScriptRef<'_>,
        options: CallOptions,
        arguments: Arguments,
    ) -> Result<Answered, Failure> {
        let CallOptions { access, wait, asking, .. } = options;
        let tag = self.tag();
        let (command, arguments) = script.command(arguments, tag);
        let command = CustomCommand::new_static(command, None, false);
        let (value, confirmed) = if !asking && wait.is_none() {
            let send = async move |client: WithOptions<Client>| client.custom::<Value, _>(command, arguments).await;
            (self.send(connection, access, Duration::ZERO, |client| Box::pin(send(client))).await?, None)
        } else {
            // One pipeline, so that the commands follow each other on one connection: ASKING applies to the next command, and
            // WAIT to what its own connection has written.
            let send = async move |client: WithOptions<Client>| {
                let pipeline = client.pipeline().with_options(client.options());
                if asking {
                    let asking = CustomCommand::new_static("ASKING", None, false);
                    pipeline.custom::<(), _>(asking, Vec::<Value>::new()).await?;
                }
                pipeline.custom::<(), _>(command, arguments).await?;
                if let Some(wait) = wait {
                    let milliseconds = i64::try_from(wait.timeout.as_millis()).unwrap_or(i64::MAX);
                    pipeline.wait::<()>(wait.count.into(), milliseconds).await?;
                    // The answer to WAIT cannot carry a tag; that to a PING behind it shows whether the answers are shifted.
                    let (ping, arguments) = tagged_ping(tag);
                    pipeline.custom::<(), _>(ping, arguments).await?;
                }
                let mut answers = pipeline.try_all::<Value>().await.into_iter();
                let asking = if asking { answers.next() } else { None };
                // If ASKING was refused, so was the script; the error of ASKING says more.
                let error = |error| asking.and_then(Result::err).unwrap_or(error);
                // The script's answer decides. If WAIT fails in any way, no replica has confirmed it.
                let value = answers.next().unwrap_or_else(|| Err(missing_answer())).map_err(error)?;
                let confirmed = wait.map(|_| {
                    let waited = answers.next().unwrap_or_else(|| Err(missing_answer()));
                    let is_mine = matches!(answers.next(), Some(Ok(pong)) if is_answer_to_ping(&pong, tag));
                    Confirmed::parse(waited.and_then(|count| if is_mine { Ok(count) } else { Err(foreign_answer()) }))
                });
                Ok((value, confirmed))
            };
            let extra_time = wait.map_or(Duration::ZERO, |wait| wait.timeout);
            self.send(connection, access, extra_time, |client| Box::pin(send(client))).await?
        };
        let Some(values) = without_tag(value, tag) else {
            return Err(self.wrong_answer(connection, generation, access));
        };
        if let Some(error) = replica_error(&values) {
            self.leave_replica();
            let source = DriverError::new(DriverErrorKind::Unknown, error);
            return Err(Failure::new(source, Sent::ToReplica, access));
        }
        connection.is_at_primary();
        Ok(Answered { values, attempts: Attempts::One, confirmed })
    }

    /// Sends a read-only command that cannot carry a tag. A `PING` behind it carries one, and shows whether the answers go to the
    /// wrong calls.
    pub(crate) async fn query(
        &self,
        connection: &Arc<Connection>,
        command: &'static str,
        arguments: Vec<Value>,
    ) -> Result<Value, Failure> {
        let (tag, generation) = (self.tag(), connection.generation());
        let send = async move |client: WithOptions<Client>| {
            let pipeline = client.pipeline().with_options(client.options());
            pipeline.custom::<(), _>(CustomCommand::new_static(command, None, false), arguments).await?;
            let (ping, arguments) = tagged_ping(tag);
            pipeline.custom::<(), _>(ping, arguments).await?;
            let mut answers = pipeline.try_all::<Value>().await.into_iter();
            let answer = answers.next().unwrap_or_else(|| Err(missing_answer()));
            let is_mine = match answers.next() {
                Some(Ok(pong)) => is_answer_to_ping(&pong, tag),
                // Both failed, or the second was refused: neither is the answer to another call.
                Some(Err(error)) if answer.is_ok() => return Err(error),
                Some(Err(_)) | None => true,
            };
            Ok((answer, is_mine))
        };
        let call = self.send(connection, Access::Read, Duration::ZERO, |client| Box::pin(send(client)));
        let (answer, is_mine) = call.await?;
        if !is_mine {
            return Err(self.wrong_answer(connection, generation, Access::Read));
        }
        answer.map_err(|source| Failure::new(source, Sent::Maybe, Access::Read))
    }

    /// Waits until the connection is established, and returns its client.
    pub(crate) async fn connected(&self, connection: &Connection, access: Access) -> Result<Client, Failure> {
        let client = connection.client();
        if until_connected(&client, self.command_timeout).await {
            Ok(client)
        } else {
            Err(Failure::new(timed_out(), Sent::No, access))
        }
    }

    /// Replaces a connection that gives answers to the wrong calls (S25), also if it is the application's.
    pub(super) fn wrong_answer(&self, connection: &Arc<Connection>, generation: u64, access: Access) -> Failure {
        tracing::error!(store = STORE, server = self.server, "a call got the answer to another call: reconnecting");
        connection.reconnect(generation);
        Failure::new(foreign_answer(), Sent::WrongAnswer, access)
    }

    /// Sends a command. Nothing is sent before the connection is established: a call that is given up until then was not
    /// executed.
    async fn send<T, F>(
        &self,
        connection: &Arc<Connection>,
        access: Access,
        extra_time: Duration,
        command: impl FnOnce(WithOptions<Client>) -> F + Send,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, DriverError>> + Send,
    {
        let client = self.connected(connection, access).await?;
        let options = Options {
            // Only the caller has the deadline, and so repeats.
            max_attempts: Some(1),
            timeout: Some(self.command_timeout + extra_time),
            ..Options::default()
        };
        let probe = Options { timeout: Some(self.probe_timeout), max_attempts: Some(1), ..options.clone() };
        let call = CallGuard { connection, client: &client, probe: Some(probe) };
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
                    self.leave_replica_after(source.details());
                }
                Err(Failure::new(source, Sent::Maybe, access))
            }
        }
    }

    fn tag(&self) -> i64 {
        (self.next_tag.fetch_add(1, Ordering::Relaxed) & (u64::MAX >> 1)) as i64
    }
}

/// A `PING` with this tag. Behind a command whose own answer cannot carry one, it shows whether the answers are shifted.
fn tagged_ping(tag: i64) -> (CustomCommand, Vec<Value>) {
    (CustomCommand::new_static("PING", None, false), vec![Value::from(tag)])
}

fn is_answer_to_ping(pong: &Value, tag: i64) -> bool {
    pong.as_u64() == Some(tag.unsigned_abs())
}
