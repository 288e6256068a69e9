//! ACL tokens and TLS.

use std::{net::TcpListener, path::PathBuf};

use integration_tests::{Certificates, Consul, eventually};
use lease_core::{ErrorKind, LeaseStore};
use lease_testkit::calls::{acquire, name, renew, renewal};

use crate::common::{LONG, ask, granted, options, request};

/// A TLS configuration that trusts nobody, for an HTTP client of plain connections.
pub(crate) fn no_tls() -> rustls::ClientConfig {
    rustls::ClientConfig::builder_with_provider(std::sync::Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

const ACL: (&str, &str) = ("acl", r#"{ enabled = true, default_policy = "deny", tokens { master = "root" } }"#);

/// Returns the value of a field of a JSON answer.
fn field<'a>(answer: &'a str, name: &str) -> &'a str {
    let value = answer.split(&format!("\"{name}\":\"")).nth(1).unwrap_or_else(|| panic!("{answer}"));
    value.split('"').next().unwrap()
}

/// Creates a token whose policy has these rules.
async fn token(url: &str, policy: &str, rules: &str) -> String {
    let rules = rules.replace('"', "\\\"");
    let body = format!(r#"{{"Name":"{policy}","Rules":"{rules}"}}"#);
    let answer = ask(url, "root", "PUT", "/v1/acl/policy", &body).await;
    assert!(answer.contains("200 OK"), "{answer}");
    let answer = ask(url, "root", "PUT", "/v1/acl/token", &format!(r#"{{"Policies":[{{"Name":"{policy}"}}]}}"#)).await;
    field(&answer, "SecretID").to_owned()
}

#[tokio::test]
async fn a_token_needs_one_rule_and_an_error_has_it() {
    let consul = Consul::start_local(&[ACL]).await.unwrap();
    let url = consul.url();
    let options = options();
    eventually("it has rules", async || {
        ask(url, "root", "GET", "/v1/acl/policies", "").await.contains("global-management")
    })
    .await;
    let prefix = &options.key_prefix;
    let rule = |policy: &str| format!(r#"key_prefix "{prefix}" {{ policy = "{policy}" }}"#);
    let (writes, reads) = (token(url, "writes", &rule("write")).await, token(url, "reads", &rule("read")).await);
    let elsewhere = token(url, "elsewhere", r#"key_prefix "elsewhere/" { policy = "write" }"#).await;

    let store = options.clone().with_token(&writes).connect(url).await.unwrap();
    let (claim, _) = granted(&store, &request("job", LONG)).await;
    assert_eq!(store.list("", None, 9).await.unwrap().len(), 1);

    for (case, options) in [
        ("no token", options.clone()),
        ("a token that reads", options.clone().with_token(&reads)),
        ("a token for another prefix", options.clone().with_token(&elsewhere)),
    ] {
        let error = options.connect(url).await.unwrap_err();
        println!("{case}: {error}");
        assert_eq!(error.kind(), ErrorKind::Denied, "{case}: {error}");
        assert!(error.to_string().contains(&rule("write")), "{case}: {error}");
    }
    let error = options.clone().with_token("hunter2").connect(url).await.unwrap_err();
    println!("{error}");
    assert!(error.kind() == ErrorKind::Denied && error.to_string().contains("does not know this token"), "{error}");
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");

    // A token that loses its rule: every call says so. A list of what it may not read is not the list of nothing (S19).
    let id = policy_id(url, "writes").await;
    let body = format!(r#"{{"ID":"{id}","Name":"writes","Rules":""}}"#);
    assert!(ask(url, "root", "PUT", &format!("/v1/acl/policy/{id}"), &body).await.contains("200 OK"));
    eventually("the rule is gone", async || store.inspect(&name("job")).await.is_err()).await;
    assert_eq!(store.inspect(&name("job")).await.unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(acquire(&store, &request("free", LONG)).await.unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(store.list("", None, 9).await.unwrap_err().kind(), ErrorKind::Denied);
    let error = renew(&store, &renewal(&claim, LONG)).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Denied && error.to_string().contains(&rule("write")), "{error}");
}

/// Returns the id of a policy from the list of all.
async fn policy_id(url: &str, policy: &str) -> String {
    let answer = ask(url, "root", "GET", "/v1/acl/policies", "").await;
    let before = answer.split(&format!("\"Name\":\"{policy}\"")).next().unwrap();
    before.rsplit("\"ID\":\"").next().unwrap().split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn an_agent_with_tls_shows_a_certificate_and_wants_one() {
    let certificates = Certificates::make(&["localhost", "127.0.0.1"]).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let file = |path: PathBuf| format!("{:?}", path.to_str().unwrap());
    let settings = [
        ("ports", format!("{{ https = {port} }}")),
        ("ca_file", file(certificates.authority_file())),
        ("cert_file", file(certificates.server_file())),
        ("key_file", file(certificates.server_key_file())),
        ("verify_incoming_https", "true".to_owned()),
    ];
    let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
    let _consul = Consul::start_local(&settings).await.unwrap();
    let url = format!("https://127.0.0.1:{port}");
    let (certificate, key) = certificates.client();
    let trusting = options().with_ca_certificate(certificates.authority());
    let store = trusting.clone().with_client_certificate(certificate, key).connect(&url).await.unwrap();
    granted(&store, &request("job", LONG)).await;

    let stranger = options().with_client_certificate(certificate, key).connect(&url).await.unwrap_err();
    println!("{stranger}");
    assert!(stranger.kind() == ErrorKind::Invalid && stranger.to_string().contains("authority"), "{stranger}");
    // The server refuses it after the handshake, as far as the client can tell.
    let nobody = trusting.connect(&url).await.unwrap_err();
    println!("{nobody}");
    assert!(matches!(nobody.kind(), ErrorKind::Invalid | ErrorKind::Unavailable), "{nobody}");
    let other = Certificates::make(&["localhost"]).unwrap();
    let (certificate, key) = (certificate, other.client().1);
    let mixed = options().with_ca_certificate(certificates.authority()).with_client_certificate(certificate, key);
    let error = mixed.connect(&url).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("belong together"), "{error}");
}
