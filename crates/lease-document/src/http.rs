//! One request over HTTP, and its whole answer: for backends of services with such an API (feature `http`).

mod answer;
mod client;

pub use self::{
    answer::{Answer, Unanswered},
    client::{Tls, client},
};
