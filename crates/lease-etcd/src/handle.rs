//! The token in a grant's handle.

use std::hash::{DefaultHasher, Hash, Hasher};

use lease_core::{Claim, GrantId, HolderId, LeaseName};

/// The handle of a grant: its token, sealed for its owner. Anybody else who presents the handle, or the owner for another
/// name or nonce, gets a number out of it that no key has as its create revision. It guards the claim; whose grant
/// the *key* is of, the transaction compares as well (S7, S11): see [`is_of`](crate::record::is_of).
pub(crate) fn seal(token: u64, name: &LeaseName, holder: &HolderId, grant: GrantId) -> u64 {
    token ^ seal_of(name, holder, grant)
}

/// The create revision in a claim's handle; nothing where the grant's answer never arrived, or the claim is of nobody's grant.
pub(crate) fn open(claim: &Claim) -> Option<i64> {
    let token = claim.handle ^ seal_of(&claim.name, &claim.holder, claim.grant);
    if claim.handle == 0 { None } else { i64::try_from(token).ok().filter(|token| *token > 0) }
}

fn seal_of(name: &LeaseName, holder: &HolderId, grant: GrantId) -> u64 {
    let mut hasher = DefaultHasher::new();
    (name, holder, grant).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_opens_only_for_its_owner_and_name() {
        let (name, holder, grant) =
            (LeaseName::new("job").unwrap(), HolderId::new("pod-1").unwrap(), GrantId::from_u128(7));
        let handle = seal(42, &name, &holder, grant);
        let own = Claim::new(name, holder, grant).with_handle(handle);
        assert_eq!(open(&own), Some(42));
        for stranger in [
            own.clone().with_name(LeaseName::new("job2").unwrap()),
            own.clone().with_holder(HolderId::new("pod-2").unwrap()),
            own.clone().with_grant(GrantId::from_u128(8)),
            own.clone().with_handle(0),
        ] {
            assert_ne!(open(&stranger), Some(42), "{stranger:?}");
        }
    }
}
