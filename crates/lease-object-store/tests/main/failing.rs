//! Services that fail, throttle, or lose answers.

use integration_tests::{HttpProxy, StubAnswer};
use lease_core::{Acquired, ErrorKind, LeaseStore};
use lease_testkit::calls::{acquire, claim, extended, granted, inspected, name, release, renew, renewal};

use crate::common::{Amazon, Azure, Google, LONG, Place, Service, assert_error, request};

async fn errors_say_whether_a_write_was_done<S: Service>() {
    let place = Place::<S>::new().await;
    let store = place.store().await;
    let mine = request(&name("job"), "a", LONG);
    for (status, kind, says) in [
        (429, ErrorKind::Unavailable, "longer ttls"),
        (500, ErrorKind::Unavailable, "try again"),
        (403, ErrorKind::Denied, "check the credentials"),
        (501, ErrorKind::Unsupported, "conditional writes"),
    ] {
        // The read fails.
        place.server.fail_next(1, status).await.unwrap();
        let (failed, requests) = place.counted(acquire(&store, &mine)).await;
        assert_error(&failed.unwrap_err(), kind, says);
        assert_eq!(requests, 1, "{status} is not retried");
    }
    let claim = claim(&mine, granted(&store, &mine).await);
    for (status, kind) in [(429, ErrorKind::Unavailable), (403, ErrorKind::Denied)] {
        // The write fails.
        place.server.fail_next(1, status).await.unwrap();
        let (failed, requests) = place.counted(renew(&store, &renewal(&claim, LONG))).await;
        assert_error(&failed.unwrap_err(), kind, &status.to_string());
        assert_eq!(requests, 1, "{status} is not retried");
    }
    // The write may have been done: it is looked for, and done again.
    place.server.fail_next(1, 500).await.unwrap();
    let (_, requests) = place.counted(extended(&store, &claim, LONG)).await;
    assert_eq!(requests, 3);
    // Nothing shows what became of it.
    place.server.fail_next(2, 500).await.unwrap();
    assert_error(&renew(&store, &renewal(&claim, LONG)).await.unwrap_err(), ErrorKind::Indeterminate, "500");
    extended(&store, &claim, LONG).await;
    release(&store, &claim).await;
}

#[tokio::test]
async fn errors_say_whether_a_write_was_done_on_all_services() {
    errors_say_whether_a_write_was_done::<Amazon>().await;
    errors_say_whether_a_write_was_done::<Azure>().await;
    errors_say_whether_a_write_was_done::<Google>().await;
}

/// A proxy that has lost its way to the service answers 404: no name is free because of it, and no lease is lost (S6, S19).
async fn a_404_of_a_proxy_frees_nothing<S: Service>() {
    let place = Place::<S>::new().await;
    let proxy = HttpProxy::start(place.server.address().unwrap()).await.unwrap();
    let store = S::options(&proxy.url()).connect(&Place::<S>::url()).await.unwrap();
    let mine = request(&name("job"), "a", LONG);
    let claim = claim(&mine, granted(&store, &mine).await);
    proxy.answer(|_| Some(StubAnswer::new(404, "<html>default backend - 404</html>")));
    let says = "something answers that is not the service";
    assert_error(&store.inspect(&mine.name).await.unwrap_err(), ErrorKind::Unavailable, says);
    assert_error(&renew(&store, &renewal(&claim, LONG)).await.unwrap_err(), ErrorKind::Unavailable, says);
    assert_error(&acquire(&store, &request(&name("job"), "b", LONG)).await.unwrap_err(), ErrorKind::Unavailable, says);
    proxy.answer_nothing();
    extended(&store, &claim, LONG).await;
    assert_eq!(inspected(&store, &name("none")).await, None, "what the service itself does not find is free");
}

#[tokio::test]
async fn s19_a_404_of_a_proxy_frees_nothing_on_all_services() {
    a_404_of_a_proxy_frees_nothing::<Amazon>().await;
    a_404_of_a_proxy_frees_nothing::<Azure>().await;
    a_404_of_a_proxy_frees_nothing::<Google>().await;
}

/// S13: the grant of a write whose answer was lost is found, by the same call or by the next one.
async fn a_lost_answer_is_looked_for<S: Service>() {
    let place = Place::<S>::new().await;
    let store = place.store().await;
    let one = request(&name("one"), "a", LONG);
    let network = integration_tests::Proxy::start(place.server.address().unwrap()).await.unwrap();
    let behind = S::options(&place.server.url_through(&network)).connect(&Place::<S>::url()).await.unwrap();
    granted(&behind, &request(&name("warm"), "a", LONG)).await;
    place.server.lose_next_answers(1).await.unwrap();
    assert_error(&acquire(&behind, &one).await.unwrap_err(), ErrorKind::Unavailable, "did not answer");
    assert_eq!(inspected(&store, &one.name).await, None, "the read was lost, and nothing written");

    let grant = granted(&behind, &one).await;
    let claim = claim(&one, grant);
    // The write was done: a read shows it.
    place.server.lose_next_answers(1).await.unwrap();
    extended(&behind, &claim, LONG).await;
    // The read has no answer either.
    place.server.lose_next_answers(2).await.unwrap();
    let error = renew(&behind, &renewal(&claim, LONG)).await.unwrap_err();
    assert_error(&error, ErrorKind::Indeterminate, "did not answer");
    extended(&behind, &claim, LONG).await;
    let Acquired::Granted(again) = acquire(&behind, &one).await.unwrap() else { panic!("it is held") };
    assert_eq!(again.token, grant.token);
}

#[tokio::test]
async fn a_lost_answer_is_looked_for_on_all_services() {
    a_lost_answer_is_looked_for::<Amazon>().await;
    a_lost_answer_is_looked_for::<Azure>().await;
    a_lost_answer_is_looked_for::<Google>().await;
}
