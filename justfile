# Every recipe is one plain command: whoever has no `just` can copy it.

# What there is.
default:
    @just --list

# Install whatever servers and tools are missing, and run all tests; `just test -p lease-redis` for those of one package.
test *arguments:
    ./integration-tests/run {{arguments}}

# The stores in their other configurations, which `just test` leaves out.
test-full *arguments:
    ./integration-tests/run --full {{arguments}}

# The smoke test of servers in containers; needs a container engine.
test-containers:
    cargo test -p integration-tests --features containers --test containers

# The torture test: worker processes, real servers, every fault; ten to fifteen minutes. Its report is in target/torture.
torture *arguments:
    cargo run --package torture -- run {{arguments}}

# The torture test again and again with other seeds, for so long, or until something is wrong: `just soak 60m --store redis`.
soak duration="8h" *arguments:
    cargo run --package torture -- run --soak {{duration}} {{arguments}}

# Defects that the conformance suite must find, one after the other; an hour or two. `just mutants redis/` for some of them.
mutants *arguments:
    cargo run --package mutants -- {{arguments}}

# Three candidates for one lease: one freezes, one crashes, one hands over.
failover *arguments:
    cargo run --example failover -- {{arguments}}

# Speed and scale, side by side with the drivers and with other libraries: `just bench --help` for less than all of it.
# On a slow disk PostgreSQL waits for it all the time; TMPDIR=/dev/shm shows what remains without it.
bench *arguments:
    cargo run --release -p benches --features peers -- {{arguments}}

# Lints, as strict as in CI.
lint:
    cargo clippy --workspace --all-targets --all-features -- -D warnings

# Format everything.
format:
    cargo fmt --all

# Package everything as for a release, and run a program that depends on the packages alone.
packages:
    ./integration-tests/packages

# The documentation, in a browser.
doc:
    cargo doc --workspace --no-deps --open

# Licences, sources and banned packages of all dependencies.
deny:
    cargo deny check bans licenses sources

# Known vulnerabilities of all dependencies; needs the network.
advisories:
    cargo deny check advisories

# All that CI does.
ci:
    ./.ci/run
