//! Who believed to hold what, and whether that was allowed.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lease_core::{FencingToken, HolderId, LeaseName, Moment};

/// One grant, as its holder saw it. Its moments are of one clock that all holders of a history share, the test's own.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tenure {
    /// The lease.
    pub name: LeaseName,
    /// Who held it.
    pub holder: HolderId,
    /// With which token.
    pub token: FencingToken,
    /// When the holder got the answer.
    pub from: Moment,
    /// The earliest of: loss signalled, release called, the holder's deadline.
    pub until: Moment,
}

/// A collection of tenures. Clones are the same history.
#[derive(Debug, Clone, Default)]
pub struct History {
    tenures: Arc<Mutex<Vec<Tenure>>>,
}

/// A tenure that has begun and whose end is not recorded yet.
#[derive(Debug)]
#[must_use = "a tenure without an end lasts for ever, and overlaps all that come after it"]
pub struct OpenTenure {
    history: History,
    index: usize,
}

/// What must never be in a history. Each names the two tenures.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// Two holders believed to hold one name at the same time.
    #[non_exhaustive]
    Overlap {
        /// The one that began first.
        first: Tenure,
        /// The one that began before the first had ended.
        second: Tenure,
        /// For how long.
        by: Duration,
    },
    /// Two grants of a name had the same token (S9).
    #[non_exhaustive]
    TokenRepeated {
        /// The earlier grant.
        first: Tenure,
        /// The later one.
        second: Tenure,
    },
    /// A later grant of a name had a smaller token (S9).
    #[non_exhaustive]
    TokenFell {
        /// The earlier grant.
        first: Tenure,
        /// The later one.
        second: Tenure,
    },
}

impl History {
    /// Records that a grant's answer was received.
    pub fn began(&self, name: &LeaseName, holder: &HolderId, token: FencingToken, from: Moment) -> OpenTenure {
        let mut tenures = self.lock();
        let until = Moment::from_origin(Duration::MAX);
        tenures.push(Tenure { name: name.clone(), holder: holder.clone(), token, from, until });
        OpenTenure { history: self.clone(), index: tenures.len() - 1 }
    }

    /// All tenures so far, in the order in which their beginnings were recorded.
    #[must_use]
    pub fn tenures(&self) -> Vec<Tenure> {
        self.lock().clone()
    }

    /// Everything that is wrong with it: tenures of one name that overlap, and tokens that repeat or fall from one
    /// grant of a name to the next.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        let mut tenures = self.tenures();
        tenures.sort_by(|one, two| {
            (&one.name, one.from, one.until, one.token).cmp(&(&two.name, two.from, two.until, two.token))
        });
        tenures.chunk_by(|one, two| one.name == two.name).flat_map(violations_of_one_name).collect()
    }

    /// # Panics
    ///
    /// With every violation, if there is any.
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
    /// Records that it ended, or would have ended, at this moment. The earliest one counts.
    pub fn ended(&self, at: Moment) {
        let mut tenures = self.history.lock();
        let tenure = &mut tenures[self.index];
        tenure.until = tenure.until.min(at).max(tenure.from);
    }
}

/// Of tenures in the order of their beginning. Each is compared with the one that ends last and the one with the
/// greatest token before it.
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
            Self::TokenRepeated { first, second } => write!(f, "a token was granted twice: {first}; {second}"),
            Self::TokenFell { first, second } => write!(f, "a token is smaller than an earlier one: {first}; {second}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A history of one name, from (holder, token, from, until).
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
