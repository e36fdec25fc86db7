use metrics_api::{CounterReset, Histogram, NHCB_SCHEMA, Span};

use super::{bound, combine, compact, detect_reset, quantile, trim};

fn exponential(schema: i8, offset: i32, buckets: &[f64]) -> Histogram {
    Histogram {
        schema,
        count: buckets.iter().sum(),
        sum: 1.0,
        positive_spans: vec![Span { offset, length: buckets.len() as u32 }],
        positive_buckets: buckets.to_vec(),
        ..Histogram::default()
    }
}

fn custom(bounds: &[f64], buckets: &[f64]) -> Histogram {
    Histogram { custom_values: bounds.to_vec(), ..exponential(NHCB_SCHEMA, 0, buckets) }
}

#[test]
fn boundaries_are_powers() {
    assert_eq!(bound(1, 0), 2.0);
    assert_eq!(bound(1, -1), 4.0);
    assert_eq!(bound(0, 3), 1.0);
    assert_eq!(bound(-4, 2), 0.5);
    assert!((bound(1, 1) - 2f64.sqrt()).abs() < 1e-15);
    assert_eq!(bound(1024, 0), f64::MAX);
}

#[test]
fn kinds_that_do_not_fit_are_refused() {
    assert!(combine(&exponential(0, 0, &[1.0]), &custom(&[1.0], &[1.0]), false).is_err());
}

#[test]
fn adding_meets_at_the_coarser_resolution() {
    let (sum, merged) =
        combine(&exponential(1, 1, &[1.0, 2.0, 4.0]), &exponential(0, 1, &[8.0]), false).unwrap();
    assert_eq!((sum.schema, sum.positive_buckets.as_slice()), (0, [11.0, 4.0].as_slice()));
    assert_eq!((sum.count, merged.collision, merged.reconciled), (15.0, false, false));
}

#[test]
fn adding_widens_the_zero_bucket_to_a_boundary() {
    let wide = Histogram { zero_threshold: 1.5, zero_count: 2.0, count: 2.0, ..Histogram::default() };
    let (sum, _) = combine(&exponential(0, 1, &[3.0, 5.0]), &wide, false).unwrap();
    // 1.5 falls into (1, 2], so the zero bucket takes it over as a whole.
    assert_eq!((sum.zero_threshold, sum.zero_count), (2.0, 5.0));
    assert_eq!(sum.positive_buckets, [5.0]);
}

#[test]
fn custom_boundaries_that_differ_leave_the_shared_ones() {
    let (sum, merged) = combine(
        &custom(&[1.0, 2.0, 4.0], &[1.0, 2.0, 3.0, 4.0]),
        &custom(&[2.0, 3.0], &[1.0, 1.0, 1.0]),
        false,
    )
    .unwrap();
    assert!(merged.reconciled);
    assert_eq!(
        (sum.custom_values.as_slice(), sum.positive_buckets.as_slice()),
        ([2.0].as_slice(), [4.0, 9.0].as_slice())
    );
}

#[test]
fn hints_that_contradict_collide() {
    let reset = Histogram { counter_reset: CounterReset::Reset, ..exponential(0, 0, &[1.0]) };
    let not = Histogram { counter_reset: CounterReset::NotReset, ..exponential(0, 0, &[1.0]) };
    let (sum, merged) = combine(&reset, &not, false).unwrap();
    assert!(merged.collision && sum.counter_reset == CounterReset::Unknown);
}

#[test]
fn a_count_that_falls_is_a_reset() {
    let before = exponential(1, 0, &[1.0, 2.0]);
    assert!(!detect_reset(&exponential(1, 0, &[1.0, 3.0]), &before));
    assert!(!detect_reset(&exponential(0, 0, &[3.0, 3.0]), &before));
    assert!(detect_reset(&exponential(1, 0, &[0.0, 4.0]), &before));
    assert!(detect_reset(&exponential(2, 0, &[4.0]), &before));
    let said = Histogram { counter_reset: CounterReset::NotReset, ..exponential(1, 0, &[0.0]) };
    assert!(!detect_reset(&said, &before));
}

#[test]
fn quantiles_interpolate() {
    let of = exponential(0, 1, &[4.0]);
    assert!((quantile::quantile(0.5, &of).0 - 2f64.sqrt()).abs() < 1e-12);
    assert!((quantile::fraction(1.0, 2f64.sqrt(), &of) - 0.5).abs() < 1e-12);
    assert!(quantile::quantile(0.5, &Histogram::default()).0.is_nan());
}

#[test]
fn trimming_splits_the_bucket_with_the_value() {
    let kept = trim::trim(&custom(&[1.0, 2.0], &[2.0, 4.0]), 1.5, true);
    assert_eq!((kept.count, kept.positive_buckets.as_slice()), (4.0, [2.0, 2.0].as_slice()));
}

#[test]
fn compacting_leaves_no_empty_bucket() {
    let small = compact(exponential(0, -1, &[0.0, 1.0, 0.0, 2.0]));
    assert_eq!(small.positive_buckets, [1.0, 2.0]);
    assert_eq!(small.positive_spans, [Span { offset: 0, length: 1 }, Span { offset: 1, length: 1 }]);
}
