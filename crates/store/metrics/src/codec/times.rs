//! Times of samples: a start, a nominal interval, and how far each is off.
//!
//! Scrapes come on a grid with some jitter, and now and then one is missing. A stream is then
//! `start + k·interval + residual`, where `k` is the next number but for listed gaps; residuals of
//! many streams are packed together, and there are none without jitter. Times that follow no grid
//! are kept as differences from the interval.

use pco::ModeSpec;

use super::{
    bytes::{Bytes, put_varint, put_zigzag, zigzag},
    packed,
};

/// Fewer residuals than this go as varints.
const PACK_MIN: usize = 128;
/// Gaps at most, one of so many samples, before differences are better.
const GAPS_SHARE: usize = 8;

/// Longer intervals than this (some 34 years) are taken as they are.
const INTERVAL_MAX: i64 = 1 << 40;

/// Every residual is zero.
const EXACT: u8 = 0;
const GRID: u8 = 1;
const DIFFERENCES: u8 = 2;
const HAS_GAPS: u8 = 4;

/// Several streams of times, put together.
#[derive(Debug, Default)]
pub(crate) struct TimesEncoder {
    head: Vec<u8>,
    residuals: Vec<i64>,
    before_ms: i64,
    scratch: Vec<i64>,
}

impl TimesEncoder {
    /// Adds a stream: at least one time, strictly ascending.
    pub(crate) fn push(&mut self, times: &[i64]) {
        let Some(&start) = times.first() else { return };
        put_varint(&mut self.head, times.len() as u64);
        put_zigzag(&mut self.head, start.wrapping_sub(self.before_ms));
        self.before_ms = start;
        let interval = self.interval(times);
        put_varint(&mut self.head, interval as u64);
        if times.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == interval) {
            self.head.push(EXACT);
            return;
        }
        if !self.push_grid(times, interval) {
            self.head.push(DIFFERENCES);
            let off = |pair: &[i64]| pair[1].wrapping_sub(pair[0]).wrapping_sub(interval);
            self.residuals.extend(times.windows(2).map(off));
        }
    }

    /// The mean of those distances that are near the median, at least 1; 0 of a single time. The
    /// median alone is off by the jitter, which adds up from sample to sample.
    fn interval(&mut self, times: &[i64]) -> i64 {
        self.scratch.clear();
        self.scratch.extend(times.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])));
        if self.scratch.is_empty() {
            return 0;
        }
        let middle = self.scratch.len() / 2;
        let median = (*self.scratch.select_nth_unstable(middle).1).max(1);
        if median > INTERVAL_MAX {
            return median;
        }
        let near = |distance: &&i64| (**distance - median).unsigned_abs() <= median as u64 / 4;
        let (count, sum) = self
            .scratch
            .iter()
            .filter(near)
            .fold((0, 0), |(count, sum), distance| (count + 1, sum + distance));
        if count == 0 { median } else { ((sum + count / 2) / count).max(1) }
    }

    /// False, and nothing added, when the grid does not fit.
    fn push_grid(&mut self, times: &[i64], interval: i64) -> bool {
        let (start, end) = (times[0], times[times.len() - 1]);
        if end.checked_sub(start).is_none_or(|span| span > i64::MAX / 4) || interval > i64::MAX / 4 {
            return false;
        }
        let residuals_start = self.residuals.len();
        let mut gaps: Vec<(usize, i64)> = Vec::new();
        let (mut steps, mut difference_width) = (0i64, 0u64);
        let width = |value: i64| u64::from(64 - zigzag(value).leading_zeros());
        for (at, pair) in times.windows(2).enumerate() {
            let since = pair[1] - start;
            let next = (since + interval / 2) / interval;
            if next != steps + 1 {
                gaps.push((at, next - steps));
            }
            steps = next;
            difference_width += width(pair[1] - pair[0] - interval);
            self.residuals.push(since - steps * interval);
        }
        let own = &mut self.residuals[residuals_start..];
        let exact = own.iter().all(|residual| *residual == 0);
        // The first sample is off as well: what the others are off in the mean is due to it.
        let total: i128 = own.iter().map(|residual| i128::from(*residual)).sum();
        let shift = (total / own.len().max(1) as i128) as i64;
        own.iter_mut().for_each(|residual| *residual -= shift);
        let grid_width: u64 = own.iter().map(|residual| width(*residual)).sum();
        if gaps.len() > times.len() / GAPS_SHARE + 1
            || (!exact && grid_width + 16 * gaps.len() as u64 > difference_width)
        {
            self.residuals.truncate(residuals_start);
            return false;
        }
        if exact {
            self.residuals.truncate(residuals_start);
        }
        let kind = if exact { EXACT } else { GRID };
        self.head.push(kind | if gaps.is_empty() { 0 } else { HAS_GAPS });
        if kind == GRID {
            put_zigzag(&mut self.head, shift);
        }
        if !gaps.is_empty() {
            put_varint(&mut self.head, gaps.len() as u64);
            let mut after = 0;
            for (at, steps) in gaps {
                put_varint(&mut self.head, (at - after) as u64);
                put_varint(&mut self.head, steps as u64);
                after = at;
            }
        }
        true
    }

    /// Residuals that are waiting to be packed.
    pub(crate) fn residuals_len(&self) -> usize {
        self.residuals.len()
    }

    /// Appends what describes the streams to `head` and their residuals to `residuals`, and begins
    /// anew.
    pub(crate) fn finish(&mut self, head: &mut Vec<u8>, residuals: &mut Vec<u8>) {
        head.append(&mut self.head);
        self.before_ms = 0;
        let start = residuals.len();
        if self.residuals.len() < PACK_MIN || !packed::pack(&self.residuals, 0, ModeSpec::Classic, residuals)
        {
            residuals.truncate(start);
            for residual in &self.residuals {
                put_zigzag(residuals, *residual);
            }
        }
        self.residuals.clear();
    }
}

/// One stream as its head describes it.
struct Shape {
    count: usize,
    start: i64,
    interval: i64,
    kind: u8,
    shift: i64,
    gaps: Vec<(usize, i64)>,
}

impl Shape {
    fn read(head: &mut Bytes<'_>, before_ms: i64, count_max: usize) -> Option<Self> {
        let count = head.len(count_max)?;
        let start = before_ms.wrapping_add(head.zigzag()?);
        let interval = i64::try_from(head.varint()?).ok()?;
        let kind = head.u8()?;
        let shift = if kind & !HAS_GAPS == GRID { head.zigzag()? } else { 0 };
        let mut gaps = Vec::new();
        if kind & HAS_GAPS != 0 {
            let mut at = 0usize;
            for _ in 0..head.len(count)? {
                at = at.checked_add(head.len(count)?)?;
                gaps.push((at, i64::try_from(head.varint()?).ok()?));
            }
        }
        let kind = kind & !HAS_GAPS;
        (count > 0 && kind <= DIFFERENCES).then_some(Self { count, start, interval, kind, shift, gaps })
    }

    fn residuals_len(&self) -> usize {
        if self.kind == EXACT { 0 } else { self.count - 1 }
    }

    fn times(&self, residuals: &[i64]) -> Option<Vec<i64>> {
        let mut times = Vec::with_capacity(self.count);
        times.push(self.start);
        let mut grid = self.start;
        let mut gaps = self.gaps.iter().peekable();
        for at in 0..self.count - 1 {
            let residual = residuals.get(at).copied().unwrap_or(0);
            let steps = gaps.next_if(|gap| gap.0 == at).map_or(1, |gap| gap.1);
            grid = grid.wrapping_add(steps.wrapping_mul(self.interval));
            let time = grid.wrapping_add(self.shift).wrapping_add(residual);
            if self.kind == DIFFERENCES {
                grid = time;
            }
            times.push(time);
        }
        times.is_sorted_by(|a, b| a < b).then_some(times)
    }
}

/// The streams that [`TimesEncoder::finish`] wrote: `streams` of them, together `samples_max` times at
/// most. None for other bytes.
pub(crate) fn decode(
    head: &[u8],
    residuals: &[u8],
    streams: usize,
    samples_max: usize,
) -> Option<Vec<Vec<i64>>> {
    let mut head = Bytes::new(head);
    let mut shapes = Vec::new();
    let (mut left, mut before_ms, mut residuals_len) = (samples_max, 0, 0);
    for _ in 0..streams {
        let shape = Shape::read(&mut head, before_ms, left)?;
        left -= shape.count;
        before_ms = shape.start;
        residuals_len += shape.residuals_len();
        shapes.push(shape);
    }
    let mut numbers = vec![0i64; residuals_len];
    if residuals_len < PACK_MIN {
        let mut bytes = Bytes::new(residuals);
        for number in &mut numbers {
            *number = bytes.zigzag()?;
        }
    } else {
        packed::unpack(residuals, &mut numbers)?;
    }
    let mut numbers = numbers.as_slice();
    let mut all = Vec::with_capacity(shapes.len());
    for shape in shapes {
        let (own, rest) = numbers.split_at_checked(shape.residuals_len())?;
        numbers = rest;
        all.push(shape.times(own)?);
    }
    head.is_empty().then_some(all)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn there_and_back(streams: &[Vec<i64>]) -> usize {
        let mut encoder = TimesEncoder::default();
        for stream in streams {
            encoder.push(stream);
        }
        let (mut head, mut residuals) = (Vec::new(), Vec::new());
        encoder.finish(&mut head, &mut residuals);
        let samples = streams.iter().map(Vec::len).sum();
        assert_eq!(decode(&head, &residuals, streams.len(), samples).as_deref(), Some(streams));
        assert_eq!(decode(&head, &residuals, streams.len(), samples - 1), None);
        head.len() + residuals.len()
    }

    fn jittered(count: i64, jitter_ms: i64, missing: i64) -> Vec<i64> {
        let noise = |at: i64| (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) >> 33;
        let noise = |at: i64| noise(noise(at + 7) as i64) as i64;
        let jitter = |at: i64| noise(at) % (2 * jitter_ms + 1) - jitter_ms;
        let kept = (0..count).filter(|at| missing == 0 || at % missing != missing - 1);
        kept.map(|at| 1_700_000_000_000 + at * 15_000 + jitter(at)).collect()
    }

    #[test]
    fn an_exact_grid_costs_some_bytes_and_a_gap_some_more() {
        let exact = jittered(5_000, 0, 0);
        assert!(there_and_back(std::slice::from_ref(&exact)) < 16);
        assert!(there_and_back(&[jittered(5_000, 0, 1_000)]) < 40);
        assert!(there_and_back(&[exact.clone(), exact]) < 32);
    }

    #[test]
    fn jitter_costs_its_entropy() {
        let bytes = there_and_back(&[jittered(8_000, 2, 0)]);
        assert!(bytes * 8 < 8_000 * 26 / 10, "{bytes} bytes for log2(5) bits each");
        let bytes = there_and_back(&[jittered(240, 2, 50), jittered(240, 2, 0)]);
        assert!(bytes * 8 < 480 * 40 / 10, "{bytes} bytes with what tells the streams");
    }

    #[test]
    fn the_ends_of_time_come_back() {
        there_and_back(&[vec![i64::MIN, -1, 0, 1, i64::MAX], vec![i64::MAX], vec![i64::MIN, i64::MAX]]);
    }

    proptest! {
        #[test]
        fn any_times_come_back(sets in proptest::collection::vec(proptest::collection::btree_set(any::<i64>(), 1..300), 1..4)) {
            let streams: Vec<Vec<i64>> = sets.into_iter().map(|set| set.into_iter().collect()).collect();
            there_and_back(&streams);
        }

        #[test]
        fn scrapes_come_back(steps in proptest::collection::vec((0i64..5, -20i64..20), 1..600), start in any::<i32>()) {
            let mut at = i64::from(start);
            let mut times: Vec<i64> = steps.iter().map(|(gap, jitter)| {
                at += if *gap == 0 { 30_000 } else { 15_000 };
                at + jitter
            }).collect();
            times.dedup();
            there_and_back(&[times]);
        }

        #[test]
        fn other_bytes_do_no_harm(
            head in proptest::collection::vec(any::<u8>(), 0..100),
            residuals in proptest::collection::vec(any::<u8>(), 0..100),
            streams in 0usize..10,
        ) {
            let _ = decode(&head, &residuals, streams, 10_000);
        }
    }
}
