//! The suites on Amazon S3: a server that is frozen, cut off, killed and restarted.

use integration_tests::ServerHarness;

use crate::common::{Amazon, Fake};

lease_testkit::conformance!(real, ServerHarness::<Fake<Amazon>>::start);

mod elections {
    use super::{Amazon, Fake, ServerHarness};

    lease_testkit::elections!(real, ServerHarness::<Fake<Amazon>>::start);
}
