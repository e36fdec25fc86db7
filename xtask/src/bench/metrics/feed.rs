//! The input: a capture replicated to many hosts, as bodies of remote write 1.0 that all are sent.
//!
//! Each host begins at its own place in the capture and its counters grow at a pace of their own;
//! each series jitters on top. A host's scrapes are a few milliseconds off the round time, as real
//! ones are. The capture is played again from its start when it ends; counters go on.

use std::{
    fs::{self, File},
    io::{BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::ensure;

use super::{capture::Series, peers::Running};

/// Samples in one request, as Prometheus sends them.
const SAMPLES_MAX: usize = 2_000;
/// End of all inputs: the bytes stay the same from run to run.
const END_MS: i64 = 1_760_000_000_000;
/// Changes when the bytes do.
const VERSION: u32 = 2;

#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub name: &'static str,
    pub series: usize,
    pub seconds: i64,
    pub interval: i64,
}

pub struct Feed {
    path: PathBuf,
    samples: u64,
    pub end_ms: i64,
}

/// The input of this shape in the cache; made when it is not there.
pub fn get(cache: &Path, capture: &[Series], shape: &Shape) -> anyhow::Result<Feed> {
    let name = format!("v{VERSION}-{}x{}s-{}.rw", shape.series, shape.seconds, capture.len());
    let path = cache.join(&name);
    let steps = shape.seconds / shape.interval;
    let samples = steps as u64 * shape.series as u64;
    if !path.exists() {
        eprintln!("making {name}");
        let draft = path.with_extension("new");
        write(&mut BufWriter::with_capacity(1 << 20, File::create(&draft)?), capture, shape)?;
        fs::rename(draft, &path)?;
    }
    Ok(Feed { path, samples, end_ms: END_MS })
}

/// A series of a host while it is replayed.
struct Replayed<'a> {
    of: &'a Series,
    /// Encoded labels of the protobuf message.
    labels: Vec<u8>,
    at: usize,
    /// What a counter has grown to.
    value: f64,
    pace: f64,
}

fn write(into: &mut impl Write, capture: &[Series], shape: &Shape) -> anyhow::Result<()> {
    let mut hosts: Vec<Vec<Replayed>> = Vec::new();
    for at in 0..shape.series {
        let (host, series) = (at / capture.len(), &capture[at % capture.len()]);
        if hosts.len() == host {
            hosts.push(Vec::new());
        }
        hosts[host].push(replayed(series, host, at));
    }
    let mut encoder = snap::raw::Encoder::new();
    let (mut body, mut series_bytes) = (Vec::new(), Vec::new());
    for step in 0..shape.seconds / shape.interval {
        let round_ms = END_MS - shape.seconds * 1000 + step * shape.interval * 1000;
        let mut samples = 0;
        for (host, all) in hosts.iter_mut().enumerate() {
            let time_ms = round_ms
                + (host as i64 * 137) % (shape.interval * 900)
                + mixed(host as u64, step as u64) as i64 % 3;
            for series in all {
                series_bytes.clear();
                series_bytes.extend_from_slice(&series.labels);
                sample(&mut series_bytes, series.next(), time_ms);
                field(&mut body, 1, &series_bytes);
                samples += 1;
                if samples == SAMPLES_MAX {
                    flush(into, &mut encoder, &mut body)?;
                    samples = 0;
                }
            }
        }
        if samples > 0 {
            flush(into, &mut encoder, &mut body)?;
        }
    }
    into.flush()?;
    Ok(())
}

fn replayed(of: &Series, host: usize, at: usize) -> Replayed<'_> {
    let mut pairs = of.labels.clone();
    pairs.push(("__name__".into(), of.name.clone()));
    pairs.push(("instance".into(), format!("host-{host:05}:9100")));
    pairs.push(("job".into(), "node".into()));
    pairs.sort();
    let (mut labels, mut label) = (Vec::new(), Vec::new());
    for (name, value) in pairs {
        label.clear();
        field(&mut label, 1, name.as_bytes());
        field(&mut label, 2, value.as_bytes());
        field(&mut labels, 1, &label);
    }
    let start = mixed(host as u64, 7) as usize % of.values.len();
    let pace = 0.5 + (mixed(at as u64, 11) % 1000) as f64 / 1000.0;
    Replayed { of, labels, at: start, value: of.values[start], pace }
}

impl Replayed<'_> {
    /// A counter of whole numbers grows by whole numbers, at its own pace.
    fn next(&mut self) -> f64 {
        let before = self.of.values[self.at];
        self.at = (self.at + 1) % self.of.values.len();
        let now = self.of.values[self.at];
        if !self.of.is_counter {
            self.value = now;
            return now;
        }
        let grown = (now - before).max(0.0);
        self.value +=
            if grown.fract() == 0.0 { (grown * self.pace).round() } else { round(grown * self.pace) };
        self.value = if self.value.fract() == 0.0 { self.value } else { round(self.value) };
        self.value
    }
}

/// Counters of seconds have two decimals in /proc.
fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// SplitMix64 of two numbers: jitter that is the same each time.
fn mixed(a: u64, b: u64) -> u64 {
    let mut x = a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

/// A length-delimited field of protobuf.
fn field(into: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    into.push(number << 3 | 2);
    varint(into, bytes.len() as u64);
    into.extend_from_slice(bytes);
}

/// `prometheus.Sample`: value, then time in milliseconds.
fn sample(into: &mut Vec<u8>, value: f64, time_ms: i64) {
    let mut bytes = Vec::with_capacity(20);
    bytes.push(1 << 3 | 1);
    bytes.extend_from_slice(&value.to_le_bytes());
    bytes.push(2 << 3);
    varint(&mut bytes, time_ms as u64);
    field(into, 2, &bytes);
}

fn flush(into: &mut impl Write, encoder: &mut snap::raw::Encoder, body: &mut Vec<u8>) -> anyhow::Result<()> {
    let compressed = encoder.compress_vec(body)?;
    into.write_all(&u32::try_from(compressed.len())?.to_le_bytes())?;
    into.write_all(&compressed)?;
    body.clear();
    Ok(())
}

impl Feed {
    /// Sends everything, one request after another. Says how many samples that were.
    pub fn send(&self, to: &Running) -> anyhow::Result<u64> {
        let mut file = BufReader::with_capacity(1 << 20, File::open(&self.path)?);
        let mut connection = to.connect()?;
        let headers = [
            ("Content-Type", "application/x-protobuf"),
            ("Content-Encoding", "snappy"),
            ("X-Prometheus-Remote-Write-Version", "0.1.0"),
        ];
        let (mut length, mut body) = ([0; 4], Vec::new());
        while file.read_exact(&mut length).is_ok() {
            body.resize(u32::from_le_bytes(length) as usize, 0);
            file.read_exact(&mut body)?;
            let response = connection.request("POST", to.write_path(), &headers, &body)?;
            ensure!(
                response.status / 100 == 2,
                "samples were refused: {} {}",
                response.status,
                String::from_utf8_lossy(&response.body)
            );
        }
        Ok(self.samples)
    }
}
