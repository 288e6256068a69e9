//! The faults that a [`ChaosStore`](crate::ChaosStore) injects, and the rules that select calls for them.

use std::time::Duration;

use lease_core::{ErrorKind, LeaseName};

use crate::{Operation, SeededRng};

/// The effect on one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The request reaches the store after this delay. With [`Duration::MAX`] it never does, and the caller never gets an
    /// answer.
    DelayRequest(Duration),
    /// The request is executed at once, and the answer arrives this long after the request was sent. With [`Duration::MAX`]
    /// it never does.
    DelayAnswer(Duration),
    /// The request never reaches the store. The caller gets `Indeterminate`.
    LoseRequest,
    /// The request is executed, and its answer is lost. The caller gets `Indeterminate`.
    LoseAnswer,
    /// The request is executed and answered, and executed once more this long after it was sent.
    Duplicate(Duration),
    /// The request is not executed. The caller gets an error of this kind.
    Fail(ErrorKind),
    /// The request is not executed. The store panics.
    Panic,
}

impl Fault {
    /// Returns a rule that injects this fault into every call of an operation.
    pub fn on(self, operation: Operation) -> Rule {
        Rule { fault: self, operation, name: None, when: When::Always }
    }
}

/// A [`Fault`], and the calls to which it happens. [`Fault::on`] creates it;
/// [`ChaosStore::inject`](crate::ChaosStore::inject) makes it effective.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a rule has no effect until it is injected"]
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
    /// Limits the rule to the next call.
    pub fn once(self) -> Self {
        Self { when: When::Once, ..self }
    }

    /// Limits the rule to every `n`-th call.
    pub fn every(self, n: u32) -> Self {
        Self { when: When::Every(n), ..self }
    }

    /// Limits the rule to a random part of the calls: each is hit with this probability, from 0 to 1, drawn from the seed of
    /// the store.
    pub fn with_chance(self, probability: f64) -> Self {
        Self { when: When::Chance(probability), ..self }
    }

    /// Limits the rule to calls that have an element of this name. The fault hits all elements of such a call.
    pub fn for_name(self, name: &LeaseName) -> Self {
        Self { name: Some(name.clone()), ..self }
    }
}

/// An injected rule, with the number of calls that matched it.
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
