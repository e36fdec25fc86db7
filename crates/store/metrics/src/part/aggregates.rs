//! What is computed of a chunk when it is written, so that long ranges need not decode it.

/// Of one chunk of floats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Aggregates {
    pub first: f64,
    pub last: f64,
    pub min: f64,
    pub max: f64,
    /// Added up in order, with Neumaier's compensation.
    pub sum: f64,
    /// What counter resets took away: the sum of the values just before each fall.
    pub resets_sum: f64,
}

impl Aggregates {
    /// None when a value is NaN (a staleness marker is one): who asks has to look at each then.
    pub(super) fn of(values: &[f64]) -> Option<Self> {
        let (&first, &last) = values.first().zip(values.last())?;
        let mut known = Self { first, last, min: first, max: first, sum: 0.0, resets_sum: 0.0 };
        let (mut compensation, mut before) = (0.0, first);
        for &value in values {
            if value.is_nan() {
                return None;
            }
            known.min = known.min.min(value);
            known.max = known.max.max(value);
            let sum = known.sum + value;
            compensation += if known.sum.abs() >= value.abs() {
                (known.sum - sum) + value
            } else {
                (value - sum) + known.sum
            };
            known.sum = sum;
            if value < before {
                known.resets_sum += before;
            }
            before = value;
        }
        if compensation.is_finite() {
            known.sum += compensation;
        }
        Some(known)
    }

    /// Of one value.
    pub(super) fn constant_once(value: f64) -> Self {
        Self { first: value, last: value, min: value, max: value, sum: value, resets_sum: 0.0 }
    }

    /// Of as many equal values, when this is of one.
    pub(super) fn repeated(self, count: usize) -> Self {
        Self { sum: self.sum * count as f64, ..self }
    }
}
