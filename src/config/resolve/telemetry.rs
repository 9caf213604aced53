//! Where traces go, and with which headers.

use http::{HeaderName, HeaderValue};

use crate::{
    config::{
        context::Context,
        problem::{Path, finding},
        raw::{RawOtlp, RawTelemetry},
        telemetry::{Otlp, Telemetry},
        urls::{PlainHttp, UrlRule},
    },
    secret::SecretString,
};

/// What stands behind a collector's address where it takes traces.
const TRACES: &str = "/v1/traces";

pub(super) fn telemetry(raw: RawTelemetry, path: &Path, cx: &mut Context<'_>) -> Telemetry {
    let default = Telemetry::default();
    Telemetry {
        otlp: raw.otlp.and_then(|raw| otlp(raw, &path.key("otlp"), cx)),
        sample: raw.sample.unwrap_or(default.sample),
        server_timing: raw.server_timing.unwrap_or(default.server_timing),
        census: match raw.census {
            Some(span) if span.0.is_some_and(|span| span.is_zero()) => {
                cx.report.problem(&path.key("census"), finding("This should be longer than nothing").hint("or `none`"));
                default.census
            }
            Some(span) => span.0,
            None => default.census,
        },
    }
}

fn otlp(raw: RawOtlp, path: &Path, cx: &mut Context<'_>) -> Option<Otlp> {
    let allow_plain_http = raw.allow_plain_http.unwrap_or(false);
    let plain_http = if allow_plain_http { PlainHttp::Allowed } else { PlainHttp::Loopback };
    let url = raw.endpoint.and_then(|text| cx.url(&path.key("endpoint"), &text, UrlRule { plain_http, query: false }));
    let mut headers = Vec::new();
    for (name, value) in raw.headers.unwrap_or_default() {
        headers.extend(header(&name, value, &path.key("headers").key(&name), cx));
    }
    if let Some(file) = raw.headers_file {
        let at = path.key("headers_file");
        let lines = cx.secret_file(&at, file)?;
        for line in lines.expose().lines().map(str::trim).filter(|line| !line.is_empty()) {
            match line.split_once(':') {
                Some((name, value)) => {
                    headers.extend(header(name.trim(), SecretString::new(value.trim().into()), &at, cx))
                }
                None => cx.report.problem(&at, finding("A line of this file is no header").hint("`NAME: VALUE`")),
            }
        }
    }
    let mut traces_url = url?;
    let base = traces_url.path().trim_end_matches('/');
    let whole = if base.ends_with(TRACES) { base.to_owned() } else { format!("{base}{TRACES}") };
    traces_url.set_path(&whole);
    Some(Otlp { traces_url, headers, allow_plain_http })
}

fn header(name: &str, value: SecretString, path: &Path, cx: &mut Context<'_>) -> Option<(HeaderName, SecretString)> {
    if !cx.header_name(path, name) {
        return None;
    }
    if HeaderValue::from_str(value.expose()).is_err() {
        cx.report.problem(path, finding("This is no possible value of a header"));
        return None;
    }
    Some((name.parse().ok()?, value))
}
