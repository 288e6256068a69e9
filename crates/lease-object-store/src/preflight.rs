//! What a store is asked before it is used.

use lease_core::{Error, ErrorKind, Result};
use object_store::{GetOptions, PutMode, UpdateVersion};

use crate::{call::Call, error::connect_error, objects::Objects, version::Compared};

/// A version that no object has: an `ETag` of any service, and a generation.
const NO_E_TAG: &str = "\"0x8D0000000000000\"";
const NO_VERSION: &str = "1";

/// Finds out whether the store keeps the conditions of writes, what it compares, and whether it shows its clock, which is returned.
/// Some services ignore conditions silently: every contender would be granted every lease. That a condition and its write are one
/// step cannot be shown.
///
/// One object is left behind, which all stores with this prefix share, and which is written only once.
pub(crate) async fn probe(objects: &mut Objects) -> Result<bool> {
    let call = Call::default();
    let options = GetOptions::new().with_head(true).with_extensions(call.extensions());
    // Whether the object is there does not matter, and other errors come again.
    let found = objects.store.get_opts(&objects.keys.probe(), options).await;
    let observed = call.observed();
    create(objects).await?;
    objects.compared = compared(objects).await?;
    let version = found.ok().and_then(|found| found.meta.version);
    if objects.compared == Compared::ETag && version.is_some_and(|version| version != "null") {
        tracing::warn!(
            target: "lease",
            store = objects.classifier.service.store(),
            "the bucket keeps old versions, and every renewal adds one: let a lifecycle rule for the prefix of the leases delete \
             noncurrent versions after a day"
        );
    }
    Ok(observed.clock.is_some())
}

/// Checks that an object is not created twice.
async fn create(objects: &Objects) -> Result<()> {
    // Mostly it is there, and one request shows it.
    for _ in 0..2 {
        let put = objects.write(&objects.keys.probe(), contents(), PutMode::Create).await?;
        if put.version.is_none() {
            return Ok(());
        }
    }
    Err(ignores_conditions(objects, "created an object twice (If-None-Match: *)"))
}

/// Checks that a stale version is not replaced. Returns what is compared: some stores need a version beside the `ETag`.
async fn compared(objects: &Objects) -> Result<Compared> {
    let mut failed = None;
    for &compared in objects.classifier.service.may_compare() {
        let version = (compared == Compared::Version).then(|| NO_VERSION.to_owned());
        let stale = UpdateVersion { e_tag: Some(NO_E_TAG.to_owned()), version };
        match objects.write(&objects.keys.probe(), contents(), PutMode::Update(stale)).await {
            Ok(put) if put.version.is_none() => return Ok(compared),
            Ok(_) => {
                return Err(ignores_conditions(objects, "replaced an object whose version was another one (If-Match)"));
            }
            // The driver itself refuses a version without what it needs: nothing is sent.
            Err(error) if error.is_transient() => failed = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(failed.unwrap_or_else(|| ignores_conditions(objects, "compares nothing")))
}

fn contents() -> Vec<u8> {
    b"{\"about\":\"with this object leases find out whether writes keep their conditions\"}".to_vec()
}

fn ignores_conditions(objects: &Objects, what: &str) -> Error {
    let message = format!(
        "the service {what}: it ignores the conditions of writes, and every contender would hold every lease; \
                           use a service or a version that implements conditional writes"
    );
    connect_error(ErrorKind::Unsupported, objects.classifier.service.store(), message)
}
