//! An answer of a service.

use lease_core::in_full;
use reqwest::{
    RequestBuilder, StatusCode,
    header::{AGE, DATE, HeaderMap},
};

use crate::Sample;

/// The most bytes of an answer. Records have less than 10 KiB; what other software keeps beside them may be larger.
const MAX_ANSWER: usize = 32 * 1024 * 1024;

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Vec<u8>,
}

/// There is no answer.
#[derive(Debug)]
pub enum Unanswered {
    /// There was no connection.
    NotSent(reqwest::Error),
    /// The connection broke, or the time limit has passed.
    Broken(reqwest::Error),
    /// It has more than so many bytes.
    TooLarge(usize),
}

impl Answer {
    /// Sends a request once, and reads the whole answer, at most 32 MiB.
    ///
    /// # Errors
    ///
    /// [`Unanswered`], which says whether the request may have been executed.
    ///
    /// # Cancel safety
    ///
    /// A request that was sent may be executed.
    pub async fn to(request: RequestBuilder) -> Result<Self, Unanswered> {
        let mut response = request.send().await.map_err(unanswered)?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unanswered)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(Unanswered::TooLarge(MAX_ANSWER));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Self { status, headers, body })
    }

    /// Returns the time of the server that has made this answer.
    #[must_use]
    pub fn clock(&self) -> Option<Sample> {
        Sample::from_http(self.header(DATE.as_str()), self.header(AGE.as_str()))
    }

    /// Returns a header, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns the beginning of the body, for people.
    #[must_use]
    pub fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(300)]).into_owned();
        text.chars().map(|it| if it.is_control() { ' ' } else { it }).collect::<String>().trim().to_owned()
    }
}

fn unanswered(error: reqwest::Error) -> Unanswered {
    if error.is_connect() { Unanswered::NotSent(error) } else { Unanswered::Broken(error) }
}

impl Unanswered {
    /// Returns whether there was no connection because one side refuses the certificate of the other one.
    #[must_use]
    pub fn is_about_certificates(&self) -> bool {
        let Self::NotSent(error) = self else { return false };
        let text = in_full(error).to_lowercase();
        text.contains("certificate") || text.contains("unknownissuer")
    }
}
