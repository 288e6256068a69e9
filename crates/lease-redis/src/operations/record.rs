//! The values of a record, as the scripts take them.

use std::{borrow::Cow, time::Duration};

use lease_core::{AcquireRequest, GrantId, HolderId, Metadata};

/// Returns the lines of a record from the state to the holder, for a grant that is in force. They identify the grant.
pub(super) fn owner(grant: GrantId, holder: &HolderId) -> String {
    owner_and(grant, holder, "")
}

/// Returns the lines of the record of a new grant from the state on, without a reservation and with metadata of revision 0.
pub(super) fn grant_lines(request: &AcquireRequest) -> String {
    let (ttl, metadata) = (in_microseconds(request.ttl), metadata_text(&request.metadata));
    owner_and(request.grant, &request.holder, &format!("\n{ttl}\n0\n{metadata}"))
}

/// The capacity is exact: otherwise the driver copies the text.
fn owner_and(grant: GrantId, holder: &HolderId, more: &str) -> String {
    const STATE_AND_NONCE: usize = 35;
    let holder = one_line(holder);
    let mut text = String::with_capacity(STATE_AND_NONCE + holder.len() + 1 + more.len());
    text.push_str("h\n");
    // The same digits as `Display`, in less than half the time.
    let digits = (0..32).rev().filter_map(|at| char::from_digit((grant.as_u128() >> (4 * at)) as u32 & 15, 16));
    text.extend(digits);
    for part in ["\n", &*holder, "\n", more] {
        text.push_str(part);
    }
    text
}

/// Returns the holder id without line breaks. Ids contain none; one that does must not reach another line of the record.
pub(super) fn one_line(holder: &HolderId) -> Cow<'_, str> {
    let id = holder.as_str();
    if id.contains('\n') { Cow::Owned(id.replace('\n', " ")) } else { Cow::Borrowed(id) }
}

/// Returns a duration in microseconds, rounded up as a ttl is. At most a hundred years, which a double has exactly.
pub(super) fn in_microseconds(duration: Duration) -> i64 {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    i64::try_from(duration.min(CENTURY).as_nanos().div_ceil(1000)).unwrap_or(i64::MAX)
}

/// Returns the metadata as a record has it: empty, or JSON.
pub(super) fn metadata_text(metadata: &Metadata) -> String {
    if metadata.is_empty() { String::new() } else { serde_json::to_string(metadata).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_one_line_each_for_state_nonce_and_holder() {
        for bits in [0, 0x0123_4567_89ab_cdef, u128::MAX, u128::MAX - 1, 1 << 127] {
            let (grant, holder) = (GrantId::from_u128(bits), HolderId::new("pod-1").unwrap());
            let owner = owner(grant, &holder);
            assert_eq!(owner, format!("h\n{grant}\npod-1\n"));
            assert_eq!(owner.capacity(), owner.len());
        }
    }

    #[test]
    fn a_ttl_is_rounded_up_to_a_microsecond() {
        assert_eq!(in_microseconds(Duration::from_nanos(1)), 1);
        assert_eq!(in_microseconds(Duration::from_nanos(1000)), 1);
        assert_eq!(in_microseconds(Duration::from_nanos(1001)), 2);
        assert_eq!(in_microseconds(Duration::MAX), 3_153_600_000_000_000);
    }
}
