//! The driver's stores, from a URL, the environment and options.

use std::{str::FromStr, sync::Arc};

use lease_core::{ErrorKind, Result};
use object_store::{
    ObjectStore, RetryConfig, aws::AmazonS3Builder, azure::MicrosoftAzureBuilder, gcp::GoogleCloudStorageBuilder,
    list::PaginatedListStore,
};
use url::Url;

use crate::{Connector, ObjectLeaseStoreOptions, error::connect_error, service::Service};

/// A store of the driver, and how it lists keys.
pub(crate) type Built = (Arc<dyn ObjectStore>, Arc<dyn PaginatedListStore>);

/// Returns the service, the container and the prefix of a URL. No error contains the URL, because it may contain a password.
pub(crate) fn parse(url: &str) -> Result<(Service, String, Option<String>)> {
    let invalid = |message| connect_error(ErrorKind::Invalid, Service::Given.store(), message);
    const FORMS: &str = "the URL must be s3://bucket/prefix, az://container/prefix or gs://bucket/prefix";
    let url = Url::parse(url).map_err(|_| invalid(FORMS))?;
    let service = match url.scheme() {
        "s3" => Service::Amazon,
        "az" => Service::Azure,
        "gs" => Service::Google,
        _ => return Err(invalid(FORMS)),
    };
    let container = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| invalid(FORMS))?;
    let has_more = url.port().is_some() || url.query().is_some() || url.fragment().is_some();
    if has_more || !url.username().is_empty() || url.password().is_some() {
        return Err(invalid(
            "the URL has only a bucket and a prefix: credentials and endpoints are options, or in the environment",
        ));
    }
    if service == Service::Amazon && container.ends_with("--x-s3") {
        let message = "directory buckets list their objects in no order: use a general purpose bucket";
        return Err(connect_error(ErrorKind::Unsupported, service.store(), message));
    }
    let prefix = Some(url.path().trim_matches('/')).filter(|prefix| !prefix.is_empty());
    Ok((service, container.to_owned(), prefix.map(str::to_owned)))
}

/// Builds the store of a container. Options go before the environment.
pub(crate) fn build(service: Service, container: &str, options: &ObjectLeaseStoreOptions) -> Result<Built> {
    let refused = |error: object_store::Error| {
        // The driver's text may have the value of an option.
        let message = match error {
            object_store::Error::UnknownConfigurationKey { key, .. } => format!("there is no option {key:?}"),
            _ => format!(
                "the options or the environment cannot be used: a value is missing or malformed; {}",
                service.advice()
            ),
        };
        connect_error(ErrorKind::Invalid, service.store(), message)
    };
    match service {
        Service::Azure => {
            let mut builder = MicrosoftAzureBuilder::from_env();
            for (key, value) in options.driver() {
                builder = builder.with_config(parsed(key).map_err(refused)?, value);
            }
            let builder = builder.with_container_name(container);
            both(builder.with_http_connector(Connector::default()).with_retry(no_retry()).build()).map_err(refused)
        }
        Service::Google => {
            let mut builder = GoogleCloudStorageBuilder::from_env();
            for (key, value) in options.driver() {
                builder = builder.with_config(parsed(key).map_err(refused)?, value);
            }
            let builder = builder.with_bucket_name(container);
            both(builder.with_http_connector(Connector::default()).with_retry(no_retry()).build()).map_err(refused)
        }
        Service::Amazon | Service::Given => {
            let mut builder = AmazonS3Builder::from_env();
            for (key, value) in options.driver() {
                builder = builder.with_config(parsed(key).map_err(refused)?, value);
            }
            let builder = builder.with_bucket_name(container);
            both(builder.with_http_connector(Connector::default()).with_retry(no_retry()).build()).map_err(refused)
        }
    }
}

fn parsed<K: FromStr>(key: &str) -> Result<K, K::Err> {
    key.to_ascii_lowercase().parse()
}

fn both<S: ObjectStore + PaginatedListStore>(store: object_store::Result<S>) -> object_store::Result<Built> {
    let store = Arc::new(store?);
    Ok((Arc::clone(&store) as _, store))
}

/// The lease client repeats calls, and knows until when.
fn no_retry() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_bucket_and_perhaps_a_prefix() {
        let parsed = |url| parse(url).unwrap();
        assert_eq!(parsed("s3://my-bucket"), (Service::Amazon, "my-bucket".to_owned(), None));
        assert_eq!(parsed("az://box/"), (Service::Azure, "box".to_owned(), None));
        assert_eq!(parsed("gs://my.bucket/a/b/"), (Service::Google, "my.bucket".to_owned(), Some("a/b".to_owned())));
    }

    #[test]
    fn other_urls_are_refused_and_not_printed() {
        for url in [
            "",
            "hunter2",
            "s3:hunter2",
            "s3://",
            "s3:///hunter2",
            "https://hunter2.s3.amazonaws.com/",
            "s3://hunter2@bucket",
            "s3://user:hunter2@bucket/prefix",
            "s3://bucket:80/",
            "az://container/?sas=hunter2",
            "gs://bucket/#hunter2",
            "file:///hunter2",
        ] {
            let error = parse(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{url}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
        assert_eq!(parse("s3://b--use1-az4--x-s3/").unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
