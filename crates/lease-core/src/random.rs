//! Random numbers: from the system for what must be unique, from a seed for what must only differ.

use std::hash::{DefaultHasher, Hash, Hasher};

/// Returns bytes from the system. Unlike those of a generator in the process, they do not repeat after a fork or in a copy of a
/// virtual machine.
///
/// # Panics
///
/// Panics if the system provides none.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill(&mut bytes);
    bytes
}

#[cfg(target_os = "linux")]
fn fill(bytes: &mut [u8]) {
    use rustix::{
        io::Errno,
        rand::{GetRandomFlags, getrandom},
    };
    let mut filled = 0;
    while filled < bytes.len() {
        match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(more) => filled += more,
            Err(Errno::INTR) => {}
            Err(error) => panic!("the system gives no random numbers: {error}"),
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn fill(bytes: &mut [u8]) {
    getrandom::fill(bytes).unwrap_or_else(|error| panic!("the system gives no random numbers: {error}"));
}

/// A sequence of fractions for jitter. The same seed gives the same sequence, so that a simulation can be reproduced.
#[derive(Debug)]
pub(crate) struct Jitter {
    seed: DefaultHasher,
}

impl Jitter {
    pub(crate) fn new(seed: impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        seed.hash(&mut hasher);
        Self { seed: hasher }
    }

    /// Returns the next fraction, from 0 to 1.
    pub(crate) fn share(&mut self) -> f64 {
        self.seed.write_u8(0);
        self.seed.finish() as f64 / u64::MAX as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_differ_and_all_of_them_are_filled() {
        let many: std::collections::HashSet<[u8; 16]> = (0..10_000).map(|_| bytes()).collect();
        assert_eq!(many.len(), 10_000);
        for at in 0..16 {
            assert!(many.iter().any(|bytes| bytes[at] != 0), "byte {at} is never filled");
        }
    }

    #[test]
    fn shares_are_spread_and_follow_from_the_seed() {
        let shares = |seed: &str| {
            let mut jitter = Jitter::new(seed);
            (0..1000).map(|_| jitter.share()).collect::<Vec<_>>()
        };
        assert_eq!(shares("a"), shares("a"));
        assert_ne!(shares("a"), shares("b"));
        for tenth in 0..10 {
            let of_tenth = shares("a").into_iter().filter(|share| (share * 10.0) as usize == tenth).count();
            assert!((60..=140).contains(&of_tenth), "{of_tenth} of 1000 in tenth {tenth}");
        }
    }
}
