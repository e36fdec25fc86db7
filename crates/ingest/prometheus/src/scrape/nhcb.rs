//! Classic histograms into native ones with the same boundaries: the series of one histogram are
//! gathered while a scrape is read, and written as one.

use metrics_api::{CounterReset, Exemplar, Histogram, MetricType, NHCB_SCHEMA, Span};

use crate::exposition::{Why, series};

/// What a classic series is of its histogram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Part {
    /// With its upper bound.
    Bucket(f64),
    Count,
    Sum,
}

/// What was gathered of one histogram.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// Bound and count of all up to it, in the order they came.
    pub(super) buckets: Vec<(f64, f64)>,
    pub(super) count: Option<f64>,
    pub(super) sum: f64,
    pub(super) exemplars: Vec<Exemplar>,
    pub(super) time_ms: Option<i64>,
    pub(super) kind: MetricType,
}

/// The series that the histogram of a classic series is written as, and what the series is of it.
/// None when it is no part of one.
pub(super) fn split(text: &str, dialect: series::Dialect) -> Result<Option<(String, Part)>, Why> {
    let mut pairs = series::pairs(text, dialect)?;
    let Some(at) = pairs.iter().position(|pair| pair.0 == metrics_api::METRIC_NAME) else { return Ok(None) };
    let name = pairs.remove(at).1;
    let (base, part) = if let Some(base) = name.strip_suffix("_bucket") {
        let Some(at) = pairs.iter().position(|pair| pair.0 == "le") else { return Ok(None) };
        let Ok(bound) = pairs.remove(at).1.parse::<f64>() else { return Ok(None) };
        (base, Part::Bucket(bound))
    } else if let Some(base) = name.strip_suffix("_count").or_else(|| name.strip_suffix("_gcount")) {
        (base, Part::Count)
    } else if let Some(base) = name.strip_suffix("_sum").or_else(|| name.strip_suffix("_gsum")) {
        (base, Part::Sum)
    } else {
        return Ok(None);
    };
    pairs.sort();
    let mut group = String::from("{");
    series::push_quoted(&mut group, base);
    for (name, value) in &pairs {
        group.push(',');
        series::push_quoted(&mut group, name);
        group.push('=');
        series::push_quoted(&mut group, value);
    }
    group.push('}');
    Ok(Some((group, part)))
}

impl Gathered {
    pub(super) fn add(&mut self, part: Part, value: f64) {
        match part {
            Part::Bucket(bound) => self.buckets.push((bound, value)),
            Part::Count => self.count = Some(value),
            Part::Sum => self.sum = value,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buckets.is_empty() && self.count.is_none()
    }

    /// The histogram; none when the parts do not make one (counts that fall, a bound twice).
    pub(super) fn histogram(mut self) -> Option<(Histogram, Vec<Exemplar>)> {
        let gauge = self.kind == MetricType::GaugeHistogram;
        self.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let last = self.buckets.last().map(|bucket| bucket.1);
        let count = self.count.or(last)?;
        if self.buckets.last().is_none_or(|bucket| bucket.0 != f64::INFINITY) {
            self.buckets.push((f64::INFINITY, count));
        }
        let mut before = 0.0;
        let mut counts = Vec::with_capacity(self.buckets.len());
        for (_, up_to) in &self.buckets {
            counts.push(up_to - before);
            before = *up_to;
        }
        let custom_values: Vec<f64> =
            self.buckets.iter().map(|bucket| bucket.0).filter(|bound| *bound != f64::INFINITY).collect();
        let histogram = Histogram {
            counter_reset: if gauge { CounterReset::Gauge } else { CounterReset::Unknown },
            schema: NHCB_SCHEMA,
            count: before,
            sum: self.sum,
            positive_spans: vec![Span { offset: 0, length: u32::try_from(counts.len()).ok()? }],
            positive_buckets: counts,
            custom_values,
            ..Histogram::default()
        };
        histogram.check().is_ok().then_some((histogram, self.exemplars))
    }
}

/// Merges buckets until there are at most `most` of them, as one coarser schema after another has
/// them. False when even the coarsest, or boundaries of its own, have more.
pub(super) fn coarsen(histogram: &mut Histogram, most: usize) -> bool {
    let size = |histogram: &Histogram| histogram.positive_buckets.len() + histogram.negative_buckets.len();
    while size(histogram) > most {
        if histogram.uses_custom_buckets() || histogram.schema <= metrics_api::MIN_SCHEMA {
            return false;
        }
        histogram.schema -= 1;
        for (spans, buckets) in [
            (&mut histogram.positive_spans, &mut histogram.positive_buckets),
            (&mut histogram.negative_spans, &mut histogram.negative_buckets),
        ] {
            (*spans, *buckets) = halved(spans, buckets);
        }
    }
    true
}

/// Each two neighbours as one: bucket `i` goes into `ceil(i / 2)`.
fn halved(spans: &[Span], buckets: &[f64]) -> (Vec<Span>, Vec<f64>) {
    let (mut new_spans, mut new_buckets) = (Vec::<Span>::new(), Vec::new());
    let (mut index, mut last, mut counts) = (0i64, None, buckets.iter());
    for span in spans {
        index += i64::from(span.offset);
        for count in counts.by_ref().take(span.length as usize) {
            let target = (index + 1).div_euclid(2);
            match (last, new_buckets.last_mut(), new_spans.last_mut()) {
                (Some(before), Some(sum), _) if before == target => *sum += count,
                (Some(before), _, Some(open)) if before + 1 == target => {
                    open.length += 1;
                    new_buckets.push(*count);
                }
                _ => {
                    let offset = last.map_or(target, |before| target - before - 1);
                    new_spans.push(Span { offset: i32::try_from(offset).unwrap_or(i32::MAX), length: 1 });
                    new_buckets.push(*count);
                }
            }
            last = Some(target);
            index += 1;
        }
    }
    (new_spans, new_buckets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_put_together() {
        let of = |text| split(text, series::Dialect::Text).unwrap();
        let group = r#"{"h","a"="1"}"#.to_owned();
        assert_eq!(of(r#"h_bucket{le="1",a="1"}"#), Some((group.clone(), Part::Bucket(1.0))));
        assert_eq!(of(r#"h_sum{a="1"}"#), Some((group, Part::Sum)));
        assert_eq!(of("h_created"), None);
        let mut gathered = Gathered::default();
        for (part, value) in
            [(Part::Bucket(2.0), 5.0), (Part::Bucket(1.0), 2.0), (Part::Sum, 9.0), (Part::Count, 6.0)]
        {
            gathered.add(part, value);
        }
        let (histogram, _) = gathered.histogram().unwrap();
        assert_eq!(
            (histogram.custom_values, histogram.positive_buckets),
            (vec![1.0, 2.0], vec![2.0, 3.0, 1.0])
        );
        assert_eq!((histogram.count, histogram.sum), (6.0, 9.0));
        let falling = Gathered { buckets: vec![(1.0, 5.0), (2.0, 3.0)], ..Gathered::default() };
        assert!(falling.histogram().is_none());
    }

    #[test]
    fn buckets_are_merged_until_they_are_few() {
        let mut histogram = Histogram {
            schema: 1,
            // Buckets -1, 0, 1 and 5.
            positive_spans: vec![Span { offset: -1, length: 3 }, Span { offset: 3, length: 1 }],
            positive_buckets: vec![1.0, 2.0, 3.0, 4.0],
            count: 10.0,
            ..Histogram::default()
        };
        assert!(coarsen(&mut histogram, 3));
        // In the coarser schema 0 (-1 and 0), 1 and 3.
        assert_eq!(histogram.positive_spans, [Span { offset: 0, length: 2 }, Span { offset: 1, length: 1 }]);
        assert_eq!((histogram.schema, histogram.positive_buckets.clone()), (0, vec![3.0, 3.0, 4.0]));
        assert!(histogram.check().is_ok());
        assert!(!coarsen(&mut histogram, 0));
    }
}
