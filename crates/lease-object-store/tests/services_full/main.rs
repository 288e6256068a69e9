//! The suites on the other services that the fake plays, and the large races.

#[path = "../common/mod.rs"]
mod common;

mod races;

macro_rules! suites {
    ($($module:ident: $service:ident),*) => {
        $(
            mod $module {
                use integration_tests::ServerHarness;

                use crate::common::{Fake, $service};

                lease_testkit::conformance!(real, ServerHarness::<Fake<$service>>::start);

                mod elections {
                    use super::{Fake, ServerHarness, $service};

                    lease_testkit::elections!(real, ServerHarness::<Fake<$service>>::start);
                }
            }
        )*
    };
}

suites!(google: Google, azure: Azure);
