//! Durations as they are written: numbers, arithmetic, and what only the running query knows.

use std::fmt;

use super::{Number, Place};

/// A duration in brackets, after `offset`, or as a subquery's step. Values are seconds.
#[derive(Debug, Clone)]
pub enum DurationExpr {
    /// `5m`, `300`, `-5m`
    Literal(Number),
    /// `step()`: the step of the query, 0 of an instant query.
    Step(Place),
    /// `range()`: from the start to the end of the query.
    Range(Place),
    /// `-d` of anything but a literal, which takes its sign in
    Negated { of: Box<DurationExpr>, place: Place },
    /// `a + b`, `min_of(a, b)`, …
    Binary { op: DurationOp, left: Box<DurationExpr>, right: Box<DurationExpr>, place: Place },
    /// `(d)`
    Paren { of: Box<DurationExpr>, place: Place },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DurationOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    /// `min_of(a, b)`
    Min,
    /// `max_of(a, b)`
    Max,
}

impl DurationOp {
    /// The operator, or the name of the function.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Min => "min_of",
            Self::Max => "max_of",
        }
    }
}

/// A duration that has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DurationError {
    /// Where in the text.
    pub place: Place,
    /// In words, as upstream says it.
    pub why: &'static str,
}

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why)
    }
}
impl std::error::Error for DurationError {}

/// Whole milliseconds of `seconds`, towards zero. What is a whole number but for the rounding of
/// floats counts as that number: 1.001 seconds are 1001 milliseconds.
pub(crate) fn whole_milliseconds(seconds: f64) -> f64 {
    const ROUNDING: f64 = 1e-6;
    let milliseconds = seconds * 1000.0;
    let nearest = milliseconds.round();
    if (milliseconds - nearest).abs() < ROUNDING { nearest } else { milliseconds.trunc() }
}

impl DurationExpr {
    #[must_use]
    pub fn place(&self) -> Place {
        match self {
            Self::Literal(number) => number.place,
            Self::Step(place) | Self::Range(place) => *place,
            Self::Negated { place, .. } | Self::Binary { place, .. } | Self::Paren { place, .. } => *place,
        }
    }

    /// Milliseconds of an `offset`, which may be negative. `step_ms` and `range_ms` are those of the
    /// query: of an instant query both are 0.
    ///
    /// # Errors
    /// Division by zero, or a value beyond 64 bits of nanoseconds.
    pub fn resolve_offset_ms(&self, step_ms: i64, range_ms: i64) -> Result<i64, DurationError> {
        let seconds = self.seconds(step_ms as f64 / 1000.0, range_ms as f64 / 1000.0)?;
        let milliseconds = whole_milliseconds(seconds);
        // What fits into nanoseconds of 64 bits, as upstream.
        if milliseconds.is_nan() || milliseconds.abs() >= i64::MAX as f64 / 1e6 {
            return Err(DurationError { place: self.place(), why: "duration is out of range" });
        }
        Ok(milliseconds as i64)
    }

    /// Milliseconds of a range or step, otherwise as [`Self::resolve_offset_ms`].
    ///
    /// # Errors
    /// As there, and when it is not above zero.
    pub fn resolve_ms(&self, step_ms: i64, range_ms: i64) -> Result<i64, DurationError> {
        match self.resolve_offset_ms(step_ms, range_ms)? {
            ..=0 => Err(DurationError { place: self.place(), why: "duration must be greater than 0" }),
            milliseconds => Ok(milliseconds),
        }
    }

    /// The value in seconds.
    ///
    /// # Errors
    /// Division by zero.
    pub fn seconds(&self, step_s: f64, range_s: f64) -> Result<f64, DurationError> {
        Ok(match self {
            Self::Literal(number) => number.value,
            Self::Step(_) => step_s,
            Self::Range(_) => range_s,
            Self::Negated { of, .. } => -of.seconds(step_s, range_s)?,
            Self::Paren { of, .. } => of.seconds(step_s, range_s)?,
            Self::Binary { op, left, right, place } => {
                let (left, right) = (left.seconds(step_s, range_s)?, right.seconds(step_s, range_s)?);
                let by_zero = |why| Err(DurationError { place: *place, why });
                match op {
                    DurationOp::Add => left + right,
                    DurationOp::Sub => left - right,
                    DurationOp::Mul => left * right,
                    DurationOp::Div if right == 0.0 => return by_zero("division by zero"),
                    DurationOp::Div => left / right,
                    DurationOp::Mod if right == 0.0 => return by_zero("modulo by zero"),
                    DurationOp::Mod => left % right,
                    DurationOp::Pow => left.powf(right),
                    DurationOp::Min => left.min(right),
                    DurationOp::Max => left.max(right),
                }
            }
        })
    }

    /// The value in seconds when it does not depend on the query.
    #[must_use]
    pub fn constant(&self) -> Option<f64> {
        if self.depends_on_query() { None } else { self.seconds(0.0, 0.0).ok() }
    }

    /// Whether `step()` or `range()` is in it.
    #[must_use]
    pub fn depends_on_query(&self) -> bool {
        match self {
            Self::Literal(_) => false,
            Self::Step(_) | Self::Range(_) => true,
            Self::Negated { of, .. } | Self::Paren { of, .. } => of.depends_on_query(),
            Self::Binary { left, right, .. } => left.depends_on_query() || right.depends_on_query(),
        }
    }
}

/// Equality of what is written, places aside.
impl PartialEq for DurationExpr {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Literal(a), Self::Literal(b)) => a == b,
            (Self::Step(_), Self::Step(_)) | (Self::Range(_), Self::Range(_)) => true,
            (Self::Negated { of: a, .. }, Self::Negated { of: b, .. })
            | (Self::Paren { of: a, .. }, Self::Paren { of: b, .. }) => a == b,
            (
                Self::Binary { op: a, left: al, right: ar, .. },
                Self::Binary { op: b, left: bl, right: br, .. },
            ) => a == b && al == bl && ar == br,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(value: f64) -> Box<DurationExpr> {
        Box::new(DurationExpr::Literal(Number { value, is_duration: false, place: Place::default() }))
    }

    fn binary(op: DurationOp, left: f64, right: f64) -> DurationExpr {
        DurationExpr::Binary { op, left: literal(left), right: literal(right), place: Place::default() }
    }

    #[test]
    fn what_has_no_value_says_so() {
        assert_eq!(binary(DurationOp::Div, 1.0, 0.0).resolve_ms(0, 0).unwrap_err().why, "division by zero");
        assert_eq!(binary(DurationOp::Mod, 1.0, 0.0).resolve_ms(0, 0).unwrap_err().why, "modulo by zero");
        assert!(binary(DurationOp::Sub, 1.0, 1.0).resolve_ms(0, 0).is_err());
        assert_eq!(binary(DurationOp::Sub, 1.0, 2.0).resolve_offset_ms(0, 0), Ok(-1000));
        assert!(binary(DurationOp::Pow, 10.0, 300.0).resolve_offset_ms(0, 0).is_err());
        assert!(binary(DurationOp::Pow, -1.0, 0.5).resolve_offset_ms(0, 0).is_err());
    }

    #[test]
    fn milliseconds_are_not_lost_to_floats() {
        for milliseconds in (1..100_000).chain([i64::from(i32::MAX), 9_000_000_000_001]) {
            assert_eq!(literal(milliseconds as f64 / 1000.0).resolve_ms(0, 0), Ok(milliseconds));
        }
        assert_eq!(literal(0.0015).resolve_ms(0, 0), Ok(1));
    }

    #[test]
    fn the_query_gives_step_and_range() {
        let step = DurationExpr::Step(Place::default());
        assert_eq!(step.resolve_ms(15_000, 0), Ok(15_000));
        assert!(step.resolve_ms(0, 0).is_err());
        assert_eq!(step.constant(), None);
        assert_eq!(DurationExpr::Range(Place::default()).resolve_ms(1, 60_000), Ok(60_000));
    }
}
