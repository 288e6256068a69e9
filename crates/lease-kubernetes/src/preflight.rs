//! Checks at the start that the store has what it needs, so that nothing is missing for the first time at night.

use http::StatusCode;
use lease_core::{Error, ErrorKind, Result};

use crate::{
    STORE,
    error::{Verb, answered},
    leases::{Call, Leases},
    names::Names,
    object::new_object,
    options::CONNECT,
    watch::current_version,
};

/// The object that is asked for, and not made. No lease has one of this name, since it looks like one with a hash.
const PROBE: &str = "probe-00000000000000000000000000000000";

/// Asks for each verb once. The API server checks rights before anything else, so what it says to requests that change nothing shows
/// what is missing. Writes are dry runs.
pub(crate) async fn preflight(leases: &Leases, names: &Names) -> Result<()> {
    let new = new_object(names, PROBE);
    let change = br#"{"metadata":{"resourceVersion":"1"}}"#.to_vec();
    let calls = [
        Call::new(CONNECT, Verb::Get).object(PROBE),
        Call::new(CONNECT, Verb::List).query("limit=1"),
        Call::new(CONNECT, Verb::Create).query("dryRun=All").body(new),
        Call::new(CONNECT, Verb::Patch).object(PROBE).query("dryRun=All").body(change),
        // The last, because it takes its connection with it.
        Call::new(CONNECT, Verb::Watch).query("watch=1&timeoutSeconds=1"),
    ];
    let mut denied = Vec::new();
    for call in &calls {
        match probe(leases, call).await {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Denied => denied.push((call.verb, error)),
            Err(error) => return Err(error),
        }
    }
    match denied.as_slice() {
        [] => current_version(leases, names).await.map(|_| ()),
        [(_, error)] => Err(error.clone()),
        [(_, error), ..] => {
            let verbs: Vec<_> = denied.iter().map(|(verb, _)| verb.as_str()).collect();
            let message = format!("the verbs {} are denied; of the first: {error}", verbs.join(", "));
            Err(Error::new(ErrorKind::Denied, CONNECT, message).in_store(STORE))
        }
    }
}

async fn probe(leases: &Leases, call: &Call) -> Result<()> {
    if call.verb == Verb::Watch {
        // Its answer has no end.
        let code = leases.send(call).await?.status();
        return match code {
            StatusCode::OK => Ok(()),
            _ => Err(answered(leases.context(call.operation, call.verb), code.as_u16(), None, &Default::default())),
        };
    }
    let answer = leases.call(call).await?;
    match (call.verb, answer.code) {
        (Verb::Get | Verb::Patch, StatusCode::NOT_FOUND) if answer.status().is_missing_lease(PROBE) => Ok(()),
        (Verb::List, StatusCode::OK) | (Verb::Create, StatusCode::CREATED) => Ok(()),
        _ => Err(leases.failed(call, &answer)),
    }
}
