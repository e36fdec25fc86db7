//! Native histograms: the data alone; what can be computed of them is the query language's.

/// Finest exponential resolution.
pub const MAX_SCHEMA: i8 = 8;
/// Coarsest exponential resolution.
pub const MIN_SCHEMA: i8 = -4;
/// The schema whose boundaries are given in [`Histogram::custom_values`].
pub const NHCB_SCHEMA: i8 = -53;

/// What is known of a counter reset between this histogram and the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CounterReset {
    #[default]
    Unknown,
    Reset,
    NotReset,
    /// It is no counter.
    Gauge,
}

/// A run of adjacent buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// Distance from the end of the run before; of the first, its index.
    pub offset: i32,
    pub length: u32,
}

/// A native histogram with float counts, as Prometheus has it (`model/histogram`, exponential
/// schemas -4 to 8, or custom boundaries).
///
/// Bucket `i` of a positive exponential schema holds values in (2^((i-1)·2^-schema), 2^(i·2^-schema)].
/// Counts are absolute, not deltas; integer histograms are taken in as floats, exact to 2^53.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Histogram {
    pub counter_reset: CounterReset,
    pub schema: i8,
    pub zero_threshold: f64,
    pub zero_count: f64,
    pub count: f64,
    pub sum: f64,
    pub positive_spans: Vec<Span>,
    pub positive_buckets: Vec<f64>,
    pub negative_spans: Vec<Span>,
    pub negative_buckets: Vec<f64>,
    /// Upper boundaries, ascending, without +Inf; only for [`NHCB_SCHEMA`].
    pub custom_values: Vec<f64>,
}

impl Histogram {
    #[must_use]
    pub fn uses_custom_buckets(&self) -> bool {
        self.schema == NHCB_SCHEMA
    }

    /// A marker that ends the series: its sum has the stale bits.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        crate::is_stale(self.sum)
    }

    /// Bytes this takes in memory, for budgets.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let spans = self.positive_spans.len() + self.negative_spans.len();
        let floats = self.positive_buckets.len() + self.negative_buckets.len() + self.custom_values.len();
        size_of::<Self>() + (spans + floats) * 8
    }

    /// Why this is no histogram to store: spans that do not cover the buckets, offsets below zero
    /// after the first, boundaries out of order, counts that are negative, a schema out of range.
    ///
    /// # Errors
    /// The reason, in words.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.uses_custom_buckets() {
            if !self.negative_spans.is_empty() || self.zero_count != 0.0 {
                return Err("a histogram of custom buckets has no negative and no zero bucket");
            }
            if !self.custom_values.is_sorted_by(|a, b| a < b)
                || self.custom_values.iter().any(|value| value.is_nan())
            {
                return Err("custom boundaries have to ascend");
            }
        } else if !(MIN_SCHEMA..=MAX_SCHEMA).contains(&self.schema) {
            return Err("the schema has to be between -4 and 8, or -53 for custom buckets");
        } else if !self.custom_values.is_empty() {
            return Err("an exponential histogram has no custom boundaries");
        }
        check_side(&self.positive_spans, &self.positive_buckets)?;
        check_side(&self.negative_spans, &self.negative_buckets)?;
        if self.zero_count < 0.0 || self.count < 0.0 {
            return Err("a count is negative");
        }
        Ok(())
    }
}

fn check_side(spans: &[Span], buckets: &[f64]) -> Result<(), &'static str> {
    if spans.iter().skip(1).any(|span| span.offset < 0) {
        return Err("a span overlaps the one before");
    }
    let covered: u64 = spans.iter().map(|span| u64::from(span.length)).sum();
    if covered != buckets.len() as u64 {
        return Err("spans and buckets do not agree in number");
    }
    if buckets.iter().any(|count| *count < 0.0) {
        return Err("a bucket's count is negative");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_histogram_says_why() {
        let good = Histogram {
            positive_spans: vec![Span { offset: 0, length: 2 }],
            positive_buckets: vec![1.0, 2.0],
            count: 3.0,
            ..Histogram::default()
        };
        assert_eq!(good.check(), Ok(()));
        assert!(Histogram { positive_buckets: vec![1.0], ..good.clone() }.check().is_err());
        assert!(Histogram { schema: 9, ..good.clone() }.check().is_err());
        assert!(Histogram { count: -1.0, ..good.clone() }.check().is_err());
        let custom = Histogram { schema: NHCB_SCHEMA, custom_values: vec![2.0, 1.0], ..good };
        assert!(custom.check().is_err());
    }
}
