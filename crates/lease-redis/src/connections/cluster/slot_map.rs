//! The slot map of a Cluster: which primary has each slot.

use std::net::IpAddr;

use fred::{
    bytes_utils::Str,
    prelude::Value,
    types::config::{Server, TlsHostMapping},
};

/// The number of slots of every Cluster.
const SLOTS: usize = 16384;

/// Maps each slot to its primary.
#[derive(Debug, Clone)]
pub(crate) struct SlotMap {
    /// For each slot, the position of its primary in `servers`, or `UNASSIGNED`.
    slots: Vec<u16>,
    servers: Vec<Server>,
}

const UNASSIGNED: u16 = u16::MAX;

impl Default for SlotMap {
    fn default() -> Self {
        Self { slots: vec![UNASSIGNED; SLOTS], servers: Vec::new() }
    }
}

impl PartialEq for SlotMap {
    fn eq(&self, other: &Self) -> bool {
        (0..SLOTS as u16).all(|slot| self.server_of(slot) == other.server_of(slot))
    }
}

impl SlotMap {
    /// Parses the answer of `asked` to `CLUSTER SLOTS`. The name that a server announces is the one that its certificate must
    /// have; without one, the application's mapping of its address provides it.
    pub(crate) fn parse(answer: &Value, asked: &Server, names: Option<&TlsHostMapping>) -> Option<Self> {
        let Value::Array(ranges) = answer else { return None };
        let mut map = Self::default();
        for range in ranges {
            let Value::Array(fields) = range else { return None };
            let [first, last, Value::Array(primary), ..] = fields.as_slice() else { return None };
            let (first, last) = (first.as_u64()?, last.as_u64()?);
            if first > last || last >= SLOTS as u64 {
                return None;
            }
            // Slots of a server without an address stay unassigned.
            let Some(server) = server(primary, asked, names) else { continue };
            let position = map.position_of(server);
            map.slots[first as usize..=last as usize].fill(position);
        }
        Some(map)
    }

    pub(crate) fn server_of(&self, slot: u16) -> Option<&Server> {
        self.servers.get(usize::from(*self.slots.get(usize::from(slot))?))
    }

    pub(crate) fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// Returns the number of slots that a server has.
    pub(crate) fn slots_of(&self, server: &Server) -> usize {
        let position = self.servers.iter().position(|known| known == server);
        position.map_or(0, |position| self.slots.iter().filter(|&&slot| usize::from(slot) == position).count())
    }

    /// Returns the server as it is in the map, with the name that its certificate must have.
    pub(crate) fn with_certificate_name(&self, server: Server) -> Server {
        self.servers.iter().find(|known| **known == server).cloned().unwrap_or(server)
    }

    /// Returns the number of slots that have a primary.
    pub(crate) fn covered(&self) -> usize {
        self.slots.iter().filter(|&&position| position != UNASSIGNED).count()
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.covered() == SLOTS
    }

    /// Assigns a slot to another server.
    pub(crate) fn assign(&mut self, slot: u16, server: Server) {
        let position = self.position_of(server);
        if let Some(slot) = self.slots.get_mut(usize::from(slot)) {
            *slot = position;
        }
    }

    fn position_of(&mut self, server: Server) -> u16 {
        let at = self.servers.iter().position(|known| *known == server).unwrap_or_else(|| {
            self.servers.push(server);
            self.servers.len() - 1
        });
        // There are never more servers than slots.
        u16::try_from(at).unwrap_or(UNASSIGNED)
    }
}

/// Parses `host or null, port, id, further names`. The host is the one that the Cluster prefers.
fn server(fields: &[Value], asked: &Server, names: Option<&TlsHostMapping>) -> Option<Server> {
    let [host, port, more @ ..] = fields else { return None };
    let further = more.get(1).map(further_names).unwrap_or_default();
    let further_name = |name: &str| further.iter().find(|(key, _)| **key == *name).map(|(_, name)| name.clone());
    let host = match text(host) {
        // The Cluster prefers names, and this server announces none.
        Some(host) if &*host == "?" => further_name("ip")?,
        Some(host) if !host.is_empty() => host,
        _ => asked.host.clone(),
    };
    let port = u16::try_from(port.as_u64()?).ok()?;
    let address = host.parse::<IpAddr>().ok();
    // The same name, whichever server is asked.
    let default = asked.tls_server_name.as_ref().unwrap_or(&asked.host);
    let mapped = |address: &IpAddr| match names? {
        TlsHostMapping::DefaultHost => Some(default.clone()),
        TlsHostMapping::Custom(mapping) => mapping.map(address, default).map(Str::from),
        TlsHostMapping::None => None,
    };
    let tls_server_name = address.and_then(|address| further_name("hostname").or_else(|| mapped(&address)));
    Some(Server { host, port, tls_server_name })
}

/// Parses alternating keys and names, or a map of them.
fn further_names(names: &Value) -> Vec<(Str, Str)> {
    let named = |(_, name): &(Str, Str)| !name.is_empty();
    match names {
        Value::Map(names) => {
            let pairs = names.iter().filter_map(|(key, name)| Some((key.as_bytes_str()?, text(name)?)));
            pairs.filter(named).collect()
        }
        Value::Array(names) => {
            let pairs = names.chunks_exact(2).filter_map(|pair| Some((text(&pair[0])?, text(&pair[1])?)));
            pairs.filter(named).collect()
        }
        _ => Vec::new(),
    }
}

fn text(value: &Value) -> Option<Str> {
    if value.is_null() { None } else { value.as_bytes_str() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(values: impl Into<Vec<Value>>) -> Value {
        Value::Array(values.into())
    }

    fn range(first: i64, last: i64, primary: Value) -> Value {
        let replica = array([Value::from("replica"), 9.into(), "id".into(), array([])]);
        array([first.into(), last.into(), primary, replica])
    }

    fn node(host: impl Into<Value>, port: i64, further: Value) -> Value {
        array([host.into(), port.into(), Value::from("id"), further])
    }

    fn read(ranges: Vec<Value>) -> Option<SlotMap> {
        SlotMap::parse(&array(ranges), &Server::new("asked", 1), None)
    }

    #[test]
    fn each_slot_has_its_primary() {
        let (a, b) = (node("10.0.0.1", 7000, array([])), node("::1", 7001, array([])));
        let map = read(vec![range(0, 99, a.clone()), range(100, 16382, b), range(16383, 16383, a)]).unwrap();
        assert!(map.is_complete());
        let (a, b) = (Server::new("10.0.0.1", 7000), Server::new("::1", 7001));
        for (slot, server) in [(0, &a), (99, &a), (100, &b), (16382, &b), (16383, &a)] {
            assert_eq!(map.server_of(slot), Some(server));
        }
        assert_eq!(map.servers(), [a, b]);
        let partial = read(vec![range(5, 9, node("a", 1, array([])))]).unwrap();
        assert_eq!((partial.covered(), partial.server_of(4), partial.server_of(16384)), (5, None, None));
        assert!(!partial.is_complete() && partial != map && partial == partial.clone());
    }

    #[test]
    fn a_server_has_the_name_that_the_cluster_prefers() {
        let names = |key: &str, name: &str| array([Value::from(key), name.into()]);
        for (primary, host, certificate) in [
            (node("10.0.0.1", 1, array([])), "10.0.0.1", None),
            (node("10.0.0.1", 1, names("hostname", "a.example")), "10.0.0.1", Some("a.example")),
            (node("10.0.0.1", 1, names("hostname", "")), "10.0.0.1", None),
            (node("a.example", 1, names("ip", "10.0.0.1")), "a.example", None),
            (node("", 1, array([])), "asked", None),
            (node(Value::Null, 1, names("ip", "10.0.0.1")), "asked", None),
            (node("?", 1, names("ip", "10.0.0.1")), "10.0.0.1", None),
            // Before version 7 there are no further names, before 4 no id.
            (array([Value::from("10.0.0.1"), 1.into(), "id".into()]), "10.0.0.1", None),
            (array([Value::from("10.0.0.1"), 1.into()]), "10.0.0.1", None),
        ] {
            let map = read(vec![range(0, 1, primary)]).unwrap();
            let server = map.server_of(0).unwrap();
            assert_eq!((&*server.host, server.tls_server_name.as_deref()), (host, certificate));
        }
        let address = range(0, 1, node("10.0.0.1", 1, array([])));
        let names = Some(&TlsHostMapping::DefaultHost);
        let map = SlotMap::parse(&array([address]), &Server::new("asked", 1), names).unwrap();
        assert_eq!(map.server_of(0).unwrap().tls_server_name.as_deref(), Some("asked"));
        let address = range(0, 1, node("10.0.0.2", 1, array([])));
        let map = SlotMap::parse(&array([address]), map.server_of(0).unwrap(), names).unwrap();
        assert_eq!(map.server_of(0).unwrap().tls_server_name.as_deref(), Some("asked"));
    }

    #[test]
    fn a_slot_can_be_assigned_to_another_server() {
        let mut map = read(vec![range(0, 16383, node("a", 1, array([])))]).unwrap();
        let before = map.clone();
        map.assign(7, Server::new("b", 2));
        assert_eq!((map.server_of(7), map.server_of(8)), (Some(&Server::new("b", 2)), Some(&Server::new("a", 1))));
        assert!(map != before);
        map.assign(7, Server::new("a", 1));
        assert!(map == before);
    }

    #[test]
    fn an_answer_of_another_shape_is_refused() {
        assert!(SlotMap::parse(&Value::Null, &Server::new("asked", 1), None).is_none());
        for range in [Value::Null, array([]), array([Value::from(0), 1.into()]), range(5, 4, node("a", 1, array([])))] {
            assert!(read(vec![range]).is_none());
        }
        assert!(read(vec![range(0, 16384, node("a", 1, array([])))]).is_none());
        assert_eq!(read(vec![]).unwrap().covered(), 0);
    }
}
