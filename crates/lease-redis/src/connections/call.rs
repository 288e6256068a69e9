//! A call of a script: how it is sent, and its answer.

use std::fmt;

use fred::{error::Error as DriverError, prelude::Value};

use crate::{WaitReplicas, failure::Access};

/// How a script is sent.
#[derive(Clone, Copy)]
pub(crate) struct CallOptions {
    pub(crate) access: Access,
    /// The replicas to wait for.
    pub(crate) wait: Option<WaitReplicas>,
    /// Whether `ASKING` goes before it: the slot of its keys is being moved to this server.
    pub(crate) asking: bool,
    /// Whether an earlier attempt was answered with an error, which may have been the answer to another call.
    pub(crate) has_failed: bool,
}

impl CallOptions {
    pub(crate) fn new(access: Access, wait: Option<WaitReplicas>) -> Self {
        Self { access, wait, asking: false, has_failed: false }
    }
}

/// The keys and the arguments of a script.
pub(crate) type Arguments = (Vec<String>, Vec<Value>);

/// The answer of a script.
#[derive(Debug)]
pub(crate) struct Answered {
    /// One value for each key.
    pub(crate) values: Vec<Value>,
    pub(crate) attempts: Attempts,
    /// The answer to `WAIT`, if replicas were waited for.
    pub(crate) confirmed: Option<Confirmed>,
}

/// How often the script was sent, and so whether it may have been executed before the call that was answered: an error that came
/// first may have been the answer to another call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempts {
    One,
    /// Once more with its text, on the same connection. This happens whenever a server has dropped the script from its cache.
    WithText,
    Several,
}

/// The answer to `WAIT`.
#[derive(Debug)]
pub(crate) struct Confirmed {
    pub(crate) replicas: u32,
    /// The reason why `WAIT` failed: a missing right, or a server that has become a replica meanwhile.
    error: Option<String>,
}

impl Confirmed {
    pub(crate) fn parse(answer: Result<Value, DriverError>) -> Self {
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
        write!(f, "only {} replicas confirmed it in time", self.replicas)?;
        self.error.as_ref().map_or(Ok(()), |error| write!(f, " ({error})"))
    }
}

/// A script as it is sent.
#[derive(Clone, Copy)]
pub(crate) enum ScriptRef<'a> {
    Hash(&'a str),
    Text(&'a str),
}

impl ScriptRef<'_> {
    /// Returns the command and its arguments, of which the tag is the last.
    pub(crate) fn command(self, (keys, arguments): Arguments, tag: i64) -> (&'static str, Vec<Value>) {
        let (command, script) = match self {
            Self::Hash(hash) => ("EVALSHA", hash),
            Self::Text(text) => ("EVAL", text),
        };
        let mut all = Vec::with_capacity(3 + keys.len() + arguments.len());
        all.extend([script.into(), i64::try_from(keys.len()).unwrap_or(i64::MAX).into()]);
        all.extend(keys.into_iter().map(Value::from));
        all.extend(arguments);
        all.push(tag.into());
        (command, all)
    }
}

/// Returns the values behind the tag, if the answer has the tag of this call (S25).
pub(crate) fn without_tag(value: Value, tag: i64) -> Option<Vec<Value>> {
    let Value::Array(mut values) = value else { return None };
    let is_mine = matches!(values.first()?, Value::String(text) if text.parse() == Ok(tag));
    is_mine.then(|| values.split_off(1))
}

/// Returns the error of a server that answers that it is a replica. Other answers of a replica are not believed (S19).
pub(crate) fn replica_error(values: &[Value]) -> Option<String> {
    let [Value::Array(answer)] = values else { return None };
    let [Value::String(kind), Value::String(message)] = answer.as_slice() else { return None };
    (*kind == "replica").then(|| message.trim_start_matches('-').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s25_only_an_answer_with_the_tag_belongs_to_the_call() {
        let (tag, text) = (7, |text: &str| Value::String(text.into()));
        let answer = |values: Vec<Value>| without_tag(Value::Array(values), tag);
        assert_eq!(answer(vec![text("7"), Value::Integer(1)]), Some(vec![Value::Integer(1)]));
        for other in [vec![], vec![text("8"), Value::Integer(1)], vec![Value::Integer(7)], vec![text("x")]] {
            assert_eq!(answer(other), None);
        }
        assert_eq!(without_tag(Value::Integer(7), tag), None);
        assert_eq!(without_tag(Value::Null, tag), None);
    }
}
