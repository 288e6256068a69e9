//! The harness itself: the fake of object storages keeps its conditions, and does the harm that is asked for.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use integration_tests::{ObjectStorage, Proxy, ServerError, http_request};
use lease_core::{Clock, SystemClock};

type Headers<'a> = &'a [(&'a str, &'a str)];

const AZURE: (&str, &str) = ("x-ms-version", "2023-11-03");
const NEW: (&str, &str) = ("if-none-match", "*");

async fn ask(server: &ObjectStorage, method: &str, path: &str, headers: Headers<'_>, content: &str) -> (u16, String) {
    let answer = http_request(server.url(), method, path, headers, content).await.unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

async fn status(server: &ObjectStorage, method: &str, path: &str, headers: Headers<'_>) -> u16 {
    ask(server, method, path, headers, "content").await.0
}

fn header(answer: &str, name: &str) -> String {
    let line = answer.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
    line.unwrap_or_else(|| panic!("no {name} in {answer}")).to_owned()
}

async fn start() -> ObjectStorage {
    let server = ObjectStorage::start_local(&[]).await.unwrap();
    assert_eq!(status(&server, "PUT", "/bucket", &[]).await, 200);
    server
}

#[tokio::test]
async fn amazon_s_conditions() {
    let server = start().await;
    assert_eq!(status(&server, "PUT", "/other/key", &[]).await, 404);
    let (created, answer) = ask(&server, "PUT", "/bucket/key", &[NEW], "one").await;
    assert_eq!(created, 200);
    let etag = header(&answer, "etag");
    assert_eq!(status(&server, "PUT", "/bucket/key", &[NEW]).await, 412);
    assert_eq!(status(&server, "PUT", "/bucket/missing", &[("if-match", &etag)]).await, 404);
    assert_eq!(ask(&server, "PUT", "/bucket/key", &[("if-match", &etag)], "two").await.0, 200);
    assert_eq!(status(&server, "PUT", "/bucket/key", &[("if-match", &etag)]).await, 412);
    assert_eq!(status(&server, "DELETE", "/bucket/key", &[("if-match", &etag)]).await, 412);
    // Equal contents have equal tags.
    assert_eq!(header(&ask(&server, "PUT", "/bucket/key", &[], "one").await.1, "etag"), etag);
    assert!(ask(&server, "GET", "/bucket/key", &[], "").await.1.ends_with("\r\n\r\none"));
    assert_eq!(status(&server, "DELETE", "/bucket/key", &[("if-match", &etag)]).await, 204);
    assert_eq!(status(&server, "GET", "/bucket/key", &[]).await, 404);
    let stranger = ("authorization", "AWS4-HMAC-SHA256 Credential=stranger/20260101/us-east-1/s3/aws4_request");
    assert_eq!(status(&server, "GET", "/bucket/key", &[stranger]).await, 403);
}

#[tokio::test]
async fn google_s_conditions() {
    let server = start().await;
    let absent = ("x-goog-if-generation-match", "0");
    let (created, answer) = ask(&server, "PUT", "/bucket/key", &[absent], "one").await;
    let first = header(&answer, "x-goog-generation");
    assert_eq!((created, status(&server, "PUT", "/bucket/key", &[absent]).await), (200, 412));
    let stale = ("x-goog-if-generation-match", first.as_str());
    let (updated, answer) = ask(&server, "PUT", "/bucket/key", &[stale], "one").await;
    assert_eq!((updated, status(&server, "PUT", "/bucket/key", &[stale]).await), (200, 412));
    assert!(header(&answer, "x-goog-generation").parse::<u64>().unwrap() > first.parse().unwrap());
    assert_eq!(status(&server, "DELETE", "/bucket/key", &[stale]).await, 412);
}

#[tokio::test]
async fn azure_s_conditions() {
    let server = start().await;
    assert_eq!(status(&server, "PUT", "/account/container/key", &[AZURE]).await, 404);
    assert_eq!(status(&server, "PUT", "/account/container?restype=container", &[AZURE]).await, 201);
    let (created, answer) = ask(&server, "PUT", "/account/container/a/key", &[AZURE, NEW], "one").await;
    let etag = header(&answer, "etag");
    assert_eq!((created, status(&server, "PUT", "/account/container/a/key", &[AZURE, NEW]).await), (201, 409));
    assert_eq!(status(&server, "PUT", "/account/container/none", &[AZURE, ("if-match", &etag)]).await, 412);
    let list = ask(&server, "GET", "/account/container?restype=container&comp=list&prefix=a/", &[AZURE], "").await.1;
    assert!(list.contains("<Name>a/key</Name>"), "{list}");
}

#[tokio::test]
async fn lists_have_pages_in_the_order_of_names() {
    let server = start().await;
    for key in ["b", "a%26b", "c/1", "c/2", "d"] {
        assert_eq!(status(&server, "PUT", &format!("/bucket/{key}"), &[]).await, 200);
    }
    let list = async |query: &str| ask(&server, "GET", &format!("/bucket?list-type=2&{query}"), &[], "").await.1;
    let keys = |answer: &str| -> Vec<String> {
        answer.split("<Key>").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned()).collect()
    };
    assert_eq!(keys(&list("").await), ["a&amp;b", "b", "c/1", "c/2", "d"]);
    let page = list("max-keys=2").await;
    assert_eq!(keys(&page), ["a&amp;b", "b"]);
    assert!(page.contains("<NextContinuationToken>b<"), "{page}");
    assert_eq!(keys(&list("max-keys=9&continuation-token=b").await), ["c/1", "c/2", "d"]);
    assert_eq!(keys(&list("prefix=c/&start-after=c/1").await), ["c/2"]);
    let folded = list("delimiter=/").await;
    assert_eq!(keys(&folded), ["a&amp;b", "b", "d"]);
    assert!(folded.contains("<Prefix>c/</Prefix>"), "{folded}");
}

#[tokio::test]
async fn of_24_who_write_at_once_one_wins() {
    let server = start().await;
    for name in 0..100 {
        let racers: Vec<_> = (0..24)
            .map(|racer| {
                let (url, path) = (server.url().to_owned(), format!("/bucket/{name}"));
                let condition = if name % 2 == 0 { NEW } else { ("x-goog-if-generation-match", "0") };
                tokio::spawn(async move {
                    let content = racer.to_string();
                    let answer = http_request(&url, "PUT", &path, &[condition], &content).await.unwrap();
                    answer.starts_with("HTTP/1.1 200").then_some(content)
                })
            })
            .collect();
        let mut winners = Vec::new();
        for racer in racers {
            winners.extend(racer.await.unwrap());
        }
        assert_eq!(winners.len(), 1, "{winners:?} of {name}");
        let object = ask(&server, "GET", &format!("/bucket/{name}"), &[], "").await.1;
        assert!(object.ends_with(&format!("\r\n\r\n{}", winners[0])), "{object}");
    }
}

#[tokio::test]
async fn faults_are_as_many_as_were_asked_for() {
    let server = start().await;
    let before = server.count_requests().await.unwrap();
    server.fail_next(2, 503).await.unwrap();
    for expected in [503, 503, 200] {
        assert_eq!(status(&server, "PUT", "/bucket/key", &[NEW]).await, expected);
    }
    server.ignore_conditions(true).await.unwrap();
    assert_eq!(status(&server, "PUT", "/bucket/key", &[NEW]).await, 200);
    server.ignore_conditions(false).await.unwrap();
    assert_eq!(status(&server, "PUT", "/bucket/key", &[NEW]).await, 412);
    server.lose_next_answers(1).await.unwrap();
    assert!(http_request(server.url(), "PUT", "/bucket/lost", &[], "carried out").await.is_err());
    let (found, answer) = ask(&server, "GET", "/bucket/lost", &[], "").await;
    assert!(found == 200 && answer.ends_with("carried out") && !answer.contains("x-amz-version-id"), "{answer}");
    server.version_objects(true).await.unwrap();
    header(&ask(&server, "GET", "/bucket/lost", &[], "").await.1, "x-amz-version-id");
    server.delay_next_answers(1, 500).await.unwrap();
    let began = SystemClock.now();
    assert_eq!(status(&server, "GET", "/bucket/lost", &[]).await, 200);
    assert!(SystemClock.now() >= began + Duration::from_millis(500));
    assert_eq!(server.count_requests().await.unwrap(), before + 9);
    server.shift_clock(86_400_000_000 * 365 * 100).await.unwrap();
    let date = header(&ask(&server, "GET", "/bucket/lost", &[], "").await.1, "date");
    assert!(date.contains(" 21"), "{date}");
}

#[tokio::test]
async fn it_is_frozen_killed_and_restarted_and_keeps_its_objects() {
    let server = start().await;
    let get = async || http_request(server.url(), "GET", "/bucket/key", &[], "").await;
    assert_eq!(status(&server, "PUT", "/bucket/key", &[NEW]).await, 200);
    server.freeze().await.unwrap();
    assert!(get().await.is_err());
    server.thaw().await.unwrap();
    assert!(get().await.unwrap().ends_with("content"));
    server.kill().await.unwrap();
    assert!(get().await.is_err());
    server.start_again().await.unwrap();
    server.restart().await.unwrap();
    assert!(get().await.unwrap().ends_with("content"));
    let proxy = Proxy::start(server.address().unwrap()).await.unwrap();
    proxy.refuse_connections();
    assert!(http_request(&server.url_through(&proxy), "GET", "/bucket/key", &[], "").await.is_err());
    assert!(matches!(ObjectStorage::shared().await.kill().await, Err(ServerError::Cannot { .. })));
}
