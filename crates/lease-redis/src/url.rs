//! URLs of servers, and texts that describe servers without secrets.

use std::net::Ipv6Addr;

use fred::{
    prelude::{Config, ServerConfig},
    types::config::Server,
};
use url::Url;

/// The message for a URL that cannot be parsed.
pub(crate) const HOW_TO_WRITE_IT: &str = "the URL of the server cannot be parsed: write \
    redis://user:password@host:port/database (rediss:// for TLS), \
    redis-sentinel://user:password@sentinel:port/database?sentinelServiceName=name or \
    redis-cluster://user:password@host:port, with more hosts as ?node=host:port&node=… and the special characters of the \
    user and the password percent-encoded";

/// The parameters that are supported.
const PARAMETERS: [&str; 4] = ["node", "sentinelServiceName", "sentinelUsername", "sentinelPassword"];

/// Parses a URL. Returns `None` if it is not valid, or if a part of the password may be in the wrong place.
pub(crate) fn parse(text: &str) -> Option<Config> {
    let (scheme, rest) = text.split_once("://")?;
    let kind = ["redis", "rediss", "valkey", "valkeys"].iter().find_map(|name| match scheme.strip_prefix(name)? {
        "" => Some(Kind::Single),
        "-sentinel" => Some(Kind::Sentinel),
        "-cluster" => Some(Kind::Cluster),
        _ => None,
    })?;
    // An unencoded `/`, `?` or `#` in the password ends the host too early. The rest of the password would be parsed as a
    // database or as parameters.
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    if !authority.contains('@') && rest.contains('@') {
        return None;
    }
    let url = Url::parse(text).ok()?;
    if url.host_str().is_none_or(str::is_empty)
        || url.fragment().is_some()
        || !url.query_pairs().all(|(key, _)| PARAMETERS.contains(&&*key))
    {
        return None;
    }
    match kind {
        // A part that only another kind of URL has is a mistake, and is not ignored.
        Kind::Single if url.query().is_some() => None,
        Kind::Cluster if !matches!(url.path(), "" | "/" | "/0") => None,
        _ => config(url),
    }
}

/// Returns the driver's configuration. IPv6 addresses are parsed here: the driver does not support them in a URL.
fn config(mut url: Url) -> Option<Config> {
    let others: Vec<Server> =
        url.query_pairs().filter(|(key, _)| key == "node").map(|(_, node)| server(&node)).collect::<Option<_>>()?;
    let parameters: Vec<_> = url
        .query_pairs()
        .filter(|(key, _)| key != "node")
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect();
    url.set_query(None);
    if !parameters.is_empty() {
        url.query_pairs_mut().extend_pairs(parameters);
    }
    let mut config = Config::from_url(url.as_str()).ok()?;
    let bare = |server: &mut Server| {
        if let Some(host) = server.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            server.host = host.to_owned().into();
        }
    };
    match &mut config.server {
        ServerConfig::Centralized { server } => bare(server),
        ServerConfig::Clustered { hosts, .. } | ServerConfig::Sentinel { hosts, .. } => {
            hosts.iter_mut().for_each(bare);
            hosts.splice(0..0, others);
        }
        #[allow(unreachable_patterns, reason = "there are more kinds when other features of the driver are on")]
        _ => {}
    }
    Some(config)
}

/// Parses `host:port` or `[address]:port`.
fn server(text: &str) -> Option<Server> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(address) => address.strip_suffix(']').filter(|address| address.parse::<Ipv6Addr>().is_ok())?,
        None => Some(host).filter(|host| !host.is_empty() && !host.contains(':'))?,
    };
    Some(Server::new(host, port.parse().ok()?))
}

/// Returns the address of a server as it is written in a URL.
pub(crate) fn address(Server { host, port, .. }: &Server) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

enum Kind {
    Single,
    Sentinel,
    Cluster,
}

/// Returns the passwords of a configuration, which no message may contain.
pub(crate) fn passwords(config: &Config) -> Vec<String> {
    let of_sentinels = match &config.server {
        ServerConfig::Sentinel { password, .. } => password.clone(),
        _ => None,
    };
    [config.password.clone(), of_sentinels].into_iter().flatten().filter(|password| !password.is_empty()).collect()
}

/// Describes the server of a configuration for messages, without secrets.
pub(crate) fn describe(config: &Config) -> String {
    let servers = servers(&config.server);
    // A server without TLS does not answer a client with TLS, so the message of the timeout must mention TLS.
    if config.tls.is_some() { format!("{servers} by TLS") } else { servers }
}

fn servers(config: &ServerConfig) -> String {
    match config {
        ServerConfig::Centralized { server } => format!("the server at {}", address(server)),
        ServerConfig::Clustered { hosts, .. } => format!("the Cluster at {}", list(hosts)),
        ServerConfig::Sentinel { hosts, service_name, .. } => {
            format!("{service_name:?}, found by the sentinels at {}", list(hosts))
        }
        #[allow(unreachable_patterns, reason = "there are more kinds when other features of the driver are on")]
        _ => "the server".to_owned(),
    }
}

fn list(hosts: &[Server]) -> String {
    hosts.iter().map(address).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_urls_of_every_kind() {
        let config = parse("redis://app:p%40ss@db:6380/3").unwrap();
        assert_eq!((config.username.as_deref(), config.password.as_deref()), (Some("app"), Some("p@ss")));
        assert_eq!((config.database, describe(&config)), (Some(3), "the server at db:6380".to_owned()));
        assert!(config.tls.is_none());
        for (url, expected) in [
            ("valkey://db", "the server at db:6379"),
            ("rediss://app:secret@db", "the server at db:6379 by TLS"),
            ("redis-cluster://:secret@a:1?node=b:2", "the Cluster at b:2, a:1"),
            ("redis://[::1]:7001", "the server at [::1]:7001"),
            (
                "rediss-cluster://[::1]:7001?node=[2001:db8::2]:7002&node=c:3",
                "the Cluster at [2001:db8::2]:7002, c:3, [::1]:7001 by TLS",
            ),
            (
                "redis-sentinel://[::1]:1?node=%5B::2%5D:2&sentinelServiceName=a%26b",
                "\"a&b\", found by the sentinels at [::2]:2, [::1]:1",
            ),
            (
                "redis-sentinel://app:secret@s1/1?sentinelServiceName=main&node=s2:26380&sentinelPassword=secret",
                "\"main\", found by the sentinels at s2:26380, s1:26379",
            ),
        ] {
            let description = describe(&parse(url).unwrap());
            assert_eq!(description, expected);
            assert!(!description.contains("secret"));
        }
    }

    #[test]
    fn an_ipv6_address_is_a_host_without_its_brackets() {
        let config = parse("redis-cluster://[::1]:7001?node=[::2]:7002").unwrap();
        assert_eq!(config.server.hosts(), [Server::new("::2", 7002), Server::new("::1", 7001)]);
    }

    #[test]
    fn a_url_that_may_have_a_password_in_the_wrong_place_is_refused() {
        for url in [
            "",
            "db:6379",
            "http://app:secret@db",
            "redisx://db",
            "redis-other://db",
            "redis://",
            "redis://:secret@",
            "redis://app:se/cret@db/0",
            "redis://app:123?secret@db/0",
            "redis://app:1#secret@db/0",
            "redis://app:secret@db:port/0",
            "redis://app:secret%FF@db/0",
            "redis://db/256",
            "redis://db/zero",
            "redis://db/0/1",
            "redis://db?db=1",
            "redis://db?node=other:1",
            "redis-cluster://db/1",
            "redis-cluster://db?node=::1:7002",
            "redis-cluster://db?node=[::1]",
            "redis-cluster://db?node=[secret]:7002",
            "redis-cluster://db?node=:7002",
            "redis-cluster://db?node=b:port",
            "redis-sentinel://db",
        ] {
            assert!(parse(url).is_none(), "{url}");
        }
    }
}
