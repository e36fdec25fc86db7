//! Which endpoint takes a request: first the release by weight, then the better of two random
//! endpoints by expected wait (peak-sensitive moving average of latency, times requests in
//! flight).
//!
//! All of it is per thread; what must be shared (ejection, active checks) is in
//! [`crate::plan::Health`].

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
};

use base::id::ReplicaId;

use crate::{
    plan::Health,
    table::{Endpoint, Route, Target},
    upstream::Idle,
};

/// Weight of the past falls to 1/e in this time.
const DECAY_US: f64 = 10_000_000.0;
/// What an endpoint without a measured latency is taken for while it has requests in flight, so
/// that a new one gets one request to measure and not all of them.
const UNKNOWN_US: f64 = 1_000_000.0;

/// What this thread knows of one endpoint, across routes.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) replica: ReplicaId,
    pub(crate) address: SocketAddr,
    pub(crate) health: Arc<Health>,
    pub(crate) idle: RefCell<Vec<Idle>>,
    in_flight: Cell<u32>,
    latency_us: Cell<f64>,
    observed_us: Cell<u64>,
}

impl Upstream {
    pub(crate) fn new(replica: ReplicaId, address: SocketAddr, health: Arc<Health>) -> Self {
        Self {
            replica,
            address,
            health,
            idle: RefCell::default(),
            in_flight: Cell::new(0),
            latency_us: Cell::new(0.0),
            observed_us: Cell::new(0),
        }
    }

    pub(crate) fn begin(&self) {
        self.in_flight.set(self.in_flight.get() + 1);
    }

    pub(crate) fn end(&self) {
        self.in_flight.set(self.in_flight.get().saturating_sub(1));
    }

    /// A latency up to the response's head. A higher one counts at once, a lower one by and by.
    /// Failures are not observed: a fast error must not attract requests.
    pub(crate) fn observe(&self, latency_us: u64, now_us: u64) {
        let new = latency_us as f64;
        let old = self.latency_us.get();
        let next = if new >= old {
            new
        } else {
            let past = (-(now_us.saturating_sub(self.observed_us.get()) as f64) / DECAY_US).exp();
            // With many requests per second each one alone would hardly count.
            let keep = past.min(0.99);
            old * keep + new * (1.0 - keep)
        };
        self.latency_us.set(next.max(1.0));
        self.observed_us.set(now_us);
    }

    fn load(&self) -> f64 {
        let in_flight = f64::from(self.in_flight.get());
        match self.latency_us.get() {
            0.0 => in_flight * UNKNOWN_US,
            known => known * (in_flight + 1.0),
        }
    }
}

/// A small fast generator (xorshift64*), one per thread; for choices and trace ids, not secrets.
#[derive(Debug)]
pub(crate) struct Random(Cell<u64>);

impl Random {
    pub(crate) fn new() -> Self {
        let mut seed = [0; 8];
        // Without entropy the address of a fresh allocation still tells threads apart.
        let fallback = &raw const *Box::new(0u8) as usize as u64;
        let seeded = getrandom::fill(&mut seed).is_ok();
        Self::seeded(if seeded { u64::from_ne_bytes(seed) } else { fallback })
    }

    pub(crate) fn seeded(seed: u64) -> Self {
        Self(Cell::new(seed | 1))
    }

    pub(crate) fn next(&self) -> u64 {
        let mut x = self.0.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.0.set(x);
        x.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Below `bound`, which is not zero.
    fn below(&self, bound: usize) -> usize {
        (((self.next() >> 32) * bound as u64) >> 32) as usize
    }
}

/// An endpoint for the next attempt, never one in `tried`. None when no release takes traffic or
/// all endpoints are tried.
///
/// When every endpoint left is ejected or down, they are used nevertheless: a wrong verdict on
/// all of them must not become an outage.
pub(crate) fn choose(
    route: &Route,
    tried: &[Rc<Endpoint>],
    random: &Random,
    now_ms: u64,
) -> Option<Rc<Endpoint>> {
    let first = choose_target(route, random)?;
    let pass = |available_only: bool| {
        let usable = |endpoint: &Rc<Endpoint>| {
            !tried.iter().any(|one| Rc::ptr_eq(&one.upstream, &endpoint.upstream))
                && (!available_only || endpoint.upstream.health.available(now_ms))
        };
        let others = route.targets.iter().filter(|target| target.weight > 0 && !std::ptr::eq(*target, first));
        std::iter::once(first).chain(others).find_map(|target| two_choices(target, usable, random))
    };
    pass(true).or_else(|| pass(false))
}

fn choose_target<'a>(route: &'a Route, random: &Random) -> Option<&'a Target> {
    if let [only] = &route.targets[..] {
        return (only.weight > 0).then_some(only);
    }
    let total =
        route.targets.iter().filter(|target| !target.endpoints.is_empty()).map(|t| t.weight).sum::<u32>();
    if total == 0 {
        return None;
    }
    let mut at = random.below(total as usize) as u32;
    for target in route.targets.iter().filter(|target| !target.endpoints.is_empty()) {
        if at < target.weight {
            return Some(target);
        }
        at -= target.weight;
    }
    None
}

fn two_choices(
    target: &Target,
    usable: impl Fn(&Rc<Endpoint>) -> bool,
    random: &Random,
) -> Option<Rc<Endpoint>> {
    let endpoints = &target.endpoints;
    match endpoints.len() {
        0 => return None,
        1 => return endpoints.first().filter(|one| usable(one)).cloned(),
        _ => {}
    }
    let one = random.below(endpoints.len());
    let other = (one + 1 + random.below(endpoints.len() - 1)) % endpoints.len();
    let (one, other) = (&endpoints[one], &endpoints[other]);
    match (usable(one), usable(other)) {
        (true, true) if other.upstream.load() < one.upstream.load() => Some(other.clone()),
        (true, _) => Some(one.clone()),
        (false, true) => Some(other.clone()),
        (false, false) => {
            let left: Vec<_> = endpoints.iter().filter(|endpoint| usable(endpoint)).collect();
            (!left.is_empty()).then(|| left[random.below(left.len())].clone())
        }
    }
}

/// Retries as a share of requests over the last ten seconds.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    seconds: RefCell<[(u64, u64, u64); 10]>,
}

impl Budget {
    pub(crate) fn request(&self, now_ms: u64) {
        self.at(now_ms).1 += 1;
    }

    /// Whether one more retry fits; it is counted when it does.
    pub(crate) fn retry(&self, percent: u32, now_ms: u64) -> bool {
        let second = now_ms / 1_000;
        let (mut requests, mut retries) = (0, 0);
        for &(of, asked, retried) in self.seconds.borrow().iter() {
            if second.saturating_sub(of) < 10 {
                requests += asked;
                retries += retried;
            }
        }
        let most = (requests * u64::from(percent) / 100).max(crate::limits::RETRY_FLOOR);
        if percent == 0 || retries >= most {
            return false;
        }
        self.at(now_ms).2 += 1;
        true
    }

    fn at(&self, now_ms: u64) -> std::cell::RefMut<'_, (u64, u64, u64)> {
        let second = now_ms / 1_000;
        std::cell::RefMut::map(self.seconds.borrow_mut(), |seconds| {
            let entry = &mut seconds[(second % 10) as usize];
            if entry.0 != second {
                *entry = (second, 0, 0);
            }
            entry
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{limits::RETRY_FLOOR, plan::Verdict, table::testing};

    fn shares(route: &Route, rounds: usize, now_ms: u64) -> Vec<usize> {
        let random = Random::seeded(42);
        let all: Vec<_> = route.targets.iter().flat_map(|target| &target.endpoints).collect();
        let mut counts = vec![0; all.len()];
        for _ in 0..rounds {
            let chosen = choose(route, &[], &random, now_ms).unwrap();
            counts[all.iter().position(|one| Rc::ptr_eq(one, &chosen)).unwrap()] += 1;
        }
        counts
    }

    fn eject(route: &Route, target: usize, endpoint: usize) {
        for _ in 0..2 {
            route.targets[target].endpoints[endpoint].upstream.health.note(Verdict::Unreachable, 0);
        }
    }

    #[test]
    fn weights_are_kept() {
        let route = testing::route(&[(90, 1), (10, 1), (0, 1)]);
        let counts = shares(&route, 100_000, 0);
        assert!((89_000..91_000).contains(&counts[0]), "{counts:?}");
        assert_eq!(counts[2], 0);
    }

    #[test]
    fn the_slow_endpoint_gets_little() {
        let route = testing::route(&[(100, 3)]);
        let endpoints = &route.targets[0].endpoints;
        for (endpoint, latency_us) in endpoints.iter().zip([1_000, 1_000, 50_000]) {
            endpoint.upstream.observe(latency_us, 0);
        }
        let counts = shares(&route, 10_000, 0);
        assert_eq!(counts[2], 0, "{counts:?}");
        // Until the fast ones are busy enough.
        for _ in 0..100 {
            endpoints[0].upstream.begin();
            endpoints[1].upstream.begin();
        }
        assert!(shares(&route, 10_000, 0)[2] > 6_000);
    }

    #[test]
    fn a_new_endpoint_gets_one_request_to_be_measured() {
        let route = testing::route(&[(100, 2)]);
        let endpoints = &route.targets[0].endpoints;
        endpoints[0].upstream.observe(1_000, 0);
        assert_eq!(shares(&route, 100, 0), [0, 100]);
        endpoints[1].upstream.begin();
        assert_eq!(shares(&route, 100, 0), [100, 0]);
    }

    #[test]
    fn a_peak_counts_at_once_and_fades() {
        let route = testing::route(&[(100, 1)]);
        let upstream = &route.targets[0].endpoints[0].upstream;
        upstream.observe(1_000, 0);
        upstream.observe(100_000, 1_000);
        assert!(upstream.load() >= 100_000.0);
        for round in 1..=60u64 {
            upstream.observe(1_000, round * 1_000_000);
        }
        assert!(upstream.load() < 2_000.0, "{}", upstream.load());
    }

    #[test]
    fn ejected_ones_are_left_out_until_none_is_left() {
        let route = testing::route(&[(100, 2)]);
        eject(&route, 0, 0);
        assert_eq!(shares(&route, 100, 10), [0, 100]);
        eject(&route, 0, 1);
        let counts = shares(&route, 1_000, 10);
        assert!(counts.iter().all(|&count| count > 100), "{counts:?}");
    }

    #[test]
    fn another_release_steps_in_when_one_is_out() {
        let route = testing::route(&[(50, 1), (50, 1)]);
        eject(&route, 0, 0);
        assert_eq!(shares(&route, 100, 10), [0, 100]);
    }

    #[test]
    fn an_endpoint_is_tried_once() {
        let route = testing::route(&[(100, 2)]);
        let random = Random::seeded(1);
        let first = choose(&route, &[], &random, 0).unwrap();
        let second = choose(&route, std::slice::from_ref(&first), &random, 0).unwrap();
        assert!(!Rc::ptr_eq(&first, &second));
        assert!(choose(&route, &[first, second], &random, 0).is_none());
    }

    #[test]
    fn no_release_with_weight_means_none() {
        assert!(choose(&testing::route(&[(0, 2)]), &[], &Random::seeded(1), 0).is_none());
        assert!(choose(&testing::route(&[]), &[], &Random::seeded(1), 0).is_none());
        assert!(choose(&testing::route(&[(100, 0)]), &[], &Random::seeded(1), 0).is_none());
    }

    #[test]
    fn retries_stay_within_their_share() {
        let budget = Budget::default();
        for at in 0..1_000 {
            budget.request(at);
        }
        let granted = (0..1_000).filter(|_| budget.retry(20, 999)).count();
        assert_eq!(granted, 200);
        assert!(!budget.retry(20, 9_900));
        // Ten seconds later only the floor is left.
        let granted = (0..1_000).filter(|_| budget.retry(20, 11_500)).count();
        assert_eq!(granted as u64, RETRY_FLOOR);
        assert!(!Budget::default().retry(0, 0), "0 percent means none");
    }
}
