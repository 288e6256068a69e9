//! Checks that an account and a container keep what leases need.

use std::time::Duration;

use lease_core::{ErrorKind, Result};
use reqwest::StatusCode;
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    answer::is_genuine,
    error::{Access, of_answer, store_error, wrong_answer},
    http::Call,
    items::Items,
};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Account {
    #[serde(default)]
    enable_multiple_write_locations: bool,
    user_consistency_policy: ConsistencyPolicy,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConsistencyPolicy {
    default_consistency_level: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    partition_key: Option<PartitionKey>,
    default_ttl: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct PartitionKey {
    paths: Vec<String>,
}

impl Items {
    /// Checks the account and the container. Changes nothing.
    pub(crate) async fn check(&self, limit: Duration) -> Result<()> {
        let account: Account = self.describe("", "", limit).await?;
        let unsupported = |message| Err(store_error(ErrorKind::Unsupported, "connect", message));
        if account.enable_multiple_write_locations {
            let message = "the account writes in several regions, where a condition holds in one region only: two holders are \
                           possible; use an account with a single write region";
            return unsupported(message.to_owned());
        }
        let level = &account.user_consistency_policy.default_consistency_level;
        if !matches!(level.as_str(), "Strong" | "BoundedStaleness" | "Session") {
            let message = format!(
                "the default consistency of the account is {level}, in which a client may not see its own writes: set it to \
                 Session or stronger"
            );
            return unsupported(message);
        }
        let container: Container = self.describe("colls", &self.container, limit).await?;
        let paths = container.partition_key.map(|key| key.paths).unwrap_or_default();
        if paths != ["/id"] {
            let message = format!(
                "the partition key of the container is {}, and must be /id: create a container for the leases",
                paths.join(", ")
            );
            return Err(store_error(ErrorKind::Invalid, "connect", message));
        }
        if let Some(seconds) = container.default_ttl.filter(|seconds| *seconds > 0) {
            let message = format!(
                "the container deletes items after {seconds} s, also those of leases that are held: switch its time to live off"
            );
            return Err(store_error(ErrorKind::Invalid, "connect", message));
        }
        Ok(())
    }

    async fn describe<T: DeserializeOwned>(&self, kind: &'static str, link: &str, limit: Duration) -> Result<T> {
        let (operation, access) = ("connect", Access::Read);
        let call = Call { limit: Some(limit), ..Call::get(kind, link) };
        let answer = self.http.call(operation, access, call).await?;
        if answer.status != StatusCode::OK || !is_genuine(&answer) {
            return Err(of_answer(operation, access, &answer));
        }
        serde_json::from_slice(&answer.body).map_err(|_| wrong_answer(operation, access))
    }
}
