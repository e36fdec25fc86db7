//! Dependency order of a graph given as lists of indexes.

use std::{cmp::Reverse, collections::BinaryHeap};

/// Indexes so that each comes after those it points to, the lowest first where there is a choice;
/// or one cycle, each pointing to the next and the last to the first.
pub(super) fn sort(edges: &[Vec<usize>]) -> Result<Vec<usize>, Vec<usize>> {
    let mut waiting_for: Vec<usize> = edges.iter().map(Vec::len).collect();
    let mut waiters: Vec<Vec<usize>> = vec![Vec::new(); edges.len()];
    for (from, targets) in edges.iter().enumerate() {
        for to in targets {
            waiters[*to].push(from);
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> =
        (0..edges.len()).filter(|at| waiting_for[*at] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(edges.len());
    while let Some(Reverse(at)) = ready.pop() {
        order.push(at);
        for waiter in &waiters[at] {
            waiting_for[*waiter] -= 1;
            if waiting_for[*waiter] == 0 {
                ready.push(Reverse(*waiter));
            }
        }
    }
    if order.len() == edges.len() { Ok(order) } else { Err(cycle(edges, &waiting_for)) }
}

/// Whoever still waits points to somebody who still waits: walking on comes back sooner or later.
fn cycle(edges: &[Vec<usize>], waiting_for: &[usize]) -> Vec<usize> {
    let mut seen_at = vec![usize::MAX; edges.len()];
    let mut path = Vec::new();
    let mut at = waiting_for.iter().position(|waiting| *waiting > 0).unwrap_or_default();
    while seen_at[at] == usize::MAX {
        seen_at[at] = path.len();
        path.push(at);
        match edges[at].iter().find(|to| waiting_for[**to] > 0) {
            Some(next) => at = *next,
            None => break,
        }
    }
    let mut cycle = path.split_off(seen_at[at]);
    let lowest = cycle.iter().enumerate().min_by_key(|(_, at)| **at).map_or(0, |(position, _)| position);
    cycle.rotate_left(lowest);
    cycle
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn needs_come_first() {
        assert_eq!(sort(&[vec![1], vec![2], vec![]]), Ok(vec![2, 1, 0]));
        assert_eq!(sort(&[vec![], vec![], vec![0]]), Ok(vec![0, 1, 2]));
        assert_eq!(sort(&[vec![0]]), Err(vec![0]));
        assert_eq!(sort(&[vec![], vec![3], vec![1], vec![2]]), Err(vec![1, 3, 2]));
    }

    proptest! {
        #[test]
        fn the_outcome_is_an_order_or_a_cycle(
            edges in prop::collection::vec(prop::collection::vec(0usize..12, 0..3), 12)
        ) {
            match sort(&edges) {
                Ok(order) => {
                    let position = |at: usize| order.iter().position(|one| *one == at);
                    for (from, targets) in edges.iter().enumerate() {
                        for to in targets {
                            prop_assert!(position(*to) < position(from));
                        }
                    }
                }
                Err(cycle) => {
                    for (step, at) in cycle.iter().enumerate() {
                        prop_assert!(edges[*at].contains(&cycle[(step + 1) % cycle.len()]));
                    }
                }
            }
        }
    }
}
