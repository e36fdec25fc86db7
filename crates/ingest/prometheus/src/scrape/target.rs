//! From what discovery gives to a target: defaults, relabelling, address.

use std::time::Duration;

use http::Uri;
use metrics_api::Labels;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    config::{Group, Job, values},
    relabel::{self, LabelMap},
};

/// Where to scrape, and the labels that all samples from there get.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Target {
    /// Tells targets of one job apart: same labels, same address, same target.
    pub(super) hash: u64,
    pub(super) discovered: LabelMap,
    /// Without those that begin with `__`.
    pub(super) labels: Labels,
    pub(super) url: String,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
}

/// What became of one that was discovered.
#[derive(Debug)]
pub(super) enum Prepared {
    Target(Box<Target>),
    /// Relabelling dropped it.
    Dropped(LabelMap),
    /// It cannot be a target: why.
    Bad(LabelMap, String),
}

pub(super) fn prepare(job: &Job, group: &Group, own: &LabelMap) -> Prepared {
    let mut labels = group.labels.clone();
    labels.extend(own.iter().map(|(name, value)| (name.clone(), value.clone())));
    let mut default = |name: &str, value: String| {
        if labels.get(name).is_none_or(String::is_empty) {
            labels.insert(name.to_owned(), value);
        }
    };
    default("job", job.name.clone());
    default("__scrape_interval__", values::duration_text(job.interval));
    default("__scrape_timeout__", values::duration_text(job.timeout));
    default("__metrics_path__", job.path.clone());
    default("__scheme__", job.scheme.clone());
    for (name, given) in &job.params {
        if let Some(first) = given.first() {
            default(&format!("__param_{name}"), first.clone());
        }
    }
    let discovered = labels.clone();
    if !relabel::apply(&job.relabel, &mut labels) {
        return Prepared::Dropped(discovered);
    }
    match finish(job, &discovered, labels) {
        Ok(target) => Prepared::Target(Box::new(target)),
        Err(why) => Prepared::Bad(discovered, why),
    }
}

fn finish(job: &Job, discovered: &LabelMap, mut labels: LabelMap) -> Result<Target, String> {
    let get = |name: &str| labels.get(name).map_or("", String::as_str);
    let address = get("__address__");
    if address.is_empty() {
        return Err("it has no address".to_owned());
    }
    if address.contains('/') {
        return Err(format!("`{address}` is no address"));
    }
    let span = |name: &str| {
        values::duration(get(name))
            .filter(|span| !span.is_zero())
            .ok_or_else(|| format!("`{}` in `{name}` is no duration", get(name)))
    };
    let (interval, timeout) = (span("__scrape_interval__")?, span("__scrape_timeout__")?);
    if timeout > interval {
        return Err("its timeout is longer than its interval".to_owned());
    }
    let url = url(job, &labels)?;
    if get("instance").is_empty() {
        let instance = address.to_owned();
        labels.insert("instance".to_owned(), instance);
    }
    let kept = labels.iter().filter(|(name, _)| !name.starts_with("__"));
    let labels = Labels::from_pairs(kept);
    let mut identity = labels.as_bytes().to_vec();
    identity.extend_from_slice(url.as_bytes());
    let hash = xxh3_64(&identity);
    Ok(Target { hash, discovered: discovered.clone(), labels, url, interval, timeout })
}

fn url(job: &Job, labels: &LabelMap) -> Result<String, String> {
    let get = |name: &str| labels.get(name).map_or("", String::as_str);
    let scheme = get("__scheme__");
    if !matches!(scheme, "http" | "https") {
        return Err(format!("`{scheme}` is no scheme to scrape with"));
    }
    let path = get("__metrics_path__");
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut query = String::new();
    let mut push = |name: &str, value: &str| {
        if !query.is_empty() {
            query.push('&');
        }
        push_encoded(&mut query, name);
        query.push('=');
        push_encoded(&mut query, value);
    };
    for (name, given) in &job.params {
        // The first value of each is the label's, which relabelling may have changed.
        let first = get(&format!("__param_{name}"));
        if !first.is_empty() {
            push(name, first);
        }
        for value in given.iter().skip(1) {
            push(name, value);
        }
    }
    for (label, value) in labels {
        if let Some(name) = label.strip_prefix("__param_")
            && !job.params.iter().any(|(known, _)| known == name)
        {
            push(name, value);
        }
    }
    let joint = match (query.is_empty(), path.contains('?')) {
        (true, _) => "",
        (false, true) => "&",
        (false, false) => "?",
    };
    let text = format!("{scheme}://{}{slash}{path}{joint}{query}", get("__address__"));
    match text.parse::<Uri>() {
        Ok(uri) if uri.host().is_some_and(|host| !host.is_empty()) => Ok(text),
        _ => Err(format!("`{text}` is no address to scrape")),
    }
}

/// As `application/x-www-form-urlencoded`.
fn push_encoded(into: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                into.push(char::from(byte))
            }
            b' ' => into.push('+'),
            _ => into.push_str(&format!("%{byte:02X}")),
        }
    }
}

/// How long after `now_ns` (wall time) the first scrape comes: a place of the target's own within its
/// interval, the same after every restart, so that targets do not come all at once.
pub(super) fn first_wait(hash: u64, interval: Duration, now_ns: i64) -> Duration {
    let interval_ns = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).max(1);
    let now = u64::try_from(now_ns.max(0)).unwrap_or(0) % interval_ns;
    let place = hash % interval_ns;
    Duration::from_nanos(if place >= now { place - now } else { interval_ns - now + place })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(yaml: &str) -> Job {
        let text = format!("scrape_configs:\n- {yaml}");
        crate::config::parse(std::path::Path::new("p.yml"), text).unwrap().jobs.remove(0)
    }

    fn one(job: &Job, labels: &[(&str, &str)]) -> Prepared {
        let own = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        prepare(job, &Group::default(), &own)
    }

    #[test]
    fn a_target_has_its_labels_and_address() {
        let job = job(
            "{job_name: j, params: {a: ['1 2', x]}, relabel_configs: [{source_labels: [__meta_x], target_label: x}, {source_labels: [x], regex: no, action: drop}]}",
        );
        let Prepared::Target(target) = one(&job, &[("__address__", "h:80"), ("__meta_x", "yes")]) else {
            panic!()
        };
        assert_eq!(target.labels.to_string(), r#"{instance="h:80", job="j", x="yes"}"#);
        assert_eq!(target.url, "http://h:80/metrics?a=1+2&a=x");
        assert_eq!(target.interval, Duration::from_secs(60));
        assert!(matches!(one(&job, &[("__address__", "h:80"), ("__meta_x", "no")]), Prepared::Dropped(_)));
        for bad in [
            &[][..],
            &[("__address__", "a/b")],
            &[("__address__", "a"), ("__scheme__", "ftp")],
            &[("__address__", "a"), ("__scrape_interval__", "1s")],
        ] {
            assert!(matches!(one(&job, bad), Prepared::Bad(..)), "{bad:?}");
        }
    }

    #[test]
    fn first_scrapes_are_spread_and_come_back_to_their_place() {
        let interval = Duration::from_secs(15);
        for hash in [0, 1, 7_000_000_000, u64::MAX] {
            let now = 1_700_000_003_123_456_789i64;
            let wait = first_wait(hash, interval, now);
            assert!(wait < interval);
            let at = now as u64 + wait.as_nanos() as u64;
            assert_eq!(at % 15_000_000_000, hash % 15_000_000_000);
        }
    }
}
