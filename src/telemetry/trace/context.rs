//! `traceparent` (W3C Trace Context, level 1): which trace a call belongs to, and whether it is recorded. Pure.

use data_encoding::HEXLOWER;

use super::{SpanId, TraceId};

/// The span of another program's that a call comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    /// Its trace.
    pub trace: TraceId,
    /// The span itself.
    pub span: SpanId,
    /// Whether it may be recorded.
    pub sampled: bool,
}

impl Parent {
    /// Reads a `traceparent` header's value; `None`: it is none, and whoever gets it begins a trace of their own.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (known, more) = value.split_at_checked(55)?;
        let Fields { version, trace, span, flags } = fields(known)?;
        // A later version may say more behind that, and means the same by this.
        let sound = match version[0] {
            0xff => false,
            0 => more.is_empty(),
            _ => more.first().is_none_or(|next| *next == b'-'),
        };
        let parent = Self { trace, span, sampled: flags[0] & 1 == 1 };
        (sound && parent.trace != [0; 16] && parent.span != [0; 8]).then_some(parent)
    }
}

/// A `traceparent` of a span that is recorded.
pub(super) fn traceparent(trace: TraceId, span: SpanId) -> String {
    format!("00-{}-{}-01", HEXLOWER.encode(&trace), HEXLOWER.encode(&span))
}

struct Fields {
    version: [u8; 1],
    trace: TraceId,
    span: SpanId,
    flags: [u8; 1],
}

/// The fields of `vv-tttttttttttttttttttttttttttttttt-ssssssssssssssss-ff`.
fn fields(known: &[u8]) -> Option<Fields> {
    let dashes = [2, 35, 52].iter().all(|at| known[*at] == b'-');
    if !dashes {
        return None;
    }
    Some(Fields {
        version: hex(&known[..2])?,
        trace: hex(&known[3..35])?,
        span: hex(&known[36..52])?,
        flags: hex(&known[53..])?,
    })
}

fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    HEXLOWER.decode_mut(text, &mut bytes).ok().filter(|length| *length == N)?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_as_the_recommendation_has_it() {
        let parent = Parent::parse(GOOD.as_bytes()).unwrap();
        assert!(parent.sampled);
        assert_eq!(traceparent(parent.trace, parent.span), GOOD);
        assert!(!Parent::parse(GOOD.replace("-01", "-00").as_bytes()).unwrap().sampled);
        assert!(Parent::parse(GOOD.replace("-01", "-ff").as_bytes()).unwrap().sampled);
        assert!(Parent::parse(format!("cc{}-what-is-to-come", &GOOD[2..]).as_bytes()).is_some());
    }

    #[test]
    fn what_is_no_traceparent_is_none() {
        for wrong in [
            "",
            &GOOD[..54],
            &GOOD.to_uppercase(),
            &GOOD.replace('-', "_"),
            &GOOD.replace("00-4", "ff-4"),
            &format!("{GOOD}-x"),
            &format!("{GOOD}x"),
            &format!("cc{}x", &GOOD[2..]),
            &GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &GOOD.replace("b7-01", "b7-0x"),
        ] {
            assert_eq!(Parent::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
