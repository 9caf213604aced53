//! The content codings (RFC 9110 §8.4) of answers that are looked into: which can be undone, and the first bytes of what
//! they hold. What goes to the client stays as it came.

use std::{borrow::Cow, io::Read};

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// More codings on top of each other than anyone sends.
const MOST: usize = 2;
/// RFC 9659: no window of the zstd content coding is larger than 8 MiB.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Codings that can be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Coding {
    fn named(name: &str) -> Option<Self> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("gzip") || is("x-gzip") {
            Some(Self::Gzip)
        } else if is("br") {
            Some(Self::Brotli)
        } else if is("zstd") {
            Some(Self::Zstd)
        } else if is("deflate") {
            Some(Self::Deflate)
        } else {
            None
        }
    }

    /// At most `limit` bytes of what `coded` holds, which may be cut: however much it would unpack to, no more is made.
    fn undone(self, coded: &[u8], limit: usize) -> Vec<u8> {
        let mut plain = Vec::with_capacity(limit.min(4 * coded.len()));
        // A cut or a fault is no failure here: whatever came before it has been read.
        let mut take = |reader: &mut dyn Read| drop(reader.take(limit as u64).read_to_end(&mut plain));
        match self {
            Self::Gzip => take(&mut flate2::bufread::MultiGzDecoder::new(coded)),
            // RFC 9110 §8.4.1.2: with zlib's header, which some leave out.
            Self::Deflate if coded.first().is_some_and(|first| first & 0x0f == 8) => {
                take(&mut flate2::bufread::ZlibDecoder::new(coded));
            }
            Self::Deflate => take(&mut flate2::bufread::DeflateDecoder::new(coded)),
            Self::Brotli => take(&mut brotli::Decompressor::new(coded, 4096)),
            Self::Zstd => {
                if let Ok(mut decoder) = zstd::stream::read::Decoder::with_buffer(coded)
                    && decoder.window_log_max(ZSTD_WINDOW_LOG).is_ok()
                {
                    take(&mut decoder);
                }
            }
        }
        plain
    }
}

/// The codings of a body in the order in which they were applied; `None` where one is unknown.
fn codings(headers: &HeaderMap) -> Option<Vec<Coding>> {
    let mut codings = Vec::new();
    for value in headers.get_all(header::CONTENT_ENCODING) {
        for name in value.to_str().ok()?.split(',').map(str::trim) {
            if !name.is_empty() && !name.eq_ignore_ascii_case("identity") {
                codings.push(Coding::named(name)?);
            }
        }
    }
    (codings.len() <= MOST).then_some(codings)
}

/// Whether a body under these headers is coded at all.
pub fn is_coded(headers: &HeaderMap) -> bool {
    codings(headers).is_none_or(|codings| !codings.is_empty())
}

/// Whether a body under these headers can be read.
pub(super) fn is_readable(headers: &HeaderMap) -> bool {
    !headers.contains_key(header::CONTENT_ENCODING) || codings(headers).is_some()
}

/// The first bytes of a body as they are once its codings are undone, `limit` at most where there is any.
pub fn decoded<'a>(headers: &HeaderMap, body: &'a [u8], limit: usize) -> Cow<'a, [u8]> {
    let codings = if headers.contains_key(header::CONTENT_ENCODING) { codings(headers) } else { None };
    let Some(codings) = codings else { return Cow::Borrowed(body) };
    codings.iter().rev().fold(Cow::Borrowed(body), |body, coding| Cow::Owned(coding.undone(&body, limit)))
}

/// The client's `Accept-Encoding` without what can't be undone here; `None`: it may stay as it is.
pub fn readable_only(headers: &HeaderMap) -> Option<HeaderValue> {
    const ACCEPT_ENCODING: HeaderName = header::ACCEPT_ENCODING;
    let mut kept = Vec::new();
    let mut dropped = false;
    for item in headers.get_all(ACCEPT_ENCODING).iter().flat_map(|value| value.to_str().unwrap_or("*").split(',')) {
        let (name, weight) = item.split_once(';').map_or((item, ""), |(name, weight)| (name, weight));
        let name = name.trim();
        let known = name.is_empty() || name.eq_ignore_ascii_case("identity") || Coding::named(name).is_some();
        if known || is_zero(weight) { kept.push(item.trim()) } else { dropped = true }
    }
    if !dropped {
        return None;
    }
    let text = if kept.is_empty() { "identity".to_owned() } else { kept.join(", ") };
    Some(HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("identity")))
}

/// Whether a weight (RFC 9110 §12.4.2) says "not acceptable".
fn is_zero(weight: &str) -> bool {
    let value = weight.trim().strip_prefix(['q', 'Q']).and_then(|rest| rest.trim_start().strip_prefix('='));
    value.is_some_and(|value| value.trim().parse::<f32>().is_ok_and(|weight| weight <= 0.0))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn coded_as(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_ENCODING, HeaderValue::from_str(value).unwrap())])
    }

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_body_is_read_through_its_codings() {
        let body = br#"{"ok":false,"error":"token_revoked"}"#;
        let mut raw = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        raw.write_all(body).unwrap();
        for (coding, coded) in [
            ("identity", body.to_vec()),
            ("GZIP", gzip(body)),
            ("x-gzip, identity", gzip(body)),
            ("deflate", raw.finish().unwrap()),
            ("gzip, zstd", zstd::encode_all(&gzip(body)[..], 1).unwrap()),
        ] {
            let headers = coded_as(coding);
            assert!(is_readable(&headers), "{coding}");
            assert_eq!(decoded(&headers, &coded, 8192), &body[..], "{coding}");
        }
        for odd in ["compress", "gzip, dcb", "gzip, gzip, gzip"] {
            assert!(!is_readable(&coded_as(odd)) && is_coded(&coded_as(odd)), "{odd}");
        }
    }

    #[test]
    fn no_more_is_unpacked_than_is_looked_at_and_nothing_is_too_odd() {
        let zeros = vec![0; 64 << 20];
        let mut brotli = Vec::new();
        brotli::CompressorWriter::new(&mut brotli, 4096, 1, 22).write_all(&zeros).unwrap();
        for (coding, bomb) in
            [("gzip", gzip(&zeros)), ("zstd", zstd::encode_all(&zeros[..], 1).unwrap()), ("br", brotli)]
        {
            let headers = coded_as(coding);
            let plain = decoded(&headers, &bomb, 8192).into_owned();
            assert!(plain.len() == 8192 && plain.capacity() <= 64 * 1024, "{coding}: {}", plain.capacity());
            for cut in [0, 1, 2, 5, 11, bomb.len() / 2] {
                assert!(decoded(&headers, &bomb[..cut], 8192).len() <= 8192, "{coding} {cut}");
            }
            assert!(decoded(&headers, b"{\"ok\":false}", 8192).len() <= 8192, "{coding}");
        }
    }

    #[test]
    fn clients_keep_the_codings_that_can_be_read() {
        for (accepted, sent) in [
            ("gzip, deflate, br, zstd", None),
            ("gzip;q=1.0, identity; q=0.5", None),
            ("gzip, *;q=0, compress;q=0.0", None),
            ("", None),
            ("gzip, compress, br;q=0.9, *;q=0.1", Some("gzip, br;q=0.9")),
            ("dcz", Some("identity")),
            ("*", Some("identity")),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_str(accepted).unwrap())]);
            assert_eq!(
                readable_only(&headers).as_ref().map(HeaderValue::as_bytes),
                sent.map(str::as_bytes),
                "{accepted}"
            );
        }
        assert_eq!(readable_only(&HeaderMap::new()), None);
    }
}
