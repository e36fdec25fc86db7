//! One entry of `scrape_configs`.

use std::time::Duration;

use service_file::{TextRange, yaml::Node};

use super::{
    Global, Job, Limits,
    context::{Context, Fields, Keys},
    discovery::{self, discoveries},
    http::{client, client_keys},
};
use crate::{
    exposition::negotiate::Protocol,
    relabel::{Action, Rule, Spec},
};

const JOB: Keys = Keys {
    known: client_keys![
        "job_name",
        "scrape_interval",
        "scrape_timeout",
        "scrape_protocols",
        "fallback_scrape_protocol",
        "metrics_path",
        "scheme",
        "params",
        "honor_labels",
        "honor_timestamps",
        "track_timestamps_staleness",
        "enable_compression",
        "always_scrape_classic_histograms",
        "scrape_classic_histograms",
        "convert_classic_histograms_to_nhcb",
        "scrape_native_histograms",
        "native_histogram_bucket_limit",
        "static_configs",
        "file_sd_configs",
        "http_sd_configs",
        "dns_sd_configs",
        "stead_sd_configs",
        "relabel_configs",
        "metric_relabel_configs",
        "body_size_limit",
        "sample_limit",
        "label_limit",
        "label_name_length_limit",
        "label_value_length_limit",
        "target_limit",
        "keep_dropped_targets",
        "metric_name_validation_scheme",
        "metric_name_escaping_scheme",
    ],
    passed: &[
        ("scrape_failure_log_file", "the targets page says why a scrape failed"),
        ("extra_scrape_metrics", "the extra series of a scrape are not written"),
    ],
    later: JOB_LATER,
};

const JOB_LATER: &[&str] = &{
    const OWN: [&str; 6] = [
        "oauth2",
        "proxy_url",
        "no_proxy",
        "proxy_from_environment",
        "proxy_connect_header",
        "native_histogram_min_bucket_factor",
    ];
    let mut all = [""; OWN.len() + discovery::LATER.len()];
    let mut at = 0;
    while at < all.len() {
        all[at] = if at < OWN.len() { OWN[at] } else { discovery::LATER[at - OWN.len()] };
        at += 1;
    }
    all
};

const RULE: Keys = Keys {
    known: &["source_labels", "separator", "regex", "modulus", "target_label", "replacement", "action"],
    passed: &[],
    later: &[],
};

/// Rules of one kind in a job.
const RULES_MAX: usize = 1_000;
/// Values of one parameter of a job.
const PARAMS_MAX: usize = 1_000;

/// The job and the place of its name.
pub(super) fn job(context: &mut Context, node: &Node, global: &Global) -> Option<(Job, TextRange)> {
    let fields = context.fields(node, "scrape_configs", &JOB)?;
    let Some(name_node) = fields.get("job_name") else {
        context.error(node.range, "a job has no `job_name`", None);
        return None;
    };
    let mut job = Job {
        name: context.text(name_node, "job_name")?,
        interval: global.interval,
        timeout: global.timeout,
        protocols: global.protocols.clone(),
        fallback_protocol: None,
        path: "/metrics".to_owned(),
        scheme: "http".to_owned(),
        params: Vec::new(),
        honor_labels: false,
        honor_timestamps: true,
        track_timestamps_staleness: false,
        compression: true,
        classic_histograms: global.classic_histograms,
        convert_to_nhcb: global.convert_to_nhcb,
        http: client(context, &fields),
        discoveries: discoveries(context, &fields),
        relabel: rules(context, &fields, "relabel_configs"),
        metric_relabel: rules(context, &fields, "metric_relabel_configs"),
        limits: global.limits,
        keep_dropped_targets: global.keep_dropped_targets,
    };
    times(context, &fields, &mut job);
    request(context, &fields, &mut job);
    flags(context, &fields, &mut job);
    shared(context, &fields, &mut job.protocols, &mut job.limits, &mut job.keep_dropped_targets);
    fixed(context, &fields);
    Some((job, name_node.range))
}

fn times(context: &mut Context, fields: &Fields<'_>, job: &mut Job) {
    if let Some(interval) =
        fields.get("scrape_interval").and_then(|node| context.span(node, "scrape_interval"))
    {
        job.interval = interval;
        job.timeout = job.timeout.min(interval);
    }
    if let Some(node) = fields.get("scrape_timeout")
        && let Some(timeout) = context.span(node, "scrape_timeout")
    {
        if timeout > job.interval {
            context.error(node.range, "`scrape_timeout` is longer than `scrape_interval`", None);
        }
        job.timeout = timeout.max(Duration::from_millis(1));
    }
}

fn request(context: &mut Context, fields: &Fields<'_>, job: &mut Job) {
    if let Some(path) = fields.get("metrics_path").and_then(|node| context.text(node, "metrics_path")) {
        job.path = path;
    }
    if let Some(node) = fields.get("scheme")
        && let Some(scheme) = context.word(node, "scheme", &[("http", "http"), ("https", "https")], false)
    {
        scheme.clone_into(&mut job.scheme);
    }
    if let Some(node) = fields.get("params") {
        for (key, value) in context.entries(node, "params") {
            job.params.push((key.text.to_string(), context.texts(value, &key.text, PARAMS_MAX)));
        }
    }
    if let Some(node) = fields.get("fallback_scrape_protocol") {
        job.fallback_protocol = context.word(node, "fallback_scrape_protocol", &Protocol::NAMES, false);
    }
}

fn flags(context: &mut Context, fields: &Fields<'_>, job: &mut Job) {
    for (key, flag) in [
        ("honor_labels", &mut job.honor_labels),
        ("honor_timestamps", &mut job.honor_timestamps),
        ("track_timestamps_staleness", &mut job.track_timestamps_staleness),
        ("enable_compression", &mut job.compression),
        ("scrape_classic_histograms", &mut job.classic_histograms),
        ("convert_classic_histograms_to_nhcb", &mut job.convert_to_nhcb),
    ] {
        if let Some(given) = fields.get(key).and_then(|node| context.flag(node, key)) {
            *flag = given;
        }
    }
    let key = "always_scrape_classic_histograms";
    if let Some(given) = fields.get(key).and_then(|node| context.flag(node, key)) {
        job.classic_histograms = given;
    }
}

/// What `global` and a job both say.
pub(super) fn shared(
    context: &mut Context,
    fields: &Fields<'_>,
    protocols: &mut Vec<Protocol>,
    limits: &mut Limits,
    keep_dropped: &mut usize,
) {
    if let Some(node) = fields.get("scrape_protocols") {
        let mut wanted = Vec::new();
        for item in context.items(node, "scrape_protocols", Protocol::NAMES.len()) {
            wanted.extend(context.word(item, "scrape_protocols", &Protocol::NAMES, false));
        }
        if wanted.is_empty() {
            context.error(node.range, "`scrape_protocols` names none", None);
        }
        *protocols = wanted;
    }
    let key = "scrape_native_histograms";
    if let Some(node) = fields.get(key)
        && context.flag(node, key) == Some(true)
        && fields.get("scrape_protocols").is_none()
        && !protocols.contains(&Protocol::PrometheusProto)
    {
        // Only protobuf can carry them.
        protocols.insert(0, Protocol::PrometheusProto);
    }
    if let Some(size) = fields.get("body_size_limit").and_then(|node| context.size(node, "body_size_limit")) {
        limits.body_size_bytes = size;
    }
    for (key, limit) in [
        ("sample_limit", &mut limits.samples),
        ("label_limit", &mut limits.labels),
        ("label_name_length_limit", &mut limits.label_name_len),
        ("label_value_length_limit", &mut limits.label_value_len),
        ("target_limit", &mut limits.targets),
        ("native_histogram_bucket_limit", &mut limits.native_buckets),
    ] {
        if let Some(count) = fields.get(key).and_then(|node| context.count(node, key)) {
            *limit = count;
        }
    }
    let key = "keep_dropped_targets";
    if let Some(count) = fields.get(key).and_then(|node| context.count(node, key)) {
        *keep_dropped = usize::try_from(count).unwrap_or(usize::MAX);
    }
}

/// Settings of which one value is served.
pub(super) fn fixed(context: &mut Context, fields: &Fields<'_>) {
    for (key, served) in
        [("metric_name_validation_scheme", "utf8"), ("metric_name_escaping_scheme", "allow-utf-8")]
    {
        if let Some(node) = fields.get(key)
            && let Some(text) = context.text(node, key)
            && text != served
        {
            context.error(
                node.range,
                format!("`{key}: {text}` is not available yet"),
                Some(format!("`{served}` is served")),
            );
        }
    }
}

fn rules(context: &mut Context, fields: &Fields<'_>, key: &str) -> Vec<Rule> {
    let Some(node) = fields.get(key) else { return Vec::new() };
    let mut rules = Vec::new();
    for item in context.items(node, key, RULES_MAX) {
        let Some(fields) = context.fields(item, key, &RULE) else { continue };
        let mut text = |key: &str| fields.get(key).and_then(|node| context.text(node, key));
        let (separator, regex) = (text("separator"), text("regex"));
        let (target_label, replacement) = (text("target_label"), empty_or(&fields, "replacement", &mut text));
        let spec = Spec {
            source_labels: fields
                .get("source_labels")
                .map(|node| context.texts(node, "source_labels", RULES_MAX))
                .unwrap_or_default(),
            separator,
            regex,
            modulus: fields.get("modulus").and_then(|node| context.count(node, "modulus")),
            target_label,
            replacement,
            action: fields.get("action").and_then(|node| context.word(node, "action", &Action::NAMES, true)),
        };
        match Rule::new(spec) {
            Ok(rule) => rules.push(rule),
            Err(why) => context.error(item.range, why, None),
        }
    }
    rules
}

/// A replacement that is given as nothing is the empty text.
fn empty_or(fields: &Fields<'_>, key: &str, text: &mut impl FnMut(&str) -> Option<String>) -> Option<String> {
    text(key).or_else(|| fields.given(key).then(String::new))
}
