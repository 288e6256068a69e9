//! The handle of a grant, which contains its token.

use std::hash::{DefaultHasher, Hash, Hasher};

use lease_core::{Claim, GrantId, HolderId, LeaseName};

/// Returns the handle of a grant: its token, sealed with name, holder and nonce. Opened with any other name, holder or nonce,
/// it gives a number that is the create revision of no key. This checks the claim; that the *key* belongs to the grant is
/// compared in the transaction as well (S7, S11), see [`is_of`](crate::record::is_of).
pub(crate) fn seal(token: u64, name: &LeaseName, holder: &HolderId, grant: GrantId) -> u64 {
    token ^ seal_of(name, holder, grant)
}

/// Returns the create revision in the handle of a claim, or `None` if the answer with the handle never arrived or the claim
/// belongs to no grant.
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
