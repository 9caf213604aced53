//! A refusal as bytes of HTTP/1.1, for where a request was never understood: no parser took it, so no server writes the
//! answer. The connection ends after it.

use std::fmt::Write;

use super::Refusal;
use crate::id::RequestId;

impl Refusal {
    /// The whole message. What the client would rather read isn't known, so the body is JSON.
    pub fn on_the_wire(&self, request_id: &RequestId) -> Vec<u8> {
        let (parts, body) = self.render(request_id, None).into_parts();
        let reason = parts.status.canonical_reason().unwrap_or_default();
        let mut head = format!("HTTP/1.1 {} {reason}\r\n", parts.status.as_u16());
        for (name, value) in &parts.headers {
            let value = value.to_str().unwrap_or_default();
            // Writing into a String doesn't fail.
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let _ = write!(head, "content-length: {}\r\nconnection: close\r\n\r\n", body.len());
        [head.as_bytes(), &body].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_whole_and_says_how_long_its_body_is() {
        let id = RequestId::from_number(7);
        for refusal in [Refusal::bad_request("This is no request"), Refusal::rate_limited(1)] {
            let bytes = refusal.on_the_wire(&id);
            let text = std::str::from_utf8(&bytes).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {} ", refusal.status.as_u16())), "{head}");
            assert!(head.contains(&format!("\r\ncontent-length: {}\r\n", body.len())), "{head}");
            for header in ["valetkey-status: ", "cache-control: no-store", "x-content-type-options: nosniff"] {
                assert!(head.contains(header), "{header} is not in {head}");
            }
            assert!(serde_json::from_str::<serde_json::Value>(body).is_ok(), "{body}");
        }
    }
}
