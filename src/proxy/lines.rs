//! Request lines as clients write them. Many clients send a raw `"`, `<`, `>` or backtick in a target and many servers take
//! it, but Pingora's parser refuses it, and what it can't read it escapes before anybody sees it. So each byte of a target
//! that its parser wouldn't pass on untouched is taken out of the line as it is read and a `#` is put in its place, and
//! whoever reads the target puts it back ([`Line::as_sent`]). On the way out the same bytes go through Pingora with their
//! high bit set ([`raised`]), and the upstream's stream clears it ([`lowered`]).
//!
//! This is done to the stream because there is no later place: where Pingora fails to parse a head it gives no session to
//! anybody, only an answer. It is safe because it follows no framing of its own. `guard` says when a request begins
//! (pipelined requests are never served, so that is always a read of its own), up to the first line feed bytes change one
//! for one, line ends and the line's own spaces stay where they are, and after the line feed nothing is touched before the
//! next request. A reader who forgets to put the bytes back sees a `#`, which no target may hold, and refuses the request.
//!
//! Over HTTP/2 none of this can be had: the `h2` crate resets a stream whose `:path` holds such a byte (but for a `"` in the
//! path, which it passes on), and cuts off a fragment, before anybody sees the request.

use bytes::Bytes;
use memchr::{memchr, memchr_iter};

/// What stands in for a byte.
const MARK: u8 = b'#';
/// What lets a byte pass Pingora on the way out. No target holds bytes of its own that have it.
const HIGH: u8 = 0x80;

/// Whether Pingora lets such a byte of a target pass as it is. Without branches, so that many are looked at at once.
const fn is_odd(byte: u8) -> bool {
    (byte < b' ') | (byte > b'~') | (byte == MARK) | is_unusual(byte)
}

/// Whether a byte may stand in a target, but not in an `http::Uri`.
const fn is_unusual(byte: u8) -> bool {
    (byte == b'"') | (byte == b'<') | (byte == b'>') | (byte == b'`')
}

/// The first line of a request.
#[derive(Debug, Default)]
pub struct Line {
    at: At,
    /// The bytes for which marks stand, in their order.
    marked: Vec<u8>,
}

/// How far it has come.
#[derive(Debug, Default, PartialEq, Eq)]
enum At {
    /// There is nothing of it yet.
    Awaited,
    /// This many of its spaces are there.
    Begun(usize),
    /// All of it.
    #[default]
    Past,
}

impl Line {
    /// The line that is read next.
    pub const fn awaited() -> Self {
        Self { at: At::Awaited, marked: Vec::new() }
    }

    /// Looks at bytes that were read, and puts marks into what of them is the line's.
    pub fn look(&mut self, read: &mut [u8]) {
        let (before, blank) = match self.at {
            At::Past => return,
            At::Begun(spaces) => (spaces, 0),
            // RFC 9112 §2.2: empty lines before a request are passed over.
            At::Awaited => (0, read.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count()),
        };
        let read = &mut read[blank..];
        if read.is_empty() {
            return;
        }
        let end = memchr(b'\n', read);
        let mut length = end.unwrap_or(read.len());
        if read[..length].ends_with(b"\r") {
            length -= 1;
        }
        let line = &mut read[..length];
        let odd = line.iter().fold(false, |odd, byte| odd | is_odd(*byte));
        let spaces = before + memchr_iter(b' ', line).count();
        if odd || spaces > 2 {
            self.mark(line, before);
        }
        self.at = if end.is_some() { At::Past } else { At::Begun(spaces) };
    }

    /// A third space leaves a line that nobody takes for a request's, in whatever pieces it comes.
    #[cold]
    fn mark(&mut self, line: &mut [u8], mut spaces: usize) {
        for byte in line {
            let parts = *byte == b' ' && spaces < 2;
            spaces += usize::from(*byte == b' ');
            if !parts && spaces > 0 && (is_odd(*byte) || *byte == b' ') {
                self.marked.push(*byte);
                *byte = MARK;
            }
        }
    }

    /// The target that was read as `target`, as the client sent it; `None`: it is the same.
    pub fn as_sent(&self, target: &[u8]) -> Option<Bytes> {
        if self.marked.is_empty() {
            return None;
        }
        let mut marked = self.marked.iter();
        let byte = |byte: &u8| if *byte == MARK { *marked.next().unwrap_or(&MARK) } else { *byte };
        Some(target.iter().map(byte).collect())
    }

    /// Whether there was a space inside the target.
    pub fn is_torn(&self) -> bool {
        self.marked.contains(&b' ')
    }
}

/// A target as it goes through Pingora.
pub fn raised(target: &[u8]) -> Vec<u8> {
    target.iter().map(|byte| if is_unusual(*byte) { byte | HIGH } else { *byte }).collect()
}

/// The first line of a request as it goes to an upstream.
pub fn lowered(line: &[u8]) -> impl Iterator<Item = u8> {
    line.iter().map(|byte| byte & !HIGH)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Pingora sees of these pieces.
    fn seen(line: &mut Line, pieces: &[&[u8]]) -> Vec<u8> {
        let mut all = Vec::new();
        for piece in pieces {
            let mut read = piece.to_vec();
            line.look(&mut read);
            all.extend(read);
        }
        all
    }

    /// The same bytes in every two pieces.
    fn cuts(bytes: &[u8]) -> impl Iterator<Item = [&[u8]; 2]> {
        (0..=bytes.len()).map(|at| bytes.split_at(at).into())
    }

    #[test]
    fn a_usual_request_is_not_touched() {
        let head = b"\r\n\nG`T /a?b={c}|d^'[] HTTP/1.1\r\nHost: x\r\nX-Name: \xffa\"b <c> `#\r\n\r\n\x00\x01 \"\n\"";
        for pieces in cuts(head) {
            let mut line = Line::awaited();
            assert_eq!(seen(&mut line, &pieces), head);
            assert_eq!(line.at, At::Past);
            assert_eq!(line.as_sent(b"/a?b={c}|d^'[]"), None);
        }
        assert_eq!(seen(&mut Line::default(), &[b"GET /\" HTTP/1.1\r\n"]), b"GET /\" HTTP/1.1\r\n");
    }

    #[test]
    fn what_is_taken_out_comes_back_in_its_order() {
        let target = b"/a`<b>#?q={\"x\":\x01\xc3\xa4}\r\t";
        let head = [&b"GET "[..], target, b" HTTP/1.1\r\nX: \"<>`\x01\r\n\r\n\"<>"].concat();
        for pieces in cuts(&head) {
            let mut line = Line::awaited();
            let seen = seen(&mut line, &pieces);
            let read = &seen[4..4 + target.len()];
            if !pieces[0].ends_with(b"\r\t") && pieces[0].ends_with(b"}\r") {
                // Whether that is the line's end isn't known: Pingora looks at it and refuses it.
                continue;
            }
            assert_eq!(read, b"/a##b##?q={#x#:###}##");
            assert_eq!(line.as_sent(read).as_deref(), Some(&target[..]));
            assert_eq!(seen[4 + target.len()..], head[4 + target.len()..]);
            assert!(!line.is_torn());
        }
    }

    #[test]
    fn a_line_keeps_two_spaces() {
        for text in
            ["GET /a b HTTP/1.1\r\n", "GET  /a HTTP/1.1\n", "GET /a HTTP/1.1 \r\n", "GET /a HTTP/1.1 HTTP/1.1\r\n"]
        {
            for pieces in cuts(text.as_bytes()) {
                let mut line = Line::awaited();
                assert_eq!(seen(&mut line, &pieces).iter().filter(|byte| **byte == b' ').count(), 2, "{text}");
                assert!(line.is_torn());
            }
        }
    }

    #[test]
    fn what_goes_through_pingora_comes_out_as_it_went_in() {
        let target = b"/a\"<>`b?`\"<";
        assert!(!raised(target).iter().any(|byte| is_unusual(*byte)));
        assert_eq!(lowered(&raised(target)).collect::<Vec<u8>>(), target);
    }
}
