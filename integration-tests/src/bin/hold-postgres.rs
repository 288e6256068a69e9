//! Starts a PostgreSQL server, prints its URL, and waits to be killed.
//!
//! Argument: `running`, `frozen` (freezes the server first), or `any` (any server that the environment has).

use integration_tests::Postgres;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let argument = std::env::args().nth(1).unwrap_or_default();
    let postgres = match argument.as_str() {
        "any" => Postgres::start().await,
        _ => Postgres::start_local(&[]).await.unwrap_or_else(|error| panic!("{error}")),
    };
    if argument == "frozen" {
        postgres.freeze().await.unwrap_or_else(|error| panic!("{error}"));
    }
    println!("{}", postgres.url());
    std::future::pending::<()>().await;
}
