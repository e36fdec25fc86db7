//! Samples that are not in a part yet, in the order they came.
//!
//! One row per sample, with the row before of the same series: a series is read by walking back, so
//! reading costs what is read, and a series without samples costs four bytes.

use std::{collections::HashMap, sync::Arc};

use metrics_api::{Histogram, Samples, TimeRange};

use super::{
    registry::NONE,
    wal::record::{Float, HistogramSample},
};

const CHUNK_ROWS: usize = 16_384;

#[derive(Debug, Clone, Copy)]
struct Row {
    time_ms: i64,
    value: f64,
    series: u32,
    before: u32,
}

#[derive(Debug)]
pub struct Buffer {
    chunks: Vec<Vec<Row>>,
    /// The newest row of each series.
    heads: Vec<u32>,
    histograms: HashMap<u32, Vec<(i64, Arc<Histogram>)>>,
    histogram_bytes: usize,
    rows: usize,
    histogram_rows: usize,
    pub min_time_ms: i64,
    pub max_time_ms: i64,
}

impl Default for Buffer {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            heads: Vec::new(),
            histograms: HashMap::new(),
            histogram_bytes: 0,
            rows: 0,
            histogram_rows: 0,
            min_time_ms: i64::MAX,
            max_time_ms: i64::MIN,
        }
    }
}

impl Buffer {
    pub fn is_empty(&self) -> bool {
        self.rows == 0 && self.histogram_rows == 0
    }

    pub fn size_bytes(&self) -> usize {
        self.chunks.len() * CHUNK_ROWS * size_of::<Row>() + self.heads.capacity() * 4 + self.histogram_bytes
    }

    /// Bytes of the rows alone: what fills it.
    pub fn filled_bytes(&self) -> usize {
        self.rows * size_of::<Row>() + self.histogram_bytes
    }

    pub fn range(&self) -> TimeRange {
        TimeRange::new(self.min_time_ms, self.max_time_ms)
    }

    /// Takes samples of series whose numbers are below `numbers`.
    pub fn push(&mut self, floats: &[Float], numbers: usize) {
        self.make_heads(numbers);
        for float in floats {
            let Some(head) = self.heads.get_mut(float.series as usize) else { continue };
            if self.rows.is_multiple_of(CHUNK_ROWS) {
                self.chunks.push(Vec::with_capacity(CHUNK_ROWS));
            }
            let row = Row { time_ms: float.time_ms, value: float.value, series: float.series, before: *head };
            *head = self.rows as u32;
            self.rows += 1;
            if let Some(chunk) = self.chunks.last_mut() {
                chunk.push(row);
            }
            self.min_time_ms = self.min_time_ms.min(float.time_ms);
            self.max_time_ms = self.max_time_ms.max(float.time_ms);
        }
    }

    fn make_heads(&mut self, numbers: usize) {
        if self.heads.len() < numbers {
            self.heads.resize(numbers, NONE);
        }
    }

    pub fn push_histograms(&mut self, samples: Vec<HistogramSample>) {
        for (series, time_ms, histogram) in samples {
            self.histogram_bytes += 64 + histogram.size_bytes();
            self.histogram_rows += 1;
            self.min_time_ms = self.min_time_ms.min(time_ms);
            self.max_time_ms = self.max_time_ms.max(time_ms);
            self.histograms.entry(series).or_default().push((time_ms, histogram));
        }
    }

    pub fn has(&self, series: u32) -> bool {
        self.heads.get(series as usize).is_some_and(|head| *head != NONE)
            || self.histograms.contains_key(&series)
    }

    /// Whether the series has a sample in the range.
    pub fn has_in(&self, series: u32, range: TimeRange) -> bool {
        self.walk(series).any(|row| range.contains(row.time_ms))
            || self.histograms.get(&series).is_some_and(|all| all.iter().any(|one| range.contains(one.0)))
    }

    fn walk(&self, series: u32) -> impl Iterator<Item = Row> {
        let mut at = self.heads.get(series as usize).copied().unwrap_or(NONE);
        std::iter::from_fn(move || {
            let row = *self.chunks.get(at as usize / CHUNK_ROWS)?.get(at as usize % CHUNK_ROWS)?;
            at = row.before;
            Some(row)
        })
    }

    /// Every float in the order they came.
    pub fn each_row(&self, mut each: impl FnMut(Float)) {
        for row in self.chunks.iter().flatten() {
            each(Float { time_ms: row.time_ms, value: row.value, series: row.series });
        }
    }

    /// Every histogram, each series' in the order they came.
    pub fn each_histogram(&self, mut each: impl FnMut(HistogramSample)) {
        for (series, samples) in &self.histograms {
            samples.iter().for_each(|(time_ms, one)| each((*series, *time_ms, Arc::clone(one))));
        }
    }

    /// Appends the samples of a series in the range, in order of time; of several at one time the
    /// newest.
    pub fn read(&self, series: u32, range: TimeRange, into: &mut Samples) {
        if !range.overlaps(&self.range()) {
            return;
        }
        let mut floats: Vec<(i64, f64)> = self
            .walk(series)
            .filter(|row| range.contains(row.time_ms))
            .map(|row| (row.time_ms, row.value))
            .collect();
        // As they came, which tells the newest among those of one time.
        floats.reverse();
        settle(&mut floats);
        for (time_ms, value) in floats {
            into.push_float(time_ms, value);
        }
        if let Some(histograms) = self.histograms.get(&series) {
            let mut found: Vec<_> = histograms.iter().filter(|one| range.contains(one.0)).cloned().collect();
            settle(&mut found);
            for (time_ms, histogram) in found {
                into.push_histogram(time_ms, histogram);
            }
        }
    }

    /// Gives every series of `order` that has samples, with them in order of time. Rows are put
    /// together by counting, not by walking: a walk waits for memory at every step.
    pub fn each_sorted<E>(
        &self,
        order: &[u32],
        mut each: impl FnMut(u32, &mut Samples) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut place = vec![0u32; self.heads.len() + 1];
        for row in self.chunks.iter().flatten() {
            place[row.series as usize] += 1;
        }
        let mut next = 0;
        for &series in order {
            if let Some(count) = place.get_mut(series as usize) {
                next += std::mem::replace(count, next);
            }
        }
        let mut sorted = vec![(0i64, 0f64); self.rows];
        for row in self.chunks.iter().flatten() {
            let at = &mut place[row.series as usize];
            sorted[*at as usize] = (row.time_ms, row.value);
            *at += 1;
        }
        let (mut samples, mut from) = (Samples::default(), 0);
        let mut floats = Vec::new();
        for &series in order {
            // Now the end of the series' rows.
            let to = place.get(series as usize).map_or(from, |end| *end as usize);
            let histograms = self.histograms.get(&series);
            if to == from && histograms.is_none() {
                continue;
            }
            samples.clear();
            floats.clear();
            floats.extend_from_slice(&sorted[from..to]);
            from = to;
            settle(&mut floats);
            samples.float_times.extend(floats.iter().map(|float| float.0));
            samples.floats.extend(floats.iter().map(|float| float.1));
            if let Some(histograms) = histograms {
                let mut histograms = histograms.clone();
                settle(&mut histograms);
                histograms.into_iter().for_each(|(time_ms, one)| samples.push_histogram(time_ms, one));
            }
            each(series, &mut samples)?;
        }
        Ok(())
    }
}

/// Puts samples that stand in order of arrival in order of time, and keeps the newest of each time.
fn settle<T>(samples: &mut Vec<(i64, T)>) {
    if samples.is_sorted_by(|a, b| a.0 < b.0) {
        return;
    }
    samples.sort_by_key(|sample| sample.0);
    samples.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            std::mem::swap(next, kept);
        }
        same
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn walking_and_sorting_give_the_same(rows in proptest::collection::vec((0u32..6, 0i64..20), 0..200)) {
            let mut buffer = Buffer::default();
            let mut model: std::collections::BTreeMap<(u32, i64), f64> = Default::default();
            for (at, (series, time_ms)) in rows.iter().enumerate() {
                buffer.push(&[Float { time_ms: *time_ms, value: at as f64, series: *series }], 6);
                model.insert((*series, *time_ms), at as f64);
            }
            let mut sorted = Vec::new();
            buffer
                .each_sorted(&[5, 3, 0, 1, 2, 4], |series, samples| {
                    sorted.push((series, samples.clone()));
                    Ok::<(), ()>(())
                })
                .unwrap();
            for series in 0..6 {
                let mut walked = Samples::default();
                buffer.read(series, TimeRange::ALL, &mut walked);
                let wanted: Vec<(i64, f64)> =
                    model.iter().filter(|(key, _)| key.0 == series).map(|(key, value)| (key.1, *value)).collect();
                let found: Vec<_> = walked.float_times.iter().copied().zip(walked.floats.iter().copied()).collect();
                prop_assert_eq!(&found, &wanted);
                let in_order = sorted.iter().find(|one| one.0 == series).map(|one| one.1.clone());
                prop_assert_eq!(in_order.unwrap_or_default(), walked);
            }
        }
    }
}
