//! What a [`ChaosStore`](crate::ChaosStore) does to calls, and to which.

use std::time::Duration;

use lease_core::{ErrorKind, LeaseName};

use crate::{Operation, SeededRng};

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It reaches the store late. [`Duration::MAX`]: never, and the caller never hears of it.
    DelayRequest(Duration),
    /// It is done at once, and the caller hears of it this long after it was sent. [`Duration::MAX`]: never.
    DelayAnswer(Duration),
    /// It never reaches the store; the caller is told `Indeterminate`.
    LoseRequest,
    /// It is done; the caller is told `Indeterminate`.
    LoseAnswer,
    /// It is done and answered, and delivered once more this long after it was sent.
    Duplicate(Duration),
    /// It is not done; the caller is told so, with an error of this kind.
    Fail(ErrorKind),
    /// It is not done; the store panics.
    Panic,
}

impl Fault {
    /// A rule that does this to every call of an operation.
    pub fn on(self, operation: Operation) -> Rule {
        Rule { fault: self, operation, name: None, when: When::Always }
    }
}

/// Which calls a [`Fault`] happens to.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a rule does nothing until it is injected"]
pub struct Rule {
    fault: Fault,
    operation: Operation,
    name: Option<LeaseName>,
    when: When,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum When {
    Always,
    Once,
    Every(u32),
    Chance(f64),
}

impl Rule {
    /// Only to the next call.
    pub fn once(self) -> Self {
        Self { when: When::Once, ..self }
    }

    /// Only to every `n`-th call.
    pub fn every(self, n: u32) -> Self {
        Self { when: When::Every(n), ..self }
    }

    /// Only with this probability, 0 to 1, decided by the store's seed.
    pub fn with_chance(self, probability: f64) -> Self {
        Self { when: When::Chance(probability), ..self }
    }

    /// Only to calls that have an element of this name; all elements of such a call suffer.
    pub fn for_name(self, name: &LeaseName) -> Self {
        Self { name: Some(name.clone()), ..self }
    }
}

/// A rule at work.
#[derive(Debug)]
pub(crate) struct ActiveRule {
    rule: Rule,
    calls: u32,
}

impl ActiveRule {
    pub(crate) fn new(rule: Rule) -> Self {
        Self { rule, calls: 0 }
    }

    pub(crate) fn fires(&mut self, operation: Operation, names: &[&LeaseName], rng: &mut SeededRng) -> bool {
        let fits = self.rule.operation == operation && self.rule.name.as_ref().is_none_or(|name| names.contains(&name));
        if !fits {
            return false;
        }
        self.calls = self.calls.saturating_add(1);
        match self.rule.when {
            When::Always | When::Once => true,
            When::Every(n) => self.calls.is_multiple_of(n.max(1)),
            When::Chance(probability) => rng.chance(probability),
        }
    }

    pub(crate) fn fault(&self) -> Fault {
        self.rule.fault
    }

    pub(crate) fn is_used_up(&self) -> bool {
        self.rule.when == When::Once
    }
}
