//! Which headers a service may set on its calls: any but those that belong to the connection, to the message's framing, or to
//! the caller. The one home of that rule, for credentials and for headers that the operator adds.

use http::HeaderName;

/// Why a header can't be a service's to set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadHeader {
    /// It is no header's name (RFC 9110 §5.1).
    Malformed,
    /// It says where a request ends, where it goes, or what becomes of the connection: the proxy writes it.
    Framing,
    /// It is the caller's, or Valetkey's own.
    NotTheServices,
}

/// Say where a request ends, where it goes, or what becomes of the connection.
const FRAMING: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// The caller's, or about the one message that it sends.
const CALLERS: [&str; 4] = ["content-type", "cookie", "date", "forwarded"];

/// The name, where a service may set this header.
///
/// # Errors
/// Why it may not.
pub fn settable(text: &str) -> Result<HeaderName, BadHeader> {
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| BadHeader::Malformed)?;
    let text = name.as_str();
    if FRAMING.contains(&text) {
        return Err(BadHeader::Framing);
    }
    if CALLERS.contains(&text) || text.starts_with("proxy-") || text.starts_with("valetkey-") {
        return Err(BadHeader::NotTheServices);
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_sets_what_is_neither_the_proxys_nor_the_callers() {
        for fine in ["Authorization", "x-api-key", "User-Agent", "Accept"] {
            assert!(settable(fine).is_ok(), "{fine}");
        }
        for (bad, why) in [
            ("a b", BadHeader::Malformed),
            ("", BadHeader::Malformed),
            ("Host", BadHeader::Framing),
            ("HTTP2-Settings", BadHeader::Framing),
            ("Cookie", BadHeader::NotTheServices),
            ("Proxy-Authorization", BadHeader::NotTheServices),
            ("Valetkey-Token", BadHeader::NotTheServices),
        ] {
            assert_eq!(settable(bad), Err(why), "{bad}");
        }
    }
}
