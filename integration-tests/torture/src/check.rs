//! The verdict on a recorded run. It needs only the record: `torture check DIR` also judges an old run.
//!
//! The tenure of a grant is the interval `[answer received, min(loss signalled, release called, local deadline)]`, in which its
//! worker considers itself the holder. Each check is a file of its own and cites the rules of `SAFETY.md` that it proves. A check
//! without any observation fails, because it proves nothing.

pub mod ambiguity;
mod baseline;
pub(crate) mod exclusion;
mod fencing;
pub mod figures;
pub mod grants;
pub mod losses;
pub mod recording;
mod recovery;
mod wholeness;

use std::{fmt, path::Path};

use serde::{Deserialize, Serialize};

use self::{
    figures::Figures,
    recording::{ReadError, Recording},
};
use crate::record::{Case, Degradation, Sabotage};

/// The checks, numbered as in the table of the torture test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Check {
    /// C0: the record is complete, and has observations.
    Wholeness,
    /// C1: tenures of one name never overlap (S1, S4, S7).
    Exclusion,
    /// C2: tokens strictly increase in the order of grants, and never repeat (S9).
    Tokens,
    /// C3: the resource never accepts a token below the largest that it has seen; if workers are frozen, it refuses some writes.
    Fencing,
    /// C4: a loss is signalled by the local deadline, or at once when the worker can run again; it is final (S4, S5).
    Losses,
    /// C5: after healing, every name is granted again in time (L1).
    Recovery,
    /// C6: tasks, descriptors, connections and leases return to their baseline (S15, S24).
    Baseline,
    /// C7: an attempt with an unknown outcome blocks its name for no longer than a ttl (S13, S15).
    Ambiguity,
}

/// A violation of a rule in a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The check that found it.
    pub check: Check,
    /// The observation, with moments in seconds of the run.
    pub what: String,
}

/// The verdict on a case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The case.
    pub case: Case,
    /// All violations.
    pub violations: Vec<Violation>,
    /// Observations that would be violations without the documented degradation of this case.
    pub degradations: Vec<Violation>,
    /// The measurements.
    pub figures: Figures,
}

/// Judges the case that is recorded in a directory.
///
/// # Errors
///
/// Returns an error if the record cannot be read, or has a line that is no entry.
pub fn judge(directory: &Path) -> Result<Verdict, ReadError> {
    Ok(Verdict::of(&Recording::read(directory)?))
}

impl Verdict {
    /// Returns the verdict on a recording.
    #[must_use]
    pub fn of(recording: &Recording) -> Self {
        let (degradations, mut violations): (Vec<_>, Vec<_>) = exclusion::check(recording)
            .into_iter()
            .partition(|violation: &Violation| recording.case.degradation.is_some_and(|it| it.allows(violation.check)));
        for check in
            [wholeness::check, fencing::check, losses::check, recovery::check, baseline::check, ambiguity::check]
        {
            violations.extend(check(recording));
        }
        violations.sort_by_key(|violation| violation.check);
        Self { case: recording.case.clone(), violations, degradations, figures: Figures::of(recording) }
    }

    /// Returns whether the case passed: it has no violation, or its injected defect was caught (C8).
    #[must_use]
    pub fn passed(&self) -> bool {
        match self.case.sabotage {
            None => self.violations.is_empty(),
            Some(sabotage) => self.violations.iter().any(|violation| violation.check == sabotage.caught_by()),
        }
    }
}

impl Check {
    /// Returns the number, as in the table of the torture test.
    #[must_use]
    pub fn number(self) -> &'static str {
        match self {
            Self::Wholeness => "C0",
            Self::Exclusion => "C1",
            Self::Tokens => "C2",
            Self::Fencing => "C3",
            Self::Losses => "C4",
            Self::Recovery => "C5",
            Self::Baseline => "C6",
            Self::Ambiguity => "C7",
        }
    }

    fn violated(self, what: impl Into<String>) -> Violation {
        Violation { check: self, what: what.into() }
    }
}

impl Degradation {
    /// Returns whether findings of this check are expected.
    fn allows(self, check: Check) -> bool {
        match self {
            Self::Overlap => check == Check::Exclusion,
        }
    }
}

impl Sabotage {
    /// Returns the check that must catch this defect.
    #[must_use]
    pub fn caught_by(self) -> Check {
        match self {
            Self::FencingOff => Check::Fencing,
            Self::DeadlineFromAnswer | Self::WallClock | Self::MixedUpAnswers => Check::Exclusion,
            Self::CounterReset => Check::Tokens,
        }
    }
}

impl fmt::Display for Sabotage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FencingOff => "fencing off",
            Self::DeadlineFromAnswer => "deadline from the answer",
            Self::WallClock => "wall clock",
            Self::CounterReset => "counter reset",
            Self::MixedUpAnswers => "mixed-up answers",
        })
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check.number(), self.what)
    }
}
