//! Where traces go and what is told: what it means, and what can't be meant.

use std::time::Duration;

use super::{super::*, each_is_one_problem, with};

fn config(telemetry: &str) -> Result<Telemetry, Problems> {
    with(&format!("telemetry: {{ {telemetry} }}")).map(|config| config.telemetry)
}

#[test]
fn nothing_is_sent_anywhere_by_default() {
    assert_eq!(config("").unwrap(), Telemetry::default());
    assert_eq!(config("census: 1h").unwrap().census, Some(Duration::from_secs(3600)));
    assert_eq!(
        config("census: none, sample: 1").unwrap(),
        Telemetry { census: None, sample: 1.0, ..Telemetry::default() }
    );
}

#[test]
fn a_collectors_address_is_completed_unless_it_is_whole() {
    let url = |endpoint| config(&format!("otlp: {{ endpoint: '{endpoint}' }}")).unwrap().otlp.unwrap().traces_url;
    for (endpoint, whole) in [
        ("https://c.example.com:4318", "https://c.example.com:4318/v1/traces"),
        ("https://c.example.com/", "https://c.example.com/v1/traces"),
        ("https://c.example.com/otlp/", "https://c.example.com/otlp/v1/traces"),
        ("https://c.example.com/otlp/v1/traces", "https://c.example.com/otlp/v1/traces"),
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
    ] {
        assert_eq!(url(endpoint).as_str(), whole);
    }
}

#[test]
fn what_cannot_be_meant_is_told_and_no_header_with_it() {
    let otlp = |more: &str| format!("otlp: {{ endpoint: 'https://c.example.com', {more} }}");
    each_is_one_problem(
        config,
        &[
            ("sample: 1.5".to_owned(), "telemetry.sample"),
            ("census: 0s".to_owned(), "telemetry.census"),
            ("otlp: { headers: { a: hush-hush } }".to_owned(), "telemetry.otlp.endpoint"),
            ("otlp: { endpoint: 'http://c.example.com' }".to_owned(), "telemetry.otlp.endpoint"),
            (otlp("headers: { 'a b': hush-hush }"), "telemetry.otlp.headers.a b"),
            (otlp("headers: { a: \"hush-hush\\n\" }"), "telemetry.otlp.headers.a"),
        ],
    );
}
