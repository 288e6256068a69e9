//! Defects of the transactions of etcd.

use crate::Mutant;

pub(crate) const MUTANTS: &[Mutant] = &[
    Mutant {
        what: "an acquire overwrites a held lease (S14)",
        file: "crates/lease-etcd/src/acquire.rs",
        from: "let mut when = vec![Compare::create_revision(key.as_str(), CompareOp::Equal, 0)];",
        to: "let mut when = vec![Compare::create_revision(key.as_str(), CompareOp::Greater, -1)];",
    },
    Mutant {
        what: "an acquire ignores a block of the name (S11)",
        file: "crates/lease-etcd/src/acquire.rs",
        from: "when.push(Compare::create_revision(block, CompareOp::Equal, 0));",
        to: "let _ = block;",
    },
    Mutant {
        what: "a reservation is for every holder (S11)",
        file: "crates/lease-etcd/src/acquire.rs",
        from: "if successor == Some(&request.holder) {",
        to: "if successor.is_some() {",
    },
    Mutant {
        what: "a reservation stays after the grant to its holder",
        file: "crates/lease-etcd/src/acquire.rs",
        from: "            then.push(TxnOp::delete(block, None));\n",
        to: "",
    },
    Mutant {
        what: "a repeated attempt does not return its grant (S13)",
        file: "crates/lease-etcd/src/acquire.rs",
        from: "if grant.record.as_ref().is_some_and(is_own) { Self::Own(grant) }",
        to: "if grant.record.as_ref().is_some_and(is_own) && false { Self::Own(grant) }",
    },
    Mutant {
        what: "a grant is not announced",
        file: "crates/lease-etcd/src/acquire.rs",
        from: "        if request.announce {\n",
        to: "        if false {\n",
    },
    Mutant {
        what: "a renewal ignores the owner (S7)",
        file: "crates/lease-etcd/src/renew.rs",
        from: "Compare::create_revision(key.as_str(), CompareOp::Equal, token),\n                        Compare::lease",
        to: "Compare::lease",
    },
    Mutant {
        what: "a renewal shortens (S7)",
        file: "crates/lease-etcd/src/renew.rs",
        from: "Ok(if left.at_most > left_in_bucket { (true, left.at_least) } else { (false, left_in_bucket) })",
        to: "Ok((false, left_in_bucket))",
    },
    Mutant {
        what: "a renewal after an unknown outcome ignores the owner (S7)",
        file: "crates/lease-etcd/src/renew.rs",
        from: "if entry.is_claimed_by(&request.claim) {\n            return Ok(entry);",
        to: "if true {\n            return Ok(entry);",
    },
    Mutant {
        what: "a renewal does not report a break (S22)",
        file: "crates/lease-etcd/src/renew.rs",
        from: "Some(How::Broken) => LossReason::Broken,",
        to: "Some(How::Broken) => LossReason::Expired,",
    },
    Mutant {
        what: "a release by any token (S11)",
        file: "crates/lease-etcd/src/release.rs",
        from: "let mut when = vec![Compare::create_revision(key.as_str(), CompareOp::Equal, token)];",
        to: "let mut when = vec![Compare::create_revision(key.as_str(), CompareOp::Greater, token - token)];",
    },
    Mutant {
        what: "a release does not block the name (S11)",
        file: "crates/lease-etcd/src/release.rs",
        from: "            then.push(TxnOp::put(self.keys.block(&request.claim.name), value, attached));",
        to: "            let _ = (value, attached);",
    },
];
