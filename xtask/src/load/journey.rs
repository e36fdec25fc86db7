//! What customers do: each arrival of the schedule is the next step of somebody's visit.
//!
//! The plan is made without the server, too. An arrival goes to the visit that has waited longest
//! past its time to think, and starts a new visit when nobody is waiting; so the rate is kept from
//! the first second to the last.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use super::{random::Random, schedule::Arrivals};

/// What one request asks for. Numbers choose among what the shop turns out to sell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Home,
    Category(u32),
    Search(u32),
    Product(u32),
    Add(u32),
    Cart,
    CheckoutForm,
    Checkout,
    /// The order just placed.
    Order,
    Orders,
}

impl Step {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Home => "home",
            Self::Category(_) => "category",
            Self::Search(_) => "search",
            Self::Product(_) => "product",
            Self::Add(_) => "add",
            Self::Cart => "cart",
            Self::CheckoutForm => "checkout-form",
            Self::Checkout => "checkout",
            Self::Order => "order",
            Self::Orders => "orders",
        }
    }
}

/// One request that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) at: Duration,
    /// Counts the visits of the run; steps of one visit follow each other.
    pub(crate) visit: u64,
    pub(crate) step: Step,
    pub(crate) is_last: bool,
}

/// Seconds between two steps of a visit, at least.
const THINK_S: (f64, f64) = (0.3, 2.0);

#[derive(Debug)]
pub(crate) struct Plan {
    arrivals: Arrivals,
    seed: u64,
    visits: u64,
    /// By when they want to go on: microseconds, visit.
    waiting: BinaryHeap<Reverse<(u64, u64)>>,
    open: std::collections::HashMap<u64, (std::vec::IntoIter<Step>, Random)>,
}

impl Plan {
    pub(crate) fn new(arrivals: Arrivals, seed: u64) -> Self {
        Self { arrivals, seed, visits: 0, waiting: BinaryHeap::new(), open: std::collections::HashMap::new() }
    }

    fn visit_for(&mut self, now_us: u64) -> u64 {
        if let Some(Reverse((ready_us, visit))) = self.waiting.peek().copied()
            && ready_us <= now_us
        {
            self.waiting.pop();
            return visit;
        }
        let visit = self.visits;
        self.visits += 1;
        let mut random = Random::stream(self.seed, visit.wrapping_add(1000));
        self.open.insert(visit, (steps(&mut random).into_iter(), random));
        visit
    }
}

impl Iterator for Plan {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        let at = self.arrivals.next()?;
        let now_us = at.as_micros() as u64;
        let visit = self.visit_for(now_us);
        let (steps, random) = self.open.get_mut(&visit)?;
        let step = steps.next()?;
        let is_last = steps.len() == 0;
        if is_last {
            self.open.remove(&visit);
        } else {
            let think_us = (random.between(THINK_S.0, THINK_S.1) * 1e6) as u64;
            self.waiting.push(Reverse((now_us + think_us, visit)));
        }
        Some(Due { at, visit, step, is_last })
    }
}

/// More than half only look, some fill a cart and leave it, and a quarter buys.
fn steps(random: &mut Random) -> Vec<Step> {
    let mut number = || random.below(10_000);
    let mut steps = vec![Step::Home];
    match number() % 100 {
        0..55 => {
            steps.push(Step::Category(number()));
            for _ in 0..1 + number() % 3 {
                steps.push(Step::Product(number()));
            }
            if number().is_multiple_of(2) {
                steps.push(Step::Search(number()));
            }
        }
        55..75 => {
            steps.extend([Step::Search(number()), Step::Product(number()), Step::Add(number()), Step::Cart]);
        }
        _ => {
            steps.push(Step::Category(number()));
            for _ in 0..1 + number() % 2 {
                let product = number();
                steps.extend([Step::Product(product), Step::Add(product)]);
            }
            steps.extend([Step::Cart, Step::CheckoutForm, Step::Checkout, Step::Order]);
            if number().is_multiple_of(3) {
                steps.push(Step::Orders);
            }
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::load::schedule::Profile;

    fn plan(seed: u64) -> Vec<Due> {
        Plan::new(Arrivals::new(Profile::Steady, 300.0, Duration::from_secs(20), seed), seed).collect()
    }

    #[test]
    fn every_arrival_is_a_request() {
        let arrivals = Arrivals::new(Profile::Steady, 300.0, Duration::from_secs(20), 3).count();
        assert_eq!(plan(3).len(), arrivals);
    }

    #[test]
    fn the_same_seed_gives_the_same_visits() {
        assert_eq!(plan(3), plan(3));
        assert_ne!(plan(3), plan(4));
    }

    #[test]
    fn visits_keep_their_order_and_take_time_to_think() {
        let mut visits: HashMap<u64, Vec<Due>> = HashMap::new();
        for due in plan(5) {
            visits.entry(due.visit).or_default().push(due);
        }
        for steps in visits.values() {
            assert_eq!(steps[0].step, Step::Home);
            let think = Duration::from_secs_f64(THINK_S.0);
            assert!(steps.windows(2).all(|pair| pair[1].at - pair[0].at >= think));
            assert!(steps[..steps.len() - 1].iter().all(|due| !due.is_last));
            let bought = steps.iter().position(|due| due.step == Step::Checkout);
            let added = steps.iter().position(|due| matches!(due.step, Step::Add(_)));
            assert!(bought.is_none() || added < bought);
        }
    }

    #[test]
    fn a_part_of_the_customers_buys() {
        let all = plan(9);
        let visits = all.iter().map(|due| due.visit).max().unwrap() as f64;
        let bought = all.iter().filter(|due| due.step == Step::Checkout).count() as f64;
        // A quarter, less those whose visit outlasts the run.
        assert!((0.10..0.30).contains(&(bought / visits)), "{bought} of {visits}");
    }
}
