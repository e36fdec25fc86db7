//! A column of floats: the first of several encodings that fits it.

use pco::ModeSpec;

use super::{
    CHUNK_SAMPLES_MAX,
    bytes::{Bytes, put_varint, put_zigzag, zigzag},
    decimal, packed,
};

/// From here on `pco` saves about a twelfth and takes twice the time. Shorter chunks, which are soon
/// merged into longer ones anyway, go as varints, which a block of chunks compresses together.
const PACK_SAMPLES_MIN: usize = 2_048;
/// Changes are listed when at most one of so many samples is one.
const SPARSE_SHARE: usize = 4;
/// Set in the byte of the exponent when some values are none.
const HAS_EXCEPTIONS: u8 = 0x80;
/// In place of an exponent: the float's eight bytes follow.
const RAW_SCALAR: u8 = 0xff;

/// How a column is written; the numbers are those on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Encoding {
    /// One float.
    Constant = 0,
    /// Decimals: the first and the difference.
    Linear = 1,
    /// Decimals: the first, then (equal samples, difference) for each change.
    Sparse = 2,
    /// Decimals: distances from the middle, as varints.
    Plain = 3,
    /// Decimals: differences, less their mean, as varints.
    Delta = 4,
    /// Decimals: differences of differences, as varints.
    DeltaDelta = 5,
    /// Decimals through `pco`.
    Packed = 6,
    /// Floats through `pco`.
    PackedFloat = 7,
    /// Bits that change, from each float that differs to the next.
    Xor = 8,
}

impl Encoding {
    pub const ALL: [Self; 9] = [
        Self::Constant,
        Self::Linear,
        Self::Sparse,
        Self::Plain,
        Self::Delta,
        Self::DeltaDelta,
        Self::Packed,
        Self::PackedFloat,
        Self::Xor,
    ];

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }

    /// Whether general compression has nothing left to gain.
    pub(crate) fn is_packed(self) -> bool {
        matches!(self, Self::Packed | Self::PackedFloat)
    }
}

/// Writes columns; keeps its memory between them.
#[derive(Debug, Default)]
pub struct ValueEncoder {
    mantissas: Vec<i64>,
    deltas: Vec<i64>,
    exceptions: Vec<(usize, u64)>,
}

impl ValueEncoder {
    /// Appends `values` (at least one) to `out` and says how; their number is the caller's to keep.
    pub fn encode(&mut self, values: &[f64], out: &mut Vec<u8>) -> Encoding {
        let first = values.first().copied().unwrap_or_default();
        if values.iter().all(|value| value.to_bits() == first.to_bits()) {
            put_scalar(out, first);
            return Encoding::Constant;
        }
        match decimal::split(values, &mut self.mantissas, &mut self.exceptions) {
            Some(exponent) => self.encode_decimals(exponent, out),
            None => encode_floats(values, out),
        }
    }

    fn encode_decimals(&mut self, exponent: u8, out: &mut Vec<u8>) -> Encoding {
        let first = self.mantissas[0];
        self.deltas.clear();
        self.deltas.extend(self.mantissas.windows(2).map(|pair| pair[1] - pair[0]));
        let step = self.deltas[0];
        let linear = self.deltas.iter().all(|delta| *delta == step);
        let divisor = if linear { 1 } else { common_divisor(&self.deltas) };
        if divisor > 1 {
            for delta in &mut self.deltas {
                *delta /= divisor;
            }
        }
        self.put_head(exponent, first, divisor, out);
        if linear {
            put_zigzag(out, step);
            return Encoding::Linear;
        }
        let changes = self.deltas.iter().filter(|delta| **delta != 0).count();
        if changes * SPARSE_SHARE < self.mantissas.len() {
            self.put_changes(out);
            return Encoding::Sparse;
        }
        let (order, base) = self.best_order(first, divisor);
        let packed = self.mantissas.len() >= PACK_SAMPLES_MIN && {
            for mantissa in &mut self.mantissas {
                *mantissa = (*mantissa - first) / divisor;
            }
            let start = out.len();
            let packed = packed::pack(&self.mantissas, order, ModeSpec::Classic, out);
            if !packed {
                out.truncate(start);
            }
            packed
        };
        if packed { Encoding::Packed } else { self.put_varints(order, base, out) }
    }

    fn put_head(&self, exponent: u8, first: i64, divisor: i64, out: &mut Vec<u8>) {
        out.push(if self.exceptions.is_empty() { exponent } else { exponent | HAS_EXCEPTIONS });
        put_zigzag(out, first);
        put_varint(out, divisor as u64);
        if self.exceptions.is_empty() {
            return;
        }
        put_varint(out, self.exceptions.len() as u64);
        let mut after = 0;
        for &(at, bits) in &self.exceptions {
            put_varint(out, (at - after) as u64);
            out.extend_from_slice(&bits.to_le_bytes());
            after = at + 1;
        }
    }

    fn put_changes(&self, out: &mut Vec<u8>) {
        let mut equal = 0u64;
        for &delta in &self.deltas {
            if delta == 0 {
                equal += 1;
            } else {
                put_varint(out, equal);
                put_zigzag(out, delta);
                equal = 0;
            }
        }
    }

    /// How often to take differences, and what to take off each, so that the fewest bits are left.
    fn best_order(&self, first: i64, divisor: i64) -> (usize, i64) {
        let width = |value: i64| u64::from(64 - zigzag(value).leading_zeros());
        let (mut low, mut high) = (first, first);
        for &mantissa in &self.mantissas {
            low = low.min(mantissa);
            high = high.max(mantissa);
        }
        let middle = (low + (high - low) / 2 - first) / divisor;
        let plain: u64 = if divisor == 1 {
            self.mantissas.iter().map(|mantissa| width(mantissa - first - middle)).sum()
        } else {
            self.mantissas.iter().map(|mantissa| width((mantissa - first) / divisor - middle)).sum()
        };
        let last = self.mantissas[self.mantissas.len() - 1];
        let mean = (last - first) / divisor / self.deltas.len() as i64;
        let delta: u64 = self.deltas.iter().map(|delta| width(*delta)).sum();
        let (delta, base) = if mean == 0 {
            (delta, 0)
        } else {
            let off: u64 = self.deltas.iter().map(|delta| width(delta - mean)).sum();
            if off < delta { (off, mean) } else { (delta, 0) }
        };
        let twice: u64 = self.deltas.windows(2).map(|pair| width(pair[1] - pair[0])).sum();
        if plain <= delta && plain <= twice {
            (0, middle)
        } else if delta <= twice {
            (1, base)
        } else {
            (2, 0)
        }
    }

    fn put_varints(&self, order: usize, base: i64, out: &mut Vec<u8>) -> Encoding {
        let mut before = 0i64;
        match order {
            0 => {
                put_zigzag(out, base);
                let mut distance = -base;
                for &delta in &self.deltas {
                    distance += delta;
                    put_zigzag(out, distance);
                }
                Encoding::Plain
            }
            1 => {
                put_zigzag(out, base);
                for &delta in &self.deltas {
                    put_zigzag(out, delta - base);
                }
                Encoding::Delta
            }
            _ => {
                for &delta in &self.deltas {
                    put_zigzag(out, delta - before);
                    before = delta;
                }
                Encoding::DeltaDelta
            }
        }
    }
}

/// The greatest number that divides all of `deltas`; 1 when all are zero.
fn common_divisor(deltas: &[i64]) -> i64 {
    let mut divisor = 0u64;
    for &delta in deltas {
        let (mut a, mut b) = (divisor, delta.unsigned_abs());
        while b != 0 {
            (a, b) = (b, a % b);
        }
        divisor = a;
        if divisor == 1 {
            break;
        }
    }
    divisor.max(1) as i64
}

fn encode_floats(values: &[f64], out: &mut Vec<u8>) -> Encoding {
    let changes = values.windows(2).filter(|pair| pair[0].to_bits() != pair[1].to_bits()).count();
    if values.len() >= PACK_SAMPLES_MIN && changes * SPARSE_SHARE >= values.len() {
        let start = out.len();
        if packed::pack(values, 0, ModeSpec::Auto, out) && round_trips(values, &out[start..]) {
            return Encoding::PackedFloat;
        }
        out.truncate(start);
    }
    let mut before = values[0].to_bits();
    out.extend_from_slice(&before.to_le_bytes());
    let mut equal = 0u64;
    for value in &values[1..] {
        let differs = value.to_bits() ^ before;
        if differs == 0 {
            equal += 1;
            continue;
        }
        put_varint(out, equal);
        equal = 0;
        before = value.to_bits();
        let low = differs.trailing_zeros() / 8;
        let len = 8 - differs.leading_zeros() / 8 - low;
        out.push((low << 4 | len) as u8);
        let bytes = (differs >> (8 * low)).to_le_bytes();
        out.extend_from_slice(&bytes[..len as usize]);
    }
    Encoding::Xor
}

/// Whether `pco` kept every bit: it says so of floats, NaN payloads included; this makes sure.
fn round_trips(values: &[f64], packed: &[u8]) -> bool {
    let mut back = vec![0.0f64; values.len()];
    packed::unpack(packed, &mut back).is_some()
        && values.iter().zip(&back).all(|(a, b)| a.to_bits() == b.to_bits())
}

fn put_scalar(out: &mut Vec<u8>, value: f64) {
    let (mut mantissas, mut exceptions) = (Vec::new(), Vec::new());
    match decimal::split(&[value], &mut mantissas, &mut exceptions) {
        Some(exponent) if exceptions.is_empty() => {
            out.push(exponent);
            put_zigzag(out, mantissas[0]);
        }
        _ => {
            out.push(RAW_SCALAR);
            out.extend_from_slice(&value.to_bits().to_le_bytes());
        }
    }
}

fn scalar(bytes: &mut Bytes<'_>) -> Option<f64> {
    match bytes.u8()? {
        RAW_SCALAR => bytes.f64(),
        exponent => Some(bytes.zigzag()? as f64 / decimal::power(exponent)?),
    }
}

/// The float of a [`Encoding::Constant`] column.
pub(crate) fn constant(bytes: &[u8]) -> Option<f64> {
    scalar(&mut Bytes::new(bytes))
}

/// Appends the `count` values that [`ValueEncoder::encode`] wrote as `encoding` to `into`; None for
/// bytes that it did not write (`into` may hold some of it then).
pub(crate) fn decode(encoding: Encoding, bytes: &[u8], count: usize, into: &mut Vec<f64>) -> Option<()> {
    if count == 0 || count > CHUNK_SAMPLES_MAX {
        return None;
    }
    let mut bytes = Bytes::new(bytes);
    let start = into.len();
    into.reserve(count);
    match encoding {
        Encoding::Constant => into.resize(start + count, scalar(&mut bytes)?),
        Encoding::PackedFloat => {
            into.resize(start + count, 0.0);
            packed::unpack(bytes.rest(), &mut into[start..])?;
        }
        Encoding::Xor => decode_xor(bytes, count, into)?,
        decimals => decode_decimals(decimals, bytes, count, into)?,
    }
    (into.len() == start + count).then_some(())
}

fn decode_decimals(
    encoding: Encoding,
    mut bytes: Bytes<'_>,
    count: usize,
    into: &mut Vec<f64>,
) -> Option<()> {
    let start = into.len();
    let byte = bytes.u8()?;
    let power = decimal::power(byte & !HAS_EXCEPTIONS)?;
    let first = bytes.zigzag()?;
    let divisor = i64::try_from(bytes.varint()?).ok()?;
    let mut exceptions = Vec::new();
    if byte & HAS_EXCEPTIONS != 0 {
        let mut at = 0usize;
        for _ in 0..bytes.len(count)? {
            at = at.checked_add(bytes.len(count)?)?;
            exceptions.push((at, bytes.f64()?));
            at += 1;
        }
    }
    match encoding {
        Encoding::Linear => {
            let step = bytes.zigzag()?.wrapping_mul(divisor);
            into.extend((0..count as i64).map(|at| first.wrapping_add(at.wrapping_mul(step)) as f64));
        }
        Encoding::Sparse => decode_sparse(bytes, first, divisor, start + count, into)?,
        Encoding::Packed => {
            let mut distances = [0i64; CHUNK_SAMPLES_MAX];
            packed::unpack(bytes.rest(), &mut distances[..count])?;
            into.extend(
                distances[..count].iter().map(|at| first.wrapping_add(at.wrapping_mul(divisor)) as f64),
            );
        }
        _ => decode_varints(encoding, bytes, (first, divisor), count, into)?,
    }
    if power != 1.0 {
        for value in &mut into[start..] {
            *value /= power;
        }
    }
    for (at, value) in exceptions {
        *into.get_mut(start + at)? = value;
    }
    Some(())
}

fn decode_varints(
    encoding: Encoding,
    mut bytes: Bytes<'_>,
    (first, divisor): (i64, i64),
    count: usize,
    into: &mut Vec<f64>,
) -> Option<()> {
    into.push(first as f64);
    let mut at = first;
    let mut step = 0i64;
    match encoding {
        Encoding::Plain => {
            let base = first.wrapping_add(bytes.zigzag()?.wrapping_mul(divisor));
            for _ in 1..count {
                into.push(base.wrapping_add(bytes.zigzag()?.wrapping_mul(divisor)) as f64);
            }
        }
        Encoding::Delta => {
            let base = bytes.zigzag()?;
            for _ in 1..count {
                at = at.wrapping_add(bytes.zigzag()?.wrapping_add(base).wrapping_mul(divisor));
                into.push(at as f64);
            }
        }
        _ => {
            for _ in 1..count {
                step = step.wrapping_add(bytes.zigzag()?);
                at = at.wrapping_add(step.wrapping_mul(divisor));
                into.push(at as f64);
            }
        }
    }
    bytes.is_empty().then_some(())
}

fn decode_sparse(
    mut bytes: Bytes<'_>,
    first: i64,
    divisor: i64,
    end: usize,
    into: &mut Vec<f64>,
) -> Option<()> {
    let mut at = first;
    into.push(at as f64);
    while !bytes.is_empty() {
        let equal = bytes.len(CHUNK_SAMPLES_MAX)?;
        if equal >= end.checked_sub(into.len())? {
            return None;
        }
        into.resize(into.len() + equal, at as f64);
        at = at.wrapping_add(bytes.zigzag()?.wrapping_mul(divisor));
        into.push(at as f64);
    }
    into.resize(end, at as f64);
    Some(())
}

fn decode_xor(mut bytes: Bytes<'_>, count: usize, into: &mut Vec<f64>) -> Option<()> {
    let end = into.len() + count;
    let mut bits = bytes.u64()?;
    into.push(f64::from_bits(bits));
    while !bytes.is_empty() {
        let equal = bytes.len(CHUNK_SAMPLES_MAX)?;
        if equal >= end.checked_sub(into.len())? {
            return None;
        }
        into.resize(into.len() + equal, f64::from_bits(bits));
        let shape = bytes.u8()?;
        let (low, len) = (usize::from(shape >> 4), usize::from(shape & 0xf));
        if low + len > 8 {
            return None;
        }
        let mut differs = [0u8; 8];
        differs[low..low + len].copy_from_slice(bytes.take(len)?);
        bits ^= u64::from_le_bytes(differs);
        into.push(f64::from_bits(bits));
    }
    into.resize(end, f64::from_bits(bits));
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn there_and_back(values: &[f64]) -> Encoding {
        let mut bytes = Vec::new();
        let encoding = ValueEncoder::default().encode(values, &mut bytes);
        let mut back = vec![7.0];
        decode(encoding, &bytes, values.len(), &mut back).unwrap();
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back[1..]), bits(values), "{encoding:?}");
        encoding
    }

    #[test]
    fn each_encoding_is_taken_for_what_it_is_for() {
        let column = |f: fn(usize) -> f64| (0..3000).map(f).collect::<Vec<_>>();
        assert_eq!(there_and_back(&column(|_| f64::NAN)), Encoding::Constant);
        assert_eq!(there_and_back(&column(|at| at as f64 * 0.25)), Encoding::Linear);
        assert_eq!(there_and_back(&column(|at| (at / 300) as f64 * 4096.0)), Encoding::Sparse);
        assert_eq!(there_and_back(&column(|at| ((at * 7919) % 1009) as f64)), Encoding::Packed);
        assert_eq!(there_and_back(&column(|at| (at as f64).sqrt())), Encoding::PackedFloat);
        assert_eq!(there_and_back(&column(|at| ((at / 100) as f64).sqrt())), Encoding::Xor);
        let few = |f: fn(usize) -> f64| (0..100).map(f).collect::<Vec<_>>();
        assert_eq!(there_and_back(&few(|at| ((at * at * 7919 + 504) % 1009) as f64)), Encoding::Plain);
        assert_eq!(there_and_back(&few(|at| (at * at / 3) as f64)), Encoding::DeltaDelta);
        assert_eq!(
            there_and_back(&few(|at| (0..at).map(|at| (at * at * 7919) % 1009).sum::<usize>() as f64)),
            Encoding::Delta
        );
        assert_eq!(there_and_back(&few(|at| (at as f64).sqrt())), Encoding::Xor);
        let scaled = |at: usize| ((at * at * 7919) % 1009) as f64 * 4096.0 - 3.0;
        assert_eq!(there_and_back(&(0..3000).map(scaled).collect::<Vec<_>>()), Encoding::Packed);
    }

    #[test]
    fn a_staleness_marker_does_not_spoil_decimals() {
        let mut values = vec![1.5, 2.5, 3.5, 9.25, 1.0, 0.0, 2.0, 3.0];
        values.extend([metrics_api::stale_nan(), -0.0]);
        assert!(there_and_back(&values) < Encoding::Packed);
        values.insert(0, f64::NEG_INFINITY);
        there_and_back(&values);
    }

    #[test]
    fn whole_numbers_of_any_size_come_back() {
        for shift in 0..64 {
            let base = (1u64 << shift) as f64;
            there_and_back(&[base, base - 1.0, -base, base + 1.0, base * 3.0]);
        }
    }

    fn bits() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            (-100_000i64..100_000, 0i32..5).prop_map(|(m, e)| m as f64 / 10f64.powi(e)),
            Just(0.0),
            Just(-0.0),
            Just(metrics_api::stale_nan()),
            Just(f64::INFINITY),
            any::<f64>(),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_bit_pattern_comes_back(values in proptest::collection::vec(bits(), 1..700)) {
            there_and_back(&values);
        }

        #[test]
        fn decimals_come_back(
            first in -1_000_000i64..1_000_000,
            deltas in proptest::collection::vec(0i64..50, 1..700),
            exponent in 0i32..10,
            scale in 1i64..5000,
        ) {
            let mut at = first;
            let values: Vec<f64> = deltas.iter().map(|delta| {
                at += delta * scale;
                at as f64 / 10f64.powi(exponent)
            }).collect();
            there_and_back(&values);
        }

        #[test]
        fn other_bytes_do_no_harm(
            encoding in 0u8..9,
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            count in 0usize..9000,
        ) {
            let mut into = Vec::new();
            let _ = decode(Encoding::from_byte(encoding).unwrap(), &bytes, count, &mut into);
            prop_assert!(into.len() <= CHUNK_SAMPLES_MAX);
        }
    }
}
