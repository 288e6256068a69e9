//! Errors of the driver and of the server, without what a server quotes: it may quote a password.

use fred::error::Error as DriverError;

/// Returns the error without the arguments that a server quotes.
pub(crate) fn redacted(error: &DriverError) -> DriverError {
    DriverError::new(error.kind().clone(), without_arguments(error.details()).to_owned())
}

/// Returns the error reduced to its code and its first sentence, with the passwords masked. While connecting, a server may quote
/// a password in any place.
pub(crate) fn redacted_while_connecting(error: &DriverError, passwords: &[String]) -> DriverError {
    let text = without_arguments(error.details());
    let text = text.split_once(". ").map_or(text, |(sentence, _)| sentence).lines().next().unwrap_or("");
    let text = passwords.iter().fold(text.to_owned(), |text, password| text.replace(password, "***"));
    DriverError::new(error.kind().clone(), text)
}

/// Returns the reply without the arguments of an unknown command, which the server quotes. Those of `HELLO` are the user and the
/// password.
pub(crate) fn without_arguments(reply: &str) -> &str {
    reply.split("with args beginning with").next().unwrap_or("").trim_end_matches([' ', ','])
}
