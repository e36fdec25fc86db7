//! How small and how quick parts are on a recorded capture.
//!
//! `cargo run --release -p metrics --example sizes -- FOLDER [SAMPLES] [INSTANCES] [JITTER_MS]`: the
//! folder holds text expositions, one file per scrape in order of name; they are set 15 s apart.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Instant,
};

use metrics::{
    codec,
    part::{BlockCache, Cuts, Part, PartWriter, SortKey, merge},
};
use metrics_api::{Labels, Samples, TimeRange};

type Series = BTreeMap<SortKey, (Labels, Samples)>;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number =
        |at: usize, otherwise: usize| arguments.get(at).map_or(otherwise, |text| text.parse().unwrap());
    let (count, instances, jitter_ms) = (number(1, 240), number(2, 1), number(3, 0));
    let capture = capture(&arguments[0], count);
    let series = replicate(&capture, instances, jitter_ms as i64);
    let samples: usize = series.values().map(|(_, samples)| samples.len()).sum();
    println!("{} series, {samples} samples, {count} each at most, jitter ±{jitter_ms} ms", series.len());

    let (bytes, seconds) = timed(|| write(&series));
    println!(
        "write  {:>8.3} bytes/sample {:>7.1} M samples/s  {:.3} CPU s/M  {} bytes",
        bytes.len() as f64 / samples as f64,
        samples as f64 / seconds / 1e6,
        seconds * 1e6 / samples as f64,
        bytes.len()
    );
    let cache = BlockCache::new(256 << 20);
    let part = Arc::new(Part::from_bytes("sizes", bytes.into(), &cache).unwrap());
    shapes(&part, samples);
    println!("resident {} bytes, {} of them the file", part.resident_bytes(), part.info().size_bytes);
    for round in ["cold", "warm"] {
        let (_, seconds) = timed(|| read_all(&part));
        println!("read {round} {:>7.1} M samples/s", samples as f64 / seconds / 1e6);
    }
    decode_only(&series);
    let halves = split(&series);
    let (_, seconds) = timed(|| {
        let mut writer = PartWriter::new(Vec::new()).unwrap();
        merge(&halves, &Cuts::default(), &mut writer).unwrap();
        writer.finish().unwrap()
    });
    println!("merge of 2 {:>7.1} M samples/s", samples as f64 / seconds / 1e6);
}

fn timed<T>(what: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let start_cpu = cpu_ns();
    let done = what();
    let wall = start.elapsed().as_secs_f64();
    match start_cpu.zip(cpu_ns()) {
        Some((from, to)) if to > from && wall > 1e-3 => (done, (to - from) as f64 / 1e9),
        _ => (done, wall),
    }
}

/// CPU time of this thread so far; other work on the machine does not count then.
fn cpu_ns() -> Option<u64> {
    std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split(' ').next()?.parse().ok()
}

fn write(series: &Series) -> Vec<u8> {
    let mut writer = PartWriter::new(Vec::new()).unwrap();
    for (labels, samples) in series.values() {
        writer.push_series(labels, samples).unwrap();
    }
    writer.finish().unwrap().0
}

fn read_all(part: &Part) {
    let mut samples = Samples::default();
    for ordinal in 0..part.info().series {
        samples.clear();
        part.read(ordinal, TimeRange::ALL, &mut samples).unwrap();
    }
}

fn shapes(part: &Part, samples: usize) {
    let (shapes, bytes) = part.shapes().unwrap();
    for shape in shapes.iter().filter(|shape| shape.chunks > 0) {
        println!(
            "  {:<14} {:>7} chunks {:>9} samples {:>9} bytes before blocks, {:.3} each",
            shape.encoding.map_or("histograms".into(), |encoding| format!("{encoding:?}")),
            shape.chunks,
            shape.samples,
            shape.bytes,
            shape.bytes as f64 / shape.samples as f64
        );
    }
    for (what, bytes) in ["chunks", "times", "series", "postings"].into_iter().zip(bytes) {
        println!("  {what:<9} {bytes:>9} bytes {:.4} bytes/sample", bytes as f64 / samples as f64);
    }
}

/// Speed of each encoding alone, in memory, without parts.
fn decode_only(series: &Series) {
    let mut totals: HashMap<codec::Encoding, (usize, f64, f64)> = HashMap::new();
    let mut encoder = codec::ValueEncoder::default();
    let (mut bytes, mut values) = (Vec::new(), Vec::new());
    for (_, samples) in series.values().take(20_000) {
        for floats in samples.floats.chunks(codec::CHUNK_SAMPLES_MAX) {
            bytes.clear();
            values.clear();
            let start = Instant::now();
            let encoding = encoder.encode(floats, &mut bytes);
            let encode = start.elapsed().as_secs_f64();
            let start = Instant::now();
            codec::decode_values(encoding, &bytes, floats.len(), &mut values).unwrap();
            let decode = start.elapsed().as_secs_f64();
            let total = totals.entry(encoding).or_default();
            *total = (total.0 + floats.len(), total.1 + encode, total.2 + decode);
        }
    }
    for (encoding, (samples, encode, decode)) in totals {
        let rate = |seconds: f64| samples as f64 / seconds / 1e6;
        println!(
            "  {:<14} encode {:>7.1} M/s ({:>6.0} MB/s)  decode {:>7.1} M/s ({:>6.0} MB/s)",
            format!("{encoding:?}"),
            rate(encode),
            rate(encode) * 8.0,
            rate(decode),
            rate(decode) * 8.0
        );
    }
}

fn split(series: &Series) -> [Arc<Part>; 2] {
    let cache = BlockCache::new(64 << 20);
    [false, true].map(|second| {
        let mut half = Series::new();
        for (key, (labels, samples)) in series {
            let middle = samples.floats.len() / 2;
            let range = if second { middle..samples.floats.len() } else { 0..middle };
            let mut own = Samples::default();
            own.float_times.extend_from_slice(&samples.float_times[range.clone()]);
            own.floats.extend_from_slice(&samples.floats[range]);
            half.insert(key.clone(), (labels.clone(), own));
        }
        Arc::new(Part::from_bytes("half", write(&half).into(), &cache).unwrap())
    })
}

/// The values of each series in a capture, by scrape.
fn capture(folder: &str, count: usize) -> Vec<(Labels, Vec<(usize, f64)>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut all: Vec<(Labels, Vec<(usize, f64)>)> = Vec::new();
    for (at, path) in files.iter().take(count).enumerate() {
        let text = std::fs::read_to_string(path).unwrap();
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let place = *places.entry(name.to_owned()).or_insert_with(|| {
                all.push((labels(name), Vec::new()));
                all.len() - 1
            });
            all[place].1.push((at, value.parse().unwrap()));
        }
    }
    all
}

fn labels(text: &str) -> Labels {
    let (name, rest) = text.split_once('{').unwrap_or((text, ""));
    let mut pairs = vec![("__name__".to_owned(), name.to_owned()), ("job".into(), "node".into())];
    for pair in rest.trim_end_matches('}').split("\",").filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once("=\"").unwrap();
        pairs.push((name.to_owned(), value.trim_end_matches('"').replace("\\\\", "\\")));
    }
    Labels::from_pairs(pairs)
}

fn replicate(capture: &[(Labels, Vec<(usize, f64)>)], instances: usize, jitter_ms: i64) -> Series {
    let mut series = Series::new();
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    for instance in 0..instances {
        let start = 1_790_000_000_000 + (instance as i64 * 7_919) % 15_000;
        for (labels, values) in capture {
            let labels = labels.with("instance", &format!("10.0.{}.{}:9100", instance / 256, instance % 256));
            let mut samples = Samples::default();
            for &(at, value) in values {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let jitter =
                    if jitter_ms == 0 { 0 } else { (random % (2 * jitter_ms as u64 + 1)) as i64 - jitter_ms };
                samples.push_float(start + at as i64 * 15_000 + jitter, value);
            }
            series.insert(SortKey::of(&labels), (labels, samples));
        }
    }
    series
}
