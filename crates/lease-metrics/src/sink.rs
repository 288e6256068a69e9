//! Where measurements go.

use std::fmt::Debug;

use crate::{attributes::Attributes, instrument::Instrument};

/// Receives measurements. There is one for each feature.
pub(crate) trait Sink: Debug + Send + Sync {
    /// Adds to a counter, or to one that goes up and down.
    fn add(&self, instrument: Instrument, by: i64, attributes: Attributes<'_>);

    /// Records a value in a histogram.
    fn record(&self, instrument: Instrument, value: f64, attributes: Attributes<'_>);

    /// Sets a gauge.
    fn set(&self, instrument: Instrument, value: f64, attributes: Attributes<'_>);
}
