//! What a failure of the driver or the server means to the caller.

use std::borrow::Cow;

use fred::error::{Error as DriverError, ErrorKind as DriverErrorKind};
use lease_core::{Error, ErrorKind};

use crate::{
    STORE,
    call::{Access, Failure, Sent},
    preflight::NEEDED,
    url,
};

/// An error of this store without a cause.
pub(crate) fn here(kind: ErrorKind, operation: &'static str, message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(kind, operation, message).in_store(STORE)
}

/// The one table from failures to errors. `place` says what was used: the server, the Cluster.
pub(crate) fn classify(operation: &'static str, place: &str, mut failure: Failure) -> Error {
    failure.source = repeatable(&failure.source);
    let of_node = failure.node.take().map(|node| format!("{} of {place}", url::address(&node)));
    let place = of_node.as_deref().unwrap_or(place);
    if failure.sent == Sent::Mixed {
        let message = format!("{place} gave the answer to another call: it may have been done, or not");
        return here(ErrorKind::Indeterminate, operation, message).with_source(failure.source);
    }
    if let Some(reply) = reply_of(&failure.source) {
        return said(operation, place, reply, failure.sent);
    }
    if has_no_task(&failure.source) {
        let message = format!("the client for {place} was closed, or the runtime that it was connected on has ended");
        return here(ErrorKind::Unavailable, operation, message).with_source(failure.source);
    }
    let (kind, message) = match failure.source.kind() {
        DriverErrorKind::Timeout if failure.sent == Sent::No => {
            (ErrorKind::Unavailable, format!("{place} cannot be reached: there was no connection in time"))
        }
        DriverErrorKind::Timeout => (unless_sent(&failure), format!("{place} did not answer in time")),
        DriverErrorKind::Tls => (ErrorKind::Invalid, no_tls(place)),
        // What the driver makes of bytes that are no TLS, and of certificates that are not trusted.
        DriverErrorKind::IO if failure.source.details().contains("InvalidData") => (ErrorKind::Invalid, no_tls(place)),
        DriverErrorKind::IO | DriverErrorKind::Canceled | DriverErrorKind::Unknown => {
            (unless_sent(&failure), format!("the connection to {place} is broken: {}", failure.source.details()))
        }
        DriverErrorKind::Protocol | DriverErrorKind::Parse => {
            (unless_sent(&failure), format!("{place} did not answer as Redis does: {}", failure.source.details()))
        }
        DriverErrorKind::Routing | DriverErrorKind::Cluster | DriverErrorKind::Sentinel => {
            (unless_sent(&failure), format!("{place} has no server for it now: {}", failure.source.details()))
        }
        DriverErrorKind::Backpressure => (ErrorKind::Unavailable, "too many commands are under way".to_owned()),
        DriverErrorKind::Auth => (ErrorKind::Denied, format!("{place}: {}", failure.source.details())),
        // Not repeated: it may quote the URL.
        DriverErrorKind::Config | DriverErrorKind::Url => {
            return here(ErrorKind::Invalid, operation, format!("the configuration for {place} cannot be used"));
        }
        _ => {
            let kind = if failure.sent == Sent::No { ErrorKind::Unavailable } else { ErrorKind::Internal };
            (kind, format!("the answer of {place} could not be used: {}", failure.source.details()))
        }
    };
    here(kind, operation, message).with_source(failure.source)
}

fn no_tls(place: &str) -> String {
    format!(
        "TLS with {place} could not be agreed on: check the URL (rediss:// asks for it), the certificates and the server"
    )
}

/// What the server says, in an error of a script's element or of a command. A script answers for each element by itself, so
/// an error of the whole means that nothing was done.
pub(crate) fn said_by_server(operation: &'static str, place: &str, reply: &str) -> Error {
    said(operation, place, reply, Sent::Perhaps)
}

fn said(operation: &'static str, place: &str, reply: &str, sent: Sent) -> Error {
    let reply = without_arguments(reply);
    let kind = match kind_of_reply(reply) {
        // Nothing of the caller's was sent, so what is not understood may pass.
        ErrorKind::Internal | ErrorKind::Indeterminate if sent == Sent::No => ErrorKind::Unavailable,
        kind => kind,
    };
    here(kind, operation, in_words(reply, place))
}

/// An error of the driver in words that may be repeated.
pub(crate) fn repeatable(error: &DriverError) -> DriverError {
    DriverError::new(error.kind().clone(), without_arguments(error.details()).to_owned())
}

/// The same while connecting, when what the server quotes may be a password, in whatever way it does so: the code and the first
/// sentence, without the password.
pub(crate) fn repeatable_while_connecting(error: &DriverError, passwords: &[String]) -> DriverError {
    let words = without_arguments(error.details());
    let words = words.split_once(". ").map_or(words, |(sentence, _)| sentence).lines().next().unwrap_or("");
    let words = passwords.iter().fold(words.to_owned(), |words, password| words.replace(password, "***"));
    DriverError::new(error.kind().clone(), words)
}

/// A server that does not know a command quotes it with its arguments; those of `HELLO` are the user and the password.
fn without_arguments(reply: &str) -> &str {
    reply.split("with args beginning with").next().unwrap_or("").trim_end_matches([' ', ','])
}

/// Whether the server says that it is a replica: the name, or the sentinels, may know a better one by now.
pub(crate) fn is_read_only(reply: &str) -> bool {
    matches!(code_of(reply), "READONLY" | "MASTERDOWN")
}

/// Whether the server has forgotten the script.
pub(crate) fn is_no_script(error: &DriverError) -> bool {
    error.details().starts_with("NOSCRIPT")
}

/// Whether it is the server that has answered so.
pub(crate) fn is_of_server(error: &DriverError) -> bool {
    reply_of(error).is_some()
}

/// Whether a server of a Cluster says that the keys are another one's.
pub(crate) fn is_redirection(error: &DriverError) -> bool {
    reply_of(error).is_some_and(|reply| matches!(code_of(reply), "MOVED" | "ASK"))
}

/// Whether a server of a Cluster says that the key may be where its slot is being moved to.
pub(crate) fn is_ask(error: &DriverError) -> bool {
    reply_of(error).is_some_and(|reply| code_of(reply) == "ASK")
}

/// Whether the server says that some of the keys are already where their slot is being moved to, and some not yet.
pub(crate) fn is_try_again(error: &DriverError) -> bool {
    reply_of(error).is_some_and(|reply| code_of(reply) == "TRYAGAIN")
}

/// Whether the task of the driver's client is gone: then nothing was sent.
fn has_no_task(error: &DriverError) -> bool {
    *error.kind() == DriverErrorKind::Unknown && error.details() == "Failed to send command to router."
}

/// What the server said, if it was the server: its errors begin with a word in capitals, and the driver gives them these kinds.
fn reply_of(error: &DriverError) -> Option<&str> {
    use DriverErrorKind::{Auth, Cluster, Config, InvalidArgument, InvalidCommand, Unknown};
    if !matches!(error.kind(), Auth | Cluster | Config | InvalidArgument | InvalidCommand | Unknown) {
        return None;
    }
    let details = error.details();
    let first = details.split_whitespace().next()?;
    let is_code = first.len() >= 3 && first.bytes().all(|byte| byte.is_ascii_uppercase());
    is_code.then_some(details)
}

/// The word that says what is wrong. Before Redis 7, a script's errors begin with the place in the script.
fn code_of(reply: &str) -> &str {
    let is_code = |word: &&str| word.len() >= 3 && word.bytes().all(|byte| byte.is_ascii_uppercase());
    reply.split_whitespace().map(|word| word.trim_start_matches('-')).find(is_code).unwrap_or("")
}

/// What a broken connection means: not done, unless a change may have reached the server.
fn unless_sent(failure: &Failure) -> ErrorKind {
    match (failure.sent, failure.access) {
        (Sent::Perhaps, Access::Write) => ErrorKind::Indeterminate,
        _ => ErrorKind::Unavailable,
    }
}

fn kind_of_reply(reply: &str) -> ErrorKind {
    match code_of(reply) {
        "NOAUTH" | "WRONGPASS" | "NOPERM" | "DENIED" => ErrorKind::Denied,
        // after a fail-over, while starting, while Cluster moves or has lost a part, while memory or the disk is full
        "READONLY" | "MASTERDOWN" | "LOADING" | "CLUSTERDOWN" | "TRYAGAIN" | "MOVED" | "ASK" | "NOREPLICAS" | "OOM"
        | "MISCONF" | "BUSY" | "UNKILLABLE" | "NOSCRIPT" | "NOGOODSLAVE" | "NOQUORUM" | "NOMASTERLINK" | "INPROG"
        | "IOERR" | "EXECABORT" | "REDIRECT" => ErrorKind::Unavailable,
        // a WAIT that was ended by a change of the server's role: the write before it is where it is
        "UNBLOCKED" => ErrorKind::Indeterminate,
        // the key is somebody else's
        "WRONGTYPE" | "NOTALEASE" => ErrorKind::Invalid,
        "NOPROTO" => ErrorKind::Unsupported,
        // What a script may not run is said in other words than what a command may not.
        "ERR" if is_right_of_script(reply) => ErrorKind::Denied,
        "ERR" if is_unknown_command(reply) => ErrorKind::Unsupported,
        "ERR" if reply.contains("max number of clients") => ErrorKind::Unavailable,
        // only one that has not written yet can be killed
        "ERR" if reply.contains("Script killed by user") => ErrorKind::Unavailable,
        "ERR" if ["invalid password", "AUTH", "operation not permitted"].iter().any(|text| reply.contains(text)) => {
            ErrorKind::Denied
        }
        "ERR"
            if reply.contains("cluster support disabled") || reply.contains("DB index") || reply.contains("SELECT") =>
        {
            ErrorKind::Invalid
        }
        _ => ErrorKind::Internal,
    }
}

fn in_words(reply: &str, place: &str) -> String {
    match code_of(reply) {
        "NOAUTH" => format!("{place} asks for a password: put it into the URL ({reply})"),
        "NOPERM" => lacks_rights(reply, place),
        "ERR" if is_right_of_script(reply) => lacks_rights(reply, place),
        "NOPROTO" => {
            format!("{place} does not speak RESP3: Redis {NEEDED} or later is needed, with nothing older between")
        }
        "READONLY" => format!("{place} is a replica or read-only ({reply})"),
        "NOREPLICAS" => format!("{place} has too few replicas, by its min-replicas-to-write ({reply})"),
        "OOM" => format!("the memory of {place} is full ({reply})"),
        "WRONGTYPE" => {
            format!("the key of this lease in {place} holds something else: choose another key_prefix ({reply})")
        }
        "NOTALEASE" => format!("in {place}, {reply}: choose another key_prefix"),
        "ERR" if reply.contains("cluster support disabled") => {
            format!("{place} is no Cluster: write redis:// instead of redis-cluster:// ({reply})")
        }
        "ERR" if is_unknown_command(reply) => {
            format!("{place} is too old, or something between: Redis {NEEDED} or later is needed ({reply})")
        }
        _ => format!("{place}: {reply}"),
    }
}

fn is_unknown_command(reply: &str) -> bool {
    ["unknown command", "unsupported command", "Unknown Redis command"].iter().any(|text| reply.contains(text))
}

fn is_right_of_script(reply: &str) -> bool {
    reply.contains("The user executing the script") || reply.contains("ACL failure in script")
}

fn lacks_rights(reply: &str, place: &str) -> String {
    format!(
        "{place} lacks rights for this user on the keys and channels of the prefix: it needs EVAL EVALSHA TIME GET SET SETRANGE \
         PEXPIRE ZADD ZREM ZRANGEBYLEX SCAN PUBLISH SUBSCRIBE UNSUBSCRIBE PING HELLO, and HGET HSET for fenced writes, WAIT for wait_replicas, CLUSTER \
         and ASKING for a Cluster ({reply})"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    use ErrorKind::{Denied, Indeterminate, Internal, Invalid, Unavailable, Unsupported};

    /// What the errors of a server mean, by the word that they begin with. While connecting, what would be `Internal` or
    /// `Indeterminate` is `Unavailable`.
    const REPLIES: &[(ErrorKind, &[&str])] = &[
        (
            Denied,
            &[
                "NOAUTH Authentication required.",
                "WRONGPASS invalid username-password pair or user is disabled.",
                "NOPERM this user has no permissions to run the 'evalsha' command",
                "DENIED Redis is running in protected mode because protected mode is enabled",
                "ERR invalid password",
                "ERR operation not permitted",
                "ERR The user executing the script can't run this command or subcommand script: x, on @user_script:1.",
                "ERR AUTH <password> called without any password configured for the default user.",
            ],
        ),
        (
            Unavailable,
            &[
                "READONLY You can't write against a read only replica.",
                "@user_script: 31: -READONLY You can't write against a read only replica.",
                "LOADING Redis is loading the dataset in memory",
                "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
                "CLUSTERDOWN The cluster is down",
                "TRYAGAIN Multiple keys request during rehashing of slot",
                "MOVED 866 127.0.0.1:7001",
                "ASK 866 127.0.0.1:7001",
                "REDIRECT 127.0.0.1:7001",
                "NOREPLICAS Not enough good replicas to write.",
                "OOM command not allowed when used memory > 'maxmemory'.",
                "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
                "BUSY Redis is busy running a script.",
                "UNKILLABLE Sorry the script already executed write commands against the dataset.",
                "NOSCRIPT No matching script. Please use EVAL.",
                "EXECABORT Transaction discarded because of previous errors.",
                "NOGOODSLAVE No suitable replica to promote",
                "NOQUORUM Not enough available Sentinels to reach the majority and authorize a failover",
                "NOMASTERLINK Can't SYNC while not connected with my master",
                "INPROG Failover already in progress",
                "IOERR error or timeout reading to target instance",
                "ERR max number of clients reached",
                "ERR Error running script: Script killed by user with SCRIPT KILL.",
            ],
        ),
        (
            Indeterminate,
            &["UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"],
        ),
        (
            Invalid,
            &[
                "WRONGTYPE Operation against a key holding the wrong kind of value",
                "@user_script: 31: WRONGTYPE Operation against a key holding the wrong kind of value",
                "NOTALEASE the key leases:job does not hold a lease",
                "ERR DB index is out of range",
                "ERR SELECT is not allowed in cluster mode",
                "ERR This instance has cluster support disabled",
            ],
        ),
        (
            Unsupported,
            &[
                "ERR unknown command 'HELLO', with args beginning with: ",
                "ERR unsupported command 'hello'",
                "ERR Unknown Redis command called from script script: x, on @user_script:1.",
                "NOPROTO unsupported protocol version",
            ],
        ),
        (
            Internal,
            &[
                "ERR syntax error",
                "ERR wrong number of arguments for 'evalsha' command",
                "CROSSSLOT Keys in request don't hash to the same slot",
                "BUSYKEY Target key name already exists.",
                "BUSYGROUP Consumer Group name already exists",
                "NOGROUP No such consumer group",
                "NOTBUSY No scripts in execution right now.",
                "INVALIDOBJ invalid",
                "NEWCODE of a server that is not known yet",
                "",
            ],
        ),
    ];

    #[test]
    fn every_reply_has_its_kind() {
        for (kind, reply) in REPLIES.iter().flat_map(|(kind, replies)| replies.iter().map(move |reply| (*kind, *reply)))
        {
            assert_eq!(kind_of_reply(reply), kind, "{reply}");
            assert_eq!(said_by_server("acquire", "here", reply).kind(), kind, "{reply}");
            let connecting = if matches!(kind, Internal | Indeterminate) { Unavailable } else { kind };
            assert_eq!(said("connect", "here", reply, Sent::No).kind(), connecting, "{reply} while connecting");
        }
    }

    /// Fails to compile when the driver has another one: it belongs into the table below. (An application may switch on features of the
    /// driver that bring more, so `classify` cannot do without a wildcard.)
    fn is_in_the_table(kind: &DriverErrorKind) {
        use DriverErrorKind::*;
        match kind {
            Config | Auth | Routing | IO | InvalidCommand | InvalidArgument | Url | Protocol | Tls | Canceled
            | Unknown => {}
            Timeout | Cluster | Parse | Sentinel | NotFound | Backpressure => {}
        }
    }

    /// Every kind of the driver's errors, where it is not the server's answer: what it means to a write that may have been sent, to a
    /// look, and while connecting.
    #[test]
    fn every_error_of_the_driver_has_its_kind() {
        for (kind, write, read, connecting) in [
            (DriverErrorKind::Config, Invalid, Invalid, Invalid),
            (DriverErrorKind::Auth, Denied, Denied, Denied),
            (DriverErrorKind::Routing, Indeterminate, Unavailable, Unavailable),
            (DriverErrorKind::IO, Indeterminate, Unavailable, Unavailable),
            (DriverErrorKind::InvalidCommand, Internal, Internal, Unavailable),
            (DriverErrorKind::InvalidArgument, Internal, Internal, Unavailable),
            (DriverErrorKind::Url, Invalid, Invalid, Invalid),
            (DriverErrorKind::Protocol, Indeterminate, Unavailable, Unavailable),
            (DriverErrorKind::Tls, Invalid, Invalid, Invalid),
            (DriverErrorKind::Canceled, Indeterminate, Unavailable, Unavailable),
            (DriverErrorKind::Unknown, Indeterminate, Unavailable, Unavailable),
            (DriverErrorKind::Timeout, Indeterminate, Unavailable, Unavailable),
            (DriverErrorKind::Cluster, Indeterminate, Unavailable, Unavailable),
            (DriverErrorKind::Parse, Indeterminate, Unavailable, Unavailable),
            (DriverErrorKind::Sentinel, Indeterminate, Unavailable, Unavailable),
            (DriverErrorKind::NotFound, Internal, Internal, Unavailable),
            (DriverErrorKind::Backpressure, Unavailable, Unavailable, Unavailable),
        ] {
            is_in_the_table(&kind);
            for (sent, access, expected) in [
                (Sent::Perhaps, Access::Write, write),
                (Sent::Perhaps, Access::Read, read),
                (Sent::No, Access::Write, connecting),
                (Sent::Mixed, Access::Write, Indeterminate),
            ] {
                let source = DriverError::new(kind.clone(), "something went wrong");
                let error = classify("acquire", "here", Failure::new(source, sent, access));
                assert_eq!(error.kind(), expected, "{kind:?} {sent:?} {access:?}: {error}");
            }
        }
    }

    #[test]
    fn a_broken_connection_is_unknown_only_where_a_change_may_have_been_sent() {
        for (sent, access, kind) in [
            (Sent::No, Access::Write, ErrorKind::Unavailable),
            (Sent::Perhaps, Access::Read, ErrorKind::Unavailable),
            (Sent::Perhaps, Access::Write, ErrorKind::Indeterminate),
        ] {
            for source in [
                DriverError::new(DriverErrorKind::IO, "Connection closed."),
                DriverError::new(DriverErrorKind::Timeout, "Request timed out."),
                DriverError::new(DriverErrorKind::Canceled, "Canceled."),
                DriverError::new(DriverErrorKind::Protocol, "nonsense"),
                DriverError::new(DriverErrorKind::Unknown, "Failed to route command."),
            ] {
                assert_eq!(classify("acquire", "here", Failure::new(source, sent, access)).kind(), kind);
            }
        }
    }

    #[test]
    fn what_the_server_quotes_is_not_repeated() {
        let quoted = "ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `app`, `secret`, ";
        let failure =
            |kind, details: &'static str| Failure::new(DriverError::new(kind, details), Sent::Perhaps, Access::Write);
        let mut errors = vec![said_by_server("acquire", "here", quoted)];
        for kind in [DriverErrorKind::Unknown, DriverErrorKind::Protocol, DriverErrorKind::IO] {
            errors.push(classify("acquire", "here", failure(kind, quoted)));
        }
        for error in errors {
            assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
            assert!(error.to_string().contains("HELLO"), "{error}");
        }
        let passwords = ["secret".to_owned()];
        for words in
            [quoted, "unsupported command 'HELLO 3 AUTH app secret'", "ERR no. It was secret", "ERR no\nsecret"]
        {
            let error = repeatable_while_connecting(&DriverError::new(DriverErrorKind::Unknown, words), &passwords);
            assert!(!format!("{error:?}").contains("secret") && !error.details().is_empty(), "{error:?}");
        }
    }

    #[test]
    fn everything_else_has_its_kind_and_no_secret() {
        let failure =
            |kind, details: &'static str| Failure::new(DriverError::new(kind, details), Sent::Perhaps, Access::Write);
        for (kind, details, expected) in [
            (DriverErrorKind::Auth, "WRONGPASS invalid username-password pair", ErrorKind::Denied),
            (DriverErrorKind::Config, "secret", ErrorKind::Invalid),
            (DriverErrorKind::Url, "secret", ErrorKind::Invalid),
            (DriverErrorKind::Tls, "no", ErrorKind::Invalid),
            (
                DriverErrorKind::IO,
                "Custom { kind: InvalidData, error: InvalidCertificate(Expired) }",
                ErrorKind::Invalid,
            ),
            (DriverErrorKind::Backpressure, "full", ErrorKind::Unavailable),
            (DriverErrorKind::Cluster, "CLUSTERDOWN Hash slot not served", ErrorKind::Unavailable),
            (DriverErrorKind::NotFound, "nothing", ErrorKind::Internal),
        ] {
            let error = classify("acquire", "here", failure(kind, details));
            assert_eq!(error.kind(), expected, "{error}");
            assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        }
    }
}
