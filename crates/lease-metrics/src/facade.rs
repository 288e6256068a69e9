//! Measurements by the recorder of the `metrics` crate.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Label as MetricsLabel, Level, Metadata, Recorder, with_recorder,
};

use crate::{
    attributes::{Attributes, ERROR_TYPE, GROUP, Label, STORE},
    instrument::{Definition, Instrument, Kind, TABLE, Unit},
    sink::Sink,
};

const METADATA: Metadata<'static> = Metadata::new("lease", Level::INFO, Some(module_path!()));

/// Keeps the handles of the recorder: to look one up by its labels allocates.
#[derive(Default)]
pub(crate) struct FacadeSink(RwLock<HashMap<HandleKey, Handle>>);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct HandleKey {
    instrument: Instrument,
    store: Option<&'static str>,
    group: usize,
    label: Option<Label>,
    error: Option<&'static str>,
}

enum Handle {
    Counter(Counter),
    /// Also of a counter that goes up and down.
    Gauge(Gauge),
    Histogram(Histogram),
}

impl FacadeSink {
    pub(crate) fn new() -> Self {
        with_recorder(|recorder| {
            for definition in &TABLE {
                describe(recorder, definition);
            }
        });
        Self::default()
    }

    fn with_handle(&self, instrument: Instrument, attributes: Attributes<'_>, measure: impl Fn(&Handle)) {
        let Attributes { store, group, label, error } = attributes;
        let key = HandleKey { instrument, store, group: group.number, label, error };
        if let Some(handle) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return measure(handle);
        }
        let mut handles = self.0.write().unwrap_or_else(PoisonError::into_inner);
        measure(handles.entry(key).or_insert_with(|| Handle::register(instrument, attributes)));
    }
}

fn describe(recorder: &dyn Recorder, definition: &Definition) {
    let name = KeyName::from_const_str(definition.name);
    let unit = match definition.unit {
        Unit::Seconds => Some(metrics::Unit::Seconds),
        Unit::Of(_) => Some(metrics::Unit::Count),
        Unit::Share => None,
    };
    let description = definition.description.into();
    match definition.kind {
        Kind::Counter => recorder.describe_counter(name, unit, description),
        Kind::UpDownCounter | Kind::Gauge | Kind::Observed => recorder.describe_gauge(name, unit, description),
        Kind::Histogram(_) => recorder.describe_histogram(name, unit, description),
    }
}

impl Handle {
    fn register(instrument: Instrument, attributes: Attributes<'_>) -> Self {
        let Attributes { store, group, label, error } = attributes;
        let Definition { name, kind, .. } = TABLE[instrument as usize];
        let labels = [
            store.map(|store| MetricsLabel::from_static_parts(STORE, store)),
            group.label.as_ref().map(|label| MetricsLabel::new(GROUP, label.to_string())),
            label.map(|label| {
                let (key, value) = label.key_and_value();
                MetricsLabel::from_static_parts(key, value)
            }),
            error.map(|error| MetricsLabel::from_static_parts(ERROR_TYPE, error)),
        ];
        let key = Key::from_parts(name, labels.into_iter().flatten().collect::<Vec<_>>());
        with_recorder(|recorder| match kind {
            Kind::Counter => Self::Counter(recorder.register_counter(&key, &METADATA)),
            Kind::UpDownCounter | Kind::Gauge | Kind::Observed => Self::Gauge(recorder.register_gauge(&key, &METADATA)),
            Kind::Histogram(_) => Self::Histogram(recorder.register_histogram(&key, &METADATA)),
        })
    }
}

impl Sink for FacadeSink {
    fn add(&self, instrument: Instrument, by: i64, attributes: Attributes<'_>) {
        self.with_handle(instrument, attributes, |handle| match handle {
            Handle::Counter(counter) => counter.increment(by.unsigned_abs()),
            #[allow(clippy::cast_precision_loss, reason = "one up or one down")]
            Handle::Gauge(gauge) => gauge.increment(by as f64),
            Handle::Histogram(_) => {}
        });
    }

    fn record(&self, instrument: Instrument, value: f64, attributes: Attributes<'_>) {
        self.with_handle(instrument, attributes, |handle| {
            if let Handle::Histogram(histogram) = handle {
                histogram.record(value);
            }
        });
    }

    fn set(&self, instrument: Instrument, value: f64, attributes: Attributes<'_>) {
        self.with_handle(instrument, attributes, |handle| {
            if let Handle::Gauge(gauge) = handle {
                gauge.set(value);
            }
        });
    }
}

impl std::fmt::Debug for FacadeSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FacadeSink").finish_non_exhaustive()
    }
}
