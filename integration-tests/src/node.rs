//! Servers that are scripts for Node, with packages of npm that are in the cache.

use crate::{
    ServerError,
    account::Account,
    installed::{find, in_path},
    keeper::Keeper,
    local_server::{LocalServer, Program},
    ports::on_a_free_port,
};

/// What a server says when another process has its port.
const TAKEN: &str = "EADDRINUSE";

/// The file of the script, in the directory of a server.
const SCRIPT: &str = "server.js";

/// A server that Node runs.
pub(crate) struct NodeServer {
    /// Its script. The first argument is the directory of the packages.
    pub(crate) script: &'static str,
    /// The variable that names the directory of the packages.
    pub(crate) variable: &'static str,
    /// The same directory in the cache.
    pub(crate) cached: &'static str,
    pub(crate) program: fn(Vec<String>, u16) -> Program,
}

impl NodeServer {
    /// Starts one, with these arguments for a port, by a command that is put in front of it, if there is one;
    /// [`ServerError::NoServer`] when Node or the packages are missing.
    pub(crate) fn start(
        &self,
        under: &[String],
        arguments: impl Fn(u16) -> Vec<String>,
    ) -> Result<LocalServer, ServerError> {
        let node = in_path("node").ok_or_else(|| ServerError::NoServer("no node in PATH".into()))?;
        let modules = find(self.variable, None, self.cached)?;
        on_a_free_port(TAKEN, |port| {
            let keeper = Keeper::new(Account::current(), "TERM")?;
            std::fs::write(keeper.directory().join(SCRIPT), self.script)
                .map_err(|error| ServerError::failed(SCRIPT, error))?;
            let mut command = under.to_vec();
            command.extend([node.to_string_lossy(), SCRIPT.into(), modules.to_string_lossy()].map(String::from));
            command.extend(arguments(port));
            LocalServer::start(keeper, (self.program)(command, port))
        })
    }
}
