//! A wall clock that is shifted under a running server.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::Command;

use integration_tests::{Redis, WallClock};

const DAY: i64 = 86_400;

/// What `date` shows, in seconds.
fn date(clock: Option<&WallClock>) -> i64 {
    let mut command = Command::new("date");
    command.arg("+%s").envs(clock.iter().flat_map(|clock| clock.environment()));
    String::from_utf8(command.output().unwrap().stdout).unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn shifts_the_processes_that_were_started_with_it_and_no_others() {
    let (clock, right) = (WallClock::new().await.unwrap(), WallClock::new().await.unwrap());
    let redis = Redis::start_with_clock(&[], &clock).await.unwrap();
    let time = async || {
        let integration_tests::Reply::Many(time) = redis.command(&["TIME"]).await.unwrap() else { panic!() };
        time[0].text().parse::<i64>().unwrap()
    };
    for days in [0, 1, -2] {
        clock.shift(days * DAY * 1_000_000_000).unwrap();
        let now = date(None);
        assert!((0..5).contains(&(date(Some(&clock)) - now - days * DAY)), "{days}");
        assert!((0..5).contains(&(time().await - now - days * DAY)), "{days}");
        assert!((0..5).contains(&(date(Some(&right)) - now)), "{days}");
    }
}
