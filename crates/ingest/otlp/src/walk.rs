//! The way through a request: resources, scopes, metrics, data points, one at a time, so that a large
//! one neither holds its thread for long nor fills memory with rows.

use crate::{
    Settings, Stamp,
    any::Attribute,
    delta::Deltas,
    labels::{LabelSet, Rank, Rows},
    names::{self, Sort},
    points::{self, Point},
    stats::{Kind, Reason, Stats},
    wire::{Fields, Result},
};
use metrics_api::{Metadata, MetricType};

/// `target_info` repeats this often between the first and the last data point of a resource.
const TARGET_INFO_EVERY_MS: i64 = 150_000;
/// Times that `target_info` is written for one resource of a request; the last is always there.
pub const TARGET_INFO_SAMPLES_MAX: usize = 100;
/// A metric's name as it is sent.
pub const NAME_BYTES_MAX: usize = 1_024;
/// The words of this many refusals are kept.
const REFUSALS_MAX: usize = 5;
/// Letters of a refusal; a sender's own names stand in it.
const REFUSAL_LETTERS_MAX: usize = 256;

/// What stays the same over one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) tenant: &'a str,
    pub(crate) stamp: &'a Stamp,
    pub(crate) deltas: &'a Deltas,
    pub(crate) stats: &'a Stats,
    pub(crate) now_ms: i64,
}

/// One request on its way.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    context: Context<'a>,
    resources: Fields<'a>,
    resource: Option<Resource<'a>>,
    scope: Option<Scope<'a>>,
    metric: Option<Metric<'a>>,
    /// Of the point under way; kept for its memory.
    labels: LabelSet,
    scratch: points::Scratch,
    pub(crate) refused: Refusals,
    pub(crate) points: u64,
}

/// Data points that were not taken, and why.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    pub(crate) points: u64,
    pub(crate) words: Vec<String>,
}

impl Refusals {
    pub(crate) fn refuse(&mut self, points: u64, why: impl FnOnce() -> String) {
        self.points += points;
        if self.words.len() < REFUSALS_MAX {
            self.words.push(why().chars().take(REFUSAL_LETTERS_MAX).collect());
        }
    }
}

#[derive(Debug)]
struct Resource<'a> {
    message: &'a [u8],
    scopes: Fields<'a>,
    labels: Vec<(String, String, Rank)>,
    first_ms: i64,
    last_ms: i64,
}

#[derive(Debug)]
struct Scope<'a> {
    metrics: Fields<'a>,
    labels: Vec<(String, String, Rank)>,
}

/// A metric and its data points to come.
#[derive(Debug)]
pub(crate) struct Metric<'a> {
    /// As it is stored.
    pub(crate) name: String,
    /// With the suffixes that histograms and summaries have: sum, count, bucket.
    pub(crate) parts: [String; 3],
    pub(crate) kind: Kind,
    pub(crate) monotonic: bool,
    pub(crate) delta: bool,
    points: Fields<'a>,
    /// Why none of its points is taken.
    refused: Option<(Reason, &'static str)>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(context: Context<'a>, message: &'a [u8]) -> Self {
        Self {
            context,
            resources: Fields::of(message),
            resource: None,
            scope: None,
            metric: None,
            labels: LabelSet::default(),
            scratch: points::Scratch::default(),
            refused: Refusals::default(),
            points: 0,
        }
    }

    /// Goes on for at most `steps` messages or until `rows` hold `bytes_max`. True while there is more.
    pub(crate) fn fill(&mut self, rows: &mut Rows, steps: usize, bytes_max: usize) -> Result<bool> {
        for _ in 0..steps {
            if rows.bytes >= bytes_max {
                break;
            }
            if let Some(metric) = &mut self.metric {
                match metric.points.next_message(1)? {
                    Some(point) => self.point(rows, point)?,
                    None => self.metric = None,
                }
            } else if let Some(scope) = &mut self.scope {
                match scope.metrics.next_message(2)? {
                    Some(metric) => self.open_metric(rows, metric)?,
                    None => self.scope = None,
                }
            } else if let Some(resource) = &mut self.resource {
                match resource.scopes.next_message(2)? {
                    Some(scope) => self.scope = Some(Scope::open(&self.context, scope)?),
                    None => self.close_resource(rows)?,
                }
            } else {
                match self.resources.next_message(1)? {
                    Some(resource) => self.resource = Some(Resource::open(&self.context, resource)?),
                    None => return Ok(false),
                }
            }
        }
        Ok(true)
    }

    fn open_metric(&mut self, rows: &mut Rows, message: &'a [u8]) -> Result<()> {
        let (mut name, mut help, mut unit, mut data) = ("", "", "", None);
        let mut fields = Fields::of(message);
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => name = value.text()?,
                2 => help = value.text()?,
                3 => unit = value.text()?,
                5 | 7 | 9 | 10 | 11 => data = Some((number, value.bytes()?)),
                _ => {}
            }
        }
        let Some((number, data)) = data else { return Ok(()) };
        let (mut temporality, mut monotonic) = (0, false);
        let mut fields = Fields::of(data);
        while let Some((field, value)) = fields.next()? {
            match (number, field) {
                (7 | 9 | 10, 2) => temporality = value.varint()?,
                (7, 3) => monotonic = value.varint()? != 0,
                _ => {}
            }
        }
        let (kind, sort, said) = match number {
            5 => (Kind::Gauge, Sort::Gauge, MetricType::Gauge),
            7 if monotonic => (Kind::Sum, Sort::Counter, MetricType::Counter),
            7 => (Kind::Sum, Sort::Other, MetricType::Gauge),
            9 => (Kind::Histogram, Sort::Other, MetricType::Histogram),
            10 => (Kind::Exponential, Sort::Other, MetricType::Histogram),
            _ => (Kind::Summary, Sort::Other, MetricType::Summary),
        };
        let strategy = self.context.settings.translation_strategy;
        let fits = name.len() <= NAME_BYTES_MAX && unit.len() <= NAME_BYTES_MAX;
        let named = if fits { names::metric(strategy, name, unit, sort) } else { None };
        let refused = if named.is_none() {
            Some((Reason::Name, "it has no name that can be stored"))
        } else if matches!(number, 7 | 9 | 10) && !matches!(temporality, 1 | 2) {
            Some((Reason::Temporality, "its aggregation temporality is neither delta nor cumulative"))
        } else {
            None
        };
        let name = named.unwrap_or_default();
        if refused.is_none() {
            let unit = names::unit(strategy, unit);
            rows.bytes += name.len() + help.len() + unit.len() + size_of::<(String, Metadata)>();
            rows.batch.metadata.push((name.clone(), Metadata { kind: said, help: help.to_owned(), unit }));
        }
        let parts = match kind {
            Kind::Histogram | Kind::Summary => {
                ["sum", "count", "bucket"].map(|part| format!("{name}_{part}"))
            }
            _ => Default::default(),
        };
        let delta = temporality == 1;
        self.metric = Some(Metric { name, parts, kind, monotonic, delta, points: Fields::of(data), refused });
        Ok(())
    }

    fn point(&mut self, rows: &mut Rows, message: &'a [u8]) -> Result<()> {
        let (Some(metric), Some(resource)) = (&self.metric, &mut self.resource) else { return Ok(()) };
        let Context { settings, stamp, stats, .. } = self.context;
        self.points += 1;
        stats.points(metric.kind);
        let mut refuse = |(reason, why): (Reason, &str)| {
            stats.refused(reason, 1);
            self.refused.refuse(1, || format!("{}: {why}", metric.name));
        };
        if let Some(refused) = metric.refused {
            refuse(refused);
            return Ok(());
        }
        let point = Point::read(metric.kind, message, &mut self.scratch)?;
        if point.time_nanos == 0 {
            refuse((Reason::Time, "a data point has no time"));
            return Ok(());
        }
        let time_ms = point.time_ms();
        resource.first_ms = resource.first_ms.min(time_ms);
        resource.last_ms = resource.last_ms.max(time_ms);
        let strategy = settings.translation_strategy;
        self.labels.clear();
        let of = (message, points::attributes_field(metric.kind));
        if !self.labels.add_attributes(strategy, "", of, Rank::Point)? {
            refuse((Reason::Attributes, "a data point has too many attributes"));
            return Ok(());
        }
        let scope = self.scope.as_ref().map_or(&[][..], |scope| &scope.labels);
        for (name, value, rank) in resource.labels.iter().chain(scope) {
            self.labels.add(name, value, *rank);
        }
        self.labels.seal(strategy, stamp);
        stats.attributes_dropped(std::mem::take(&mut self.labels.dropped));
        if let Err(refused) =
            points::write(&self.context, metric, &point, &self.labels, &mut self.scratch, rows)?
        {
            refuse(refused);
        }
        Ok(())
    }

    /// Writes `target_info`, what else is known of the resource, when something identifies it.
    fn close_resource(&mut self, rows: &mut Rows) -> Result<()> {
        let Some(resource) = self.resource.take() else { return Ok(()) };
        let Context { settings, stamp, stats, .. } = self.context;
        if !settings.target_info || resource.first_ms > resource.last_ms {
            return Ok(());
        }
        self.labels.clear();
        let mut others = false;
        let mut fields = Fields::of(resource.message);
        while let Some(attribute) = fields.next_message(1)? {
            let attribute = Attribute::read(attribute)?;
            let identifies = IDENTITY.contains(&attribute.key);
            others |= !identifies;
            if !identifies || settings.keep_identifying_resource_attributes {
                let strategy = settings.translation_strategy;
                self.labels.add_attribute(strategy, "", attribute, Rank::Point)?;
            }
        }
        let identity = resource.labels.iter().filter(|label| label.2 == Rank::Identity);
        let mut identified = false;
        for (name, value, rank) in identity {
            self.labels.add(name, value, *rank);
            identified = true;
        }
        if !others || !identified {
            return Ok(());
        }
        self.labels.seal(settings.translation_strategy, stamp);
        stats.attributes_dropped(std::mem::take(&mut self.labels.dropped));
        if !self.labels.fit(1) {
            self.refused.refuse(0, || format!("{TARGET_INFO}: a resource has too many bytes of attributes"));
        } else if rows.begin(&self.labels, TARGET_INFO, None) {
            let between = (resource.first_ms..resource.last_ms)
                .step_by(TARGET_INFO_EVERY_MS as usize)
                .take(TARGET_INFO_SAMPLES_MAX - 1);
            for time_ms in between.chain([resource.last_ms]) {
                rows.batch.float(time_ms, 1.0);
                rows.bytes += 16;
            }
            let said =
                Metadata { kind: MetricType::Gauge, help: "Target metadata".into(), unit: String::new() };
            rows.batch.metadata.push((TARGET_INFO.into(), said));
        }
        Ok(())
    }
}

const TARGET_INFO: &str = "target_info";
/// What becomes `job` and `instance`.
const IDENTITY: [&str; 3] = ["service.namespace", "service.name", "service.instance.id"];

impl<'a> Resource<'a> {
    fn open(context: &Context<'_>, message: &'a [u8]) -> Result<Self> {
        let mut resource: &[u8] = &[];
        let mut fields = Fields::of(message);
        while let Some((number, value)) = fields.next()? {
            if number == 1 {
                resource = value.bytes()?;
            }
        }
        let mut labels = Vec::new();
        let [mut namespace, mut name, mut instance] = [const { None::<String> }; 3];
        let promoted = &context.settings.promote_resource_attributes;
        let mut fields = Fields::of(resource);
        while let Some(attribute) = fields.next_message(1)? {
            let attribute = Attribute::read(attribute)?;
            let identity = match attribute.key {
                "service.namespace" => Some(&mut namespace),
                "service.name" => Some(&mut name),
                "service.instance.id" => Some(&mut instance),
                _ => None,
            };
            let wanted = promoted.iter().any(|wanted| wanted == attribute.key);
            if identity.is_none() && !wanted {
                continue;
            }
            let mut value = String::new();
            attribute.write_value(&mut value)?;
            if wanted && let Some(label) = names::label(context.settings.translation_strategy, attribute.key)
            {
                labels.push((label.into_owned(), value.clone(), Rank::Promoted));
            }
            if let Some(identity) = identity {
                *identity = Some(value);
            }
        }
        if let Some(name) = name {
            let job = namespace.map_or(name.clone(), |namespace| format!("{namespace}/{name}"));
            labels.push(("job".into(), job, Rank::Identity));
        }
        if let Some(instance) = instance {
            labels.push(("instance".into(), instance, Rank::Identity));
        }
        let scopes = Fields::of(message);
        Ok(Self { message: resource, scopes, labels, first_ms: i64::MAX, last_ms: i64::MIN })
    }
}

impl<'a> Scope<'a> {
    fn open(context: &Context<'_>, message: &'a [u8]) -> Result<Self> {
        let mut labels = Vec::new();
        if context.settings.promote_scope_metadata {
            let (mut scope, mut schema_url) = (&[][..], "");
            let mut fields = Fields::of(message);
            while let Some((number, value)) = fields.next()? {
                match number {
                    1 => scope = value.bytes()?,
                    3 => schema_url = value.text()?,
                    _ => {}
                }
            }
            scope_labels(context, scope, schema_url, &mut labels)?;
        }
        Ok(Self { metrics: Fields::of(message), labels })
    }
}

fn scope_labels(
    context: &Context<'_>,
    scope: &[u8],
    schema_url: &str,
    labels: &mut Vec<(String, String, Rank)>,
) -> Result<()> {
    let (mut name, mut version) = ("", "");
    let mut set = LabelSet::default();
    let mut fields = Fields::of(scope);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => name = value.text()?,
            2 => version = value.text()?,
            3 => {
                let attribute = Attribute::read(value.bytes()?)?;
                let strategy = context.settings.translation_strategy;
                set.add_attribute(strategy, "otel_scope_", attribute, Rank::Scope)?;
            }
            _ => {}
        }
    }
    if name.is_empty() {
        return Ok(());
    }
    for (label, value) in
        [("otel_scope_name", name), ("otel_scope_version", version), ("otel_scope_schema_url", schema_url)]
    {
        set.add(label, value, Rank::Scope);
    }
    // Later ones win over earlier ones of the same name when the point's labels are settled.
    labels.extend(set.iter().map(|(name, value)| (name.to_owned(), value.to_owned(), Rank::Scope)));
    Ok(())
}
