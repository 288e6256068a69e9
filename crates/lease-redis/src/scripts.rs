//! The Lua scripts, each with the hash by which the server caches it.

use fred::util::sha1_hash;

/// The script of [`RedisStore::fenced_write`](crate::RedisStore::fenced_write), for other software to run or to build into a
/// script of its own:
///
/// ```lua
#[doc = include_str!("../scripts/fenced_write.lua")]
/// ```
pub const FENCED_WRITE_SCRIPT: &str = include_str!("../scripts/fenced_write.lua");

/// A script. The server may drop it from its cache at any time; the text is sent then.
#[derive(Debug)]
pub(crate) struct Script {
    text: String,
    hash: String,
}

impl Script {
    fn new(parts: &[&str]) -> Self {
        let text = parts.concat();
        let hash = sha1_hash(&text);
        Self { text, hash }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn hash(&self) -> &str {
        &self.hash
    }
}

/// All scripts of a store.
#[derive(Debug)]
pub(crate) struct Scripts {
    pub(crate) acquire: Script,
    pub(crate) renew: Script,
    pub(crate) release: Script,
    pub(crate) break_lease: Script,
    pub(crate) inspect: Script,
    pub(crate) fenced_write: Script,
    pub(crate) index_add: Script,
    pub(crate) index_remove: Script,
    pub(crate) index_page: Script,
    pub(crate) index_trust: Script,
}

impl Scripts {
    pub(crate) fn new() -> Self {
        const RECORD: &str = include_str!("../scripts/record.lua");
        const ACQUIRE_FREE: &str = include_str!("../scripts/acquire_free.lua");
        const RELEASE_HELD: &str = include_str!("../scripts/release_held.lua");
        const LEASE: &str = include_str!("../scripts/lease.lua");
        const OWNER: &str = include_str!("../scripts/owner.lua");
        Self {
            acquire: Script::new(&[RECORD, ACQUIRE_FREE, LEASE, include_str!("../scripts/acquire.lua")]),
            renew: Script::new(&[RECORD, LEASE, OWNER, include_str!("../scripts/renew.lua")]),
            release: Script::new(&[RECORD, RELEASE_HELD, LEASE, OWNER, include_str!("../scripts/release.lua")]),
            break_lease: Script::new(&[RECORD, LEASE, OWNER, include_str!("../scripts/break.lua")]),
            inspect: Script::new(&[RECORD, LEASE, include_str!("../scripts/inspect.lua")]),
            fenced_write: Script::new(&[FENCED_WRITE_SCRIPT]),
            index_add: Script::new(&[include_str!("../scripts/index_add.lua")]),
            index_remove: Script::new(&[include_str!("../scripts/index_remove.lua")]),
            index_page: Script::new(&[include_str!("../scripts/index_page.lua")]),
            index_trust: Script::new(&[include_str!("../scripts/index_trust.lua")]),
        }
    }
}
