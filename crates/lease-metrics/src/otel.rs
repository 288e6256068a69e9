//! Measurements by the instruments of an OpenTelemetry meter.

use std::sync::{Arc, Weak};

use opentelemetry::{
    KeyValue,
    metrics::{AsyncInstrument, Counter, Gauge, Histogram, Meter, ObservableGauge, UpDownCounter},
};

use crate::{
    attributes::{Attributes, ERROR_TYPE, GROUP, STORE},
    held::{HeldLeases, Validity},
    instrument::{Definition, Instrument, Kind, TABLE, Unit},
    sink::Sink,
};

#[derive(Debug)]
pub(crate) struct OtelSink {
    /// In the order of [`TABLE`].
    instruments: Vec<Built>,
}

#[derive(Debug)]
enum Built {
    Counter(Counter<u64>),
    UpDownCounter(UpDownCounter<i64>),
    Histogram(Histogram<f64>),
    Gauge(Gauge<f64>),
    /// The meter calls it.
    Observed(#[allow(dead_code, reason = "lives as long as the sink")] ObservableGauge<f64>),
}

impl OtelSink {
    pub(crate) fn new(meter: &Meter, held: &Arc<HeldLeases>) -> Self {
        Self { instruments: TABLE.iter().map(|definition| Built::new(meter, definition, held)).collect() }
    }
}

impl Built {
    fn new(meter: &Meter, definition: &Definition, held: &Arc<HeldLeases>) -> Self {
        let Definition { instrument, name, kind, unit, description } = *definition;
        let unit = match unit {
            Unit::Seconds => "s",
            Unit::Of(unit) => unit,
            Unit::Share => "",
        };
        match kind {
            Kind::Counter => {
                Self::Counter(meter.u64_counter(name).with_unit(unit).with_description(description).build())
            }
            Kind::UpDownCounter => Self::UpDownCounter(
                meter.i64_up_down_counter(name).with_unit(unit).with_description(description).build(),
            ),
            Kind::Histogram(boundaries) => {
                let histogram = meter.f64_histogram(name).with_unit(unit).with_description(description);
                Self::Histogram(histogram.with_boundaries(boundaries.to_vec()).build())
            }
            Kind::Gauge => Self::Gauge(meter.f64_gauge(name).with_unit(unit).with_description(description).build()),
            Kind::Observed => {
                // The meter keeps the callback for ever.
                let held = Arc::downgrade(held);
                let gauge = meter.f64_observable_gauge(name).with_unit(unit).with_description(description);
                Self::Observed(gauge.with_callback(move |observer| observe(&held, instrument, observer)).build())
            }
        }
    }
}

fn observe(held: &Weak<HeldLeases>, instrument: Instrument, observer: &dyn AsyncInstrument<f64>) {
    for validity in held.upgrade().iter().flat_map(|held| held.validities()) {
        let Validity { store, group, remaining, share } = validity;
        let value = if instrument == Instrument::ValidityShareMin { share } else { remaining.as_secs_f64() };
        with_key_values(Attributes::new(store, &group), |attributes| observer.observe(value, attributes));
    }
}

impl Sink for OtelSink {
    fn add(&self, instrument: Instrument, by: i64, attributes: Attributes<'_>) {
        with_key_values(attributes, |attributes| match &self.instruments[instrument as usize] {
            Built::Counter(counter) => counter.add(by.unsigned_abs(), attributes),
            Built::UpDownCounter(counter) => counter.add(by, attributes),
            _ => {}
        });
    }

    fn record(&self, instrument: Instrument, value: f64, attributes: Attributes<'_>) {
        if let Built::Histogram(histogram) = &self.instruments[instrument as usize] {
            with_key_values(attributes, |attributes| histogram.record(value, attributes));
        }
    }

    fn set(&self, instrument: Instrument, value: f64, attributes: Attributes<'_>) {
        if let Built::Gauge(gauge) = &self.instruments[instrument as usize] {
            with_key_values(attributes, |attributes| gauge.record(value, attributes));
        }
    }
}

/// Passes the attributes on without allocating.
fn with_key_values(attributes: Attributes<'_>, measure: impl FnOnce(&[KeyValue])) {
    let Attributes { store, group, label, error } = attributes;
    let all = [
        store.map(|store| KeyValue::new(STORE, store)),
        group.label.as_ref().map(|label| KeyValue::new(GROUP, Arc::clone(label))),
        label.map(|label| {
            let (key, value) = label.key_and_value();
            KeyValue::new(key, value)
        }),
        error.map(|error| KeyValue::new(ERROR_TYPE, error)),
    ];
    let mut present: [KeyValue; 4] = std::array::from_fn(|_| KeyValue::new("", false));
    let mut count = 0;
    for attribute in all.into_iter().flatten() {
        present[count] = attribute;
        count += 1;
    }
    measure(&present[..count]);
}
