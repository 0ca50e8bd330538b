//! Which distributed trace a session belongs to: ids as W3C Trace Context has them, so that a client's own spans and
//! the session's come together in one place.
//!
//! Source: <https://www.w3.org/TR/trace-context-2/> (Level 2), section 3.2.

use std::fmt;

/// Characters of a `traceparent` of version `00`; a later version may go on behind them.
const LENGTH: usize = 55;

/// The id of a trace: 32 hexadecimal digits, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId(u128);

/// The id of a span within a trace: 16 hexadecimal digits, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId(u64);

impl TraceId {
    /// From random bits; zero, which is no id, becomes one.
    #[must_use]
    pub const fn from_random(random: u128) -> Self {
        Self(if random == 0 { 1 } else { random })
    }

    /// As on the wire.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl SpanId {
    /// From random bits; zero, which is no id, becomes one.
    #[must_use]
    pub const fn from_random(random: u64) -> Self {
        Self(if random == 0 { 1 } else { random })
    }

    /// The id of a span below this one: always the same for the same number, so that what is sent now can name as its
    /// parent what is sent when it has ended. A step of SplitMix64, so ids of one trace meet as seldom as random ones.
    #[must_use]
    pub const fn below(self, number: u64) -> Self {
        let mixed = self.0 ^ number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self::from_random(mixed ^ (mixed >> 31))
    }

    /// As on the wire.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a `traceparent` header says: the span of whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace that span belongs to.
    pub trace: TraceId,
    /// That span.
    pub span: SpanId,
    /// Whether whoever asks may have recorded it.
    pub is_sampled: bool,
}

impl TraceParent {
    /// Reads the value of the header; `None` if it is not one, which counts as no header at all.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let bytes = value.as_bytes();
        let (known, more) = bytes.split_at_checked(LENGTH)?;
        let [v0, v1, b'-', ids @ .., b'-', f0, f1] = known else { return None };
        let version = hexadecimal(&[*v0, *v1])?;
        let goes_on = version != 0 && more.first() == Some(&b'-');
        if version == 0xff || !(more.is_empty() || goes_on) {
            return None;
        }
        let (trace, span) = ids.split_at_checked(32)?;
        let [b'-', span @ ..] = span else { return None };
        let (trace, span) = (hexadecimal(trace)?, hexadecimal(span)?);
        if trace == 0 || span == 0 {
            return None;
        }
        let is_sampled = hexadecimal(&[*f0, *f1])? & 1 == 1;
        Some(Self { trace: TraceId(trace), span: SpanId(u64::try_from(span).ok()?), is_sampled })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, u8::from(self.is_sampled))
    }
}

/// Only lower case counts.
fn hexadecimal(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0_u128, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some((value << 4) | u128::from(digit))
    })
}

/// Where in which trace a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace the session is in: its own, or that of whoever asked for it.
    pub trace: TraceId,
    /// The span of the session.
    pub span: SpanId,
    /// The span of whoever asked for it, if they said which.
    pub parent: Option<SpanId>,
}

impl TraceContext {
    /// Of a session that begins, with random bits for what is not given.
    #[must_use]
    pub fn begin(asked_by: Option<TraceParent>, random: (u128, u64)) -> Self {
        Self {
            trace: asked_by.map_or_else(|| TraceId::from_random(random.0), |parent| parent.trace),
            span: SpanId::from_random(random.1),
            parent: asked_by.map(|parent| parent.span),
        }
    }

    /// The session's span, as whoever asked for it may name it as a parent of theirs.
    #[must_use]
    pub const fn as_parent(&self) -> TraceParent {
        TraceParent { trace: self.trace, span: self.span, is_sampled: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_example_of_the_standard_is_read_and_written_as_it_stands() {
        let parent = TraceParent::parse(EXAMPLE).unwrap();
        assert_eq!(parent.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(parent.span.to_string(), "00f067aa0ba902b7");
        assert!(parent.is_sampled);
        assert_eq!(parent.to_string(), EXAMPLE);
        assert_eq!(parent.span.to_bytes(), [0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
    }

    #[test]
    fn what_is_no_traceparent_counts_as_none() {
        let zero_trace = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        let zero_span = "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01";
        let upper = EXAMPLE.to_uppercase();
        let longer = format!("{EXAMPLE}-later");
        let forbidden = EXAMPLE.replacen("00", "ff", 1);
        let sign = EXAMPLE.replacen("4b", "+b", 1);
        let multi = EXAMPLE.replacen("4bf", "é9", 1);
        for wrong in
            ["", "00", &EXAMPLE[1..], zero_trace, zero_span, &upper, &longer, &forbidden, &sign, &multi]
        {
            assert_eq!(TraceParent::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later = EXAMPLE.replacen("00", "cc", 1);
        assert!(TraceParent::parse(&later).is_some());
        assert!(TraceParent::parse(&format!("{later}-what-the-future")).is_some());
        assert_eq!(TraceParent::parse(&format!("{later}.what")), None);
    }

    #[test]
    fn a_session_goes_on_with_the_trace_of_whoever_asked_for_it_or_begins_one() {
        let asked = TraceParent::parse(EXAMPLE).unwrap();
        let below = TraceContext::begin(Some(asked), (1, 2));
        assert_eq!((below.trace, below.parent), (asked.trace, Some(asked.span)));
        assert_eq!(below.as_parent().to_string(), "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000002-01");
        let own = TraceContext::begin(None, (7, 0));
        assert_eq!(own.trace.to_string(), format!("{:032x}", 7));
        assert_eq!((own.span, own.parent), (SpanId::from_random(1), None));
    }

    #[test]
    fn spans_below_others_have_ids_of_their_own_that_stay_the_same() {
        let root = SpanId::from_random(0x1234);
        let mut ids: Vec<SpanId> = (0..2_000).map(|number| root.below(number)).collect();
        ids.extend((0..2_000).map(|number| root.below(1).below(number)));
        ids.push(root);
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 4_001);
        assert_eq!(root.below(5), root.below(5));
    }
}
