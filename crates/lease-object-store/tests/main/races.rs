//! Races of several processes.

use crate::common::{Amazon, Azure, Google, race};

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_wins_and_tokens_rise() {
    race::<Amazon>(10, 12, 3).await;
    race::<Azure>(10, 12, 3).await;
    race::<Google>(10, 12, 3).await;
}
