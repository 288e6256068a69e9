//! Where an answer of PostgreSQL ends.

use crate::Frame;

/// All messages up to the one that says that the server is ready for the next query. An answer is what a statement has completed.
pub(super) fn frame(bytes: &[u8]) -> Option<Frame> {
    const READY: u8 = b'Z';
    const COMPLETE: u8 = b'C';
    let (mut end, mut is_answer) = (0, false);
    loop {
        let kind = *bytes.get(end)?;
        // It counts itself, and not the kind before it.
        let length = u32::from_be_bytes(bytes.get(end + 1..end + 5)?.try_into().ok()?);
        end += 1 + usize::try_from(length).ok()?;
        is_answer |= kind == COMPLETE;
        if end > bytes.len() {
            return None;
        }
        if kind == READY {
            return Some(if is_answer { Frame::Answer(end) } else { Frame::Other(end) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(kinds: &str) -> Vec<u8> {
        kinds.bytes().flat_map(|kind| [kind, 0, 0, 0, 5, b'x']).collect()
    }

    #[test]
    fn an_answer_ends_where_the_server_is_ready() {
        assert_eq!(frame(&messages("2DCZ2")), Some(Frame::Answer(24)));
        assert_eq!(frame(&messages("ZC")), Some(Frame::Other(6)));
        assert_eq!(frame(&messages("2DC")), None);
        assert_eq!(frame(&messages("CZ")[..11]), None);
    }
}
