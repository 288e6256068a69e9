//! Races that are larger than in a default run.

use crate::common::{Amazon, Azure, Google, race};

#[tokio::test(flavor = "multi_thread")]
async fn on_amazon() {
    race::<Amazon>(100, 24, 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_azure() {
    race::<Azure>(100, 24, 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_google() {
    race::<Google>(100, 24, 8).await;
}
