//! URLs of a server, read as libpq reads them. What asks for something that cannot be had is refused: the driver would ignore it,
//! and write it into the log with its value.

use std::{fs, str::FromStr};

use sqlx::postgres::{PgConnectOptions, PgSslMode};

const FORM: &str = "write postgres://user:password@host:port/database?sslmode=…, with the special characters of the user and \
                    the password percent-encoded";

/// What the driver reads. `options[…]` beside these.
const KNOWN: [&str; 18] = [
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

/// Files, which are looked for at once: one that is missing is no outage.
const FILES: [&str; 7] = ["ssl-ca", "ssl-cert", "ssl-key", "ssl-root-cert", "sslcert", "sslkey", "sslrootcert"];

/// What asks for no more than there is anyway. The store writes, so it needs a primary itself.
const HARMLESS: [(&str, &[&str]); 6] = [
    ("channel_binding", &["disable", "prefer"]),
    ("client_encoding", &["auto", "utf8", "UTF8"]),
    ("gssencmode", &["disable", "prefer"]),
    ("load_balance_hosts", &["disable"]),
    ("sslnegotiation", &["postgres"]),
    ("target_session_attrs", &["any", "primary", "read-write"]),
];

/// What it says, or why it is refused. Nothing of it is repeated but names of parameters: it has the password in it.
pub(crate) fn parse(url: &str) -> Result<PgConnectOptions, String> {
    let unreadable = || format!("the URL of the server cannot be read: {FORM}");
    let (scheme, rest) = url.split_once("://").ok_or_else(unreadable)?;
    if !matches!(scheme, "postgres" | "postgresql") {
        return Err(unreadable());
    }
    // An unencoded `/`, `?` or `#` in the password ends the host too early; the rest of the password would be taken for
    // parameters.
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    if !authority.contains('@') && rest.contains('@') {
        return Err(unreadable());
    }
    let (place, query) = url.split_once('?').unwrap_or((url, ""));
    let mut kept = Vec::new();
    let mut verifies_by_system = false;
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').ok_or_else(unreadable)?;
        if (name, value) == ("sslrootcert", "system") {
            verifies_by_system = true;
        } else if let Some((_, values)) = HARMLESS.iter().find(|(harmless, _)| *harmless == name) {
            if !values.contains(&value) {
                return Err(format!(
                    "this cannot be had with {name} as it is in the URL: leave it out, or use {}",
                    values.join(", ")
                ));
            }
        } else if KNOWN.contains(&name) || name.starts_with("options%5B") || name.starts_with("options[") {
            kept.push(parameter);
        } else if name == "connect_timeout" {
            return Err(
                "connect_timeout is not read from the URL: use PostgresStoreOptions::with_connect_timeout".to_owned()
            );
        } else if name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
            return Err(format!(
                "the parameter {name} of the URL is not known: it would be ignored. Leave it out, or correct it"
            ));
        } else {
            return Err(unreadable());
        }
    }
    let has = |name: &str| kept.iter().any(|parameter| parameter.split('=').next() == Some(name));
    let hosts = || kept.iter().filter_map(|parameter| parameter.strip_prefix("host="));
    let authority_host = authority.rsplit('@').next().unwrap_or_default();
    if authority_host.contains(',') || hosts().any(|hosts| hosts.contains(',') || hosts.contains("%2C")) {
        return Err(
            "the URL names several hosts: name one that is always the primary, as a virtual address or a DNS name"
                .to_owned(),
        );
    }
    if has("hostaddr") && (has("host") || !authority_host.is_empty()) {
        return Err("hostaddr beside a host is not known to the driver: name the host alone".to_owned());
    }
    let without = if kept.is_empty() { place.to_owned() } else { format!("{place}?{}", kept.join("&")) };
    let mut options = PgConnectOptions::from_str(&without).map_err(|_| unreadable())?;
    if let Some(address) = options.get_host().strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        let address = address.to_owned();
        options = options.host(&address);
    }
    if verifies_by_system {
        if ["sslmode", "ssl-mode"].iter().any(|name| has(name))
            && !matches!(options.get_ssl_mode(), PgSslMode::VerifyFull)
        {
            return Err(
                "sslrootcert=system needs sslmode=verify-full: everything weaker would verify nothing".to_owned()
            );
        }
        options = options.ssl_mode(PgSslMode::VerifyFull);
    }
    for parameter in &kept {
        let Some((name, path)) = parameter.split_once('=').filter(|(name, _)| FILES.contains(name)) else { continue };
        // A certificate may stand there itself; what is encoded is left to the driver.
        if !path.contains(['%', '+', '\n'])
            && !path.starts_with("-----BEGIN")
            && let Err(error) = fs::metadata(path)
        {
            return Err(format!("the file of {name} cannot be read: {error}"));
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
    fn what_cannot_be_had_is_refused_by_name_and_its_value_is_not_repeated() {
        for (parameters, words) in [
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
            assert!(why.contains(words) && !why.contains("hunter2"), "{parameters}: {why}");
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
