//! What one look at a request's headers shows. Pure; this is paid by every call.

use http::{HeaderMap, HeaderValue};

/// What one look at all headers shows: most requests have none of what is then looked up.
#[derive(Debug, Clone, Copy, Default)]
pub struct Traits {
    /// As RFC 9113 §6.5.2 counts fields, less its overhead: name, value, and what stands between on the wire.
    pub size: usize,
    /// There are headers of ours.
    pub ours: bool,
    /// It says how long its body is.
    pub content_length: bool,
    /// It has a `Host`.
    pub host: bool,
    /// There are headers that name another method.
    pub overridden: bool,
    /// There is what decides the [`Manner`].
    pub manner: bool,
    /// What its hop-by-hop headers leave to do.
    pub hops: Hops,
}

/// What a request's hop-by-hop headers (RFC 9110 §7.6.1) leave to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hops {
    /// There are none.
    #[default]
    None,
    /// `Connection` says `keep-alive` or `close`, and there is nothing else.
    Plain,
    /// There are others: Pingora goes through them all.
    Some,
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
                "content-type" => traits.manner = true,
                "connection" => traits.hops = traits.hops.and(Hops::named_by(value)),
                "te" | "trailer" | "transfer-encoding" | "http2-settings" => traits.hops = Hops::Some,
                "upgrade" => (traits.manner, traits.hops) = (true, Hops::Some),
                _ => traits.ours |= text.starts_with("valetkey-"),
            }
        }
        traits
    }
}

impl Hops {
    fn named_by(connection: &HeaderValue) -> Self {
        let plain = [&b"keep-alive"[..], b"close"].iter().any(|word| connection.as_bytes().eq_ignore_ascii_case(word));
        if plain { Self::Plain } else { Self::Some }
    }

    fn and(self, other: Self) -> Self {
        if self == Self::Some { self } else { other }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    #[test]
    fn only_a_plain_connection_header_is_left_to_us() {
        let of = |lines: &[(&'static str, &'static str)]| {
            let pair = |(name, value): &(&'static str, &'static str)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            Traits::of(&lines.iter().map(pair).collect()).hops
        };
        assert_eq!(of(&[("accept", "*/*")]), Hops::None);
        assert_eq!(of(&[("connection", "Keep-Alive")]), Hops::Plain);
        assert_eq!(of(&[("connection", "close"), ("keep-alive", "timeout=5")]), Hops::Plain);
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
            assert_eq!(of(&[(name, value)]), Hops::Some, "{name}: {value}");
            assert_eq!(of(&[("connection", "close"), (name, value)]), Hops::Some, "{name}: {value}");
            assert_eq!(of(&[(name, value), ("connection", "close")]), Hops::Some, "{name}: {value}");
        }
    }
}
