//! Redirections: the answer of a server of a Cluster that another server has a key.

use fred::types::config::Server;

/// The answer to a command for a key of another server. The command was not executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Redirection {
    pub(crate) slot: u16,
    pub(crate) server: Server,
    /// Whether only this command goes there, behind `ASKING`, because the slot is being moved there.
    pub(crate) is_ask: bool,
}

impl Redirection {
    /// Parses `MOVED slot host:port` or `ASK slot host:port`. Without a host, it is the host of `asked`, which has answered.
    pub(crate) fn parse(reply: &str, asked: &Server) -> Option<Self> {
        let mut fields = reply.split_whitespace();
        let is_ask = match fields.next()? {
            "MOVED" => false,
            "ASK" => true,
            _ => return None,
        };
        let slot = fields.next()?.parse().ok()?;
        // The host may be an IPv6 address, which contains colons.
        let (host, port) = fields.next()?.rsplit_once(':')?;
        let host = match host {
            // The Cluster prefers names, and this server announces none.
            "?" => return None,
            "" => asked.host.clone(),
            host => host.into(),
        };
        Some(Self { slot, server: Server { host, port: port.parse().ok()?, tls_server_name: None }, is_ask })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_redirections() {
        let asked = Server::new("asked", 1);
        for (reply, slot, server, is_ask) in [
            ("MOVED 866 127.0.0.1:7001", 866, Server::new("127.0.0.1", 7001), false),
            ("ASK 16383 db.example:7001", 16383, Server::new("db.example", 7001), true),
            ("MOVED 0 ::1:7002", 0, Server::new("::1", 7002), false),
            ("MOVED 5 :7002", 5, Server::new("asked", 7002), false),
        ] {
            assert_eq!(Redirection::parse(reply, &asked), Some(Redirection { slot, server, is_ask }));
        }
        for reply in ["", "MOVED", "ASK 1", "ASK 1 a", "ASK x a:1", "ASK 1 a:x", "ASK 1 ?:7000", "TRYAGAIN 1 a:1"] {
            assert_eq!(Redirection::parse(reply, &asked), None, "{reply}");
        }
    }
}
