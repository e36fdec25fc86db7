//! From the bytes of a request to a batch.

use metrics_api::{
    Appended, CounterReset, Exemplar, Histogram, Labels, METRIC_NAME, Metadata, MetricType, NHCB_SCHEMA,
    RefusalKind, WriteBatch,
};

use super::{BUCKETS_MAX, DECODED_BYTES_MAX, Error, METADATA_MAX, SAMPLES_MAX, SERIES_MAX};
use crate::{
    exposition::{LABELS_MAX, absolute, span},
    wire::{Field, Reader, WireError},
};

/// The most a byte of snappy can stand for; who claims more lies.
const SNAPPY_RATIO_MAX: usize = 64;

/// Labels that say who sends: they hold whatever the payload says. What it says under their names is
/// kept as `exported_…`, as it is with the labels of a target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Name, value, and the name that a claim of the payload gets.
    labels: Vec<(String, String, String)>,
}

impl Stamp {
    #[must_use]
    pub fn new(labels: impl IntoIterator<Item = (String, String)>) -> Self {
        let with_exported = |(name, value)| {
            let exported = format!("exported_{name}");
            (name, value, exported)
        };
        Self { labels: labels.into_iter().map(with_exported).collect() }
    }

    fn put_on<'a>(&'a self, labels: &mut Vec<(&'a str, &'a str)>) {
        if self.labels.is_empty() {
            return;
        }
        for (name, value, exported) in &self.labels {
            let taken = labels.iter().any(|pair| pair.0 == exported);
            match labels.iter().position(|pair| pair.0 == name) {
                Some(at) if taken => drop(labels.swap_remove(at)),
                Some(at) => labels[at].0 = exported,
                None => {}
            }
            labels.push((name, value));
        }
        labels.sort_by_key(|pair| pair.0);
    }
}

/// What a request holds.
#[derive(Debug, Default)]
pub struct Decoded {
    pub batch: WriteBatch,
    /// What is refused before a store sees it.
    pub refused: Appended,
    pub histograms: u64,
    /// Entries of metadata over the bound.
    pub metadata_dropped: u64,
}

/// Reads a request of remote write 1.0. A series that is wrong is left out and said; a message that
/// is wrong fails as a whole.
///
/// # Errors
/// Another kind of content, bytes that are no message, a bound that is passed.
pub fn decode(
    body: &[u8],
    content_encoding: Option<&str>,
    content_type: Option<&str>,
    stamp: &Stamp,
) -> Result<Decoded, Error> {
    check_type(content_type.unwrap_or_default())?;
    match content_encoding.map(str::trim) {
        None | Some("" | "snappy") => {}
        Some(other) => return Err(Error::Encoding { given: other.to_owned() }),
    }
    let len = snap::raw::decompress_len(body).map_err(|_| Error::Snappy)?;
    if len > DECODED_BYTES_MAX {
        return Err(Error::TooMany { what: "bytes after decompression", limit: DECODED_BYTES_MAX });
    }
    if len > body.len().saturating_mul(SNAPPY_RATIO_MAX) {
        return Err(Error::Snappy);
    }
    let message = snap::raw::Decoder::new().decompress_vec(body).map_err(|_| Error::Snappy)?;
    request(&message, stamp)
}

fn check_type(content_type: &str) -> Result<(), Error> {
    let mut parts = content_type.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default();
    if !media.eq_ignore_ascii_case("application/x-protobuf") {
        return Err(Error::ContentType { given: media.to_owned() });
    }
    for part in parts {
        if let Some((name, value)) = part.split_once('=')
            && name.trim().eq_ignore_ascii_case("proto")
            && value.trim().trim_matches('"') != "prometheus.WriteRequest"
        {
            return Err(Error::Message { given: value.trim().to_owned() });
        }
    }
    Ok(())
}

fn request(message: &[u8], stamp: &Stamp) -> Result<Decoded, Error> {
    let mut decoded = Decoded::default();
    let mut series = 0;
    let mut labels = Vec::with_capacity(32);
    let mut left = SAMPLES_MAX;
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field()? {
        match field.number {
            1 => {
                series += 1;
                if series > SERIES_MAX {
                    return Err(Error::TooMany { what: "series", limit: SERIES_MAX });
                }
                self::series(field.bytes()?, stamp, &mut labels, &mut decoded, &mut left)?;
            }
            3 if decoded.batch.metadata.len() < METADATA_MAX => {
                decoded.batch.metadata.extend(metadata(field.bytes()?)?);
            }
            3 => decoded.metadata_dropped += 1,
            _ => {}
        }
    }
    Ok(decoded)
}

/// One series with its samples. Fields may come in any order, so labels are gathered first.
fn series<'a>(
    message: &'a [u8],
    stamp: &'a Stamp,
    labels: &mut Vec<(&'a str, &'a str)>,
    decoded: &mut Decoded,
    left: &mut usize,
) -> Result<(), Error> {
    labels.clear();
    let mut broken = None;
    let mut samples = 0;
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field()? {
        match field.number {
            1 => match pair(field.bytes()?) {
                Ok(_) if labels.len() >= LABELS_MAX => broken = Some("it has too many labels"),
                Ok(pair) => labels.push(pair),
                Err(WireError::NotUtf8) => broken = Some("a label is not UTF-8"),
                Err(error) => return Err(error.into()),
            },
            2..=4 => samples += 1,
            _ => {}
        }
    }
    *left = left.checked_sub(samples).ok_or(Error::TooMany { what: "samples", limit: SAMPLES_MAX })?;
    if let Some(why) = broken.or_else(|| check_labels(labels)) {
        let named = labels.iter().find(|pair| pair.0 == METRIC_NAME).map_or("", |pair| pair.1);
        let samples = samples.max(1) as u64;
        decoded.refused.refuse(RefusalKind::Labels, samples, || {
            format!("series of {:?}: {why}", crate::exposition::series::short(named))
        });
        return Ok(());
    }
    stamp.put_on(labels);
    if decoded.batch.row_sorted(labels.iter().copied()).is_err() {
        decoded.batch.row(&Labels::from_pairs(labels.iter().copied()));
    }
    fill_row(message, decoded, labels)
}

/// Why these are no labels of a series; leaves out empty ones.
fn check_labels(labels: &mut Vec<(&str, &str)>) -> Option<&'static str> {
    labels.retain(|pair| !pair.1.is_empty() || pair.0.is_empty());
    if labels.iter().any(|pair| pair.0.is_empty()) {
        return Some("a label has no name");
    }
    // Almost always sorted; then a repeated name stands beside itself.
    let sorted = labels.is_sorted_by(|a, b| a.0 <= b.0);
    if !sorted {
        labels.sort_by_key(|pair| pair.0);
    }
    if labels.array_windows().any(|[one, next]| one.0 == next.0) {
        return Some("a label is given twice");
    }
    match labels.iter().find(|pair| pair.0 == METRIC_NAME) {
        Some(_) => None,
        None => Some("it has no metric name"),
    }
}

fn fill_row(message: &[u8], decoded: &mut Decoded, labels: &[(&str, &str)]) -> Result<(), Error> {
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field()? {
        match field.number {
            2 => {
                let (time_ms, value) = sample(field.bytes()?)?;
                decoded.batch.float(time_ms, value);
            }
            3 => {
                let exemplar = exemplar(field.bytes()?)?;
                decoded.batch.exemplar(exemplar);
            }
            4 => {
                let (time_ms, histogram) = histogram(field.bytes()?)?;
                decoded.histograms += 1;
                // A marker of staleness need not be a histogram in any other way.
                match if histogram.is_stale() { Ok(()) } else { histogram.check() } {
                    Ok(()) => drop(decoded.batch.histogram(time_ms, histogram)),
                    Err(why) => decoded.refused.refuse(RefusalKind::Histogram, 1, || {
                        format!("{} at {time_ms}: {why}", Labels::from_pairs(labels.iter().copied()))
                    }),
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn pair(message: &[u8]) -> Result<(&str, &str), WireError> {
    let (mut name, mut value) = ("", "");
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field()? {
        match field.number {
            1 => name = field.text()?,
            2 => value = field.text()?,
            _ => {}
        }
    }
    Ok((name, value))
}

fn sample(message: &[u8]) -> Result<(i64, f64), WireError> {
    let (mut time_ms, mut value) = (0, 0.0);
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field()? {
        match field.number {
            1 => value = field.double()?,
            2 => time_ms = field.int()?,
            _ => {}
        }
    }
    Ok((time_ms, value))
}

fn exemplar(message: &[u8]) -> Result<Exemplar, WireError> {
    let mut labels = Vec::new();
    let (mut time_ms, mut value) = (0, 0.0);
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field()? {
        match field.number {
            1 if labels.len() < LABELS_MAX => labels.push(pair(field.bytes()?)?),
            2 => value = field.double()?,
            3 => time_ms = field.int()?,
            _ => {}
        }
    }
    Ok(Exemplar { labels: Labels::from_pairs(labels), value, time_ms })
}

fn histogram(message: &[u8]) -> Result<(i64, Histogram), Error> {
    let mut found = Histogram::default();
    let mut time_ms = 0;
    let (mut schema, mut float) = (0, false);
    let (mut negative, mut positive) = (Vec::new(), Vec::new());
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field()? {
        match field.number {
            1 => found.count = field.uint()? as f64,
            2 => (found.count, float) = (field.double()?, true),
            3 => found.sum = field.double()?,
            4 => schema = field.sint()?,
            5 => found.zero_threshold = field.double()?,
            6 => found.zero_count = field.uint()? as f64,
            7 => found.zero_count = field.double()?,
            8 => found.negative_spans.push(span(field.bytes()?)?),
            9 => field.sints(&mut negative)?,
            10 => field.doubles(&mut found.negative_buckets)?,
            11 => found.positive_spans.push(span(field.bytes()?)?),
            12 => field.sints(&mut positive)?,
            13 => field.doubles(&mut found.positive_buckets)?,
            14 => found.counter_reset = reset(field)?,
            15 => time_ms = field.int()?,
            16 => field.doubles(&mut found.custom_values)?,
            _ => {}
        }
    }
    if !float {
        found.positive_buckets = absolute(&positive);
        found.negative_buckets = absolute(&negative);
    }
    let sizes = [found.positive_buckets.len(), found.negative_buckets.len(), found.custom_values.len()];
    if sizes.iter().any(|len| *len > BUCKETS_MAX) {
        return Err(Error::TooMany { what: "buckets in a histogram", limit: BUCKETS_MAX });
    }
    // Out of range stays out of range, for the check to say so.
    found.schema = i8::try_from(schema).unwrap_or(i8::MAX);
    if found.schema == NHCB_SCHEMA {
        found.zero_threshold = 0.0;
    }
    Ok((time_ms, found))
}

fn reset(field: Field<'_>) -> Result<CounterReset, WireError> {
    Ok(match field.uint()? {
        1 => CounterReset::Reset,
        2 => CounterReset::NotReset,
        3 => CounterReset::Gauge,
        _ => CounterReset::Unknown,
    })
}

fn metadata(message: &[u8]) -> Result<Option<(String, Metadata)>, WireError> {
    let mut name = String::new();
    let mut said = Metadata::default();
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field()? {
        match field.number {
            1 => {
                said.kind = match field.uint()? {
                    1 => MetricType::Counter,
                    2 => MetricType::Gauge,
                    3 => MetricType::Histogram,
                    4 => MetricType::GaugeHistogram,
                    5 => MetricType::Summary,
                    6 => MetricType::Info,
                    7 => MetricType::StateSet,
                    _ => MetricType::Unknown,
                }
            }
            2 => field.text()?.clone_into(&mut name),
            4 => field.text()?.clone_into(&mut said.help),
            5 => field.text()?.clone_into(&mut said.unit),
            _ => {}
        }
    }
    Ok((!name.is_empty()).then_some((name, said)))
}
