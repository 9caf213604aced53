//! How a request's path is read by whoever judges it. Servers differ: some decode before they take a path apart and some
//! after, some drop `;parameters`, some take `//` for `/`. A rule must hold whichever of them answers, so a path has as many
//! readings as it has meanings, a pattern is read in the same ways, and each way is judged on its own. What goes upstream
//! is neither of them, but the bytes as they came. Pure; a path that every server reads alike costs one look at its bytes.

use std::{borrow::Cow, ops::Range};

use percent_encoding::percent_decode_str;

/// How many ways there are to read a path.
const WAYS: usize = 8;

/// Stands for an encoded slash where it doesn't part segments. No path holds it: control characters are refused.
const KEPT_SLASH: &str = "\u{1}";

/// A path, or a pattern without its star, in every reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readings<'a>(Kind<'a>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind<'a> {
    /// There is but one.
    One(Cow<'a, str>),
    /// As many as there are ways.
    Each(Box<[String; WAYS]>),
}

impl<'a> Readings<'a> {
    /// Reads a path as it came, without its query.
    pub fn of(path: &'a str) -> Self {
        if !can_be_read_otherwise(path.as_bytes()) {
            return Self(Kind::One(Cow::Borrowed(path)));
        }
        Self(Kind::Each(Box::new(std::array::from_fn(|way| read(path, way)))))
    }

    /// The same, kept.
    pub fn into_owned(self) -> Readings<'static> {
        Readings(match self.0 {
            Kind::One(path) => Kind::One(Cow::Owned(path.into_owned())),
            Kind::Each(all) => Kind::Each(all),
        })
    }

    /// One way of reading it.
    pub fn by(&self, way: usize) -> &str {
        match &self.0 {
            Kind::One(path) => path,
            Kind::Each(all) => &all[way],
        }
    }

    /// Whether every server reads it alike.
    pub fn is_one(&self) -> bool {
        matches!(self.0, Kind::One(_))
    }
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

/// A pattern of paths: exact, or all that begins so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    readings: Readings<'static>,
    prefix: bool,
}

impl PathPattern {
    /// A pattern as it is written.
    ///
    /// # Errors
    /// What is wrong with it, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, (&'static str, &'static str)> {
        let (path, prefix) = text.strip_suffix('*').map_or((text, false), |path| (path, true));
        if !path.starts_with('/') || path.contains(['*', '?', '#']) {
            return Err((
                "This should be a path that begins with `/`, with `*` at its end or not at all",
                "such as `/repos` or, for all that begins so, `/repos/*`",
            ));
        }
        never_sent(path)?;
        Ok(Self { readings: Readings::of(path).into_owned(), prefix })
    }

    /// Whether one reading of a path falls under it. `slash_or_none`: a slash at the path's end makes no difference.
    pub fn matches(&self, path: &Readings<'_>, way: usize, slash_or_none: bool) -> bool {
        let (pattern, path) = (self.readings.by(way), path.by(way));
        if self.prefix {
            return path.starts_with(pattern);
        }
        path == pattern || slash_or_none && path.strip_suffix('/') == Some(pattern)
    }

    /// Whether there is but one way to read it.
    pub fn is_one(&self) -> bool {
        self.readings.is_one()
    }
}

/// Refuses a path that no call can have, because the proxy doesn't let it through.
///
/// # Errors
/// Why, and what to write instead.
pub fn never_sent(path: &str) -> Result<(), (&'static str, &'static str)> {
    let decoded: Vec<u8> = percent_decode_str(path).collect();
    if decoded.iter().any(|byte| byte.is_ascii_control() || *byte == b'\\') {
        let hint = "no call has a backslash or a control character in its path: those are refused before any rule";
        return Err(("This path can never match", hint));
    }
    let name = |segment: &[u8]| segment.split(|byte| *byte == b';').next().is_some_and(|n| matches!(n, b"." | b".."));
    if decoded.split(|byte| *byte == b'/').any(name) {
        let hint = "no call has a segment `.` or `..` in its path: those are refused before any rule";
        return Err(("This path can never match", hint));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(path: &str) -> Vec<String> {
        let readings = Readings::of(path);
        let mut all: Vec<String> = ways(false).map(|way| readings.by(way).replace(KEPT_SLASH, "<slash>")).collect();
        all.sort();
        all.dedup();
        all
    }

    #[test]
    fn a_path_that_every_server_reads_alike_has_one_reading_and_is_not_copied() {
        for path in ["/", "/a/b.c", "/a:b", "/a/", "/~x@y+z"] {
            assert!(matches!(Readings::of(path).0, Kind::One(Cow::Borrowed(_))), "{path}");
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

    #[test]
    fn patterns_that_no_call_can_match_are_refused() {
        for text in ["/a/../b", "/.", "/%2e%2e/x", "/a\\b", "/a%5Cb", "/%00", "/..;x/*", "/a%2F..%2Fb"] {
            assert!(PathPattern::parse(text).is_err(), "{text}");
        }
        for text in ["repos", "/a*b", "/a**", "/a?b", "/a#b", ""] {
            assert!(PathPattern::parse(text).is_err(), "{text}");
        }
        for text in ["/", "/*", "/...", "/projects/grp%2Fsecret/*", "/a//b", "/a;x", "/caf%C3%A9", "/café"] {
            assert!(PathPattern::parse(text).is_ok(), "{text}");
        }
    }
}
