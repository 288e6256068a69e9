//! What is in the node of a lease: a line that identifies the node, and the record.
//!
//! The version of a node counts from 0 again after it was deleted and created, and a write is conditional on the version alone. So
//! each node of a lease has one node below it, whose random name is in its first line. A write checks, in one transaction, that this
//! is there: it cannot hit a node that somebody has created since.

use lease_core::GrantId;
use lease_document::{Document, Version};
use zookeeper_client::Stat;

/// What a version identifies: the node, and how often it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) id: String,
    pub(crate) version: i32,
}

impl Expected {
    /// Returns the condition of a write, or `None` if this store has not made the version.
    pub(crate) fn of(version: &Version) -> Option<Self> {
        let (id, version) = version.tag.split_once(':')?;
        is_id(id.as_bytes()).then_some(())?;
        Some(Self { id: id.to_owned(), version: version.parse().ok()? })
    }
}

/// Returns an id for a node that is to be created.
pub(crate) fn new_id() -> String {
    GrantId::random().to_string()
}

fn is_id(id: &[u8]) -> bool {
    id.len() == 32 && id.iter().all(u8::is_ascii_hexdigit)
}

/// Returns what to write to the node.
pub(crate) fn encode(id: &str, value: &[u8]) -> Vec<u8> {
    [id.as_bytes(), b"\n", value].concat()
}

/// Returns the version of the node with this id, by the answer of a server.
pub(crate) fn version(id: &str, stat: &Stat) -> Version {
    Version::new(format!("{id}:{}", stat.version)).with_number(u64::try_from(stat.mzxid).unwrap_or_default())
}

/// Returns the document in a node. What another program has written has a version, too, but none that can be written.
pub(crate) fn decode(mut data: Vec<u8>, stat: &Stat) -> Document {
    let end = data.iter().position(|byte| *byte == b'\n').filter(|end| is_id(&data[..*end]));
    let Some(end) = end else { return Document::new(data, version("-", stat)) };
    let id = String::from_utf8_lossy(&data[..end]).into_owned();
    Document::new(data.split_off(end + 1), version(&id, stat))
}

/// Returns the value alone.
pub(crate) fn value(data: Vec<u8>, stat: &Stat) -> Vec<u8> {
    decode(data, stat).value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(version: i32) -> Stat {
        Stat {
            czxid: 7,
            mzxid: 9,
            pzxid: 7,
            ctime: 0,
            mtime: 0,
            version,
            cversion: 1,
            aversion: 0,
            ephemeral_owner: 0,
            data_length: 0,
            num_children: 1,
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let id = new_id();
        let document = decode(encode(&id, b"{}\n"), &stat(3));
        assert_eq!((document.value.as_slice(), document.version.number), (b"{}\n".as_slice(), Some(9)));
        assert_eq!(Expected::of(&document.version), Some(Expected { id, version: 3 }));
    }

    #[test]
    fn what_others_have_written_cannot_be_replaced() {
        for data in ["", "{}", "\n{}", "no id\n{}", "../../other\n{}"] {
            let document = decode(data.into(), &stat(3));
            assert_eq!(document.value, data.as_bytes());
            assert_eq!(Expected::of(&document.version), None, "{data}");
        }
    }
}
