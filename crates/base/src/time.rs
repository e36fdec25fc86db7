//! Time: nanoseconds since the Unix epoch in UTC, and the clock they come from.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

/// Nanoseconds since the Unix epoch, UTC. Order of changes is the ledger's sequence, never this.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }
    #[must_use]
    pub const fn nanos(self) -> i64 {
        self.0
    }
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }
    /// Time from `earlier` to this, zero when the clock went back.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX)))
    }
}

/// RFC 3339 in UTC with milliseconds, such as `2026-01-02T03:04:05.678Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.millis()) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => write!(f, "{}ns", self.0),
        }
    }
}

impl std::str::FromStr for Timestamp {
    type Err = crate::units::InvalidQuantity;
    /// Parses RFC 3339, with any offset.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || crate::units::InvalidQuantity {
            given: text.to_owned(),
            expected: "a time such as 2026-01-02T03:04:05Z",
        };
        let time: jiff::Timestamp = text.parse().map_err(|_| wrong())?;
        i64::try_from(time.as_nanosecond()).map(Self).map_err(|_| wrong())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ns", self.0)
    }
}

/// Where time comes from. Wall time stamps records; monotonic time measures and times out.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Wall time. It can jump both ways.
    fn now(&self) -> Timestamp;
    /// Time since some fixed moment. It never goes back.
    fn monotonic(&self) -> Duration;
}

/// The machine's clock.
#[derive(Debug, Clone)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    #[must_use]
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
    #[must_use]
    pub fn shared() -> Arc<dyn Clock> {
        Arc::new(Self::new())
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // the one place that reads the machine's wall clock
    fn now(&self) -> Timestamp {
        let nanos = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_nanos()).unwrap_or(i64::MAX),
        };
        Timestamp(nanos)
    }
    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// A clock that tests move by hand; wall and monotonic time move apart when told to jump.
#[derive(Debug, Default)]
pub struct ManualClock {
    wall_nanos: AtomicI64,
    monotonic_nanos: AtomicI64,
}

impl ManualClock {
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self { wall_nanos: AtomicI64::new(now.0), monotonic_nanos: AtomicI64::new(0) }
    }
    /// Time passes.
    pub fn advance(&self, by: Duration) {
        let nanos = i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
        self.wall_nanos.fetch_add(nanos, Ordering::SeqCst);
        self.monotonic_nanos.fetch_add(nanos, Ordering::SeqCst);
    }
    /// The wall clock is set to `now`; monotonic time stays.
    pub fn jump_to(&self, now: Timestamp) {
        self.wall_nanos.store(now.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.wall_nanos.load(Ordering::SeqCst))
    }
    fn monotonic(&self) -> Duration {
        Duration::from_nanos(u64::try_from(self.monotonic_nanos.load(Ordering::SeqCst)).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_and_write_rfc_3339() {
        let time = Timestamp::from_millis(1_767_323_045_678);
        assert_eq!(time.to_string(), "2026-01-02T03:04:05.678Z");
        assert_eq!(time.to_string().parse(), Ok(time));
        assert_eq!("2026-01-02T04:04:05.678+01:00".parse(), Ok(time));
        assert!("yesterday".parse::<Timestamp>().is_err());
    }
}
