//! The suites, on a server that is frozen, cut off, killed and restarted.

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

suites!(amazon: Amazon, google: Google, azure: Azure);
