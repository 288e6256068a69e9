//! The attributes of a measurement.

use crate::groups::Group;

pub(crate) const STORE: &str = "lease.store";
pub(crate) const GROUP: &str = "lease.group";
pub(crate) const ERROR_TYPE: &str = "error.type";

/// The attributes of a measurement. All values but the group are known when the program is built.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attributes<'a> {
    pub(crate) store: Option<&'static str>,
    pub(crate) group: &'a Group,
    pub(crate) label: Option<Label>,
    pub(crate) error: Option<&'static str>,
}

/// An outcome or a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Label {
    Outcome(&'static str),
    Reason(&'static str),
}

impl Label {
    pub(crate) fn key_and_value(self) -> (&'static str, &'static str) {
        match self {
            Self::Outcome(value) => ("outcome", value),
            Self::Reason(value) => ("reason", value),
        }
    }
}

impl<'a> Attributes<'a> {
    pub(crate) fn new(store: Option<&'static str>, group: &'a Group) -> Self {
        Self { store, group, label: None, error: None }
    }

    pub(crate) fn outcome(self, outcome: &'static str) -> Self {
        Self { label: Some(Label::Outcome(outcome)), ..self }
    }

    pub(crate) fn reason(self, reason: &'static str) -> Self {
        Self { label: Some(Label::Reason(reason)), ..self }
    }

    pub(crate) fn error(self, error: Option<&'static str>) -> Self {
        Self { error, ..self }
    }
}
