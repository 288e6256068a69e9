//! Error replies of the server: what each code means to a caller.

use fred::error::{Error as DriverError, ErrorKind as DriverErrorKind};
use lease_core::{Error, ErrorKind};

use crate::{error::redis_error, redact::without_arguments, version::MIN_VERSION};

/// Returns the error for a reply to a command, or to one element of a script. A script catches the errors of its elements, so an
/// error reply to a whole script means that nothing was done.
pub(crate) fn reply_error(operation: &'static str, server: &str, reply: &str) -> Error {
    let reply = without_arguments(reply);
    redis_error(kind_of(reply), operation, describe(reply, server))
}

/// Returns the error for a reply that the driver has given to all calls in flight: this one may have been executed.
pub(crate) fn reply_error_for_all_calls(operation: &'static str, server: &str, reply: &str) -> Error {
    redis_error(ErrorKind::Indeterminate, operation, describe(without_arguments(reply), server))
}

/// Returns the error for a reply while connecting. No command of the caller was sent, so an unknown failure may be temporary.
pub(crate) fn reply_error_while_connecting(operation: &'static str, server: &str, reply: &str) -> Error {
    let reply = without_arguments(reply);
    let kind = match kind_of(reply) {
        ErrorKind::Internal | ErrorKind::Indeterminate => ErrorKind::Unavailable,
        kind => kind,
    };
    redis_error(kind, operation, describe(reply, server))
}

/// Returns whether the reply says that the server is a replica. By now, its name or the sentinels may lead to the new primary.
pub(crate) fn is_read_only(reply: &str) -> bool {
    matches!(code_of(reply), "READONLY" | "MASTERDOWN")
}

/// Returns whether the driver ends the connection after this reply, and gives it to all calls in flight there.
pub(crate) fn is_for_all_calls(reply: &str) -> bool {
    matches!(code_of(reply), "CLUSTERDOWN" | "NOAUTH" | "WRONGPASS")
}

/// Returns whether the server does not have the script in its cache.
pub(crate) fn is_no_script(error: &DriverError) -> bool {
    error.details().starts_with("NOSCRIPT")
}

/// Returns whether the error is a reply of the server.
pub(crate) fn is_reply(error: &DriverError) -> bool {
    reply_of(error).is_some()
}

/// Returns whether a server of a Cluster says that another server has the keys.
pub(crate) fn is_redirection(error: &DriverError) -> bool {
    reply_of(error).is_some_and(|reply| matches!(code_of(reply), "MOVED" | "ASK"))
}

/// Returns whether a server of a Cluster says that the key may be at the server to which its slot is being moved.
pub(crate) fn is_ask(error: &DriverError) -> bool {
    reply_of(error).is_some_and(|reply| code_of(reply) == "ASK")
}

/// Returns whether the server says that some of the keys have been moved with their slot, and others have not.
pub(crate) fn is_try_again(error: &DriverError) -> bool {
    reply_of(error).is_some_and(|reply| code_of(reply) == "TRYAGAIN")
}

/// Returns the reply, if the error is one: replies begin with a word in capitals, and the driver gives them these kinds.
pub(crate) fn reply_of(error: &DriverError) -> Option<&str> {
    use DriverErrorKind::{Auth, Cluster, Config, InvalidArgument, InvalidCommand, Unknown};
    if !matches!(error.kind(), Auth | Cluster | Config | InvalidArgument | InvalidCommand | Unknown) {
        return None;
    }
    let details = error.details();
    is_code(details.split_whitespace().next()?).then_some(details)
}

/// Returns the code of a reply. Before Redis 7, the position in the script comes before the code.
fn code_of(reply: &str) -> &str {
    let first = || reply.split_whitespace().map(|word| word.trim_start_matches('-')).find(|word| is_code(word));
    code_of_script_end(reply).or_else(first).unwrap_or("")
}

/// Returns the code of the command that has ended a script, which Redis before 7 wraps:
/// `ERR Error running script (call to f_…): @user_script:8: @user_script: 8: -READONLY You can't …`.
fn code_of_script_end(reply: &str) -> Option<&str> {
    let (_, cause) = reply.strip_prefix("ERR Error running script (call to ")?.split_once("): ")?;
    let first = cause.split_whitespace().find(|word| !word.ends_with(':'))?.trim_start_matches('-');
    is_code(first).then_some(first)
}

fn is_code(word: &str) -> bool {
    word.len() >= 3 && word.bytes().all(|byte| byte.is_ascii_uppercase())
}

fn kind_of(reply: &str) -> ErrorKind {
    match code_of(reply) {
        "NOAUTH" | "WRONGPASS" | "NOPERM" | "DENIED" => ErrorKind::Denied,
        // After a fail-over, while the server starts, while a Cluster moves slots or has lost a part, while memory or the disk is
        // full.
        "READONLY" | "MASTERDOWN" | "LOADING" | "CLUSTERDOWN" | "TRYAGAIN" | "MOVED" | "ASK" | "NOREPLICAS" | "OOM"
        | "MISCONF" | "BUSY" | "UNKILLABLE" | "NOSCRIPT" | "NOGOODSLAVE" | "NOQUORUM" | "NOMASTERLINK" | "INPROG"
        | "IOERR" | "EXECABORT" | "REDIRECT" => ErrorKind::Unavailable,
        // A WAIT that a change of the server's role has ended: the write before it was done.
        "UNBLOCKED" => ErrorKind::Indeterminate,
        // The key belongs to other software.
        "WRONGTYPE" | "NOTALEASE" => ErrorKind::Invalid,
        "NOPROTO" => ErrorKind::Unsupported,
        // A missing right has a different text inside a script, and before Redis 7 no code.
        "ERR" | "" if is_script_permission(reply) => ErrorKind::Denied,
        "ERR" if is_unknown_command(reply) => ErrorKind::Unsupported,
        "ERR" if reply.contains("max number of clients") => ErrorKind::Unavailable,
        // Only a script that has not written yet can be killed.
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

fn describe(reply: &str, server: &str) -> String {
    match code_of(reply) {
        "NOAUTH" => format!("{server} requires a password: put it into the URL ({reply})"),
        "NOPERM" => missing_rights(reply, server),
        "ERR" | "" if is_script_permission(reply) => missing_rights(reply, server),
        "NOPROTO" => {
            format!(
                "{server} does not speak RESP3: Redis {MIN_VERSION} or later is needed, without an older proxy before it"
            )
        }
        "READONLY" => format!("{server} is a replica or read-only ({reply})"),
        "NOREPLICAS" => format!("{server} has fewer replicas than its min-replicas-to-write requires ({reply})"),
        "OOM" => format!("the memory of {server} is full: raise its maxmemory or free some ({reply})"),
        "WRONGTYPE" => {
            format!(
                "the key of this lease in {server} holds a value of another type: choose another key_prefix ({reply})"
            )
        }
        "NOTALEASE" => format!("in {server}, {reply}: choose another key_prefix"),
        "ERR" if reply.contains("cluster support disabled") => {
            format!("{server} is not a Cluster: use redis:// instead of redis-cluster:// ({reply})")
        }
        "ERR" if is_unknown_command(reply) => {
            format!("{server}, or a proxy before it, is too old: Redis {MIN_VERSION} or later is needed ({reply})")
        }
        _ => format!("{server}: {reply}"),
    }
}

fn is_unknown_command(reply: &str) -> bool {
    const TEXTS: [&str; 5] = [
        "unknown command",
        "Unknown or disabled command",
        "unsupported command",
        "invalid command",
        "Unknown Redis command",
    ];
    TEXTS.iter().any(|text| reply.contains(text))
}

fn is_script_permission(reply: &str) -> bool {
    reply.contains("The user executing the script") || reply.contains("ACL failure in script")
}

fn missing_rights(reply: &str, server: &str) -> String {
    format!(
        "the user lacks rights at {server}: allow it, on the keys and channels of the prefix, EVAL EVALSHA TIME GET SET SETRANGE \
         PEXPIRE ZADD ZREM ZRANGEBYLEX SCAN PUBLISH SUBSCRIBE UNSUBSCRIBE PING HELLO, and SELECT for a database in the URL, ROLE \
         for Sentinel, HGET HSET for fenced writes, WAIT for wait_replicas, CLUSTER and ASKING for a Cluster ({reply})"
    )
}

#[cfg(test)]
mod tests {
    use ErrorKind::{Denied, Indeterminate, Internal, Invalid, Unavailable, Unsupported};

    use super::*;

    /// The kind of each reply of a server. While connecting, `Internal` and `Indeterminate` become `Unavailable`.
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
                "@user_script: 193: The user executing the script can't run this command or subcommand",
                "ERR Error running script (call to f_d19c98): @user_script:8: @user_script: 8: The user executing the script can't run \
                 this command or subcommand",
                "ERR AUTH <password> called without any password configured for the default user.",
            ],
        ),
        (
            Unavailable,
            &[
                "READONLY You can't write against a read only replica.",
                "@user_script: 31: -READONLY You can't write against a read only replica.",
                "ERR Error running script (call to f_d19c98): @user_script:8: @user_script: 8: -READONLY You can't write against a read \
                 only replica.",
                "ERR Error running script (call to f_d19c98): @user_script:8: Script killed by user with SCRIPT KILL.",
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
                "ERR Error running script (call to f_d19c98): @user_script:9: WRONGTYPE Operation against a key holding the wrong kind of \
                 value",
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
                "ERR Unknown or disabled command 'HELLO'",
                "ERR invalid command",
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
                "NEWCODE of a later version",
                "",
            ],
        ),
    ];

    #[test]
    fn every_reply_has_its_kind() {
        for (kind, reply) in REPLIES.iter().flat_map(|(kind, replies)| replies.iter().map(move |reply| (*kind, *reply)))
        {
            assert_eq!(kind_of(reply), kind, "{reply}");
            assert_eq!(reply_error("acquire", "here", reply).kind(), kind, "{reply}");
            let connecting = if matches!(kind, Internal | Indeterminate) { Unavailable } else { kind };
            let error = reply_error_while_connecting("connect", "here", reply);
            assert_eq!(error.kind(), connecting, "{reply} while connecting");
        }
    }
}
