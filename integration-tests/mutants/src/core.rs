//! Defects of the deadlines of `lease-core`, over the memory store.

use crate::Mutant;

pub(crate) const MUTANTS: &[Mutant] = &[
    Mutant {
        what: "a grant counts from its answer (S1)",
        file: "crates/lease-core/src/grant/schedule.rs",
        from: "let plan = self.plan(sent, sent, remaining);",
        to: "let plan = self.plan(now, now, remaining);",
    },
    Mutant {
        what: "a late answer counts (S1)",
        file: "crates/lease-core/src/grant/schedule.rs",
        from: "(now < plan.valid_until).then_some(plan)",
        to: "(now < Moment::from_origin(Duration::MAX)).then_some(plan)",
    },
    Mutant {
        what: "no margin before the store's expiry (S1)",
        file: "crates/lease-core/src/grant/schedule.rs",
        from: "remaining.mul_f64(1.0 - self.clock_drift).saturating_sub(margin)",
        to: "remaining.mul_f64(1.0 + self.clock_drift).saturating_sub(Duration::ZERO.min(margin))",
    },
    Mutant {
        what: "a failed renewal is not repeated in time",
        file: "crates/lease-core/src/grant/schedule.rs",
        from: "now + (left / 8).clamp(SHORTEST_PAUSE.min(left), self.attempt_timeout.max(SHORTEST_PAUSE))",
        to: "now + left.max(SHORTEST_PAUSE)",
    },
    Mutant {
        what: "an attempt waits until the deadline (S24)",
        file: "crates/lease-core/src/grant/schedule.rs",
        from: "let timeout = self.attempt_timeout.min(valid_until.saturating_since(now) / 2);",
        to: "let timeout = valid_until.saturating_since(now).max(self.attempt_timeout);",
    },
    Mutant {
        what: "the longest tenure has no end",
        file: "crates/lease-core/src/grant/schedule.rs",
        from: "valid_until: relied_on.min(end),",
        to: "valid_until: relied_on.max(end),",
    },
    Mutant {
        what: "a deadline that has passed does not count (S4)",
        file: "crates/lease-core/src/grant/latch.rs",
        from: "deadline != LOST && (nanoseconds(self.clock.now()) < deadline || !self.expire(report))",
        to: "{ let _ = report; deadline != LOST }",
    },
    Mutant {
        what: "an extension revives an expired lease (S4)",
        file: "crates/lease-core/src/grant/latch.rs",
        from: "if nanoseconds(self.clock.now()) >= deadline {",
        to: "if deadline == LOST {",
    },
    Mutant {
        what: "work is polled after the loss (S5)",
        file: "crates/lease-core/src/client/lease.rs",
        from: "            if let Some(lost) = self.tenure.loss() {\n                return Poll::Ready(Err(lost));\n            }\n",
        to: "",
    },
    Mutant {
        what: "a release is sent before the lease is latched lost (S12)",
        file: "crates/lease-core/src/grant/tenure.rs",
        from: "        self.lose(reason);\n        let is_reported",
        to: "        std::mem::forget(reason);\n        let is_reported",
    },
    Mutant {
        what: "an unclaimed grant is not released (S15)",
        file: "crates/lease-core/src/client/attempt.rs",
        from: "let unclaimed = progress.abandoned && !progress.claimed;",
        to: "let unclaimed = progress.abandoned && progress.claimed;",
    },
];
