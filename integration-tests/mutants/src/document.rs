//! Defects of `lease-document`, and so of every store that is made of documents.

use crate::Mutant;

pub(crate) const MUTANTS: &[Mutant] = &[
    Mutant {
        what: "a watch counts from before its read (S2)",
        file: "crates/lease-document/src/attempt.rs",
        from: "let seen = self.shared.see(",
        to: "self.shared.known().observe(self.context.name, &document.version, Duration::ZERO, sent); \
             let seen = self.shared.see(",
    },
    Mutant {
        what: "a watch counts on though the version has changed (S2)",
        file: "crates/lease-document/src/known.rs",
        from: "Some(entry) if entry.version.tag == version.tag =>",
        to: "Some(entry) =>",
    },
    Mutant {
        what: "a watch has no margin for clocks that drift (S2)",
        file: "crates/lease-document/src/left.rs",
        from: "lasts.mul_f64(1.0 + DRIFT).saturating_add(margin)",
        to: "lasts.max(margin)",
    },
    Mutant {
        what: "an end stays that is too early for its holder (S1)",
        file: "crates/lease-document/src/attempt.rs",
        from: "needed > until.saturating_add(self.shared.slack() * 2)",
        to: "needed > until.saturating_add(record.lasts())",
    },
    Mutant {
        what: "a grant counts from its answer (S1)",
        file: "crates/lease-document/src/attempt.rs",
        from: "let own = Own { began,",
        to: "let own = Own { began: began.max(self.shared.now()),",
    },
    Mutant {
        what: "of two clocks the last one is believed (S3)",
        file: "crates/lease-document/src/store_clock.rs",
        from: "let hull = Bounds { low: low.min(known.low), high: high.max(known.high), at: received };",
        to: "let hull = Bounds { low, high, at: received };",
    },
    Mutant {
        what: "a renewal revives an expired lease (S7)",
        file: "crates/lease-document/src/renew.rs",
        from: "Phase::Held if !seen.is_in_force() || seen.left.is_spent =>",
        to: "Phase::Held if seen.left.is_spent && !seen.left.is_spent =>",
    },
    Mutant {
        what: "a renewal shortens (S7)",
        file: "crates/lease-document/src/renew.rs",
        from: "request.ttl.max(at_stake(&seen))",
        to: "request.ttl.min(at_stake(&seen))",
    },
    Mutant {
        what: "a token is not greater than the last one (S9)",
        file: "crates/lease-document/src/acquire.rs",
        from: "map_or(0, Seen::token).checked_add(1)",
        to: "map_or(0, Seen::token).checked_add(0)",
    },
    Mutant {
        what: "a release ends the grant of another holder (S11)",
        file: "crates/lease-document/src/release.rs",
        from: "|| !seen.record.belongs_to(&claim.holder, claim.grant)",
        to: "",
    },
    Mutant {
        what: "a repeated attempt gets a new grant (S13)",
        file: "crates/lease-document/src/acquire.rs",
        from: "if seen.record.belongs_to(&request.holder, request.grant) {",
        to: "if false {",
    },
    Mutant {
        what: "a write of unknown outcome is taken for not done (S15)",
        file: "crates/lease-document/src/attempt.rs",
        from: "self.unresolved = Some((expected.cloned(), error));",
        to: "drop(error);",
    },
    Mutant {
        what: "a read that is older than the own write is believed",
        file: "crates/lease-document/src/known.rs",
        from: "if number < known)",
        to: "if number < known && known < number)",
    },
    Mutant {
        what: "the lease of another program is free",
        file: "crates/lease-document/src/shared.rs",
        from: "Some(_) => Left::watched(lasts, since, now),",
        to: "Some(_) => Left::NOTHING,",
    },
    Mutant {
        what: "the document of another name is accepted (S25)",
        file: "crates/lease-document/src/shared.rs",
        from: "if record.name != context.name.as_str() {",
        to: "if false {",
    },
];
