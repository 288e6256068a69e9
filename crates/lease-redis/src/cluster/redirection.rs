//! Where a server of a Cluster says that a key is.

use fred::types::config::Server;

/// The answer to a command for another server's key. Nothing was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Redirection {
    pub(crate) slot: u16,
    pub(crate) server: Server,
    /// For this one command only, behind `ASKING`: the slot is being moved there.
    pub(crate) is_ask: bool,
}

impl Redirection {
    /// Reads `MOVED slot host:port` or `ASK slot host:port`, as `asked` has said it: without a host, it means its own.
    pub(crate) fn read(reply: &str, asked: &Server) -> Option<Self> {
        let mut words = reply.split_whitespace();
        let is_ask = match words.next()? {
            "MOVED" => false,
            "ASK" => true,
            _ => return None,
        };
        let slot = words.next()?.parse().ok()?;
        // A host may be an address of IPv6, with colons of its own.
        let (host, port) = words.next()?.rsplit_once(':')?;
        let host = match host {
            // It is to be known by a name that nobody has given it.
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
    fn says_where_a_key_is() {
        let asked = Server::new("asked", 1);
        for (reply, slot, server, is_ask) in [
            ("MOVED 866 127.0.0.1:7001", 866, Server::new("127.0.0.1", 7001), false),
            ("ASK 16383 db.example:7001", 16383, Server::new("db.example", 7001), true),
            ("MOVED 0 ::1:7002", 0, Server::new("::1", 7002), false),
            ("MOVED 5 :7002", 5, Server::new("asked", 7002), false),
        ] {
            assert_eq!(Redirection::read(reply, &asked), Some(Redirection { slot, server, is_ask }));
        }
        for reply in ["", "MOVED", "ASK 1", "ASK 1 a", "ASK x a:1", "ASK 1 a:x", "ASK 1 ?:7000", "TRYAGAIN 1 a:1"] {
            assert_eq!(Redirection::read(reply, &asked), None, "{reply}");
        }
    }
}
