//! What a call is made of: where it goes, what comes back, how it fails.

use std::{fmt, sync::Arc};

use fred::{error::Error as DriverError, prelude::Value, types::config::Server};

use crate::{WaitReplicas, lane::Lane};

/// How far a failed call had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// There was no connection.
    No,
    /// The command may have reached the server.
    Perhaps,
    /// It reached a replica, which said so in an answer of its own.
    ToReplica,
    /// What came was the answer to another call.
    Mixed,
}

/// What a call does with the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// A call that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) source: DriverError,
    pub(crate) sent: Sent,
    pub(crate) access: Access,
    /// Of which server of a Cluster.
    pub(crate) node: Option<Server>,
}

impl Failure {
    pub(crate) fn new(source: DriverError, sent: Sent, access: Access) -> Self {
        Self { source, sent, access, node: None }
    }

    pub(crate) fn of(self, node: &Server) -> Self {
        Self { node: Some(node.clone()), ..self }
    }
}

/// A server that may have keys of ours.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) lane: Arc<Lane>,
    /// One that would be there, if it were one; nothing where there can be none.
    pub(crate) a_key: Option<String>,
}

/// Which way a call takes to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Plain,
    /// Behind `ASKING`: the slot of its keys is being moved there.
    Asking,
}

/// How a script is run.
#[derive(Clone, Copy)]
pub(crate) struct Manner {
    pub(crate) way: Way,
    pub(crate) access: Access,
    /// Whether replicas are waited for.
    pub(crate) wait: Option<WaitReplicas>,
    /// Whether there was an error before, which need not have been the answer to this call.
    pub(crate) has_failed: bool,
}

/// What a script answered.
#[derive(Debug)]
pub(crate) struct Answered {
    /// One for each key.
    pub(crate) values: Vec<Value>,
    pub(crate) asked: Asked,
    /// Which replicas have it, where that was asked.
    pub(crate) confirmed: Option<Confirmed>,
}

/// How often the script was asked for, and so whether it may have been done before the answer: a first answer that was an error
/// need not have been the answer to this call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Once,
    /// The second time with its text, on the same connection: every day, as servers forget scripts.
    WithItsText,
    Again,
}

/// What `WAIT` answered.
#[derive(Debug)]
pub(crate) struct Confirmed {
    pub(crate) replicas: u32,
    /// Why no replica could be asked: a missing right, or a server that has become a replica meanwhile.
    error: Option<String>,
}

impl Confirmed {
    pub(crate) fn read(answer: Result<Value, DriverError>) -> Self {
        match answer {
            Ok(count) => {
                let replicas = count.as_u64().and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
                Self { replicas, error: None }
            }
            Err(error) => Self { replicas: 0, error: Some(error.details().to_owned()) },
        }
    }
}

impl fmt::Display for Confirmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "only {} replicas had it in time", self.replicas)?;
        self.error.as_ref().map_or(Ok(()), |error| write!(f, " ({error})"))
    }
}

/// A script as it is sent.
#[derive(Clone, Copy)]
pub(crate) enum Form<'a> {
    Name(&'a str),
    Text(&'a str),
}

impl Form<'_> {
    /// The command and its words: the last one is the tag.
    pub(crate) fn command(self, (keys, arguments): (Vec<String>, Vec<Value>), tag: i64) -> (&'static str, Vec<Value>) {
        let (name, script) = match self {
            Self::Name(sha) => ("EVALSHA", sha),
            Self::Text(text) => ("EVAL", text),
        };
        let mut words = Vec::with_capacity(3 + keys.len() + arguments.len());
        words.extend([script.into(), i64::try_from(keys.len()).unwrap_or(i64::MAX).into()]);
        words.extend(keys.into_iter().map(Value::from));
        words.extend(arguments);
        words.push(tag.into());
        (name, words)
    }
}

/// What follows the tag, if it is this call's.
pub(crate) fn tagged(value: Value, tag: i64) -> Option<Vec<Value>> {
    let Value::Array(mut values) = value else { return None };
    let is_mine = matches!(values.first()?, Value::String(text) if text.parse() == Ok(tag));
    is_mine.then(|| values.split_off(1))
}

/// What the server says if it is a replica, whose answers are not believed.
pub(crate) fn refusal_of_a_replica(values: &[Value]) -> Option<String> {
    let [Value::Array(words)] = values else { return None };
    let [Value::String(kind), Value::String(message)] = words.as_slice() else { return None };
    (*kind == "replica").then(|| message.trim_start_matches('-').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s25_only_an_answer_with_the_tag_is_this_calls() {
        let (tag, text) = (7, |text: &str| Value::String(text.into()));
        let answer = |values: Vec<Value>| tagged(Value::Array(values), tag);
        assert_eq!(answer(vec![text("7"), Value::Integer(1)]), Some(vec![Value::Integer(1)]));
        for strange in [vec![], vec![text("8"), Value::Integer(1)], vec![Value::Integer(7)], vec![text("x")]] {
            assert_eq!(answer(strange), None);
        }
        assert_eq!(tagged(Value::Integer(7), tag), None);
        assert_eq!(tagged(Value::Null, tag), None);
    }
}
