//! What rules say of paths: a pattern is read in the same ways as the paths that it is compared with.

use super::path::{NeverSent, Path};

/// A pattern of paths: exact, or all that begins so.
#[derive(Debug, Clone, PartialEq)]
pub struct PathPattern {
    path: Path,
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
        Ok(Self { path: Path::parse(path).map_err(in_words)?, prefix })
    }

    /// Whether one reading of a path falls under it. `slash_or_none`: a slash at the path's end makes no difference.
    pub fn matches(&self, path: &Path, way: usize, slash_or_none: bool) -> bool {
        let (pattern, path) = (self.path.by(way), path.by(way));
        if self.prefix {
            return path.starts_with(pattern);
        }
        path == pattern || slash_or_none && path.strip_suffix('/') == Some(pattern)
    }

    /// Whether there is but one way to read it.
    pub fn is_one(&self) -> bool {
        self.path.is_one()
    }
}

/// Refuses a path that no call can have, because the proxy doesn't let it through.
///
/// # Errors
/// Why, and what to write instead.
pub fn never_sent(path: &str) -> Result<(), (&'static str, &'static str)> {
    Path::parse(path).map(drop).map_err(in_words)
}

fn in_words(never: NeverSent) -> (&'static str, &'static str) {
    let hint = match never {
        NeverSent::Character => {
            "no call has a backslash or a control character in its path: those are refused before any rule"
        }
        NeverSent::DotSegment => "no call has a segment `.` or `..` in its path: those are refused before any rule",
    };
    ("This path can never match", hint)
}

#[cfg(test)]
mod tests {
    use super::*;

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
