//! How many requests each operation costs, by a client that records them.

use std::{
    mem,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{HeaderValue, Request, Response, header};
use integration_tests::KubeApiserver;
use kube::{
    Client, Config,
    client::{Body, ClientBuilder, DynBody},
};
use lease_core::LeaseStore;
use lease_testkit::calls::{claim, extended, granted, holder, is_held, name, release, request};
use tower::util::{MapRequestLayer, MapResponseLayer};

use crate::common::{ADMIN, Admin, config, options};

type Change = Box<dyn FnMut(&mut Request<Body>) + Send>;

/// A client of an application, which sees and changes all that passes.
#[derive(Clone, Default)]
pub(crate) struct Recorder {
    verbs: Arc<Mutex<Vec<String>>>,
    changes: Arc<Mutex<Vec<Change>>>,
    /// Answers seem to come from servers whose clocks are ahead by these seconds, in turn.
    ahead: Arc<Mutex<(usize, Vec<i64>)>>,
}

impl Recorder {
    pub(crate) fn client(&self, config: Config) -> Client {
        let (requests, answers) = (self.clone(), self.clone());
        let layer = MapRequestLayer::new(move |mut request: Request<Body>| {
            requests.verbs.lock().unwrap().push(match request.uri().query() {
                Some(query) if query.contains("watch=1") => "WATCH".to_owned(),
                Some(query) if query.contains("limit=") => "LIST".to_owned(),
                _ => request.method().to_string(),
            });
            requests.changes.lock().unwrap().iter_mut().for_each(|change| change(&mut request));
            request
        });
        let answered = MapResponseLayer::new(move |mut answer: Response<Box<DynBody>>| {
            answers.shift(answer.headers_mut());
            answer
        });
        ClientBuilder::try_from(config).unwrap().with_layer(&answered).with_layer(&layer).build()
    }

    /// Returns the verbs of the requests since the last time.
    pub(crate) fn take(&self) -> Vec<String> {
        mem::take(&mut *self.verbs.lock().unwrap())
    }

    pub(crate) fn change(&self, change: impl FnMut(&mut Request<Body>) + Send + 'static) {
        self.changes.lock().unwrap().push(Box::new(change));
    }

    pub(crate) fn replace_token(&self, token: &str) {
        let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
        self.change(move |request| {
            request.headers_mut().insert(header::AUTHORIZATION, value.clone());
        });
    }

    pub(crate) fn set_ahead(&self, seconds: &[i64]) {
        self.ahead.lock().unwrap().1 = seconds.to_vec();
    }

    fn shift(&self, headers: &mut http::HeaderMap) {
        let mut ahead = self.ahead.lock().unwrap();
        let (turn, seconds) = &mut *ahead;
        if seconds.is_empty() {
            return;
        }
        *turn += 1;
        let by = Duration::from_secs(u64::try_from(seconds[*turn % seconds.len()]).unwrap());
        let date = headers[header::DATE].to_str().unwrap();
        let shifted = httpdate::parse_http_date(date).unwrap() + by;
        headers.insert(header::DATE, HeaderValue::from_str(&httpdate::fmt_http_date(shifted)).unwrap());
    }
}

#[tokio::test]
async fn each_operation_costs_as_few_requests_as_it_can() {
    let server = KubeApiserver::shared().await;
    let namespace = Admin::of(server).await.new_namespace().await;
    let recorder = Recorder::default();
    let own = options(&namespace).with_client(recorder.client(config(server.url(), ADMIN).await)).await.unwrap();
    let other = options(&namespace).with_client(recorder.client(config(server.url(), ADMIN).await)).await.unwrap();
    recorder.take();
    for write in ["POST", "PATCH"] {
        let mine = request(name("job"), holder("a"), Duration::from_secs(30));
        let held = claim(&mine, granted(&own, &mine).await);
        assert_eq!(recorder.take(), ["GET", write], "acquire");
        for _ in 0..3 {
            extended(&own, &held, Duration::from_secs(30)).await;
            assert_eq!(recorder.take(), ["PATCH"], "renew");
        }
        assert!(is_held(&other, &request(name("job"), holder("b"), Duration::from_secs(30))).await);
        assert_eq!(recorder.take(), ["GET"], "a try for a held name");
        own.inspect(&name("job")).await.unwrap();
        assert_eq!(recorder.take(), ["GET"], "inspect");
        release(&own, &held).await;
        assert_eq!(recorder.take(), ["PATCH"], "release");
    }
    own.list("", None, 10).await.unwrap();
    assert_eq!(recorder.take(), ["LIST"], "list");
}
