//! Where a call's time goes: what is Valetkey's own, and how long the upstream was waited for. Own is everything from the request's
//! head to the choice of where it goes, which includes waiting for the store, for keys and for a refresh, and everything from
//! the head of the upstream's answer until it is ready for the client. What is nobody's alone counts as neither: opening a
//! connection to the upstream, and the streaming of bodies. Where a call is sent again, all its parts count. Reads the
//! clock three times a call.

use std::time::{Duration, Instant};

use http::HeaderValue;

use crate::telemetry::metrics::Took;

/// The times of one call.
#[derive(Debug)]
pub struct Timing {
    /// When its head was there.
    pub began: Instant,
    /// Since when it has been Valetkey's turn; `None`: it isn't.
    own_since: Option<Instant>,
    own: Duration,
    /// Since when the upstream has been waited for; `None`: it isn't.
    sent: Option<Instant>,
    /// How long that took; `None`: no answer has come.
    upstream: Option<Duration>,
}

impl Timing {
    /// Of a call that begins now.
    pub fn new(began: Instant) -> Self {
        Self { began, own_since: Some(began), own: Duration::ZERO, sent: None, upstream: None }
    }

    /// It is settled where the call goes.
    pub fn goes(&mut self, now: Instant) {
        self.ready(now);
        self.sent = Some(now);
    }

    /// A new connection has been opened for it.
    pub fn connected(&mut self, now: Instant) {
        self.sent = Some(now);
    }

    /// The head of the upstream's answer has come. When the call was sent.
    pub fn answered(&mut self, now: Instant) -> Option<Instant> {
        let sent = self.sent.take()?;
        *self.upstream.get_or_insert_default() += now.saturating_duration_since(sent);
        self.own_since = Some(now);
        Some(sent)
    }

    /// More of the answer has to come before it can be judged.
    pub fn held(&mut self) {
        self.own_since = None;
    }

    /// Whether it is Valetkey's turn.
    pub fn is_own(&self) -> bool {
        self.own_since.is_some()
    }

    /// Since when an answer has been waited for that hasn't come.
    pub fn unanswered(&self) -> Option<Instant> {
        self.sent
    }

    /// The value of `Server-Timing`, where the upstream has answered: milliseconds, to the microsecond.
    pub fn server_timing(&self) -> Option<HeaderValue> {
        let upstream = self.upstream?;
        let mut text = Text::default();
        text.push(b"valetkey;dur=");
        text.push_millis(self.own);
        text.push(b", upstream;dur=");
        text.push_millis(upstream);
        HeaderValue::from_bytes(text.written()).ok()
    }

    /// Valetkey has done its part for now.
    pub fn ready(&mut self, now: Instant) {
        if let Some(since) = self.own_since.take() {
            self.own += now.saturating_duration_since(since);
        }
    }

    /// What of `total`, which the call took, was what; where the upstream has answered.
    pub fn took(&self, total: Duration) -> Option<Took> {
        self.upstream.map(|upstream| Took { total, own: self.own, upstream })
    }
}

/// The value of `Server-Timing` while it is written, of 50 bytes at most: without memory of its own and the machinery of `format!`,
/// which a hot call would pay for.
struct Text {
    bytes: [u8; 64],
    length: usize,
}

impl Default for Text {
    fn default() -> Self {
        Self { bytes: [0; 64], length: 0 }
    }
}

impl Text {
    #[inline]
    fn push(&mut self, text: &[u8]) {
        self.bytes[self.length..self.length + text.len()].copy_from_slice(text);
        self.length += text.len();
    }

    /// A time as `32.104`: of eleven digits at most.
    fn push_millis(&mut self, time: Duration) {
        let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        let (mut whole, rest) = (micros / 1000, micros % 1000);
        let mut digits = [0; 11];
        let mut at = 7;
        digits[at..].copy_from_slice(&[b'.', digit(rest / 100), digit(rest / 10), digit(rest)]);
        loop {
            at -= 1;
            digits[at] = digit(whole);
            whole /= 10;
            if whole == 0 {
                break;
            }
        }
        self.push(&digits[at..]);
    }

    fn written(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The last digit of a number.
fn digit(number: u32) -> u8 {
    b'0' + (number % 10) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_counted_where_it_belongs() {
        let began = Instant::now();
        let at = |millis| began + Duration::from_millis(millis);
        let mut timing = Timing::new(began);
        assert!(timing.took(Duration::from_millis(1)).is_none());
        timing.goes(at(3));
        timing.connected(at(10));
        timing.answered(at(50));
        timing.ready(at(51));
        let took = timing.took(Duration::from_millis(100)).unwrap();
        assert_eq!([took.total, took.own, took.upstream].map(|part| part.as_millis()), [100, 4, 40]);
    }

    #[test]
    fn times_are_told_in_milliseconds() {
        for (micros, text) in
            [(0, "0.000"), (7, "0.007"), (412, "0.412"), (32_104, "32.104"), (u64::MAX, "4294967.295")]
        {
            let mut written = Text::default();
            written.push_millis(Duration::from_micros(micros));
            assert_eq!(written.written(), text.as_bytes());
        }
        let mut timing = Timing::new(Instant::now());
        assert_eq!(timing.server_timing(), None);
        (timing.own, timing.upstream) = (Duration::from_micros(412), Some(Duration::from_millis(32)));
        assert_eq!(timing.server_timing().unwrap(), "valetkey;dur=0.412, upstream;dur=32.000");
    }

    #[test]
    fn a_call_that_is_sent_again_has_two_parts_of_each() {
        let began = Instant::now();
        let at = |millis| began + Duration::from_millis(millis);
        let mut timing = Timing::new(began);
        timing.goes(at(1));
        timing.answered(at(11));
        // The token is dead: a refresh, and once more over a kept connection.
        timing.goes(at(31));
        timing.answered(at(36));
        timing.held();
        timing.ready(at(90));
        let took = timing.took(Duration::from_millis(100)).unwrap();
        assert_eq!([took.own, took.upstream].map(|part| part.as_millis()), [21, 15]);
    }
}
