//! How families and series are put together. Knows none of them.

use std::sync::Arc;

use super::{
    cells::Counter,
    histogram::Histogram,
    model::{Kind, Label, Metric, MetricFamily, Value},
    service::ServiceMetrics,
};

/// Names and values of a series' labels.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

/// A family of these series.
pub(super) fn family(name: &str, help: &str, kind: Kind, metric: impl IntoIterator<Item = Metric>) -> MetricFamily {
    let metric = metric.into_iter().collect();
    MetricFamily { name: name.to_owned(), help: help.to_owned(), kind: kind.into(), metric }
}

/// A counter without labels.
pub(super) fn counter(name: &str, help: &str, value: f64) -> MetricFamily {
    family(name, help, Kind::Counter, [Metric { counter: Some(Value { value }), ..Metric::default() }])
}

/// A gauge without labels.
pub(super) fn gauge(name: &str, help: &str, value: f64) -> MetricFamily {
    family(name, help, Kind::Gauge, [set(&[], value)])
}

/// A histogram without labels.
pub(super) fn one(name: &str, help: &str, histogram: &Histogram) -> MetricFamily {
    family(name, help, Kind::Histogram, [timed(&[], histogram)])
}

/// A histogram of each service.
pub(super) fn by_service(
    (name, help): (&str, &str),
    services: &[Arc<ServiceMetrics>],
    of: impl Fn(&ServiceMetrics) -> &Histogram,
) -> MetricFamily {
    let series = services.iter().map(|service| timed(&[("service", &service.service)], of(service)));
    family(name, help, Kind::Histogram, series)
}

/// A series of a counter.
pub(super) fn counted(labels: Labels<'_>, counter: &Counter) -> Metric {
    Metric { label: named(labels), counter: Some(Value { value: counter.value() }), ..Metric::default() }
}

/// A series of a gauge.
pub(super) fn set(labels: Labels<'_>, value: f64) -> Metric {
    Metric { label: named(labels), gauge: Some(Value { value }), ..Metric::default() }
}

/// A series of a histogram.
pub(super) fn timed(labels: Labels<'_>, histogram: &Histogram) -> Metric {
    Metric { label: named(labels), histogram: Some(histogram.read()), ..Metric::default() }
}

fn named(labels: Labels<'_>) -> Vec<Label> {
    labels.iter().map(|(name, value)| Label::new(name, value)).collect()
}

/// A count as the formats have it.
#[expect(clippy::cast_precision_loss, reason = "the formats know no other numbers")]
pub(super) const fn whole(count: u64) -> f64 {
    count as f64
}
