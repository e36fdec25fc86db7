//! The time that retention goes by: the wall clock, unless it jumped.
//!
//! A clock that jumps a year ahead would make retention remove everything. So a jump is held back
//! for a bounded time: until then the time goes on as it passes, and nothing is removed that would
//! not have been. If the clock still says so afterwards, it is believed. A restart after a long
//! pause looks the same and is treated the same; what should go stays a while longer.

use std::{sync::Arc, time::Duration};

use base::Clock;

#[derive(Debug)]
pub struct Believed {
    clock: Arc<dyn Clock>,
    jump_max: Duration,
    hold: Duration,
    /// What was believed last, and when by the monotonic clock.
    wall_ms: i64,
    at: Duration,
    held_since: Option<Duration>,
    pub jumps: u64,
}

impl Believed {
    /// `before_ms` is what was believed when the store was last written to.
    pub fn new(clock: Arc<dyn Clock>, before_ms: Option<i64>, jump_max: Duration, hold: Duration) -> Self {
        let (wall_ms, at) = (before_ms.unwrap_or_else(|| clock.now().millis()), clock.monotonic());
        // A pause of up to a day is a pause.
        let paused = clock.now().millis().saturating_sub(wall_ms);
        let pause_max = i64::try_from(hold.as_millis()).unwrap_or(i64::MAX);
        let wall_ms = if (0..=pause_max).contains(&paused) { clock.now().millis() } else { wall_ms };
        Self { clock, jump_max, hold, wall_ms, at, held_since: None, jumps: 0 }
    }

    /// Milliseconds.
    pub fn now_ms(&mut self) -> i64 {
        let (wall, at) = (self.clock.now().millis(), self.clock.monotonic());
        let passed =
            |since: Duration| i64::try_from(at.saturating_sub(since).as_millis()).unwrap_or(i64::MAX);
        let expected = self.wall_ms.saturating_add(passed(self.at));
        let off = wall.abs_diff(expected);
        if u128::from(off) <= self.jump_max.as_millis() {
            if self.held_since.take().is_some() {
                tracing::info!("the clock agrees again with the time that passed; retention goes on");
            }
            (self.wall_ms, self.at) = (wall, at);
            return wall;
        }
        (self.wall_ms, self.at) = (expected, at);
        let since = *self.held_since.get_or_insert_with(|| {
            self.jumps += 1;
            tracing::warn!(
                clock_ms = wall,
                expected_ms = expected,
                "the clock jumped; retention goes by the time that passed for {:?}",
                self.hold
            );
            at
        });
        if at.saturating_sub(since) < self.hold {
            return expected;
        }
        tracing::warn!(clock_ms = wall, "the clock has not gone back; retention believes it now");
        self.held_since = None;
        self.wall_ms = wall;
        wall
    }
}

#[cfg(test)]
mod tests {
    use base::{Timestamp, time::ManualClock};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn believed(before_ms: Option<i64>) -> (Arc<ManualClock>, Believed) {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_000_000_000_000)));
        let believed = Believed::new(Arc::clone(&clock) as Arc<dyn Clock>, before_ms, HOUR, 24 * HOUR);
        (clock, believed)
    }

    #[test]
    fn a_jump_is_believed_only_after_the_hold() {
        for to in [1_100_000_000_000, 900_000_000_000] {
            let (clock, mut believed) = believed(None);
            clock.advance(HOUR);
            assert_eq!(believed.now_ms(), 1_000_003_600_000);
            clock.jump_to(Timestamp::from_millis(to));
            assert_eq!(believed.now_ms(), 1_000_003_600_000);
            clock.advance(23 * HOUR);
            assert_eq!(believed.now_ms(), 1_000_003_600_000 + 23 * 3_600_000);
            assert_eq!(believed.jumps, 1);
            clock.advance(HOUR);
            assert_eq!(believed.now_ms(), to + 24 * 3_600_000);
        }
    }

    #[test]
    fn a_clock_that_is_put_right_ends_the_hold() {
        let (clock, mut believed) = believed(None);
        clock.jump_to(Timestamp::from_millis(1_100_000_000_000));
        assert_eq!(believed.now_ms(), 1_000_000_000_000);
        clock.jump_to(Timestamp::from_millis(1_000_000_000_500));
        assert_eq!(believed.now_ms(), 1_000_000_000_500);
    }

    #[test]
    fn a_short_pause_is_none_and_a_long_one_is_a_jump() {
        assert_eq!(believed(Some(1_000_000_000_000 - 3_600_000)).1.now_ms(), 1_000_000_000_000);
        let long_ago = 1_000_000_000_000 - 90 * 86_400_000;
        assert_eq!(believed(Some(long_ago)).1.now_ms(), long_ago);
    }
}
