//! Starts a PostgreSQL server, prints its URL, and waits to be killed.
//! With `frozen` as its argument it freezes the server first.

use integration_tests::Postgres;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let postgres = Postgres::start_local(&[]).await.unwrap_or_else(|error| panic!("{error}"));
    if std::env::args().any(|argument| argument == "frozen") {
        postgres.freeze().await.unwrap_or_else(|error| panic!("{error}"));
    }
    println!("{}", postgres.url());
    std::future::pending::<()>().await;
}
