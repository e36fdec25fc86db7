//! Reads Prometheus' own configuration file, as far as it is about scraping.
//!
//! Everything that is wrong is said at once, with file, line, column and a hint. What would change
//! which samples come in and is not served here is refused as not available yet; what concerns other
//! parts (rules, alerting, remote storage) is let pass with a [`Note`], so that a file that is in use
//! elsewhere can be tried as it is.
//!
//! Source: prometheus.io/docs/prometheus/latest/configuration/configuration.

mod context;
mod discovery;
mod glob;
mod http;
mod job;
pub mod values;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use service_file::{Diagnostic, Diagnostics, Source, yaml};

use self::context::{Context, Keys};
pub use self::{
    discovery::{Discovery, DnsKind, groups_from_text},
    glob::files_matching,
    http::{Auth, HttpClient, Pem, Secret, SecretSource, Tls},
};
use crate::{exposition::negotiate::Protocol, relabel::Rule};

/// Jobs of one configuration, its `scrape_config_files` included.
pub const JOBS_MAX: usize = 2_000;
/// Targets that one job may name in the file.
pub const STATIC_TARGETS_MAX: usize = 100_000;
/// Files that `scrape_config_files` may name.
pub const CONFIG_FILES_MAX: usize = 1_000;

/// A configuration that is right.
#[derive(Debug, Clone, Default)]
pub struct Config {
    pub global: Global,
    pub jobs: Vec<Job>,
    /// What was let pass.
    pub notes: Vec<Note>,
    /// The file as it was read, secrets hidden.
    pub text: String,
}

/// What holds for all jobs that do not say otherwise.
#[derive(Debug, Clone)]
pub struct Global {
    pub interval: Duration,
    pub timeout: Duration,
    pub evaluation_interval: Duration,
    pub protocols: Vec<Protocol>,
    pub external_labels: BTreeMap<String, String>,
    pub limits: Limits,
    pub keep_dropped_targets: usize,
    pub classic_histograms: bool,
    /// Classic histograms are written as native ones with the same boundaries.
    pub convert_to_nhcb: bool,
}

impl Default for Global {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(60),
            timeout: Duration::from_secs(10),
            evaluation_interval: Duration::from_secs(60),
            protocols: Protocol::DEFAULT.to_vec(),
            external_labels: BTreeMap::new(),
            limits: Limits::default(),
            keep_dropped_targets: 0,
            classic_histograms: false,
            convert_to_nhcb: false,
        }
    }
}

/// Bounds of a scrape; 0 is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    pub body_size_bytes: u64,
    pub samples: u64,
    pub labels: u64,
    pub label_name_len: u64,
    pub label_value_len: u64,
    pub targets: u64,
    pub native_buckets: u64,
}

/// One scrape job.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    pub name: String,
    pub interval: Duration,
    pub timeout: Duration,
    pub protocols: Vec<Protocol>,
    pub fallback_protocol: Option<Protocol>,
    pub path: String,
    pub scheme: String,
    pub params: Vec<(String, Vec<String>)>,
    pub honor_labels: bool,
    pub honor_timestamps: bool,
    pub track_timestamps_staleness: bool,
    pub compression: bool,
    pub classic_histograms: bool,
    /// Classic histograms are written as native ones with the same boundaries.
    pub convert_to_nhcb: bool,
    pub http: HttpClient,
    pub discoveries: Vec<Discovery>,
    pub relabel: Vec<Rule>,
    pub metric_relabel: Vec<Rule>,
    pub limits: Limits,
    pub keep_dropped_targets: usize,
}

/// Targets that share labels, as discovery gives them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    /// Where it is from, unique within its discovery; tells an update of a group from a new one.
    pub source: String,
    /// Each with at least `__address__`.
    pub targets: Vec<BTreeMap<String, String>>,
    pub labels: BTreeMap<String, String>,
}

/// Something in the file that is let pass and does nothing here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub path: PathBuf,
    pub line: u32,
    pub column: u32,
    pub message: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.path.display(), self.line, self.column, self.message)
    }
}

const TOP: Keys = Keys {
    known: &["global", "scrape_configs", "scrape_config_files"],
    passed: &[
        ("rule_files", "rules are not evaluated yet"),
        ("alerting", "alerts are not sent yet"),
        ("remote_write", "samples are not sent on"),
        ("remote_read", "queries are not passed on"),
        ("storage", "Stead's store has settings of its own"),
        ("tracing", "Stead traces itself by its own settings"),
        ("otlp", "the receiver of OTLP has settings of its own"),
        ("runtime", "it concerns Prometheus' own runtime"),
    ],
    later: &[],
};

const GLOBAL: Keys = Keys {
    known: &[
        "scrape_interval",
        "scrape_timeout",
        "scrape_protocols",
        "evaluation_interval",
        "external_labels",
        "body_size_limit",
        "sample_limit",
        "label_limit",
        "label_name_length_limit",
        "label_value_length_limit",
        "target_limit",
        "keep_dropped_targets",
        "always_scrape_classic_histograms",
        "scrape_classic_histograms",
        "metric_name_validation_scheme",
        "metric_name_escaping_scheme",
        "convert_classic_histograms_to_nhcb",
        "scrape_native_histograms",
        "native_histogram_bucket_limit",
    ],
    passed: &[
        ("rule_query_offset", "rules are not evaluated yet"),
        ("query_log_file", "queries are not logged to a file"),
        ("scrape_failure_log_file", "the targets page says why a scrape failed"),
        ("runtime", "it concerns Prometheus' own runtime"),
        ("extra_scrape_metrics", "the extra series of a scrape are not written"),
    ],
    later: &[],
};

/// Reads the configuration at `path`, with the files it names.
///
/// # Errors
/// All that is wrong, each with its place.
pub fn load(path: &Path) -> Result<Config, Diagnostics> {
    match read_bounded(path) {
        Ok(text) => parse(path, text),
        Err(why) => Err(Diagnostic::new(format!("{} cannot be read: {why}", path.display())).into()),
    }
}

/// Reads a configuration given as text; `path` names it and is what other paths are relative to.
///
/// # Errors
/// All that is wrong, each with its place.
pub fn parse(path: &Path, text: String) -> Result<Config, Diagnostics> {
    let source = Source::new(path, text);
    let (documents, found) = yaml::parse(&source);
    let mut context = Context::new(source.clone(), found);
    let mut config = Config::default();
    if documents.len() > 1 {
        context.error(documents[1].range, "a configuration is one document", None);
    }
    if let Some(document) = documents.first()
        && let Some(fields) = context.fields(document, "", &TOP)
    {
        if let Some(node) = fields.get("global") {
            config.global = global(&mut context, node);
        }
        if let Some(node) = fields.get("scrape_configs") {
            for item in context.items(node, "scrape_configs", JOBS_MAX) {
                let job = job::job(&mut context, item, &config.global);
                push_job(&mut context, &mut config.jobs, job);
            }
        }
        if let Some(node) = fields.get("scrape_config_files") {
            for item in context.items(node, "scrape_config_files", CONFIG_FILES_MAX) {
                more_jobs(&mut context, item, &mut config);
            }
        }
    }
    config.text = context.redacted();
    config.notes.append(&mut context.notes);
    if context.found.is_empty() { Ok(config) } else { Err(context.found) }
}

fn push_job(context: &mut Context, jobs: &mut Vec<Job>, job: Option<(Job, service_file::TextRange)>) {
    let Some((job, place)) = job else { return };
    if jobs.len() >= JOBS_MAX {
        return context.error(place, format!("more than {JOBS_MAX} jobs"), None);
    }
    if jobs.iter().any(|known| known.name == job.name) {
        return context.error(place, format!("two jobs have the name `{}`", job.name), None);
    }
    jobs.push(job);
}

/// The jobs of the files that a pattern names.
fn more_jobs(context: &mut Context, item: &yaml::Node, config: &mut Config) {
    let Some(pattern) = context.path(item, "scrape_config_files") else { return };
    let files = match files_matching(&pattern, CONFIG_FILES_MAX) {
        Ok(files) => files,
        Err(why) => return context.error(item.range, format!("{}: {why}", pattern.display()), None),
    };
    const KEYS: Keys = Keys { known: &["scrape_configs"], passed: &[], later: &[] };
    for file in files {
        let text = match read_bounded(&file) {
            Ok(text) => text,
            Err(why) => {
                context.error(item.range, format!("{} cannot be read: {why}", file.display()), None);
                continue;
            }
        };
        let source = Source::new(&file, text);
        let (documents, found) = yaml::parse(&source);
        let mut inner = Context::new(source, found);
        if let Some(document) = documents.first()
            && let Some(fields) = inner.fields(document, "", &KEYS)
            && let Some(node) = fields.get("scrape_configs")
        {
            for item in inner.items(node, "scrape_configs", JOBS_MAX) {
                let job = job::job(&mut inner, item, &config.global);
                push_job(&mut inner, &mut config.jobs, job);
            }
        }
        config.notes.append(&mut inner.notes);
        context.found.append(inner.found);
    }
}

fn read_bounded(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > yaml::FILE_BYTES_MAX as u64 {
        return Err(format!("it has {size} bytes, at most {} are read", yaml::FILE_BYTES_MAX));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

fn global(context: &mut Context, node: &yaml::Node) -> Global {
    let mut global = Global::default();
    let Some(fields) = context.fields(node, "global", &GLOBAL) else { return global };
    let default_timeout = global.timeout;
    if let Some(interval) =
        fields.get("scrape_interval").and_then(|node| context.span(node, "scrape_interval"))
    {
        global.interval = interval;
        global.timeout = default_timeout.min(interval);
    }
    if let Some(node) = fields.get("scrape_timeout")
        && let Some(timeout) = context.span(node, "scrape_timeout")
    {
        if timeout > global.interval {
            context.error(node.range, "`scrape_timeout` is longer than `scrape_interval`", None);
        }
        global.timeout = timeout;
    }
    if let Some(span) =
        fields.get("evaluation_interval").and_then(|node| context.span(node, "evaluation_interval"))
    {
        global.evaluation_interval = span;
    }
    if let Some(node) = fields.get("external_labels") {
        for (key, value) in context.entries(node, "external_labels") {
            if let Some(value) = context.text(value, &key.text) {
                global.external_labels.insert(key.text.to_string(), value);
            }
        }
        context.note(
            node.range,
            "external labels are for what is sent elsewhere; samples are stored without them",
        );
    }
    job::shared(
        context,
        &fields,
        &mut global.protocols,
        &mut global.limits,
        &mut global.keep_dropped_targets,
    );
    for key in ["always_scrape_classic_histograms", "scrape_classic_histograms"] {
        if let Some(flag) = fields.get(key).and_then(|node| context.flag(node, key)) {
            global.classic_histograms = flag;
        }
    }
    let key = "convert_classic_histograms_to_nhcb";
    if let Some(flag) = fields.get(key).and_then(|node| context.flag(node, key)) {
        global.convert_to_nhcb = flag;
    }
    job::fixed(context, &fields);
    global
}
