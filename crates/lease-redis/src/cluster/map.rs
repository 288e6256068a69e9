//! Which server of a Cluster has which slots.

use std::net::IpAddr;

use fred::{
    bytes_utils::Str,
    prelude::Value,
    types::config::{Server, TlsHostMapping},
};

/// How many there are.
const SLOTS: usize = 16384;

/// Which primary has each slot.
#[derive(Debug, Clone)]
pub(crate) struct SlotMap {
    /// The place in `servers`, or `NOBODY`.
    slots: Vec<u16>,
    servers: Vec<Server>,
}

const NOBODY: u16 = u16::MAX;

impl Default for SlotMap {
    fn default() -> Self {
        Self { slots: vec![NOBODY; SLOTS], servers: Vec::new() }
    }
}

impl PartialEq for SlotMap {
    fn eq(&self, other: &Self) -> bool {
        (0..SLOTS as u16).all(|slot| self.server_of(slot) == other.server_of(slot))
    }
}

impl SlotMap {
    /// Reads what `asked` has answered to `CLUSTER SLOTS`; nothing where that is of another shape. Certificates are compared with
    /// the name that a server announces, or what the application says of its address.
    pub(crate) fn read(answer: &Value, asked: &Server, names: Option<&TlsHostMapping>) -> Option<Self> {
        let Value::Array(ranges) = answer else { return None };
        let mut map = Self::default();
        for range in ranges {
            let Value::Array(words) = range else { return None };
            let [first, last, Value::Array(primary), ..] = words.as_slice() else { return None };
            let (first, last) = (first.as_u64()?, last.as_u64()?);
            if first > last || last >= SLOTS as u64 {
                return None;
            }
            // One that cannot be reached is like none.
            let Some(server) = server(primary, asked, names) else { continue };
            let place = map.place_of(server);
            map.slots[first as usize..=last as usize].fill(place);
        }
        Some(map)
    }

    pub(crate) fn server_of(&self, slot: u16) -> Option<&Server> {
        self.servers.get(usize::from(*self.slots.get(usize::from(slot))?))
    }

    pub(crate) fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// How many slots a server has.
    pub(crate) fn slots_of(&self, server: &Server) -> usize {
        let place = self.servers.iter().position(|known| known == server);
        place.map_or(0, |place| self.slots.iter().filter(|&&slot| usize::from(slot) == place).count())
    }

    /// The same server, as the map has it: with the name that is in its certificate.
    pub(crate) fn known(&self, server: Server) -> Server {
        self.servers.iter().find(|known| **known == server).cloned().unwrap_or(server)
    }

    /// How many slots somebody has.
    pub(crate) fn covered(&self) -> usize {
        self.slots.iter().filter(|&&place| place != NOBODY).count()
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.covered() == SLOTS
    }

    /// A server has said that another one has this slot.
    pub(crate) fn moved(&mut self, slot: u16, server: Server) {
        let place = self.place_of(server);
        if let Some(slot) = self.slots.get_mut(usize::from(slot)) {
            *slot = place;
        }
    }

    fn place_of(&mut self, server: Server) -> u16 {
        let at = self.servers.iter().position(|known| *known == server).unwrap_or_else(|| {
            self.servers.push(server);
            self.servers.len() - 1
        });
        // There are never more servers than slots.
        u16::try_from(at).unwrap_or(NOBODY)
    }
}

/// `host or nothing, port, id, further names`: the host is the one by which the Cluster wants it to be known.
fn server(words: &[Value], asked: &Server, names: Option<&TlsHostMapping>) -> Option<Server> {
    let [host, port, more @ ..] = words else { return None };
    let further = more.get(1).map(further_names).unwrap_or_default();
    let called = |name: &str| further.iter().find(|(key, _)| **key == *name).map(|(_, name)| name.clone());
    let host = match text(host) {
        // It is to be known by a name, and has none.
        Some(host) if &*host == "?" => called("ip")?,
        Some(host) if !host.is_empty() => host,
        _ => asked.host.clone(),
    };
    let port = u16::try_from(port.as_u64()?).ok()?;
    let address = host.parse::<IpAddr>().ok();
    let mapped = |address: &IpAddr| match names? {
        TlsHostMapping::DefaultHost => Some(asked.host.clone()),
        TlsHostMapping::Custom(mapping) => mapping.map(address, &asked.host).map(Str::from),
        TlsHostMapping::None => None,
    };
    let tls_server_name = address.and_then(|address| called("hostname").or_else(|| mapped(&address)));
    Some(Server { host, port, tls_server_name })
}

/// Alternating keys and names, or a map of them.
fn further_names(words: &Value) -> Vec<(Str, Str)> {
    let named = |(_, name): &(Str, Str)| !name.is_empty();
    match words {
        Value::Map(names) => {
            let pairs = names.iter().filter_map(|(key, name)| Some((key.as_bytes_str()?, text(name)?)));
            pairs.filter(named).collect()
        }
        Value::Array(words) => {
            let pairs = words.chunks_exact(2).filter_map(|pair| Some((text(&pair[0])?, text(&pair[1])?)));
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
        SlotMap::read(&array(ranges), &Server::new("asked", 1), None)
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
    fn a_server_is_known_by_the_name_that_the_cluster_prefers() {
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
        let map = SlotMap::read(&array([address]), &Server::new("asked", 1), names).unwrap();
        assert_eq!(map.server_of(0).unwrap().tls_server_name.as_deref(), Some("asked"));
    }

    #[test]
    fn a_slot_that_has_moved_is_elsewhere() {
        let mut map = read(vec![range(0, 16383, node("a", 1, array([])))]).unwrap();
        let before = map.clone();
        map.moved(7, Server::new("b", 2));
        assert_eq!((map.server_of(7), map.server_of(8)), (Some(&Server::new("b", 2)), Some(&Server::new("a", 1))));
        assert!(map != before);
        map.moved(7, Server::new("a", 1));
        assert!(map == before);
    }

    #[test]
    fn an_answer_of_another_shape_is_none() {
        assert!(SlotMap::read(&Value::Null, &Server::new("asked", 1), None).is_none());
        for range in [Value::Null, array([]), array([Value::from(0), 1.into()]), range(5, 4, node("a", 1, array([])))] {
            assert!(read(vec![range]).is_none());
        }
        assert!(read(vec![range(0, 16384, node("a", 1, array([])))]).is_none());
        assert_eq!(read(vec![]).unwrap().covered(), 0);
    }
}
