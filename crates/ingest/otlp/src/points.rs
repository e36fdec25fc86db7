//! Data points of the five kinds, and the rows that they become.

use metrics_api::{Exemplar, Labels, stale_nan};

use crate::{
    any::Attribute,
    delta::{Amount, Refused},
    labels::{Extra, LabelSet, Rows},
    names,
    native::{self, BUCKETS_MAX, Exponential},
    stats::{Kind, Reason},
    walk::{Context, Metric},
    wire::{Fields, Result, Value},
};

/// Letters of an exemplar's labels, as OpenMetrics bounds them; beyond, only trace and span stay.
const EXEMPLAR_LETTERS_MAX: usize = 128;
/// Exemplars of one data point.
pub const EXEMPLARS_MAX: usize = 256;
/// The flag that a point has no value because its series ended.
const NO_RECORDED_VALUE: u64 = 1;

/// Memory that points share one after the other.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    counts: Vec<u64>,
    bounds: Vec<u64>,
    text: String,
}

/// A data point as far as it is read without knowing its labels. Unused fields stay empty.
#[derive(Debug, Default)]
pub(crate) struct Point<'a> {
    pub(crate) time_nanos: u64,
    ended: bool,
    number: Option<f64>,
    count: u64,
    sum: Option<f64>,
    scale: i32,
    zero_count: u64,
    zero_threshold: f64,
    positive: &'a [u8],
    negative: &'a [u8],
    /// The whole message, for what repeats: quantiles, exemplars, attributes.
    message: &'a [u8],
}

/// Where each kind of point has its attributes.
pub(crate) fn attributes_field(kind: Kind) -> u32 {
    match kind {
        Kind::Gauge | Kind::Sum | Kind::Summary => 7,
        Kind::Histogram => 9,
        Kind::Exponential => 1,
    }
}

fn exemplars_field(kind: Kind) -> Option<u32> {
    match kind {
        Kind::Sum | Kind::Gauge => Some(5),
        Kind::Histogram => Some(8),
        Kind::Exponential => Some(11),
        Kind::Summary => None,
    }
}

impl<'a> Point<'a> {
    pub(crate) fn read(kind: Kind, message: &'a [u8], scratch: &mut Scratch) -> Result<Self> {
        let mut point = Self { message, ..Self::default() };
        scratch.counts.clear();
        scratch.bounds.clear();
        let mut fields = Fields::of(message);
        while let Some((number, value)) = fields.next()? {
            match (kind, number) {
                (_, 3) => point.time_nanos = value.fixed64()?,
                (Kind::Gauge | Kind::Sum, _) => point.read_number(number, value)?,
                (Kind::Histogram, 4) | (Kind::Exponential, 4) | (Kind::Summary, 4) => {
                    point.count = value.fixed64()?;
                }
                (Kind::Histogram, 5) | (Kind::Exponential, 5) | (Kind::Summary, 5) => {
                    point.sum = Some(value.double()?);
                }
                (Kind::Histogram, 6) => value.push_fixed64(&mut scratch.counts)?,
                (Kind::Histogram, 7) => value.push_fixed64(&mut scratch.bounds)?,
                (Kind::Histogram | Kind::Exponential, 10) | (Kind::Summary, 8) => {
                    point.ended = value.varint()? & NO_RECORDED_VALUE != 0;
                }
                (Kind::Exponential, _) => point.read_exponential(number, value)?,
                _ => {}
            }
        }
        Ok(point)
    }

    fn read_number(&mut self, field: u32, value: Value<'a>) -> Result<()> {
        match field {
            4 => self.number = Some(value.double()?),
            6 => self.number = Some(value.fixed64()? as i64 as f64),
            8 => self.ended = value.varint()? & NO_RECORDED_VALUE != 0,
            _ => {}
        }
        Ok(())
    }

    fn read_exponential(&mut self, field: u32, value: Value<'a>) -> Result<()> {
        match field {
            6 => self.scale = value.sint32()?,
            7 => self.zero_count = value.fixed64()?,
            8 => self.positive = value.bytes()?,
            9 => self.negative = value.bytes()?,
            14 => self.zero_threshold = value.double()?,
            _ => {}
        }
        Ok(())
    }

    /// Milliseconds; what lies beyond the range of the store is left to it to refuse.
    pub(crate) fn time_ms(&self) -> i64 {
        (self.time_nanos / 1_000_000) as i64
    }
}

type Written = std::result::Result<(), (Reason, &'static str)>;

/// Writes the rows of one point. The inner error is why the point was refused.
pub(crate) fn write(
    context: &Context<'_>,
    metric: &Metric<'_>,
    point: &Point<'_>,
    labels: &LabelSet,
    scratch: &mut Scratch,
    rows: &mut Rows,
) -> Result<Written> {
    let to = Target { context, metric, point, labels };
    if !labels.fit(series(metric.kind, point, scratch)?) {
        return Ok(Err((Reason::Attributes, "a data point has too many bytes of attributes")));
    }
    match metric.kind {
        Kind::Gauge | Kind::Sum => to.number(scratch, rows),
        Kind::Histogram => to.classic(scratch, rows),
        Kind::Exponential => to.exponential(scratch, rows),
        Kind::Summary => to.summary(rows),
    }
}

/// How many series a point becomes.
fn series(kind: Kind, point: &Point<'_>, scratch: &Scratch) -> Result<usize> {
    let mut series = match kind {
        Kind::Gauge | Kind::Sum | Kind::Exponential => 1,
        Kind::Histogram => scratch.bounds.len() + 3,
        Kind::Summary => 2,
    };
    if kind == Kind::Summary {
        let mut quantiles = Fields::of(point.message);
        while quantiles.next_message(6)?.is_some() {
            series += 1;
        }
    }
    Ok(series)
}

struct Target<'a> {
    context: &'a Context<'a>,
    metric: &'a Metric<'a>,
    point: &'a Point<'a>,
    labels: &'a LabelSet,
}

impl Target<'_> {
    fn float(&self, rows: &mut Rows, name: &str, extra: Extra<'_>, value: f64) {
        let value = if self.point.ended { stale_nan() } else { value };
        rows.float(self.labels, name, extra, (self.point.time_ms(), value));
    }

    /// The running total of a delta; what came, when it is cumulative already.
    fn total(&self, amount: Amount) -> std::result::Result<Amount, (Reason, &'static str)> {
        if !self.metric.delta {
            return Ok(amount);
        }
        let key = self.labels.key(self.context.tenant, &self.metric.name, self.metric.kind as u8);
        if self.point.ended {
            self.context.deltas.end(key);
            return Ok(amount);
        }
        self.context.deltas.add(key, self.point.time_nanos, amount, self.context.now_ms).map_err(|refused| {
            match refused {
                Refused::Late => (Reason::DeltaLate, "a delta is older than one that was counted already"),
                Refused::Full => (Reason::DeltaLimit, "as many delta series as may be are being summed up"),
            }
        })
    }

    fn number(&self, scratch: &mut Scratch, rows: &mut Rows) -> Result<Written> {
        let number = match (self.point.number, self.point.ended) {
            (Some(number), _) => number,
            (None, true) => 0.0,
            (None, false) => return Ok(Err((Reason::Value, "a data point has no value"))),
        };
        if self.metric.delta && self.metric.monotonic && number < 0.0 {
            return Ok(Err((Reason::Value, "a delta of a monotonic sum is negative")));
        }
        let total = match self.total(Amount::Number(number)) {
            Ok(Amount::Number(total)) => total,
            Ok(_) => number,
            Err(refused) => return Ok(Err(refused)),
        };
        self.float(rows, &self.metric.name, None, total);
        let exemplars = self.exemplars(scratch)?;
        if self.metric.kind == Kind::Gauge {
            // Neither Prometheus nor OpenMetrics has exemplars on gauges.
            self.context.stats.exemplars_dropped(exemplars.len() as u64);
        } else {
            exemplars.into_iter().for_each(|exemplar| rows.exemplar(exemplar));
        }
        Ok(Ok(()))
    }

    fn classic(&self, scratch: &mut Scratch, rows: &mut Rows) -> Result<Written> {
        if scratch.bounds.len() > BUCKETS_MAX || scratch.counts.len() > BUCKETS_MAX + 1 {
            return Ok(Err((Reason::Buckets, "a histogram has too many buckets")));
        }
        let amount = Amount::Classic {
            bounds: scratch.bounds.iter().map(|bits| f64::from_bits(*bits)).collect(),
            counts: scratch.counts.iter().map(|count| *count as f64).collect(),
            count: self.point.count as f64,
            sum: self.point.sum.unwrap_or_default(),
        };
        let (bounds, counts, count, sum) = match self.total(amount) {
            Ok(Amount::Classic { bounds, counts, count, sum }) => (bounds, counts, count, sum),
            Ok(_) => return Ok(Ok(())),
            Err(refused) => return Ok(Err(refused)),
        };
        let mut exemplars = self.exemplars(scratch)?;
        exemplars.sort_by(|a, b| a.value.total_cmp(&b.value));
        if self.context.settings.convert_histograms_to_nhcb {
            let Some(histogram) = native::custom(&bounds, &counts, count, sum) else {
                return Ok(Err((
                    Reason::Histogram,
                    "a histogram's bounds and buckets do not agree in number",
                )));
            };
            return Ok(self.native(histogram, exemplars, rows));
        }
        let [sum_name, count_name, bucket_name] = &self.metric.parts;
        if self.point.sum.is_some() {
            self.float(rows, sum_name, None, sum);
        }
        self.float(rows, count_name, None, count);
        let mut exemplars = exemplars.into_iter().peekable();
        let mut below = 0.0;
        let mut bucket = |rows: &mut Rows, le: &str, value: f64, bound: f64| {
            self.float(rows, bucket_name, Some(("le", le)), value);
            while let Some(exemplar) = exemplars.next_if(|exemplar| exemplar.value <= bound) {
                rows.exemplar(exemplar);
            }
        };
        for (bound, in_bucket) in bounds.iter().zip(&counts) {
            below += in_bucket;
            bucket(rows, &bound.to_string(), below, *bound);
        }
        bucket(rows, "+Inf", count, f64::INFINITY);
        Ok(Ok(()))
    }

    fn exponential(&self, scratch: &mut Scratch, rows: &mut Rows) -> Result<Written> {
        let point = self.point;
        let (mut histogram, shift) = match Exponential::new(point.scale, point.zero_threshold) {
            Ok(made) => made,
            Err(why) => return Ok(Err((Reason::Histogram, why))),
        };
        let positive = native::read_buckets(point.positive, shift, &mut scratch.counts)?;
        let negative = native::read_buckets(point.negative, shift, &mut scratch.counts)?;
        let (Some(positive), Some(negative)) = (positive, negative) else {
            return Ok(Err((Reason::Buckets, "a histogram has too many buckets or impossible ones")));
        };
        histogram.positive = positive;
        histogram.negative = negative;
        histogram.zero_count = point.zero_count as f64;
        histogram.count = point.count as f64;
        histogram.sum = point.sum.unwrap_or_default();
        if !point.ended
            && let Err(why) = histogram.check()
        {
            return Ok(Err((Reason::Histogram, why)));
        }
        let total = match self.total(Amount::Exponential(Box::new(histogram))) {
            Ok(Amount::Exponential(total)) => total.to_histogram(),
            Ok(_) => return Ok(Ok(())),
            Err(refused) => return Ok(Err(refused)),
        };
        let exemplars = self.exemplars(scratch)?;
        Ok(self.native(total, exemplars, rows))
    }

    fn native(
        &self,
        mut histogram: metrics_api::Histogram,
        exemplars: Vec<Exemplar>,
        rows: &mut Rows,
    ) -> Written {
        if self.point.ended {
            histogram =
                metrics_api::Histogram { sum: stale_nan(), schema: histogram.schema, ..Default::default() };
        }
        histogram.check().map_err(|why| (Reason::Histogram, why))?;
        if rows.begin(self.labels, &self.metric.name, None) {
            rows.histogram(self.point.time_ms(), histogram);
            exemplars.into_iter().for_each(|exemplar| rows.exemplar(exemplar));
        }
        Ok(())
    }

    fn summary(&self, rows: &mut Rows) -> Result<Written> {
        let [sum_name, count_name, _] = &self.metric.parts;
        self.float(rows, sum_name, None, self.point.sum.unwrap_or_default());
        self.float(rows, count_name, None, self.point.count as f64);
        let mut fields = Fields::of(self.point.message);
        let mut quantiles = 0;
        while let Some(message) = fields.next_message(6)? {
            quantiles += 1;
            if quantiles > BUCKETS_MAX {
                return Ok(Err((Reason::Buckets, "a summary has too many quantiles")));
            }
            let (mut quantile, mut value) = (0.0, 0.0);
            let mut fields = Fields::of(message);
            while let Some((number, sent)) = fields.next()? {
                match number {
                    1 => quantile = sent.double()?,
                    2 => value = sent.double()?,
                    _ => {}
                }
            }
            self.float(rows, &self.metric.name, Some(("quantile", &f64::to_string(&quantile))), value);
        }
        Ok(Ok(()))
    }

    fn exemplars(&self, scratch: &mut Scratch) -> Result<Vec<Exemplar>> {
        let Some(field) = exemplars_field(self.metric.kind) else { return Ok(Vec::new()) };
        let mut exemplars = Vec::new();
        let mut fields = Fields::of(self.point.message);
        while let Some(message) = fields.next_message(field)? {
            if exemplars.len() == EXEMPLARS_MAX {
                self.context.stats.exemplars_dropped(1);
                continue;
            }
            match self.exemplar(message, &mut scratch.text)? {
                Some(exemplar) => exemplars.push(exemplar),
                None => self.context.stats.exemplars_dropped(1),
            }
        }
        Ok(exemplars)
    }

    /// None when it has no value, or one that no bucket holds. Without a time it has its point's.
    fn exemplar(&self, message: &[u8], text: &mut String) -> Result<Option<Exemplar>> {
        let (mut value, mut time_nanos, mut trace, mut span) = (None, 0, &[][..], &[][..]);
        let mut pairs: Vec<(String, String)> = Vec::new();
        let mut attributes = 0;
        let mut fields = Fields::of(message);
        while let Some((number, sent)) = fields.next()? {
            match number {
                2 => time_nanos = sent.fixed64()?,
                3 => value = Some(sent.double()?),
                6 => value = Some(sent.fixed64()? as i64 as f64),
                4 => span = sent.bytes()?,
                5 => trace = sent.bytes()?,
                7 => {
                    let attribute = Attribute::read(sent.bytes()?)?;
                    text.clear();
                    attribute.write_value(text)?;
                    attributes += attribute.key.chars().count() + text.chars().count();
                    let strategy = self.context.settings.translation_strategy;
                    if attributes <= EXEMPLAR_LETTERS_MAX
                        && let Some(label) = names::label(strategy, attribute.key)
                    {
                        pairs.push((label.into_owned(), text.clone()));
                    }
                }
                _ => {}
            }
        }
        let Some(value) = value.filter(|value| !value.is_nan()) else { return Ok(None) };
        let mut ids = Vec::new();
        for (name, id) in [("trace_id", trace), ("span_id", span)] {
            if id.iter().any(|byte| *byte != 0) && id.len() <= 16 {
                ids.push((name.to_owned(), hex::encode(id)));
            }
        }
        let letters: usize = ids.iter().map(|id| id.0.len() + id.1.len()).sum();
        if letters + attributes > EXEMPLAR_LETTERS_MAX {
            self.context.stats.attributes_dropped(pairs.len() as u64);
            pairs.clear();
        }
        pairs.extend(ids);
        let time_ms = if time_nanos == 0 { self.point.time_ms() } else { (time_nanos / 1_000_000) as i64 };
        Ok(Some(Exemplar { labels: Labels::from_pairs(pairs), value, time_ms }))
    }
}
