//! Sums of deltas: what a sender counts since its last export becomes what it counted since it began.
//!
//! State is held per series, bounded in number and bytes. A series that sent nothing for
//! [`Limits::idle_ms`] is forgotten when room is needed; a series that does not fit is refused, not one
//! that is in use thrown out. A restart forgets everything, and each series begins again at its next
//! delta: to a reader a counter reset, which `rate` and `increase` know.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use crate::native::Exponential;

/// Bounds of the sums of deltas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub series_max: usize,
    pub bytes_max: usize,
    /// How long a series may be silent before it is forgotten for another.
    pub idle_ms: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { series_max: 100_000, bytes_max: 64 << 20, idle_ms: 3_600_000 }
    }
}

/// What a data point brings.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Amount {
    Number(f64),
    Classic { bounds: Vec<f64>, counts: Vec<f64>, count: f64, sum: f64 },
    Exponential(Box<Exponential>),
}

impl Amount {
    /// Adds `next`; where the two do not go together (other boundaries), `next` begins anew.
    fn add(&mut self, next: Self) {
        match (self, next) {
            (Self::Number(total), Self::Number(delta)) => *total += delta,
            (
                Self::Classic { bounds, counts, count, sum },
                Self::Classic { bounds: b, counts: c, count: n, sum: s },
            ) if *bounds == b && counts.len() == c.len() => {
                counts.iter_mut().zip(c).for_each(|(total, delta)| *total += delta);
                *count += n;
                *sum += s;
            }
            (Self::Exponential(total), Self::Exponential(delta)) => total.add(*delta),
            (this, next) => *this = next,
        }
    }

    fn size_bytes(&self) -> usize {
        CELL_BYTES
            + match self {
                Self::Number(_) => 0,
                Self::Classic { bounds, counts, .. } => (bounds.len() + counts.len()) * 8,
                Self::Exponential(histogram) => histogram.size_bytes(),
            }
    }
}

/// Key, cell and their place in the table.
const CELL_BYTES: usize = 160;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("its time is before one that was counted already")]
    Late,
    #[error("as many delta series as may be are being summed up")]
    Full,
}

#[derive(Debug)]
struct Cell {
    total: Amount,
    time_nanos: u64,
    touched_ms: i64,
}

#[derive(Debug, Default)]
struct State {
    cells: HashMap<u128, Cell>,
    bytes: usize,
    /// Nothing was idle when last looked at; not worth looking again before.
    look_again_ms: i64,
}

#[derive(Debug, Default)]
pub(crate) struct Deltas {
    limits: Limits,
    state: Mutex<State>,
}

impl Deltas {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, state: Mutex::default() }
    }

    /// Adds `delta` to its series and gives the total. The same time as last gives the same total
    /// again: a repeated export is not counted twice.
    pub(crate) fn add(
        &self,
        key: u128,
        time_nanos: u64,
        delta: Amount,
        now_ms: i64,
    ) -> Result<Amount, Refused> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { cells, bytes, .. } = &mut *state;
        if let Some(cell) = cells.get_mut(&key) {
            if time_nanos < cell.time_nanos {
                return Err(Refused::Late);
            }
            if time_nanos > cell.time_nanos {
                let before = cell.total.size_bytes();
                cell.total.add(delta);
                *bytes = (*bytes + cell.total.size_bytes()).saturating_sub(before);
                cell.time_nanos = time_nanos;
            }
            cell.touched_ms = now_ms;
            return Ok(cell.total.clone());
        }
        let size = delta.size_bytes();
        if self.is_full(&state, size) {
            self.forget_idle(&mut state, now_ms);
            if self.is_full(&state, size) {
                return Err(Refused::Full);
            }
        }
        state.bytes += size;
        state.cells.insert(key, Cell { total: delta.clone(), time_nanos, touched_ms: now_ms });
        Ok(delta)
    }

    /// The series ended; its next delta begins anew.
    pub(crate) fn end(&self, key: u128) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = state.cells.remove(&key) {
            state.bytes = state.bytes.saturating_sub(cell.total.size_bytes());
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).cells.len()
    }

    fn is_full(&self, state: &State, size: usize) -> bool {
        state.cells.len() >= self.limits.series_max || state.bytes + size > self.limits.bytes_max
    }

    fn forget_idle(&self, state: &mut State, now_ms: i64) {
        if now_ms < state.look_again_ms {
            return;
        }
        let oldest_ms = now_ms.saturating_sub(self.limits.idle_ms);
        let mut first_ms = i64::MAX;
        let mut bytes = 0;
        state.cells.retain(|_, cell| {
            let keep = cell.touched_ms > oldest_ms;
            if keep {
                first_ms = first_ms.min(cell.touched_ms);
                bytes += cell.total.size_bytes();
            }
            keep
        });
        state.bytes = bytes;
        state.look_again_ms = first_ms.saturating_add(self.limits.idle_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(deltas: &Deltas, key: u128, time: u64, delta: f64, now_ms: i64) -> Result<f64, Refused> {
        deltas.add(key, time, Amount::Number(delta), now_ms).map(|total| match total {
            Amount::Number(total) => total,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn deltas_add_up_and_a_repeated_one_does_not() {
        let deltas = Deltas::default();
        assert_eq!(number(&deltas, 1, 10, 5.0, 0), Ok(5.0));
        assert_eq!(number(&deltas, 1, 20, 2.0, 0), Ok(7.0));
        assert_eq!(number(&deltas, 1, 20, 2.0, 0), Ok(7.0));
        assert_eq!(number(&deltas, 1, 15, 2.0, 0), Err(Refused::Late));
        deltas.end(1);
        assert_eq!(number(&deltas, 1, 30, 1.0, 0), Ok(1.0));
    }

    #[test]
    fn what_does_not_fit_is_refused_until_something_is_idle() {
        let deltas = Deltas::new(Limits { series_max: 2, idle_ms: 100, ..Limits::default() });
        assert!(number(&deltas, 1, 1, 1.0, 0).is_ok() && number(&deltas, 2, 1, 1.0, 50).is_ok());
        assert_eq!(number(&deltas, 3, 1, 1.0, 99), Err(Refused::Full));
        assert_eq!(number(&deltas, 3, 1, 1.0, 100), Ok(1.0));
        assert_eq!(deltas.len(), 2);
        let small = Deltas::new(Limits { bytes_max: CELL_BYTES, ..Limits::default() });
        assert!(number(&small, 1, 1, 1.0, 0).is_ok());
        assert_eq!(number(&small, 2, 1, 1.0, 0), Err(Refused::Full));
    }

    #[test]
    fn other_boundaries_begin_anew() {
        let of = |bounds: &[f64], counts: &[f64]| Amount::Classic {
            bounds: bounds.to_vec(),
            counts: counts.to_vec(),
            count: 3.0,
            sum: 1.0,
        };
        let mut total = of(&[1.0], &[1.0, 2.0]);
        total.add(of(&[1.0], &[1.0, 2.0]));
        assert!(matches!(&total, Amount::Classic { counts, count: 6.0, .. } if *counts == [2.0, 4.0]));
        total.add(of(&[2.0], &[1.0, 2.0]));
        assert_eq!(total, of(&[2.0], &[1.0, 2.0]));
    }
}
