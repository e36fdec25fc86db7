//! When requests are due. The schedule knows nothing of the server: that is what makes the load open.
//!
//! Arrivals are a Poisson process whose rate follows the profile, made by thinning: candidates come
//! at the highest rate of the profile, and each is kept with the probability of its moment.

use std::time::Duration;

use super::random::Random;

/// The shape of the load over the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Profile {
    /// The same rate all the time
    Steady,
    /// One day compressed to the duration: quiet at both ends, busy in the middle, with noise
    Daily,
}

/// How far the day swings around its mean.
const SWING: f64 = 0.8;
/// The day's noise: one factor for each half hour.
const NOISE_PARTS: usize = 48;
const NOISE: f64 = 0.1;

/// Yields the offsets at which requests are due, in order, all within the duration.
#[derive(Debug, Clone)]
pub(crate) struct Arrivals {
    random: Random,
    mean_rate: f64,
    duration_s: f64,
    profile: Profile,
    noise: Vec<f64>,
    at_s: f64,
}

impl Arrivals {
    /// `rate` is the mean in requests per second.
    pub(crate) fn new(profile: Profile, rate: f64, duration: Duration, seed: u64) -> Self {
        let mut random = Random::stream(seed, 1);
        let noise = (0..NOISE_PARTS).map(|_| random.between(1.0 - NOISE, 1.0 + NOISE)).collect();
        Self { random, mean_rate: rate, duration_s: duration.as_secs_f64(), profile, noise, at_s: 0.0 }
    }

    /// Requests per second that are due at `at_s` on average.
    pub(crate) fn rate_at(&self, at_s: f64) -> f64 {
        match self.profile {
            Profile::Steady => self.mean_rate,
            Profile::Daily => {
                let day = (at_s / self.duration_s).clamp(0.0, 1.0);
                let wave = 1.0 - SWING * (std::f64::consts::TAU * day).cos();
                let part = ((day * NOISE_PARTS as f64) as usize).min(NOISE_PARTS - 1);
                self.mean_rate * wave * self.noise[part]
            }
        }
    }

    fn rate_max(&self) -> f64 {
        match self.profile {
            Profile::Steady => self.mean_rate,
            Profile::Daily => self.mean_rate * (1.0 + SWING) * (1.0 + NOISE),
        }
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let rate_max = self.rate_max();
        loop {
            // 1 - unit() is never 0, so its logarithm is finite.
            self.at_s -= (1.0 - self.random.unit()).ln() / rate_max;
            if self.at_s >= self.duration_s {
                return None;
            }
            if self.random.unit() * rate_max < self.rate_at(self.at_s) {
                return Some(Duration::from_secs_f64(self.at_s));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn offsets(profile: Profile, rate: f64, seconds: u64, seed: u64) -> Vec<Duration> {
        Arrivals::new(profile, rate, Duration::from_secs(seconds), seed).collect()
    }

    fn any_profile() -> impl Strategy<Value = Profile> {
        prop_oneof![Just(Profile::Steady), Just(Profile::Daily)]
    }

    proptest! {
        #[test]
        fn arrivals_are_ordered_and_inside(profile in any_profile(), rate in 1.0..500.0, seconds in 1u64..30, seed: u64) {
            let all = offsets(profile, rate, seconds, seed);
            prop_assert!(all.windows(2).all(|pair| pair[0] <= pair[1]));
            prop_assert!(all.iter().all(|at| *at < Duration::from_secs(seconds)));
        }

        #[test]
        fn the_mean_rate_is_kept(profile in any_profile(), rate in 20.0..500.0, seconds in 5u64..40, seed: u64) {
            let wanted = rate * seconds as f64;
            let got = offsets(profile, rate, seconds, seed).len() as f64;
            // Six standard deviations of a Poisson count, and the noise of the day around its mean.
            let spread = 6.0 * wanted.sqrt() + if profile == Profile::Daily { wanted * NOISE } else { 0.0 };
            prop_assert!((got - wanted).abs() <= spread, "{got} arrivals, wanted about {wanted}");
        }

        #[test]
        fn the_same_seed_gives_the_same_schedule(profile in any_profile(), seed: u64) {
            prop_assert_eq!(offsets(profile, 50.0, 5, seed), offsets(profile, 50.0, 5, seed));
            prop_assert_ne!(offsets(profile, 50.0, 5, seed), offsets(profile, 50.0, 5, seed.wrapping_add(1)));
        }
    }

    #[test]
    fn a_day_is_quiet_at_its_ends_and_busy_in_the_middle() {
        let all = offsets(Profile::Daily, 200.0, 40, 7);
        let within = |from: u64, to: u64| {
            all.iter().filter(|at| at.as_secs() >= from && at.as_secs() < to).count() as f64
        };
        let (night, noon) = (within(0, 5) + within(35, 40), within(15, 25));
        assert!(noon > 4.0 * night, "{noon} at noon, {night} at night");
    }

    #[test]
    fn a_steady_load_has_no_slope() {
        let all = offsets(Profile::Steady, 200.0, 40, 7);
        let first = all.iter().filter(|at| at.as_secs() < 20).count() as f64;
        assert!((first / all.len() as f64 - 0.5).abs() < 0.05);
    }
}
