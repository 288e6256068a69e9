//! Parses the URL of a server, as libpq does. Parameters that cannot be fulfilled are refused: the driver would ignore them, and
//! log them with their values.

use std::{fs, str::FromStr};

use sqlx::postgres::{PgConnectOptions, PgSslMode};

const FORM: &str = "write postgres://user:password@host:port/database?sslmode=…, with the special characters of the user and \
                    the password percent-encoded";

/// The parameters that the driver supports, besides `options[…]`.
const SUPPORTED: [&str; 18] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

/// Parameters that name files. A missing file is reported at once, because it is not an outage of the server.
const FILES: [&str; 7] = ["ssl-ca", "ssl-cert", "ssl-key", "ssl-root-cert", "sslcert", "sslkey", "sslrootcert"];

/// Parameters with values that are fulfilled anyway. The store writes, so it needs a primary in any case.
const FULFILLED: [(&str, &[&str]); 6] = [
    ("channel_binding", &["disable", "prefer"]),
    ("client_encoding", &["auto", "utf8", "UTF8"]),
    ("gssencmode", &["disable", "prefer"]),
    ("load_balance_hosts", &["disable"]),
    ("sslnegotiation", &["postgres"]),
    ("target_session_attrs", &["any", "primary", "read-write"]),
];

/// Returns the connection options of a URL, or the message why it is refused. The message contains only names of parameters,
/// because the URL contains the password.
pub(crate) fn parse(url: &str) -> Result<PgConnectOptions, String> {
    let malformed = || format!("the URL of the server is malformed: {FORM}");
    let (scheme, rest) = url.split_once("://").ok_or_else(malformed)?;
    if !matches!(scheme, "postgres" | "postgresql") {
        return Err(malformed());
    }
    // An unencoded `/`, `?` or `#` in the password ends the authority too early; the rest of the password would be taken for
    // parameters.
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    if !authority.contains('@') && rest.contains('@') {
        return Err(malformed());
    }
    let (place, query) = url.split_once('?').unwrap_or((url, ""));
    let mut kept = Vec::new();
    let mut verifies_by_system = false;
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').ok_or_else(malformed)?;
        if (name, value) == ("sslrootcert", "system") {
            verifies_by_system = true;
        } else if let Some((_, values)) = FULFILLED.iter().find(|(fulfilled, _)| *fulfilled == name) {
            if !values.contains(&value) {
                return Err(format!(
                    "the value of the URL parameter {name} is not supported: omit the parameter, or use {}",
                    values.join(", ")
                ));
            }
        } else if SUPPORTED.contains(&name) || name.starts_with("options%5B") || name.starts_with("options[") {
            kept.push(parameter);
        } else if name == "connect_timeout" {
            return Err(
                "the URL parameter connect_timeout is not supported: use PostgresStoreOptions::with_connect_timeout"
                    .to_owned(),
            );
        } else if name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
            return Err(format!("the URL parameter {name} is not supported: omit or correct it"));
        } else {
            return Err(malformed());
        }
    }
    let has = |name: &str| kept.iter().any(|parameter| parameter.split('=').next() == Some(name));
    let hosts = || kept.iter().filter_map(|parameter| parameter.strip_prefix("host="));
    let authority_host = authority.rsplit('@').next().unwrap_or_default();
    if authority_host.contains(',') || hosts().any(|hosts| hosts.contains(',') || hosts.contains("%2C")) {
        return Err(
            "the URL names several hosts: name one that always leads to the primary, such as a virtual address or a DNS name"
                .to_owned(),
        );
    }
    if has("hostaddr") && (has("host") || !authority_host.is_empty()) {
        return Err("the driver does not support hostaddr together with a host: name the host alone".to_owned());
    }
    let supported = if kept.is_empty() { place.to_owned() } else { format!("{place}?{}", kept.join("&")) };
    let mut options = PgConnectOptions::from_str(&supported).map_err(|_| malformed())?;
    if let Some(address) = options.get_host().strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        let address = address.to_owned();
        options = options.host(&address);
    }
    if verifies_by_system {
        if ["sslmode", "ssl-mode"].iter().any(|name| has(name))
            && !matches!(options.get_ssl_mode(), PgSslMode::VerifyFull)
        {
            return Err(
                "sslrootcert=system requires sslmode=verify-full: a weaker mode would verify nothing".to_owned()
            );
        }
        options = options.ssl_mode(PgSslMode::VerifyFull);
    }
    for parameter in &kept {
        let Some((name, path)) = parameter.split_once('=').filter(|(name, _)| FILES.contains(name)) else { continue };
        // The value may be the certificate itself; encoded values are left to the driver.
        if !path.contains(['%', '+', '\n'])
            && !path.starts_with("-----BEGIN")
            && let Err(error) = fs::metadata(path)
        {
            return Err(format!("the file of the URL parameter {name} cannot be read: {error}"));
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_urls_of_postgres_only_and_none_with_a_stray_password() {
        for url in [
            "postgres://app:secret@db:5433/app?sslmode=require",
            "postgresql://app@db/app",
            "postgres://db/app?user=app&password=secret",
            "postgres:///app?host=/run/postgresql",
            "postgres://app@db/app?options=-c%20work_mem%3D1MB&options[geqo]=off",
            "postgres://app@db/app?target_session_attrs=read-write&channel_binding=prefer&application_name=app",
        ] {
            assert!(parse(url).is_ok(), "{url}: {:?}", parse(url));
        }
        for url in [
            "",
            "db:5432",
            "mysql://app:secret@db/app",
            "postgres://app:se/cret@db/app",
            "postgres://app:123?secret@db/app",
            "postgres://app:1#secret@db/app",
            "postgres://app:secret@db:port/app",
            "postgres://app:secret@db/app?sslmode=sometimes",
            "postgres://db/app?user=app&password=a&b3cret",
            "postgres://db/app?user=app&password=a&B=cret",
        ] {
            let why = parse(url).unwrap_err();
            assert!(why.contains("percent-encoded") && !why.contains("cret"), "{url}: {why}");
        }
    }

    #[test]
    fn what_cannot_be_fulfilled_is_refused_by_name_and_its_value_is_not_repeated() {
        for (parameters, expected) in [
            ("pasword=hunter2", "pasword"),
            ("connect_timeout=3", "with_connect_timeout"),
            ("channel_binding=require", "channel_binding"),
            ("target_session_attrs=standby", "target_session_attrs"),
            ("gssencmode=require", "gssencmode"),
            ("require_auth=scram-sha-256", "require_auth"),
            ("sslcrl=/tmp/hunter2", "sslcrl"),
            ("sslrootcert=system&sslmode=require", "verify-full"),
            ("sslrootcert=/no/hunter2", "sslrootcert"),
            ("host=one,two", "several hosts"),
            ("hostaddr=10.0.0.1", "hostaddr"),
        ] {
            let why = parse(&format!("postgres://app@db/app?{parameters}")).unwrap_err();
            assert!(why.contains(expected) && !why.contains("hunter2"), "{parameters}: {why}");
        }
        assert!(parse("postgres://app@one,two:5433/app").unwrap_err().contains("several hosts"));
    }

    #[test]
    fn the_certificates_of_the_system_verify_everything() {
        for url in ["postgres://db/app?sslrootcert=system", "postgres://db/app?sslmode=verify-full&sslrootcert=system"]
        {
            assert!(matches!(parse(url).unwrap().get_ssl_mode(), PgSslMode::VerifyFull), "{url}");
        }
    }

    #[test]
    fn an_address_of_ipv6_stands_in_brackets() {
        assert_eq!(parse("postgres://app@[::1]:5433/app").unwrap().get_host(), "::1");
    }
}
