//! The suites over each kind of store that a backend can be.

mod common;

use std::time::Duration;

use common::{BedHarness, Variant};
use lease_core::ExpiryJudge;

const SECOND: Duration = Duration::from_secs(1);
const LATENCY: Duration = Duration::from_millis(10);

/// A clock of milliseconds, and tokens from versions.
fn milliseconds() -> BedHarness {
    BedHarness::new(Variant::default())
}

/// A slow network, and tokens that are counted. Versions are no numbers.
fn milliseconds_slow() -> BedHarness {
    let (ttl, latency) = (SECOND * 3, LATENCY);
    BedHarness::new(Variant { tokens_from_versions: false, numbers: false, ttl, latency, ..Variant::default() })
}

/// The header `Date`: whole seconds.
fn seconds() -> BedHarness {
    let (resolution, ttl) = (Some(SECOND), SECOND * 10);
    BedHarness::new(Variant { tokens_from_versions: false, numbers: false, resolution, ttl, ..Variant::default() })
}

fn seconds_slow() -> BedHarness {
    let (resolution, ttl, latency) = (Some(SECOND), SECOND * 10, LATENCY);
    BedHarness::new(Variant { resolution, ttl, latency, ..Variant::default() })
}

/// Two servers, whose clocks differ by as much as the slack allows.
fn many_servers() -> BedHarness {
    let (judge, resolution) = (ExpiryJudge::ServersWallClocks { slack: SECOND / 2 }, Some(SECOND));
    BedHarness::new(Variant { judge, resolution, ttl: SECOND * 10, latency: LATENCY, ..Variant::default() })
        .with(|bed| bed.state().second_server_ahead = SECOND)
}

/// A clock that must be asked for.
fn asked() -> BedHarness {
    BedHarness::new(Variant { asks_for_clock: true, latency: LATENCY, ttl: SECOND * 3, ..Variant::default() })
}

/// Nobody believes a clock (S2).
fn contenders() -> BedHarness {
    let (judge, ttl) = (ExpiryJudge::Contenders, SECOND * 4);
    BedHarness::new(Variant { judge, resolution: None, tokens_from_versions: false, ttl, ..Variant::default() })
}

fn contenders_slow() -> BedHarness {
    let (judge, ttl, latency) = (ExpiryJudge::Contenders, SECOND * 4, LATENCY);
    BedHarness::new(Variant { judge, resolution: None, ttl, latency, ..Variant::default() })
}

/// Changes are pushed.
fn push() -> BedHarness {
    BedHarness::new(Variant { push: true, ..Variant::default() })
}

/// Every third write is done without an answer, and every fourth is repeated by the driver.
fn lossy() -> BedHarness {
    BedHarness::new(Variant::default()).with(|bed| {
        bed.state().breaks_every = 3;
        bed.state().repeats_every = 4;
    })
}

macro_rules! suites {
    ($($name:ident),*) => {
        $(
            mod $name {
                lease_testkit::conformance!(paused, crate::$name);

                mod elections {
                    lease_testkit::elections!(paused, crate::$name);
                }
            }
        )*
    };
}

suites!(
    milliseconds,
    milliseconds_slow,
    seconds,
    seconds_slow,
    many_servers,
    asked,
    contenders,
    contenders_slow,
    push,
    lossy
);
