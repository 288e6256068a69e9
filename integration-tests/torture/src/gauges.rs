//! What the metrics of a worker say when it has ended: nothing is held and nobody waits (C6).

use lease_metrics::LeaseMetrics;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::{log::Log, record::Event};

/// What goes up and comes down, by the names on the exporter's page.
const GAUGES: [&str; 3] = ["lease_held", "lease_in_jeopardy", "lease_waiters"];

/// The metrics of a worker, as an application exports them.
pub(crate) struct Gauges {
    exporter: PrometheusHandle,
}

impl Gauges {
    /// Installs the exporter for this process.
    ///
    /// # Errors
    ///
    /// Returns an error if the process has an exporter already.
    pub(crate) fn install() -> anyhow::Result<Self> {
        Ok(Self { exporter: PrometheusBuilder::new().with_recommended_naming(true).install_recorder()? })
    }

    pub(crate) fn observer(&self) -> LeaseMetrics {
        LeaseMetrics::facade()
    }

    /// Records each gauge. A gauge that fell below 0 is as wrong as one that stayed above.
    pub(crate) fn log(&self, log: &Log, of: &str) {
        let page = self.exporter.render();
        for gauge in GAUGES {
            let count = sum(&page, gauge).abs();
            log.write(Event::Counted { what: gauge.to_owned(), of: of.to_owned(), count: count as u64 });
        }
    }
}

/// Returns the sum of a metric over all its series.
fn sum(page: &str, metric: &str) -> f64 {
    let series = page.lines().filter(|line| line.split(['{', ' ']).next() == Some(metric));
    series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_is_summed_over_its_series() {
        let page =
            "# TYPE lease_held gauge\nlease_held{store=\"a\"} 2\nlease_held{store=\"b\"} -1\nlease_held_total 7\n";
        assert_eq!(sum(page, "lease_held"), 1.0);
        assert_eq!(sum(page, "lease_waiters"), 0.0);
    }
}
