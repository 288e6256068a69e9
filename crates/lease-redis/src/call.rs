//! What a call is made of: where it goes, what comes back, how it fails.

use std::fmt;

use fred::{
    error::{Error as DriverError, ErrorKind as DriverErrorKind},
    prelude::Value,
    types::{cluster::ClusterRouting, config::Server},
};

use crate::keys::Keys;

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
}

/// Which server of a Cluster a command goes to.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// The one that has the keys; outside Cluster, the one.
    Keys,
    Slot(u16),
    Node(Server),
}

/// A server that may have keys of ours.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) target: Target,
    /// One that would be there, if it were one.
    pub(crate) a_key: String,
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
    /// The command, where it goes, and its words: the last one is the tag.
    pub(crate) fn command(
        self,
        (keys, arguments): (Vec<String>, Vec<Value>),
        tag: i64,
    ) -> (&'static str, Target, Vec<Value>) {
        let (name, script) = match self {
            Self::Name(sha) => ("EVALSHA", sha),
            Self::Text(text) => ("EVAL", text),
        };
        let target = keys.first().map_or(Target::Keys, |key| Target::Slot(crate::keys::slot(key)));
        let mut words = Vec::with_capacity(3 + keys.len() + arguments.len());
        words.extend([script.into(), i64::try_from(keys.len()).unwrap_or(i64::MAX).into()]);
        words.extend(keys.into_iter().map(Value::from));
        words.extend(arguments);
        words.push(tag.into());
        (name, target, words)
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

/// Which servers a Cluster has. Not to know it is not to know of none (S19).
pub(crate) fn nodes_of(state: Option<ClusterRouting>, keys: &Keys) -> Result<Vec<Node>, Failure> {
    let Some(state) = state.filter(|state| !state.slots().is_empty()) else {
        let source = DriverError::new(DriverErrorKind::Cluster, "it is not known which server has which slots");
        return Err(Failure { source, sent: Sent::No, access: Access::Read });
    };
    let nodes = state.unique_primary_nodes().into_iter().filter_map(|server| {
        let is_there = |slot| state.get_server(slot) == Some(&server);
        Some(Node { a_key: keys.one_where(is_there)?, target: Target::Node(server) })
    });
    Ok(nodes.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s19_without_a_map_of_the_cluster_nothing_is_known() {
        let keys = Keys::new("leases:");
        for state in [None, Some(ClusterRouting::new())] {
            let failure = nodes_of(state, &keys).unwrap_err();
            let error = crate::error::classify("list", "here", failure);
            assert_eq!(error.kind(), lease_core::ErrorKind::Unavailable, "{error}");
        }
    }

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
