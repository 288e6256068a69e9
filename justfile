# Every recipe is one plain command, which can be copied where `just` is not installed.

# List all recipes.
default:
    @just --list

# Install missing servers and tools, and run all tests; `just test -p lease-redis` runs those of one package.
test *arguments:
    ./integration-tests/run {{arguments}}

# Run the tests of the stores in other configurations, which `just test` leaves out.
test-full *arguments:
    ./integration-tests/run --full {{arguments}}

# Run the smoke test of servers in containers; needs a container engine.
test-containers:
    cargo test -p integration-tests --features containers --test containers

# Run the torture test: worker processes, real servers, every fault; ten to fifteen minutes. Its report is in target/torture.
torture *arguments:
    cargo run --package torture -- run {{arguments}}

# Repeat the torture test with other seeds for this time, or until a case fails: `just soak 60m --store redis`.
soak duration="8h" *arguments:
    cargo run --package torture -- run --soak {{duration}} {{arguments}}

# Let 192 racers in eight processes want a name at the same moment, again and again: `just race --store consul`.
race *arguments:
    cargo run --package torture -- race {{arguments}}

# Inject defects that the conformance suite must find, one after the other; an hour or two. `just mutants redis/` for some of them.
mutants *arguments:
    cargo run --package mutants -- {{arguments}}

# Run three candidates for one lease: one freezes, one crashes, one hands over.
failover *arguments:
    cargo run --example failover -- {{arguments}}

# Measure speed and scale side by side with the drivers and with other libraries; `just bench --help` shows how to select a part.
# On a slow disk PostgreSQL mostly waits for the disk; TMPDIR=/dev/shm measures without it.
bench *arguments:
    cargo run --release -p benches --features peers -- {{arguments}}

# Run the lints as strictly as in CI.
lint:
    cargo clippy --workspace --all-targets --all-features -- -D warnings

# Format everything.
format:
    cargo fmt --all

# Package everything as for a release, and run a program that depends on the packages alone.
packages:
    ./integration-tests/packages

# Open the documentation in a browser.
doc:
    cargo doc --workspace --no-deps --open

# Check licences, sources and bans of all dependencies.
deny:
    cargo deny check bans licenses sources

# Check all dependencies for known vulnerabilities; needs the network.
advisories:
    cargo deny check advisories

# Run everything that CI runs.
ci:
    ./.ci/run
