//! The first bytes of an answer in the clear, whatever its content coding: they are judged decoded and passed on as they
//! came. Reads no more than it is told to, so that an answer that inflates to gigabytes costs no more than any other.

use std::io::Read;

use flate2::read::{DeflateDecoder, GzDecoder, ZlibDecoder};
use http::{HeaderMap, HeaderValue, header};

/// A brotli decoder's input buffer; what it holds of the output is bounded by the coding's window (RFC 7932 §9.1).
const BROTLI_BUFFER: usize = 4 * 1024;
/// The largest window that zstd may ask memory for, 8 MiB (RFC 8878 §3.1.1.1.2 asks decoders to take that much).
const ZSTD_WINDOW_LOG: u32 = 23;

/// A content coding that can be undone (RFC 9110 §8.4.1, RFC 7932, RFC 8878).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// None.
    Identity,
    /// `gzip`.
    Gzip,
    /// `deflate`: with the zlib wrapper, as the RFC has it, or without, as some servers have it.
    Deflate,
    /// `br`.
    Brotli,
    /// `zstd`.
    Zstd,
}

impl Coding {
    fn parse(name: &str) -> Option<Self> {
        const NAMES: [(&str, Coding); 6] = [
            ("identity", Coding::Identity),
            ("gzip", Coding::Gzip),
            ("x-gzip", Coding::Gzip),
            ("deflate", Coding::Deflate),
            ("br", Coding::Brotli),
            ("zstd", Coding::Zstd),
        ];
        NAMES.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, coding)| coding)
    }

    /// The coding of an answer; `None` where it is unknown, or where there are several, one over the other.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut all = headers.get_all(header::CONTENT_ENCODING).iter();
        let Some(first) = all.next() else { return Some(Self::Identity) };
        if all.next().is_some() {
            return None;
        }
        match first.to_str().ok()?.trim() {
            "" => Some(Self::Identity),
            name => Self::parse(name),
        }
    }

    /// What the first `limit` bytes of a body are, as far as `encoded`, its beginning, shows them. A body that breaks off
    /// or is none of this coding shows what could be read of it.
    pub fn decoded(self, encoded: &[u8], limit: usize) -> Vec<u8> {
        let read = |reader: &mut dyn Read| {
            let mut plain = Vec::new();
            // An end in the middle is what a beginning has.
            let _ = reader.take(limit as u64).read_to_end(&mut plain);
            plain
        };
        match self {
            Self::Identity => encoded[..encoded.len().min(limit)].to_vec(),
            Self::Gzip => read(&mut GzDecoder::new(encoded)),
            Self::Deflate => {
                let plain = read(&mut ZlibDecoder::new(encoded));
                if plain.is_empty() { read(&mut DeflateDecoder::new(encoded)) } else { plain }
            }
            Self::Brotli => read(&mut brotli::Decompressor::new(encoded, BROTLI_BUFFER)),
            Self::Zstd => {
                let Ok(mut decoder) = zstd::stream::read::Decoder::new(encoded) else { return Vec::new() };
                if decoder.window_log_max(ZSTD_WINDOW_LOG).is_err() {
                    return Vec::new();
                }
                read(&mut decoder)
            }
        }
    }
}

/// What of the client's `Accept-Encoding` goes upstream where bodies are judged: only codings that can be undone here.
/// `None` where nothing has to change.
pub fn acceptable(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut values = headers.get_all(header::ACCEPT_ENCODING).iter().peekable();
    // Without the header a server may choose any coding (RFC 9110 §12.5.3), and in practice chooses none.
    values.peek()?;
    let mut kept: Vec<&str> = Vec::new();
    let mut whole = true;
    for value in values {
        for item in value.to_str().unwrap_or_default().split(',').map(str::trim) {
            let name = item.split(';').next().unwrap_or_default().trim();
            if Coding::parse(name).is_some() {
                kept.push(item);
            } else {
                whole &= name.is_empty();
            }
        }
    }
    if whole {
        return None;
    }
    let text = if kept.is_empty() { "identity".to_owned() } else { kept.join(", ") };
    Some(HeaderValue::from_str(&text).unwrap_or(const { HeaderValue::from_static("identity") }))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{
        Compression,
        write::{DeflateEncoder, GzEncoder, ZlibEncoder},
    };

    use super::*;

    const TEXT: &[u8] = br#"{"ok":false,"error":"token_revoked","warning":"what follows is of no interest"}"#;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn all(text: &[u8]) -> Vec<(Coding, Vec<u8>)> {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
        zlib.write_all(text).unwrap();
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::best());
        raw.write_all(text).unwrap();
        let mut br = Vec::new();
        brotli::CompressorWriter::new(&mut br, 4096, 5, 22).write_all(text).unwrap();
        vec![
            (Coding::Identity, text.to_vec()),
            (Coding::Gzip, gzip(text)),
            (Coding::Deflate, zlib.finish().unwrap()),
            (Coding::Deflate, raw.finish().unwrap()),
            (Coding::Brotli, br),
            (Coding::Zstd, zstd::encode_all(text, 3).unwrap()),
        ]
    }

    #[test]
    fn each_coding_is_undone_as_far_as_it_came() {
        for (coding, encoded) in all(TEXT) {
            assert_eq!(coding.decoded(&encoded, 8192), TEXT, "{coding:?}");
            assert_eq!(coding.decoded(&encoded, 10), &TEXT[..10], "{coding:?}");
            // A beginning shows a beginning, and garbage shows nothing that could be taken for a sign.
            for end in 0..encoded.len() {
                assert!(TEXT.starts_with(&coding.decoded(&encoded[..end], 8192)), "{coding:?} up to {end}");
            }
        }
        for coding in [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd] {
            assert!(coding.decoded(b"\xff\xfe\xfd garbage", 8192).len() < 8, "{coding:?}");
        }
    }

    #[test]
    fn what_inflates_without_end_is_read_to_the_limit() {
        for (coding, bomb) in all(&vec![b'a'; 50 << 20]) {
            assert_eq!(coding.decoded(&bomb, 8192).len(), 8192, "{coding:?}");
        }
    }

    #[test]
    fn only_codings_that_can_be_undone_are_asked_for() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            }
            acceptable(&headers).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["gzip, deflate, br, zstd"]), None);
        assert_eq!(of(&["gzip;q=1.0", "identity;q=0.5"]), None);
        assert_eq!(of(&["gzip, compress, *;q=0"]).as_deref(), Some("gzip"));
        assert_eq!(of(&["dcb, dcz"]).as_deref(), Some("identity"));
    }

    #[test]
    fn one_coding_is_known_and_several_are_not() {
        let of = |value: &'static str| {
            Coding::of(&HeaderMap::from_iter([(header::CONTENT_ENCODING, HeaderValue::from_static(value))]))
        };
        assert_eq!(of("GZip"), Some(Coding::Gzip));
        assert_eq!(of(""), Some(Coding::Identity));
        assert_eq!(of("gzip, br"), None);
        assert_eq!(of("compress"), None);
        assert_eq!(Coding::of(&HeaderMap::new()), Some(Coding::Identity));
    }
}
