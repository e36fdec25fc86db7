//! Free loopback ports for workloads.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, TcpListener},
    ops::RangeInclusive,
    sync::Mutex,
};

use runtime_api::{Error, Result};

/// Below the ports that Linux hands out for outgoing connections (32768 to 60999), which would take
/// one from under a workload between two of its runs.
pub const RANGE_DEFAULT: RangeInclusive<u16> = 20_000..=29_999;

/// Gives ports out in turn, so that one just freed is not at once somebody else's.
#[derive(Debug)]
pub struct Ports {
    range: RangeInclusive<u16>,
    next: Mutex<u16>,
}

impl Ports {
    #[must_use]
    pub fn new(range: RangeInclusive<u16>) -> Self {
        let next = Mutex::new(*range.start());
        Self { range, next }
    }

    /// A port of the range that is not in `taken` and that can be bound on 127.0.0.1 now. Two calls
    /// give two ports until the range has gone round.
    ///
    /// # Errors
    /// [`Error::Start`] when no port of the range is free. It blocks for a few system calls.
    pub fn pick(&self, taken: &BTreeSet<u16>) -> Result<u16> {
        let mut next = self.next.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for _ in 0..self.range.len() {
            let port = *next;
            *next = if port >= *self.range.end() { *self.range.start() } else { port + 1 };
            if !taken.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(port);
            }
        }
        Err(Error::Start {
            what: "a port".into(),
            why: format!("none of {} to {} on 127.0.0.1 is free", self.range.start(), self.range.end()),
        })
    }
}

impl Default for Ports {
    fn default() -> Self {
        Self::new(RANGE_DEFAULT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skips_what_is_taken_or_bound_and_says_when_none_is_left() {
        // A port that the kernel gave us is bound for sure; the range is just that and its next ones.
        let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = bound.local_addr().unwrap().port();
        let only = Ports::new(port..=port);
        assert!(only.pick(&BTreeSet::new()).unwrap_err().to_string().contains("free"));
        drop(bound);
        assert_eq!(only.pick(&BTreeSet::new()).unwrap(), port);
        assert!(only.pick(&BTreeSet::from([port])).is_err());
    }

    #[test]
    fn two_picks_differ() {
        let ports = Ports::default();
        let none = BTreeSet::new();
        assert_ne!(ports.pick(&none).unwrap(), ports.pick(&none).unwrap());
    }
}
