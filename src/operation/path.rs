//! A request's path. Servers differ in how they read one: some decode before they take a path apart and some after, some
//! drop `;parameters`, some take `//` for `/`. A rule must hold whichever of them answers, so a path has as many readings as
//! it has meanings, a pattern is read in the same ways, and each way is judged on its own. They are made when somebody first
//! asks for them; what goes upstream is none of them, but the bytes as they came. A path that every server reads alike costs
//! one look at its bytes.

use std::{fmt, ops::Range, sync::OnceLock};

use bytestring::ByteString;
use percent_encoding::percent_decode_str;

/// How many ways there are to read a path.
const WAYS: usize = 8;

/// Stands for an encoded slash where it doesn't part segments. No path holds it: control characters are refused.
const KEPT_SLASH: &str = "\u{1}";

/// A path that stays below what it is appended to, whoever reads it; or a pattern's, without its star.
#[derive(Clone)]
pub struct Path {
    /// What it came in, as a request's target, …
    text: ByteString,
    /// … and where in there it lies.
    at: Range<usize>,
    /// Every way of reading it, where they differ.
    readings: OnceLock<Option<Box<[String; WAYS]>>>,
}

/// Why no call has a path: the proxy lets none through that holds …
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NeverSent {
    /// … a backslash, or a control character that is encoded.
    Character,
    /// … a segment `.` or `..` in any reading.
    DotSegment,
}

impl Path {
    /// Takes a path as it is, without a query.
    ///
    /// # Errors
    /// Why no call has such a path.
    pub fn parse(text: &str) -> Result<Self, NeverSent> {
        let length = text.len();
        Self::within(text.into(), 0..length)
    }

    /// Takes the path that lies at `at` in the text that it came in.
    ///
    /// # Errors
    /// Why no call has such a path.
    ///
    /// # Panics
    /// Where `at` lies outside the text, or inside of a character.
    pub fn within(text: ByteString, at: Range<usize>) -> Result<Self, NeverSent> {
        stays_below(&text[at.clone()])?;
        Ok(Self { text, at, readings: OnceLock::new() })
    }

    /// The path as it came, with its leading slash.
    pub fn as_str(&self) -> &str {
        let path = &self.text[self.at.clone()];
        if path.is_empty() { "/" } else { path }
    }

    /// All of the text that it came in.
    pub fn text(&self) -> &ByteString {
        &self.text
    }

    /// Where in that text it lies.
    pub fn range(&self) -> &Range<usize> {
        &self.at
    }

    /// One way of reading it.
    pub fn by(&self, way: usize) -> &str {
        self.readings().map_or(self.as_str(), |all| &all[way])
    }

    /// Whether every server reads it alike.
    pub fn is_one(&self) -> bool {
        self.readings().is_none()
    }

    fn readings(&self) -> Option<&[String; WAYS]> {
        let make = || {
            let path = self.as_str();
            can_be_read_otherwise(path.as_bytes()).then(|| Box::new(std::array::from_fn(|way| read(path, way))))
        };
        self.readings.get_or_init(make).as_deref()
    }
}

/// The same path, whatever it came in: its readings follow from it.
impl PartialEq for Path {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Whether no reading of this path, decoded once, climbs out of the prefix that it is appended to.
fn stays_below(path: &str) -> Result<(), NeverSent> {
    // A fold takes many bytes at a time, where `any` looks at one after the other.
    let odd = |byte: u8| (byte == b'%') | (byte == b'.') | (byte == b'\\') | byte.is_ascii_control();
    if !path.bytes().fold(false, |seen, byte| seen | odd(byte)) {
        return Ok(());
    }
    for segment in path.split('/') {
        let decoded: Vec<u8> = percent_decode_str(segment).collect();
        if decoded.iter().any(|byte| byte.is_ascii_control() || *byte == b'\\') {
            return Err(NeverSent::Character);
        }
        // An encoded slash makes segments of its own for a server that decodes before it resolves.
        for part in decoded.split(|byte| *byte == b'/') {
            let name = part.split(|byte| *byte == b';').next().unwrap_or_default();
            if matches!(name, b"." | b"..") {
                return Err(NeverSent::DotSegment);
            }
        }
    }
    Ok(())
}

/// The ways of reading a path that have to be told apart; `alike`: everybody reads it and all patterns alike.
pub fn ways(alike: bool) -> Range<usize> {
    if alike { 0..1 } else { 0..WAYS }
}

/// Whether there is anything in a path that two servers could understand differently.
fn can_be_read_otherwise(path: &[u8]) -> bool {
    let mut before = 0;
    path.iter().fold(false, |found, byte| {
        let slashes = (*byte == b'/') & (before == b'/');
        before = *byte;
        found | slashes | (*byte == b'%') | (*byte == b';')
    })
}

/// One reading: an encoded slash parts segments or doesn't, parameters are dropped or not, empty segments are, or not.
fn read(path: &str, way: usize) -> String {
    let (slash_parts, drop_parameters, drop_empty) = (way & 1 == 0, way & 2 == 0, way & 4 == 0);
    let decode = |text: &str| {
        if slash_parts {
            return percent_decode_str(text).decode_utf8_lossy().into_owned();
        }
        let kept: Vec<_> = parts_of(text).map(|part| percent_decode_str(part).decode_utf8_lossy()).collect();
        kept.join(KEPT_SLASH)
    };
    let decoded = decode(path);
    let segments = decoded.split('/').map(|segment| match segment.split_once(';') {
        // A parameter's value ends where its segment does, whichever slash that was.
        Some((name, _)) if drop_parameters => name,
        _ => segment,
    });
    let mut out = String::with_capacity(decoded.len());
    for (at, segment) in segments.enumerate() {
        if at > 0 && !(drop_empty && out.ends_with('/')) {
            out.push('/');
        }
        out.push_str(segment);
    }
    out
}

/// What stands between encoded slashes.
fn parts_of(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let at = text.as_bytes().windows(3).position(|three| three.eq_ignore_ascii_case(b"%2F"));
        rest = at.map(|at| &text[at + 3..]);
        Some(at.map_or(text, |at| &text[..at]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(path: &str) -> Vec<String> {
        let path = Path::parse(path).unwrap();
        let mut all: Vec<String> = ways(false).map(|way| path.by(way).replace(KEPT_SLASH, "<slash>")).collect();
        all.sort();
        all.dedup();
        all
    }

    #[test]
    fn a_path_that_every_server_reads_alike_has_one_reading_and_is_not_copied() {
        for text in ["/", "/a/b.c", "/a:b", "/a/", "/~x@y+z"] {
            let path = Path::parse(text).unwrap();
            assert!(path.is_one(), "{text}");
            assert!(ways(false).all(|way| path.by(way).as_ptr() == path.as_str().as_ptr()), "{text}");
        }
    }

    #[test]
    fn what_servers_read_differently_has_each_of_its_readings() {
        assert_eq!(readings("/%61dmin"), ["/admin"]);
        assert_eq!(readings("/%2561"), ["/%61"], "decoded once");
        assert_eq!(readings("/a//b"), ["/a//b", "/a/b"]);
        assert_eq!(readings("/a;x=1/b"), ["/a/b", "/a;x=1/b"]);
        assert_eq!(readings("/a%3Bx/b"), ["/a/b", "/a;x/b"]);
        assert_eq!(readings("/a%2fb"), ["/a/b", "/a<slash>b"]);
        assert!(readings("/;x/admin").contains(&"/admin".to_owned()));
        assert!(readings("/x;y%2Fadmin").contains(&"/x/admin".to_owned()));
        assert!(readings("/x;y%2Fadmin").contains(&"/x".to_owned()));
        assert_eq!(readings("/caf%C3%A9"), ["/café"]);
    }
}
