//! The suites on Azurite, which checks signatures and conditions as Azure Blob Storage does.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use integration_tests::{Azurite, AzuriteKind, Provider, ServerHarness};
use lease_core::{Error, ErrorKind, ExpiryJudge, GrantId, LeaseName, LeaseStore};
use lease_object_store::{
    Connector, ObjectLeaseStore, ObjectLeaseStoreOptions,
    object_store::{
        ClientOptions, ObjectStoreExt,
        azure::{AzureAccessKey, AzureAuthorizer, AzureCredential, MicrosoftAzureBuilder},
        client::{HttpConnector, HttpRequest},
        path::Path,
    },
};
use lease_testkit::calls::{claim, granted, holder, name, release, request};

lease_testkit::conformance!(real, ServerHarness::<Container>::start);

mod elections {
    use super::{Container, ServerHarness};

    lease_testkit::elections!(real, ServerHarness::<Container>::start);
}

/// A container of its own for each case.
struct Container(String);

impl Container {
    /// Creates a container, which the driver cannot.
    async fn create(server: &Azurite) -> Self {
        let container = format!("container-{}", GrantId::random());
        let mut request = HttpRequest::new(Vec::new().into());
        *request.method_mut() = "PUT".parse().unwrap();
        *request.uri_mut() = format!("{}/{container}?restype=container", server.url()).parse().unwrap();
        request.headers_mut().insert("content-length", 0.into());
        let credential = AzureCredential::AccessKey(AzureAccessKey::try_new(Azurite::KEY).unwrap());
        AzureAuthorizer::new(&credential, Azurite::ACCOUNT).try_authorize(&mut request).unwrap();
        let client = Connector::default().connect(&ClientOptions::new().with_allow_http(true)).unwrap();
        let answer = client.execute(request).await.unwrap();
        assert_eq!(answer.status().as_u16(), 201);
        Self(container)
    }

    fn url(&self) -> String {
        format!("az://{}/leases", self.0)
    }

    fn options(server: &str) -> ObjectLeaseStoreOptions {
        ObjectLeaseStoreOptions::new()
            .with_option("endpoint", server)
            .with_option("allow_http", "true")
            .with_option("account_name", Azurite::ACCOUNT)
            .with_option("access_key", Azurite::KEY)
            .with_expiry_judge(ExpiryJudge::ServersWallClocks { slack: Duration::ZERO })
            .with_poll_interval(Duration::from_secs(1))
    }
}

#[async_trait]
impl Provider for Container {
    type Kind = AzuriteKind;

    /// It takes some hundred writes a second, and a case makes as many at once.
    const TTL: Duration = Duration::from_secs(10);

    async fn prepare(server: &Azurite) -> Self {
        Self::create(server).await
    }

    async fn open(&self, url: &str) -> Arc<dyn LeaseStore> {
        Arc::new(Self::options(url).connect(&self.url()).await.unwrap())
    }

    async fn remove_record(&self, server: &Azurite, name: &LeaseName) {
        let builder = MicrosoftAzureBuilder::new().with_endpoint(server.url().to_owned()).with_allow_http(true);
        let builder = builder.with_account(Azurite::ACCOUNT).with_access_key(Azurite::KEY);
        let store = builder.with_container_name(&self.0).build().unwrap();
        let key = format!("leases/{}", lease_document::escape(name));
        store.delete(&Path::parse(key).unwrap()).await.unwrap();
    }
}

/// Returns the error of connecting, which prints no key.
async fn refusal(options: ObjectLeaseStoreOptions, url: &str, key: &str) -> Error {
    let error = options.connect(url).await.expect_err(url);
    let printed = format!("{error} {error:?}");
    assert!(!printed.contains(key), "{printed}");
    error
}

#[tokio::test]
async fn a_wrong_key_and_a_missing_container_are_refused() {
    let server = Azurite::shared().await;
    let container = Container::create(server).await;
    let wrong = "aHVudGVyMi1odW50ZXIy";
    let options = Container::options(server.url());
    let denied = refusal(options.clone().with_option("access_key", wrong), &container.url(), wrong).await;
    assert_eq!(denied.kind(), ErrorKind::Denied, "{denied}");
    let missing = refusal(options, "az://missing/leases", Azurite::KEY).await;
    assert_eq!(missing.kind(), ErrorKind::Invalid, "{missing}");
}

#[tokio::test]
async fn the_probe_is_written_once_and_is_no_lease() {
    let server = Azurite::shared().await;
    let container = Container::create(server).await;
    let options = Container::options(server.url());
    let open = async || -> ObjectLeaseStore { options.connect(&container.url()).await.unwrap() };
    let (one, two) = (open().await, open().await);
    let wish = request(name("job"), holder("a"), Duration::from_secs(60));
    let claim = claim(&wish, granted(&one, &wish).await);
    assert_eq!(two.list("", None, 9).await.unwrap().len(), 1);
    release(&one, &claim).await;
    assert!(two.list("", None, 9).await.unwrap().is_empty());
}
