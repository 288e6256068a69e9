//! What an error must not show.

use std::{error::Error, iter};

/// Checks that neither the error nor any of its causes shows this secret, to people or in debug output.
///
/// # Panics
///
/// Panics if one does.
#[track_caller]
pub fn assert_no_secret(error: &(dyn Error + 'static), secret: &str) {
    let causes = iter::successors(Some(error), |&error| error.source());
    let text: String = causes.map(|cause| format!("{cause} {cause:?} ")).collect();
    assert!(!text.contains(secret), "{text}");
}
