//! Defects of the scripts of Redis.

use crate::Mutant;

pub(crate) const MUTANTS: &[Mutant] = &[
    Mutant {
        what: "an answer to another call is accepted (S25)",
        file: "crates/lease-redis/src/connections/call.rs",
        from: "is_mine.then(||",
        to: "(is_mine || !is_mine).then(||",
    },
    Mutant {
        what: "a name is free before its lease expires (S14)",
        file: "crates/lease-redis/scripts/acquire_free.lua",
        from: " and sub(record, 35, 50) <= now_text",
        to: "",
    },
    Mutant {
        what: "a token is not greater than the last one (S9)",
        file: "crates/lease-redis/scripts/acquire.lua",
        from: "token = math.max(lease.token + 1, now)",
        to: "token = tonumber(lease.token)",
    },
    Mutant {
        what: "a repeated attempt gets a new grant (S13)",
        file: "crates/lease-redis/scripts/acquire.lua",
        from: "if lease.nonce == own_nonce and lease.holder == holder then",
        to: "if false then",
    },
    Mutant {
        what: "a nonce of another holder is accepted (S14)",
        file: "crates/lease-redis/scripts/acquire.lua",
        from: "if lease.nonce == own_nonce and lease.holder == holder then",
        to: "if lease.nonce == own_nonce then",
    },
    Mutant {
        what: "a repeated request returns the whole ttl (S1)",
        file: "crates/lease-redis/scripts/acquire.lua",
        from: "text(math.min(lease.expires - now, tonumber(lease.ttl)))",
        to: "text(tonumber(lease.ttl))",
    },
    Mutant {
        what: "a reservation is for every holder (S11)",
        file: "crates/lease-redis/scripts/acquire.lua",
        from: "lease.state == 'r' and lease.reserved == holder)",
        to: "lease.state == 'r' and lease.reserved ~= '')",
    },
    Mutant {
        what: "a grant is not announced",
        file: "crates/lease-redis/scripts/acquire_free.lua",
        from: "if ARGV[common + 1] ~= '' then",
        to: "if false then",
    },
    Mutant {
        what: "a renewal revives an expired lease (S7)",
        file: "crates/lease-redis/scripts/owner.lua",
        from: " and sub(record, 35, 50) > now_text",
        to: "",
    },
    Mutant {
        what: "a renewal shortens (S7)",
        file: "crates/lease-redis/scripts/renew.lua",
        from: "math.max(tonumber(ttl), tonumber(sub(record, 35, 50)) - now)",
        to: "tonumber(ttl)",
    },
    Mutant {
        what: "a renewal takes metadata of any revision",
        file: "crates/lease-redis/scripts/renew.lua",
        from: "if tonumber(revision) > tonumber(lease.revision) then",
        to: "if true then",
    },
    Mutant {
        what: "a renewal does not return the new holder (L6)",
        file: "crates/lease-redis/scripts/renew.lua",
        from: "return {'taken', lease.holder, lease.token}",
        to: "return {'lost', 'gone'}",
    },
    Mutant {
        what: "a release does not block the name (S11)",
        file: "crates/lease-redis/scripts/release.lua",
        from: "  local expires, kept = after(hold)\n",
        to: "  hold = '0'\n  local expires, kept = after(hold)\n",
    },
    Mutant {
        what: "a release sends no hint (L1)",
        file: "crates/lease-redis/scripts/release_held.lua",
        from: "type(try('PUBLISH', key, '')) == 'table' and 3 or 1",
        to: "1",
    },
    Mutant {
        what: "a break by any token (S22)",
        file: "crates/lease-redis/scripts/break.lua",
        from: "if not lease or tonumber(lease.token) ~= tonumber(token) then",
        to: "if not lease then",
    },
    Mutant {
        what: "a break after expiry frees at once (S22)",
        file: "crates/lease-redis/scripts/break.lua",
        from: "after(how == 'now' and 0 or lease.expires - now)",
        to: "after(0)",
    },
    Mutant {
        what: "more than the ttl is left after a renewal (S1)",
        file: "crates/lease-redis/scripts/renew.lua",
        from: "return math.min(left, longest)",
        to: "return left",
    },
    Mutant {
        what: "more than the ttl is left for a repeated request (S1)",
        file: "crates/lease-redis/scripts/acquire.lua",
        from: "text(math.min(lease.expires - now, tonumber(lease.ttl)))",
        to: "text(lease.expires - now)",
    },
];
