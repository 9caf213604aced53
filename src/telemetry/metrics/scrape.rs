//! In which form a scrape gets the metrics: the first of its `Accept` header's that there is, by its own order and preference
//! (RFC 9110 §12.5.1). Prometheus' text where nothing is said: everything reads that.

use super::{
    model::{self, MetricFamily},
    text::{self, Text},
};

const PROTOBUF: &str = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a scrape gets.
#[derive(Debug)]
pub struct Scrape {
    /// Its type.
    pub content_type: &'static str,
    /// Its body.
    pub body: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// With native histograms.
    Protobuf,
    Text(Text),
}

impl Scrape {
    /// These families, as this `Accept` header asks for them.
    pub(super) fn of(families: &[MetricFamily], accept: &str) -> Self {
        match wanted(accept) {
            Form::Protobuf => Self { content_type: PROTOBUF, body: model::delimited(families) },
            Form::Text(form) => {
                let content_type = if form == Text::OpenMetrics { OPEN_METRICS } else { PROMETHEUS };
                Self { content_type, body: text::write(families, form).into_bytes() }
            }
        }
    }
}

fn wanted(accept: &str) -> Form {
    let mut best = (0.0, Form::Text(Text::Prometheus));
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
        let of =
            |name: &str| parameters.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value);
        let quality = of("q").map_or(1.0, |q| q.parse().unwrap_or(0.0));
        let form = match &*kind {
            "application/vnd.google.protobuf"
                if of("proto") == Some("io.prometheus.client.MetricFamily") && of("encoding") == Some("delimited") =>
            {
                Form::Protobuf
            }
            "application/openmetrics-text" if of("version").is_none_or(|version| version == "1.0.0") => {
                Form::Text(Text::OpenMetrics)
            }
            "text/plain" | "text/*" | "*/*" => Form::Text(Text::Prometheus),
            _ => continue,
        };
        if quality > best.0 {
            best = (quality, form);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_the_scrapers_choice() {
        let native = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,\
                      application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,\
                      text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, form) in [
            ("", Form::Text(Text::Prometheus)),
            ("*/*", Form::Text(Text::Prometheus)),
            ("application/json", Form::Text(Text::Prometheus)),
            (native, Form::Protobuf),
            (&native[native.find("application/open").unwrap()..], Form::Text(Text::OpenMetrics)),
            ("application/openmetrics-text; version=2.0.0, text/plain;q=0.2", Form::Text(Text::Prometheus)),
            ("text/plain;q=0.3, Application/OpenMetrics-Text;q=0.2", Form::Text(Text::Prometheus)),
            ("application/vnd.google.protobuf;proto=else;encoding=delimited", Form::Text(Text::Prometheus)),
        ] {
            assert_eq!(wanted(accept), form, "{accept}");
        }
    }
}
