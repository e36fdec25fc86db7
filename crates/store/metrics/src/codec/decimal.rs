//! Floats as whole numbers over one power of ten, where that gives every bit back.
//!
//! Most metrics are written as decimals of a few digits. `v = m / 10^e` is then the very float that
//! the text stood for: division rounds correctly, and both numbers are exact below 2^53.

/// Mantissas stay below this, where [`ROUND`] works.
const MANTISSA_MAX: f64 = (1u64 << 51) as f64;
/// Adding it rounds a float to a whole number and leaves that number in the low bits.
const ROUND: f64 = 1.5 * (1u64 << 52) as f64;
/// One of so many values may be none (NaN, infinite, -0.0) before the whole is.
const EXCEPTIONS_SHARE: usize = 8;

/// Exact powers of ten.
const POWERS: [f64; 19] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18];

/// 10^`exponent`, for those that [`split`] gives.
pub(super) fn power(exponent: u8) -> Option<f64> {
    POWERS.get(usize::from(exponent)).copied()
}

/// Puts the mantissas of `values` into `mantissas` and gives their exponent. Places and bits of what
/// is no decimal go to `exceptions`, with the mantissa before in their place. None when `values`
/// are not of that kind.
pub(super) fn split(
    values: &[f64],
    mantissas: &mut Vec<i64>,
    exceptions: &mut Vec<(usize, u64)>,
) -> Option<u8> {
    exceptions.clear();
    for (at, value) in values.iter().enumerate() {
        if is_special(*value) {
            exceptions.push((at, value.to_bits()));
        }
    }
    if exceptions.len() > values.len() / EXCEPTIONS_SHARE + 1 {
        return None;
    }
    let exponent = exponent_of(values)?;
    let power = POWERS[usize::from(exponent)];
    let mut exact = true;
    mantissas.clear();
    mantissas.extend(values.iter().map(|&value| {
        let rounded = value * power + ROUND;
        exact &= (rounded - ROUND) / power == value;
        (rounded.to_bits() as i64).wrapping_sub(ROUND.to_bits() as i64)
    }));
    if exact {
        return Some(exponent);
    }
    settle(values, power, mantissas).then_some(exponent)
}

/// Fills in for special values; whether all others are exact.
fn settle(values: &[f64], power: f64, mantissas: &mut [i64]) -> bool {
    let mut before = None;
    for at in 0..values.len() {
        if is_special(values[at]) {
            mantissas[at] = before.unwrap_or(0);
            continue;
        }
        let scaled = values[at] * power;
        if scaled.abs() >= MANTISSA_MAX || (mantissas[at] as f64) / power != values[at] {
            return false;
        }
        if before.is_none() {
            let first = mantissas[at];
            mantissas[..at].fill(first);
        }
        before = Some(mantissas[at]);
    }
    before.is_some()
}

fn exponent_of(values: &[f64]) -> Option<u8> {
    let mut exponent = 0usize;
    for &value in values {
        if is_special(value) {
            continue;
        }
        loop {
            let scaled = value * POWERS[exponent];
            if scaled.abs() >= MANTISSA_MAX {
                return None;
            }
            if (scaled + ROUND - ROUND) / POWERS[exponent] == value {
                break;
            }
            exponent += 1;
            if exponent == POWERS.len() {
                return None;
            }
        }
    }
    Some(exponent as u8)
}

fn is_special(value: f64) -> bool {
    !value.is_finite() || value.to_bits() == (-0.0f64).to_bits()
}
