//! Families as text: Prometheus' own format, which everything reads, and OpenMetrics, which also has exemplars. Native
//! histograms have no text.

use std::fmt::Write;

use super::model::{Bucket, Exemplar, Histogram, Kind, Label, Metric, MetricFamily};

/// Which text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    /// Version 0.0.4.
    Prometheus,
    /// Version 1.0.0.
    OpenMetrics,
}

/// All of it.
pub(super) fn write(families: &[MetricFamily], text: Text) -> String {
    let mut out = String::new();
    for family in families {
        let kind = match family.kind() {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // In OpenMetrics a counter's family is named without what its series end in.
        let counter = text == Text::OpenMetrics && family.kind() == Kind::Counter;
        let name = if counter { family.name.trim_end_matches("_total") } else { &family.name };
        // Help has neither a backslash nor a line feed.
        let _ = writeln!(out, "# HELP {name} {}\n# TYPE {name} {kind}", family.help);
        for metric in &family.metric {
            series(&mut out, &family.name, metric, text);
        }
    }
    if text == Text::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

fn series(out: &mut String, name: &str, metric: &Metric, text: Text) {
    if let Some(histogram) = &metric.histogram {
        return buckets(out, name, (metric, histogram), text);
    }
    let value = metric.counter.as_ref().or(metric.gauge.as_ref()).map_or(0.0, |value| value.value);
    line(out, (name, ""), &metric.label, None, value);
    out.push('\n');
}

fn buckets(out: &mut String, name: &str, (metric, histogram): (&Metric, &Histogram), text: Text) {
    let mut count = 0;
    for Bucket { cumulative_count, upper_bound, exemplar } in &histogram.bucket {
        count = *cumulative_count;
        line(out, (name, "_bucket"), &metric.label, Some(*upper_bound), whole(count));
        if let Some(exemplar) = exemplar.as_ref().filter(|_| text == Text::OpenMetrics) {
            told(out, exemplar);
        }
        out.push('\n');
    }
    for (end, value) in [("_sum", histogram.sample_sum), ("_count", whole(count))] {
        line(out, (name, end), &metric.label, None, value);
        out.push('\n');
    }
}

/// A line without its end. `le`: a bucket's bound.
fn line(out: &mut String, (name, end): (&str, &str), labels: &[Label], le: Option<f64>, value: f64) {
    let _ = write!(out, "{name}{end}");
    let mut between = '{';
    if let Some(le) = le {
        // OpenMetrics wants `1.0`, and both want `+Inf`.
        let _ = if le.is_infinite() { write!(out, "{{le=\"+Inf\"") } else { write!(out, "{{le=\"{le:?}\"") };
        between = ',';
    }
    for Label { name, value } in labels {
        let _ = write!(out, "{between}{name}=\"");
        escaped(out, value);
        out.push('"');
        between = ',';
    }
    if between == ',' {
        out.push('}');
    }
    let _ = write!(out, " {value}");
}

fn escaped(out: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}

fn told(out: &mut String, exemplar: &Exemplar) {
    let labels: Vec<String> =
        exemplar.label.iter().map(|Label { name, value }| format!("{name}=\"{value}\"")).collect();
    let _ = write!(out, " # {{{}}} {}", labels.join(","), exemplar.value);
    if let Some(at) = exemplar.timestamp {
        let _ = write!(out, " {}.{:03}", at.seconds, at.nanos / 1_000_000);
    }
}

#[expect(clippy::cast_precision_loss, reason = "the formats know no other numbers")]
const fn whole(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::model::{Time, Value};

    fn families() -> [MetricFamily; 2] {
        let counter = MetricFamily {
            name: "a_total".into(),
            help: "Things".into(),
            kind: Kind::Counter.into(),
            metric: vec![Metric {
                label: vec![Label::new("x", "a\"b\\c\n")],
                counter: Some(Value { value: 2.0 }),
                ..Metric::default()
            }],
        };
        let exemplar = Exemplar {
            label: vec![Label::new("trace_id", "0a")],
            value: 0.5,
            timestamp: Some(Time { seconds: 9, nanos: 7_000_000 }),
        };
        let histogram = Histogram {
            sample_count: 3,
            sample_sum: 0.75,
            bucket: vec![
                Bucket { cumulative_count: 2, upper_bound: 1.0, exemplar: Some(exemplar) },
                Bucket { cumulative_count: 3, upper_bound: f64::INFINITY, exemplar: None },
            ],
            ..Histogram::default()
        };
        let histogram = MetricFamily {
            name: "b_seconds".into(),
            help: "Times".into(),
            kind: Kind::Histogram.into(),
            metric: vec![Metric { histogram: Some(histogram), ..Metric::default() }],
        };
        [counter, histogram]
    }

    #[test]
    fn prometheus_text_names_counters_whole_and_knows_no_exemplars() {
        let text = write(&families(), Text::Prometheus);
        assert_eq!(
            text,
            "# HELP a_total Things\n# TYPE a_total counter\na_total{x=\"a\\\"b\\\\c\\n\"} 2\n\
             # HELP b_seconds Times\n# TYPE b_seconds histogram\nb_seconds_bucket{le=\"1.0\"} 2\n\
             b_seconds_bucket{le=\"+Inf\"} 3\nb_seconds_sum 0.75\nb_seconds_count 3\n"
        );
    }

    #[test]
    fn open_metrics_has_exemplars_and_an_end() {
        let text = write(&families(), Text::OpenMetrics);
        for line in ["# TYPE a counter", "b_seconds_bucket{le=\"1.0\"} 2 # {trace_id=\"0a\"} 0.5 9.007"] {
            assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
