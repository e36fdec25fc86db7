//! W3C trace context: continue a valid one, start one otherwise; a new span id per hop.

use crate::balance::Random;

/// The trace that a request belongs to, with this hop's own span id.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trace {
    /// 32 lower-case hexadecimal digits.
    pub(crate) id: [u8; 32],
    span: [u8; 16],
    flags: [u8; 2],
    /// Whether the caller's context was taken over, and so its `tracestate` may pass.
    pub(crate) continued: bool,
}

impl Trace {
    pub(crate) fn new(given: Option<&[u8]>, random: &Random) -> Self {
        let mut span = [0; 16];
        hex(&mut span, random.next() | 1);
        match given.and_then(parse) {
            Some((id, flags)) => Self { id, span, flags, continued: true },
            None => {
                let mut id = [0; 32];
                hex(&mut id[..16], random.next());
                hex(&mut id[16..], random.next() | 1);
                Self { id, span, flags: *b"01", continued: false }
            }
        }
    }

    /// The value of `traceparent` for the next hop.
    pub(crate) fn push(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(b"00-");
        to.extend_from_slice(&self.id);
        to.push(b'-');
        to.extend_from_slice(&self.span);
        to.push(b'-');
        to.extend_from_slice(&self.flags);
    }
}

fn hex(to: &mut [u8], mut value: u64) {
    for byte in to.iter_mut().rev() {
        *byte = b"0123456789abcdef"[(value & 15) as usize];
        value >>= 4;
    }
}

/// Trace id and flags of a valid `traceparent`. A version above 00 may carry more after the flags.
fn parse(value: &[u8]) -> Option<([u8; 32], [u8; 2])> {
    let lower = |part: &[u8]| part.iter().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte));
    let (version, rest) = value.split_at_checked(2)?;
    let dashes = rest.first() == Some(&b'-') && rest.get(33) == Some(&b'-') && rest.get(50) == Some(&b'-');
    let (id, span, flags) = (rest.get(1..33)?, rest.get(34..50)?, rest.get(51..53)?);
    let end = match rest.get(53) {
        None => true,
        Some(byte) => version != b"00" && *byte == b'-',
    };
    let digits = [version, id, span, flags].into_iter().all(lower);
    let zero = id.iter().all(|byte| *byte == b'0') || span.iter().all(|byte| *byte == b'0');
    if !(dashes && end && digits) || zero || version == b"ff" {
        return None;
    }
    // Of the flags only `sampled` and `random` are known; others must not be passed on.
    let known = (flags[1] as char).to_digit(16).unwrap_or(0) & 3;
    Some((id.try_into().ok()?, [b'0', b'0' + known as u8]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn next(given: Option<&str>) -> String {
        let mut out = Vec::new();
        Trace::new(given.map(str::as_bytes), &Random::seeded(9)).push(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_valid_one_is_continued_with_a_new_span() {
        let value = next(Some(GOOD));
        assert_eq!(value[..36], GOOD[..36]);
        assert_ne!(value[36..52], GOOD[36..52]);
        assert_eq!(&value[52..], "-01");
        let later = format!("cc{}-what-comes", &GOOD[2..]);
        assert_eq!(next(Some(&later))[..36], GOOD[..36]);
    }

    #[test]
    fn anything_else_starts_a_new_trace() {
        let long = format!("{GOOD}-x");
        let upper = GOOD.to_uppercase();
        for bad in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
            &long,
            &upper,
        ] {
            let value = next(Some(bad));
            assert_ne!(value[3..35], GOOD[3..35], "{bad}");
            assert!(parse(value.as_bytes()).is_some(), "{value}");
        }
        assert!(parse(next(None).as_bytes()).is_some());
    }
}
