//! The scripts, and the names by which the server remembers them.

use fred::util::sha1_hash;

/// A script. The server may forget it at any time; then its text is sent along.
#[derive(Debug)]
pub(crate) struct Script {
    text: String,
    sha: String,
}

impl Script {
    fn new(parts: &[&str]) -> Self {
        let text = parts.concat();
        let sha = sha1_hash(&text);
        Self { text, sha }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn sha(&self) -> &str {
        &self.sha
    }
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Scripts {
    pub(crate) acquire: Script,
    pub(crate) renew: Script,
    pub(crate) release: Script,
    pub(crate) break_lease: Script,
    pub(crate) look: Script,
    pub(crate) fenced_write: Script,
}

impl Scripts {
    pub(crate) fn new() -> Self {
        const RECORD: &str = include_str!("../scripts/record.lua");
        const OWNER: &str = include_str!("../scripts/owner.lua");
        Self {
            acquire: Script::new(&[RECORD, include_str!("../scripts/acquire.lua")]),
            renew: Script::new(&[RECORD, OWNER, include_str!("../scripts/renew.lua")]),
            release: Script::new(&[RECORD, OWNER, include_str!("../scripts/release.lua")]),
            break_lease: Script::new(&[RECORD, OWNER, include_str!("../scripts/break.lua")]),
            look: Script::new(&[RECORD, include_str!("../scripts/look.lua")]),
            fenced_write: Script::new(&[crate::FENCED_WRITE_SCRIPT]),
        }
    }
}
