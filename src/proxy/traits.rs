//! What one look at a request's headers shows. Pure; this is paid by every call.

use http::{HeaderMap, HeaderValue};

/// What one look at all headers shows: most requests have none of what is then looked up.
#[derive(Debug, Clone, Copy, Default)]
pub struct Traits {
    /// As RFC 9113 §6.5.2 counts fields, less its overhead: name, value, and what stands between on the wire.
    pub size: usize,
    /// There are headers of ours.
    pub ours: bool,
    /// It names somebody for whom its caller acts.
    pub for_another: bool,
    /// It says how long its body is.
    pub content_length: bool,
    /// It has a `Host`.
    pub host: bool,
    /// There are headers that name another method.
    pub overridden: bool,
    /// There is a header that decides the [`Protocol`].
    pub decides_protocol: bool,
    /// It says of which trace it is a part, or something of that trace.
    pub in_trace: bool,
    /// What its hop-by-hop headers leave to do.
    pub hop_by_hop: HopByHop,
}

/// What a request's hop-by-hop headers (RFC 9110 §7.6.1) leave to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HopByHop {
    /// There are none.
    #[default]
    None,
    /// `Connection` says `keep-alive` or `close`, and there is nothing else.
    ConnectionOnly,
    /// There are others: Pingora goes through them all.
    Other,
}

impl Traits {
    /// Looks at each header once.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut traits = Self::default();
        for (name, value) in headers {
            let text = name.as_str();
            traits.size += text.len() + value.len() + 4;
            match text {
                "content-length" => traits.content_length = true,
                "host" => traits.host = true,
                "x-http-method-override" | "x-http-method" | "x-method-override" => traits.overridden = true,
                "content-type" => traits.decides_protocol = true,
                "connection" => traits.hop_by_hop = traits.hop_by_hop.and(HopByHop::named_by(value)),
                "te" | "trailer" | "transfer-encoding" | "http2-settings" => traits.hop_by_hop = HopByHop::Other,
                "upgrade" => (traits.decides_protocol, traits.hop_by_hop) = (true, HopByHop::Other),
                "traceparent" | "tracestate" => traits.in_trace = true,
                "valetkey-user" => (traits.ours, traits.for_another) = (true, true),
                _ => traits.ours |= text.starts_with("valetkey-"),
            }
        }
        traits
    }
}

impl HopByHop {
    fn named_by(connection: &HeaderValue) -> Self {
        let plain = [&b"keep-alive"[..], b"close"].iter().any(|word| connection.as_bytes().eq_ignore_ascii_case(word));
        if plain { Self::ConnectionOnly } else { Self::Other }
    }

    fn and(self, other: Self) -> Self {
        if self == Self::Other { self } else { other }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    #[test]
    fn whatever_may_tell_of_a_trace_is_noticed() {
        let is_in_trace = |name| Traits::of(&[(name, HeaderValue::from_static("x"))].into_iter().collect()).in_trace;
        let [parent, state, other] = ["traceparent", "tracestate", "trace"].map(HeaderName::from_static);
        assert_eq!((is_in_trace(parent), is_in_trace(state), is_in_trace(other)), (true, true, false));
    }

    #[test]
    fn only_a_plain_connection_header_is_left_to_us() {
        let of = |lines: &[(&'static str, &'static str)]| {
            let pair = |(name, value): &(&'static str, &'static str)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            Traits::of(&lines.iter().map(pair).collect()).hop_by_hop
        };
        assert_eq!(of(&[("accept", "*/*")]), HopByHop::None);
        assert_eq!(of(&[("connection", "Keep-Alive")]), HopByHop::ConnectionOnly);
        assert_eq!(of(&[("connection", "close"), ("keep-alive", "timeout=5")]), HopByHop::ConnectionOnly);
        for (name, value) in [
            ("connection", "keep-alive, x-hop"),
            ("connection", ""),
            ("connection", "host"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("http2-settings", "x"),
        ] {
            assert_eq!(of(&[(name, value)]), HopByHop::Other, "{name}: {value}");
            assert_eq!(of(&[("connection", "close"), (name, value)]), HopByHop::Other, "{name}: {value}");
            assert_eq!(of(&[(name, value), ("connection", "close")]), HopByHop::Other, "{name}: {value}");
        }
    }
}
