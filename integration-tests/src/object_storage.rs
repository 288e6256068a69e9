//! A fake of S3, Google Cloud Storage and Azure Blob Storage, with faults on demand.

mod fake;
mod local;
mod objects;

use std::net::SocketAddr;

use tokio::sync::OnceCell;

pub use self::fake::serve_object_storage;
use crate::{
    Framing, ServerError, http,
    local_server::{LocalServer, Program},
    server::{Kind, Server, blocking},
};

/// A process that speaks what a client of leases needs of S3, Google Cloud Storage and Azure Blob Storage. Its data outlive a kill, its
/// faults do not. Buckets are made by a PUT of their path.
pub type ObjectStorage = Server<ObjectStorageKind>;

/// The fake as a kind of server.
#[derive(Debug)]
pub struct ObjectStorageKind;

impl Kind for ObjectStorageKind {
    const NAME: &'static str = "object storage";
    const VARIABLE: &'static str = "LEASE_TEST_OBJECT_STORAGE_URL";
    const EXAMPLE: &'static str = "http://host:9000";
    const INSTALL: &'static str = "cargo build --package integration-tests --bin object-storage";
    const PORT: u16 = 80;
    const ASKS_THE_C_LIBRARY: bool = true;
    const FRAMING: Option<Framing> = None;

    fn shared() -> &'static OnceCell<ObjectStorage> {
        static SHARED: OnceCell<ObjectStorage> = OnceCell::const_new();
        &SHARED
    }

    fn arguments(_settings: &[(&str, &str)]) -> Vec<String> {
        Vec::new()
    }

    fn start(under: &[String], arguments: &[String]) -> Result<LocalServer, ServerError> {
        local::start(under, arguments)
    }

    fn program(command: Vec<String>, port: u16) -> Program {
        local::program(command, port)
    }

    fn url(port: u16) -> String {
        format!("http://127.0.0.1:{port}")
    }

    fn serves(address: SocketAddr) -> bool {
        http::get(address, "/-/id").is_some()
    }
}

impl ObjectStorage {
    /// The access key of S3 that it accepts, with any secret. Other clients need none.
    pub const ACCESS_KEY: &'static str = fake::ACCESS_KEY;

    /// Ignores all conditions of writes from now on, or no longer.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub async fn ignore_conditions(&self, on: bool) -> Result<(), ServerError> {
        self.control(format!("ignore-conditions?on={on}")).await.map(drop)
    }

    /// Says `x-amz-version-id` from now on, as a bucket with versioning does, or no longer.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub async fn version_objects(&self, on: bool) -> Result<(), ServerError> {
        self.control(format!("versioning?on={on}")).await.map(drop)
    }

    /// Sets its clock to what it is on this machine plus this many microseconds.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub async fn shift_clock(&self, microseconds: i64) -> Result<(), ServerError> {
        self.control(format!("shift-clock?micros={microseconds}")).await.map(drop)
    }

    /// Answers the next requests with this status, and does not carry them out.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub async fn fail_next(&self, count: u64, status: u16) -> Result<(), ServerError> {
        self.control(format!("fail?count={count}&status={status}")).await.map(drop)
    }

    /// Carries the next requests out, and closes their connections without an answer.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub async fn lose_next_answers(&self, count: u64) -> Result<(), ServerError> {
        self.control(format!("lose-answers?count={count}")).await.map(drop)
    }

    /// Carries the next requests out at once, and answers them so many milliseconds later.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub async fn delay_next_answers(&self, count: u64, milliseconds: u64) -> Result<(), ServerError> {
        self.control(format!("slow-answers?count={count}&millis={milliseconds}")).await.map(drop)
    }

    /// How many requests for buckets and objects it has had since its start.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub async fn count_requests(&self) -> Result<u64, ServerError> {
        let count = self.control("requests".to_owned()).await?;
        count.parse().map_err(|error| ServerError::failed("requests", error))
    }

    async fn control(&self, action: String) -> Result<String, ServerError> {
        let address = self.address()?;
        blocking(move || {
            let answer = http::post(address, &format!("/-/{action}"), "");
            answer.ok_or_else(|| ServerError::Failed("the object storage does not answer".into()))
        })
        .await
    }
}
