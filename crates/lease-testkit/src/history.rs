//! A record of which holder held which lease at what time, and the check for violations.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lease_core::{FencingToken, HolderId, LeaseName, Moment};

/// One grant, as observed by its holder. All moments of a history are of one clock, which is that of the test.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tenure {
    /// The name of the lease.
    pub name: LeaseName,
    /// The holder.
    pub holder: HolderId,
    /// The token of the grant.
    pub token: FencingToken,
    /// When the holder received the grant.
    pub from: Moment,
    /// When the holder stopped relying on it: the earliest of loss signalled, release called, and the holder's deadline.
    pub until: Moment,
}

/// A collection of tenures. Clones are the same history.
#[derive(Debug, Clone, Default)]
pub struct History {
    tenures: Arc<Mutex<Vec<Tenure>>>,
}

/// A tenure that has begun, and whose end is not recorded yet.
#[derive(Debug)]
#[must_use = "a tenure without an end overlaps all later ones"]
pub struct OpenTenure {
    history: History,
    index: usize,
}

/// A violation of the rules in a history, with the two tenures that cause it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// Two holders of one name at the same time.
    #[non_exhaustive]
    Overlap {
        /// The tenure that began first.
        first: Tenure,
        /// The tenure that began before the first one had ended.
        second: Tenure,
        /// How long both lasted at the same time.
        by: Duration,
    },
    /// Two grants of a name with the same token (S9).
    #[non_exhaustive]
    TokenRepeated {
        /// The earlier grant.
        first: Tenure,
        /// The later grant.
        second: Tenure,
    },
    /// A later grant of a name with a smaller token (S9).
    #[non_exhaustive]
    TokenFell {
        /// The earlier grant.
        first: Tenure,
        /// The later grant.
        second: Tenure,
    },
}

impl History {
    /// Records that a holder received a grant at the moment `from`.
    pub fn began(&self, name: &LeaseName, holder: &HolderId, token: FencingToken, from: Moment) -> OpenTenure {
        let mut tenures = self.lock();
        let until = Moment::from_origin(Duration::MAX);
        tenures.push(Tenure { name: name.clone(), holder: holder.clone(), token, from, until });
        OpenTenure { history: self.clone(), index: tenures.len() - 1 }
    }

    /// Returns all tenures, in the order in which their beginnings were recorded.
    #[must_use]
    pub fn tenures(&self) -> Vec<Tenure> {
        self.lock().clone()
    }

    /// Returns all violations: tenures of one name that overlap, and tokens that are repeated or smaller in a later grant of
    /// a name.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        let mut tenures = self.tenures();
        tenures.sort_by(|one, two| {
            (&one.name, one.from, one.until, one.token).cmp(&(&two.name, two.from, two.until, two.token))
        });
        tenures.chunk_by(|one, two| one.name == two.name).flat_map(violations_of_one_name).collect()
    }

    /// Asserts that there are no violations.
    ///
    /// # Panics
    ///
    /// Panics with all violations if there are any.
    #[track_caller]
    pub fn assert_sound(&self) {
        let violations = self.violations();
        assert!(violations.is_empty(), "{}", violations.iter().map(|each| format!("{each}\n")).collect::<String>());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Tenure>> {
        self.tenures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenTenure {
    /// Records that the tenure ended, or would have ended, at this moment. Of several ends the earliest counts.
    pub fn ended(&self, at: Moment) {
        let mut tenures = self.history.lock();
        let tenure = &mut tenures[self.index];
        tenure.until = tenure.until.min(at).max(tenure.from);
    }
}

/// Expects tenures in the order of their beginning. Compares each with the earlier one that ends last and with the earlier
/// one that has the greatest token.
fn violations_of_one_name(tenures: &[Tenure]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let Some((mut lasting, mut greatest)) = tenures.first().map(|tenure| (tenure, tenure)) else { return violations };
    for tenure in &tenures[1..] {
        let (first, second) = (lasting.clone(), tenure.clone());
        let by = first.until.min(second.until).saturating_since(second.from);
        if !by.is_zero() {
            violations.push(Violation::Overlap { first, second, by });
        }
        let (first, second) = (greatest.clone(), tenure.clone());
        if second.token == first.token {
            violations.push(Violation::TokenRepeated { first, second });
        } else if second.token < first.token {
            violations.push(Violation::TokenFell { first, second });
        }
        if tenure.until > lasting.until {
            lasting = tenure;
        }
        if tenure.token > greatest.token {
            greatest = tenure;
        }
    }
    violations
}

impl fmt::Display for Tenure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, holder, token, from, until } = self;
        write!(
            f,
            "{holder} held {name} with token {token} from {:?} to {:?}",
            from.since_origin(),
            until.since_origin()
        )
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overlap { first, second, by } => write!(f, "two holders for {by:?}: {first}; {second}"),
            Self::TokenRepeated { first, second } => write!(f, "two grants have the same token: {first}; {second}"),
            Self::TokenFell { first, second } => write!(f, "a later grant has a smaller token: {first}; {second}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a history of one name, from (holder, token, from, until).
    fn history(tenures: &[(&str, u64, u64, u64)]) -> History {
        let history = History::default();
        let at = |second| Moment::from_origin(Duration::from_secs(second));
        for &(holder, token, from, until) in tenures {
            let (name, holder) = (LeaseName::new("job").unwrap(), HolderId::new(holder).unwrap());
            history.began(&name, &holder, FencingToken::new(token).unwrap(), at(from)).ended(at(until));
        }
        history
    }

    #[test]
    fn accepts_one_holder_after_the_other() {
        assert_eq!(history(&[("a", 1, 0, 5), ("b", 2, 5, 5), ("a", 7, 5, 9)]).violations(), []);
        assert_eq!(history(&[]).violations(), []);
    }

    #[test]
    fn catches_two_holders_at_once() {
        let history = history(&[("a", 1, 0, 10), ("b", 2, 3, 4), ("c", 3, 9, 12)]);
        let violations = history.violations();
        let overlaps: Vec<_> = violations
            .iter()
            .map(|violation| match violation {
                Violation::Overlap { first, second, by } => {
                    (first.holder.as_str(), second.holder.as_str(), by.as_secs())
                }
                other => panic!("{other}"),
            })
            .collect();
        assert_eq!(overlaps, [("a", "b", 1), ("a", "c", 1)]);
    }

    #[test]
    fn catches_a_tenure_that_nobody_ended() {
        let history = history(&[("a", 1, 0, 5)]);
        let (name, holder) = (LeaseName::new("job").unwrap(), HolderId::new("b").unwrap());
        let at = |second| Moment::from_origin(Duration::from_secs(second));
        let _forgotten = history.began(&name, &holder, FencingToken::new(2).unwrap(), at(6));
        history.began(&name, &holder, FencingToken::new(3).unwrap(), at(7)).ended(at(8));
        assert!(matches!(history.violations()[..], [Violation::Overlap { .. }]));
    }

    #[test]
    fn catches_tokens_that_repeat_or_fall() {
        assert!(matches!(
            history(&[("a", 4, 0, 1), ("b", 4, 2, 3)]).violations()[..],
            [Violation::TokenRepeated { .. }]
        ));
        let violations = history(&[("a", 4, 0, 1), ("b", 9, 2, 3), ("c", 5, 4, 5)]).violations();
        assert!(matches!(&violations[..], [Violation::TokenFell { first, second }]
            if first.holder.as_str() == "b" && second.holder.as_str() == "c"));
        assert!(violations[0].to_string().contains("b held job with token 9"), "{}", violations[0]);
    }

    #[test]
    fn names_are_judged_apart() {
        let history = history(&[("a", 5, 0, 10)]);
        let (name, holder) = (LeaseName::new("other").unwrap(), HolderId::new("b").unwrap());
        let at = |second| Moment::from_origin(Duration::from_secs(second));
        history.began(&name, &holder, FencingToken::new(1).unwrap(), at(3)).ended(at(4));
        history.assert_sound();
    }
}
