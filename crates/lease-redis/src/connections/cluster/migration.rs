//! The servers of a Cluster to which another one is moving slots.

use std::collections::HashMap;

use fred::types::config::Server;

/// Parses the answer of a server to `CLUSTER NODES`. Returns the servers to which it is moving slots: they have keys of these
/// already, perhaps before they have a slot of their own.
pub(crate) fn migration_targets(answer: &str) -> Vec<Server> {
    let (mut addresses, mut ids) = (HashMap::new(), Vec::new());
    for line in answer.lines() {
        // `id ip:port@bus,hostname flags primary ping pong epoch link`, and slots: `[77->-id]` is one that is being moved away.
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [id, address, flags, _, _, _, _, _, slots @ ..] = fields.as_slice() else { continue };
        addresses.insert(*id, *address);
        if flags.split(',').any(|flag| flag == "myself") {
            let moving = slots.iter().filter_map(|slot| slot.strip_prefix('[')?.strip_suffix(']')?.split_once("->-"));
            ids.extend(moving.map(|(_, id)| id));
        }
    }
    ids.sort_unstable();
    ids.dedup();
    ids.into_iter().filter_map(|id| server(addresses.get(id)?)).collect()
}

fn server(address: &str) -> Option<Server> {
    let (address, names) = address.split_once('@')?;
    let (host, port) = address.rsplit_once(':')?;
    let hostname = names.split(',').nth(1).filter(|name| !name.is_empty());
    let host = Some(host).filter(|host| !host.is_empty()).or(hostname)?;
    let tls_server_name = hostname.map(|name| name.to_owned().into());
    Some(Server { host: host.to_owned().into(), port: port.parse().ok()?, tls_server_name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_servers_to_which_slots_are_moving() {
        let nodes = "\
            aa 127.0.0.1:7001@17001 myself,master - 0 0 1 connected 0-5460 [77->-bb] [78->-bb] [79-<-cc] [80->-dd] [81->-ee]\n\
            bb ::1:7002@17002,b.example master - 0 1 2 connected\n\
            cc 127.0.0.1:7003@17003 master - 0 1 3 connected 5461-16383 [5461->-aa]\n\
            dd 127.0.0.1:7004@17004,,tls-port=0 slave aa 0 1 1 connected\n\
            ee :0@0 master,noaddr - 0 1 1 disconnected\n\
            \n";
        let servers = migration_targets(nodes);
        assert_eq!(servers, [Server::new("::1", 7002), Server::new("127.0.0.1", 7004)]);
        assert_eq!(servers[0].tls_server_name.as_deref(), Some("b.example"));
        assert!(servers[1].tls_server_name.is_none());
        assert!(migration_targets("").is_empty() && migration_targets("nonsense").is_empty());
    }
}
