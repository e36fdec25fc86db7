//! Parts written, read, merged, damaged.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use disk::{Create, Disk, SimulatedDisk};
use metrics::part::{BlockCache, Cuts, Part, PartWriter, SortKey, Tombstone, merge};
use metrics_api::{
    CounterReset, Error, Histogram, Labels, MatchOp, Matcher, Samples, Span, TimeRange, stale_nan,
};
use proptest::prelude::*;

type Model = BTreeMap<SortKey, (Labels, Samples)>;

const START_MS: i64 = 1_790_000_000_000;

fn write(model: &Model) -> Vec<u8> {
    let mut writer = PartWriter::new(Vec::new()).unwrap();
    for (labels, samples) in model.values() {
        writer.push_series(labels, samples).unwrap();
    }
    let (bytes, info) = writer.finish().unwrap();
    assert_eq!(info.size_bytes, bytes.len() as u64);
    bytes
}

fn open(bytes: &[u8]) -> metrics_api::Result<Part> {
    Part::from_bytes("a test", bytes.into(), &BlockCache::new(1 << 20))
}

fn add(model: &mut Model, labels: Labels, samples: Samples) {
    model.insert(SortKey::of(&labels), (labels, samples));
}

fn bits(samples: &Samples) -> (Vec<i64>, Vec<u64>, Vec<i64>, Vec<String>) {
    (
        samples.float_times.clone(),
        samples.floats.iter().map(|value| value.to_bits()).collect(),
        samples.histogram_times.clone(),
        samples.histograms.iter().map(|histogram| format!("{histogram:?}")).collect(),
    )
}

fn is_same(part: &Part, model: &Model) {
    assert_eq!(part.info().series as usize, model.len());
    for (ordinal, (labels, samples)) in (0..).zip(model.values()) {
        assert_eq!(part.labels(ordinal).unwrap(), *labels);
        assert_eq!(part.find(labels).unwrap(), Some(ordinal));
        let mut read = Samples::default();
        part.read(ordinal, TimeRange::ALL, &mut read).unwrap();
        assert_eq!(bits(&read), bits(samples), "{labels}");
    }
}

fn histogram(at: i64) -> Arc<Histogram> {
    Arc::new(Histogram {
        counter_reset: if at % 50 == 0 { CounterReset::Unknown } else { CounterReset::NotReset },
        schema: if at < 100 { 3 } else { 2 },
        count: at as f64 * 6.0,
        sum: at as f64 * 0.37,
        zero_count: 1.0,
        zero_threshold: 1e-128,
        positive_spans: vec![Span { offset: 1, length: 2 }, Span { offset: 4, length: 1 }],
        positive_buckets: vec![at as f64, at as f64 * 2.0, 3.0],
        negative_spans: vec![Span { offset: -3, length: 1 }],
        negative_buckets: vec![(at / 7) as f64],
        ..Histogram::default()
    })
}

/// Some of everything: each encoding, chunks over the bound, jitter, gaps, histograms.
fn some_of_everything() -> Model {
    let mut model = Model::new();
    type Value = fn(i64) -> f64;
    let shapes: [(&str, i64, Value); 9] = [
        ("constant", 300, |_| 1.0),
        ("linear", 300, |at| at as f64 * 15.0),
        ("sparse", 300, |at| (at / 100) as f64),
        ("noise", 300, |at| ((at * 7919) % 1009) as f64 / 100.0),
        ("packed", 20_000, |at| ((at * 7919) % 1009) as f64),
        ("floats", 3_000, |at| (at as f64).sqrt()),
        ("few_floats", 200, |at| (at as f64).sqrt()),
        ("counter", 9_000, |at| (at % 3_000) as f64 * 4096.0),
        ("specials", 50, |at| match at % 10 {
            0 => f64::NAN,
            1 => -0.0,
            2 => f64::INFINITY,
            3 => stale_nan(),
            _ => at as f64,
        }),
    ];
    for (name, count, value) in shapes {
        for instance in ["a:9100", "b:9100", "c:9100"] {
            let labels = Labels::from_pairs([
                ("__name__", name),
                ("job", "node"),
                ("instance", instance),
                ("shape", if count > 1_000 { "long" } else { "" }),
            ]);
            let mut samples = Samples::default();
            for at in 0..count {
                let jitter = if instance == "b:9100" { at * 31 % 7 } else { 0 };
                let missing = i64::from(instance == "c:9100" && at > 40) * 15_000;
                samples.push_float(START_MS + at * 15_000 + jitter + missing, value(at));
            }
            add(&mut model, labels, samples);
        }
    }
    let mut samples = Samples::default();
    for at in 0..200 {
        samples.push_histogram(START_MS + at * 15_000, histogram(at));
    }
    samples.push_histogram(
        START_MS + 200 * 15_000,
        Arc::new(Histogram { sum: stale_nan(), ..Histogram::default() }),
    );
    samples.push_float(START_MS + 300 * 15_000, 1.5);
    add(&mut model, Labels::from_pairs([("__name__", "native"), ("job", "app")]), samples);
    model
}

#[test]
fn what_was_written_is_read() {
    let model = some_of_everything();
    let part = open(&write(&model)).unwrap();
    is_same(&part, &model);
    let samples: usize = model.values().map(|(_, samples)| samples.len()).sum();
    assert_eq!(part.info().samples, samples as u64);
    assert_eq!(part.info().min_time_ms, START_MS);
    assert!(part.labels(part.info().series).is_err());
    let resident = part.resident_bytes() - part.info().size_bytes as usize;
    assert!(resident < 5_000, "{resident} bytes of index for 28 series");
}

#[test]
fn an_empty_part_is_a_part() {
    let part = open(&write(&Model::new())).unwrap();
    assert!(part.select(&[], TimeRange::ALL).unwrap().is_empty());
    assert_eq!(part.label_names(None).unwrap(), Vec::<String>::new());
    assert!(part.labels(0).is_err() && !part.overlaps(TimeRange::ALL));
}

#[test]
fn a_range_cuts_and_chunks_say_what_they_hold() {
    let model = some_of_everything();
    let part = open(&write(&model)).unwrap();
    let range = TimeRange::new(START_MS + 8_000 * 15_000, START_MS + 8_300 * 15_000);
    for (ordinal, (labels, samples)) in (0..).zip(model.values()) {
        let mut read = Samples::default();
        part.read(ordinal, range, &mut read).unwrap();
        let wanted = samples.float_times.iter().filter(|time| range.contains(**time)).count();
        assert_eq!(read.floats.len(), wanted, "{labels}");
        let chunks = part.chunks(ordinal, TimeRange::ALL).unwrap();
        assert_eq!(chunks.iter().map(|chunk| chunk.samples as usize).sum::<usize>(), samples.len());
        let mut from = 0;
        for chunk in chunks.iter().filter(|chunk| !chunk.histograms) {
            let values = &samples.floats[from..from + chunk.samples as usize];
            from += values.len();
            let Some(known) = chunk.aggregates else { continue };
            assert_eq!(known.first, values[0]);
            assert_eq!(known.max, values.iter().copied().fold(f64::MIN, f64::max));
            assert!((known.sum - values.iter().sum::<f64>()).abs() <= known.sum.abs() * 1e-12);
            let falls = values.windows(2).filter(|pair| pair[1] < pair[0]).map(|pair| pair[0]);
            assert_eq!(known.resets_sum, falls.sum::<f64>());
        }
        if labels.metric_name() == "counter" {
            assert!(chunks.iter().any(|chunk| chunk.aggregates.is_some_and(|known| known.resets_sum > 0.0)));
        }
    }
}

#[test]
fn matchers_find_what_a_scan_finds() {
    let model = some_of_everything();
    let part = open(&write(&model)).unwrap();
    let names = ["__name__", "instance", "shape", "job", "absent"];
    let values = ["", "constant", "a:9100", "b:9100", "long", "node", "x"];
    let expressions =
        ["", ".*", ".+", "a.*|b.*", "a:9100|b:9100|", "[ab]:9100", "const.*", "p?acked", "long|"];
    let mut matchers = Vec::new();
    for name in names {
        for value in values {
            matchers.push(Matcher::equal(name, value));
            matchers.push(Matcher::new(name, MatchOp::NotEqual, value).unwrap());
        }
        for expression in expressions {
            matchers.push(Matcher::new(name, MatchOp::Regex, expression).unwrap());
            matchers.push(Matcher::new(name, MatchOp::NotRegex, expression).unwrap());
        }
    }
    for a in &matchers {
        for b in [None].into_iter().chain(matchers.iter().step_by(3).map(Some)) {
            let set: Vec<Matcher> = [Some(a), b].into_iter().flatten().cloned().collect();
            let found: Vec<u32> = part.select(&set, TimeRange::ALL).unwrap().iter().collect();
            let meets = |labels: &Labels| set.iter().all(|matcher| matcher.matches_labels(labels));
            let wanted: Vec<u32> = (0..)
                .zip(model.values())
                .filter(|(_, (labels, _))| meets(labels))
                .map(|(at, _)| at)
                .collect();
            assert_eq!(found, wanted, "{set:?}");
        }
    }
    assert!(part.select(&[], TimeRange::new(0, START_MS - 1)).unwrap().is_empty());
}

#[test]
fn labels_are_listed_and_counted() {
    let model = some_of_everything();
    let part = open(&write(&model)).unwrap();
    assert_eq!(part.label_names(None).unwrap(), ["__name__", "instance", "job", "shape"]);
    assert_eq!(part.label_values("job", None).unwrap(), ["app", "node"]);
    let app = part.select(&[Matcher::equal("job", "app")], TimeRange::ALL).unwrap();
    assert_eq!(part.label_names(Some(&app)).unwrap(), ["__name__", "job"]);
    assert_eq!(part.label_values("__name__", Some(&app)).unwrap(), ["native"]);
    assert_eq!(part.label_values("none", None).unwrap(), Vec::<String>::new());
    let report = part.cardinality(1);
    assert_eq!((report.series, report.label_pairs), (28, 10 + 3 + 2 + 1));
    assert_eq!(report.values_by_label[0].name, "__name__");
    assert_eq!(report.series_by_label_pair[0].name, "job=node");
    assert_eq!((report.series_by_metric.len(), report.series_by_metric[0].value), (1, 3));
}

#[test]
fn many_series_take_both_ways_to_list_labels() {
    let mut model = Model::new();
    for at in 0..5_000i64 {
        let (a, b) = (at.to_string(), (at % 7).to_string());
        let mut samples = Samples::default();
        samples.push_float(START_MS, at as f64);
        let label = if at < 3_000 { ("low", "yes") } else { ("high", "yes") };
        add(&mut model, Labels::from_pairs([("__name__", "m"), ("a", &a), ("b", &b), label]), samples);
    }
    let part = open(&write(&model)).unwrap();
    is_same(&part, &model);
    let low = part.select(&[Matcher::equal("low", "yes")], TimeRange::ALL).unwrap();
    assert_eq!(low.len(), 3_000);
    assert_eq!(part.label_names(Some(&low)).unwrap(), ["__name__", "a", "b", "low"]);
    assert_eq!(part.label_values("high", Some(&low)).unwrap(), Vec::<String>::new());
    assert_eq!(part.label_values("a", Some(&low)).unwrap().len(), 3_000);
}

#[test]
fn series_out_of_order_and_samples_out_of_order_are_refused() {
    let labels = Labels::from_pairs([("__name__", "a")]);
    let mut samples = Samples::default();
    samples.push_float(2, 1.0);
    let mut writer = PartWriter::new(Vec::new()).unwrap();
    writer.push_series(&labels, &Samples::default()).unwrap();
    writer.push_series(&labels, &samples).unwrap();
    assert!(writer.push_series(&labels, &samples).is_err());
    samples.push_float(2, 1.0);
    assert!(writer.push_series(&labels.with("__name__", "b"), &samples).is_err());
    samples.clear();
    let buckets = metrics::codec::CHUNK_FLOATS_MAX;
    let wide = Histogram { positive_buckets: vec![0.0; buckets], ..Histogram::default() };
    samples.push_histogram(1, Arc::new(wide));
    let refused = writer.push_series(&labels.with("__name__", "c"), &samples);
    assert!(matches!(refused, Err(Error::Limit { .. })), "{refused:?}");
}

#[test]
fn a_full_disk_is_said() {
    let disk = SimulatedDisk::new();
    disk.plan(disk::simulated::Plan { full_after_bytes: Some(500), ..Default::default() });
    let sink = disk.create(Path::new("part"), Create::PRIVATE).unwrap();
    let mut writer = PartWriter::new(sink).unwrap();
    let mut pushed = Ok(());
    for (labels, samples) in some_of_everything().values() {
        pushed = pushed.and_then(|()| writer.push_series(labels, samples));
    }
    let refused = pushed.and_then(|()| writer.finish().map(|_| ()));
    assert!(matches!(refused, Err(Error::Storage { .. })), "{refused:?}");
}

#[test]
fn a_part_on_disk_reads_as_one_in_memory() {
    let disk = SimulatedDisk::new();
    let model = some_of_everything();
    let bytes = write(&model);
    disk.create(Path::new("part"), Create::PRIVATE).unwrap().write_all(&bytes).unwrap();
    let cache = BlockCache::new(20_000);
    let source = disk.open(Path::new("part")).unwrap();
    let part = Part::open("part", source, bytes.len() as u64, &cache).unwrap();
    is_same(&part, &model);
    assert!(cache.size_bytes() <= 20_000);
    drop(part);
    assert_eq!(cache.size_bytes(), 0);
    let source = disk.open(Path::new("part")).unwrap();
    assert!(Part::open("part", source, bytes.len() as u64 + 1, &cache).is_err());
}

#[test]
fn merging_keeps_the_newest_of_equal_times_and_cuts() {
    let series = |name: &str| Labels::from_pairs([("__name__", name)]);
    let part = |all: &[(&str, &[(i64, f64)])]| {
        let mut model = Model::new();
        for (name, values) in all {
            let mut samples = Samples::default();
            values.iter().for_each(|(time, value)| samples.push_float(*time, *value));
            add(&mut model, series(name), samples);
        }
        Arc::new(open(&write(&model)).unwrap())
    };
    let parts = [
        part(&[("a", &[(1, 1.0), (2, 1.0), (5, 1.0)]), ("b", &[(1, 1.0)]), ("gone", &[(3, 3.0)])]),
        part(&[("a", &[(2, 2.0), (3, 2.0)]), ("c", &[(9, 2.0)])]),
        part(&[("a", &[(0, 3.0), (2, 3.0)])]),
    ];
    let cuts = Cuts {
        keep_from_ms: Some(1),
        tombstones: vec![Tombstone {
            any_of: vec![vec![Matcher::equal("__name__", "gone")], vec![Matcher::equal("__name__", "a")]],
            range: TimeRange::new(3, 4),
        }],
    };
    let mut writer = PartWriter::new(Vec::new()).unwrap();
    let merged = merge(&parts, &cuts, &mut writer).unwrap();
    assert_eq!((merged.samples_in, merged.duplicates, merged.cut), (10, 2, 3));
    let (bytes, info) = writer.finish().unwrap();
    let found = open(&bytes).unwrap();
    assert_eq!((info.series, info.samples), (3, 5));
    let mut samples = Samples::default();
    found.read(found.find(&series("a")).unwrap().unwrap(), TimeRange::ALL, &mut samples).unwrap();
    assert_eq!((samples.float_times, samples.floats), (vec![1, 2, 5], vec![1.0, 3.0, 1.0]));
}

#[test]
fn a_flipped_bit_is_seen_and_touches_its_block_alone() {
    let model = some_of_everything();
    let bytes = write(&model);
    let (mut opened, mut series_lost, mut seen) = (0, 0, 0);
    for at in (0..bytes.len()).step_by(soaked(997)) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        let part = match open(&damaged) {
            Ok(part) => part,
            Err(Error::Damaged { place, why }) => {
                assert!(place.starts_with("a test") && !why.is_empty());
                seen += 1;
                continue;
            }
            Err(other) => panic!("{other}"),
        };
        opened += 1;
        let mut lost = 0;
        for (ordinal, (labels, samples)) in (0..).zip(model.values()) {
            let mut read = Samples::default();
            let answer = part
                .labels(ordinal)
                .and_then(|found| part.read(ordinal, TimeRange::ALL, &mut read).map(|()| found));
            match answer {
                Ok(found) => assert_eq!((&found, bits(&read)), (labels, bits(samples)), "byte {at}"),
                Err(Error::Damaged { .. }) => lost += 1,
                Err(other) => panic!("{other}"),
            }
        }
        let lists = part.select(&[Matcher::equal("job", "node")], TimeRange::ALL);
        assert!(lost > 0 || lists.is_err(), "byte {at} is noticed by nobody");
        series_lost += lost;
    }
    assert!(opened > 10 && seen > 0, "{opened} {seen}");
    assert!(series_lost < opened * 20, "{series_lost} series of {opened} parts with one flipped bit each");
}

#[test]
fn a_torn_part_does_not_open() {
    let bytes = write(&some_of_everything());
    for len in (0..bytes.len()).step_by(soaked(211)) {
        assert!(matches!(open(&bytes[..len]), Err(Error::Damaged { .. })), "{len} bytes");
    }
    assert!(open(b"SteadMP1").is_err() && open(&[0; 200]).is_err());
}

/// A step, finer with more `STEAD_SOAK`.
fn soaked(step: usize) -> usize {
    let soak = std::env::var("STEAD_SOAK").ok().and_then(|text| text.parse::<f64>().ok()).unwrap_or(1.0);
    ((step as f64 / soak.max(0.01)) as usize).max(1)
}

/// A part of version 1, as it was written once. Never write it anew: add one for the next version.
#[test]
fn a_part_of_version_1_is_read_for_ever() {
    let frozen = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frozen/part-1");
    let model = some_of_everything();
    if std::env::var_os("STEAD_FREEZE").is_some() && !frozen.exists() {
        std::fs::write(&frozen, write(&model)).unwrap();
    }
    let part = open(&std::fs::read(&frozen).unwrap()).unwrap();
    is_same(&part, &model);
    assert_eq!(part.label_values("job", None).unwrap(), ["app", "node"]);
}

fn any_samples() -> impl Strategy<Value = Samples> {
    let value = prop_oneof![
        (0i64..1000).prop_map(|value| value as f64),
        any::<u64>().prop_map(f64::from_bits),
        Just(stale_nan()),
    ];
    proptest::collection::btree_map(-1_000i64..5_000, value, 0..200).prop_map(|all| {
        let mut samples = Samples::default();
        all.into_iter().for_each(|(time, value)| samples.push_float(time, value));
        samples
    })
}

fn any_model() -> impl Strategy<Value = Vec<(u8, u8, Samples)>> {
    proptest::collection::vec((0u8..6, 0u8..4, any_samples()), 0..12)
}

fn model_of(all: Vec<(u8, u8, Samples)>) -> Model {
    let mut model = Model::new();
    for (name, instance, samples) in all {
        let (name, instance) = (format!("m{name}"), format!("i{instance}"));
        if !samples.is_empty() {
            add(&mut model, Labels::from_pairs([("__name__", &name), ("instance", &instance)]), samples);
        }
    }
    model
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn merged_parts_are_the_union_with_the_newest(models in proptest::collection::vec(any_model(), 1..4)) {
        let models: Vec<Model> = models.into_iter().map(model_of).collect();
        let parts: Vec<Arc<Part>> =
            models.iter().map(|model| Arc::new(open(&write(model)).unwrap())).collect();
        let mut wanted = Model::new();
        for model in models {
            for (key, (labels, samples)) in model {
                let (_, into) = wanted.entry(key).or_insert_with(|| (labels, Samples::default()));
                let mut union: BTreeMap<i64, f64> =
                    into.float_times.iter().copied().zip(into.floats.iter().copied()).collect();
                union.extend(samples.float_times.iter().copied().zip(samples.floats.iter().copied()));
                into.clear();
                union.into_iter().for_each(|(time, value)| into.push_float(time, value));
            }
        }
        let mut writer = PartWriter::new(Vec::new()).unwrap();
        merge(&parts, &Cuts::default(), &mut writer).unwrap();
        is_same(&open(&writer.finish().unwrap().0).unwrap(), &wanted);
    }

    #[test]
    fn a_part_with_some_bytes_changed_does_no_harm(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let mut bytes = write(&model_of(vec![(1, 1, { let mut s = Samples::default(); s.push_float(1, 2.0); s })]));
        for (at, with) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= with;
        }
        if let Ok(part) = open(&bytes) {
            let _ = part.labels(0);
            let _ = part.read(0, TimeRange::ALL, &mut Samples::default());
        }
    }
}
