//! What of a service needs no provider: time limits, TLS, sizes and rates.

use crate::config::{
    Context, Limits, Path, RateLimit, RawLimits, RawRateLimit, RawTimeouts, RawUpstream, Timeouts, Upstream,
    UpstreamProtocol, finding, or,
};

/// Time limits upstream.
pub fn timeouts(raw: Option<RawTimeouts>, path: &Path, cx: &mut Context<'_>) -> Timeouts {
    let default = Timeouts::default();
    let Some(raw) = raw else { return default };
    Timeouts {
        connect: cx.positive(&path.key("connect"), raw.connect, default.connect),
        read: cx.positive(&path.key("read"), raw.read, default.read),
        write: cx.positive(&path.key("write"), raw.write, default.write),
        idle: or(raw.idle, default.idle),
    }
}

/// How the upstream at this base URL is spoken to.
pub fn upstream(raw: Option<RawUpstream>, base_url: Option<&str>, path: &Path, cx: &mut Context<'_>) -> Upstream {
    let Some(raw) = raw else { return Upstream::default() };
    let protocol = raw.protocol.unwrap_or_default();
    let tls = base_url.map(|url| url.starts_with("https:"));
    match (protocol, tls) {
        (UpstreamProtocol::H2c, Some(true)) => {
            let finding =
                finding("`h2c` is HTTP/2 without TLS, but `base_url` is `https`").hint("write `h2` or `auto`");
            cx.report.problem(&path.key("protocol"), finding);
        }
        (UpstreamProtocol::H2, Some(false)) => {
            let finding = finding("`h2` is HTTP/2 over TLS, but `base_url` is `http`").hint("write `h2c` or `auto`");
            cx.report.problem(&path.key("protocol"), finding);
        }
        _ => {}
    }
    Upstream {
        protocol,
        ca: raw.ca_file.and_then(|file| cx.authorities(&path.key("ca_file"), file)),
        client_certificate: cx.client_certificate(
            path,
            ("client_certificate_file", raw.client_certificate_file),
            ("client_key_file", raw.client_key_file),
        ),
    }
}

/// What limits one service. Some limits know no service yet when they are asked.
pub fn limits(raw: Option<&RawLimits>, common: Limits, path: &Path, cx: &mut Context<'_>) -> Limits {
    let Some(raw) = raw else { return common };
    let without_effect =
        [("connections_per_client", raw.connections_per_client.is_some()), ("jwt_bytes", raw.jwt_bytes.is_some())];
    for (key, _) in without_effect.into_iter().filter(|(_, given)| *given) {
        let finding = finding(format!("`{key}` has no effect here: it is the same for all services"));
        cx.report.warning(&path.key(key), finding.hint("write it under `limits:` at the top"));
    }
    raw.over(common)
}

/// How many calls a caller may make.
pub fn rate_limit(raw: &RawRateLimit, path: &Path, cx: &mut Context<'_>) -> Option<RateLimit> {
    let requests = raw.requests?;
    let per = raw.per?;
    cx.positive(&path.key("per"), Some(per), per.0);
    Some(RateLimit { requests, per: per.0, burst: raw.burst.unwrap_or(requests) })
}
