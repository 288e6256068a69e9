//! The suites, on a server that is frozen, cut off, killed and restarted.

mod amazon {
    use crate::common::{Amazon, Fake};

    lease_testkit::conformance!(real, integration_tests::ServerHarness::<Fake<Amazon>>::start);

    mod elections {
        use super::{Amazon, Fake};

        lease_testkit::elections!(real, integration_tests::ServerHarness::<Fake<Amazon>>::start);
    }
}
