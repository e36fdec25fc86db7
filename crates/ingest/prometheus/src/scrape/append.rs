//! From an exposition to a batch: one cache per target, so that a series that was met before costs
//! one look-up of the bytes it is written with.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use metrics_api::{Exemplar, Labels, METRIC_NAME, Metadata, MetricType, SeriesId, WriteBatch, stale_nan};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    METADATA_PER_TARGET_MAX,
    nhcb::{self, Gathered, Part},
};
use crate::{
    config::Job,
    exposition::{
        EXEMPLAR_CHARS_MAX, ExemplarText, Format, HistogramSample, Options, Said, Sample, Sink, Why, read,
        series::{self, Dialect},
    },
    relabel::{self, LabelMap},
};

/// Scrapes that a series may be away before its entry is forgotten.
const KEPT_SCRAPES: u64 = 3;
/// Parts of histograms that are remembered beyond twice those of a scrape.
const PARTS_KEPT: usize = 1_000;

/// What is known of the series of one target.
#[derive(Debug, Default)]
pub(super) struct Cache {
    /// From the hash of the written series to its entry; on a collision the next free hash.
    index: HashMap<u64, usize, BuildHasherDefault<Identity>>,
    entries: Vec<Entry>,
    metadata: HashMap<String, Metadata>,
    round: u64,
    parts: Parts,
    /// Whose rules the entries were made by.
    job: Option<Arc<Job>>,
}

/// Classic series that are gathered into histograms.
#[derive(Debug, Default)]
struct Parts {
    /// From a written series to the place of its histogram and what it is of it; none when it is no
    /// part of one.
    known: HashMap<Box<str>, Option<(usize, Part)>>,
    /// Histograms as they are written.
    groups: Vec<Box<str>>,
    index: HashMap<Box<str>, usize>,
}

impl Parts {
    fn find(&mut self, text: &str, dialect: Dialect) -> Result<Option<(usize, Part)>, Why> {
        if let Some(known) = self.known.get(text) {
            return Ok(*known);
        }
        let part = nhcb::split(text, dialect)?.map(|(group, part)| {
            let next = self.groups.len();
            let at = *self.index.entry(group.clone().into()).or_insert(next);
            if at == next {
                self.groups.push(group.into());
            }
            (at, part)
        });
        self.known.insert(text.into(), part);
        Ok(part)
    }

    /// Begins anew when most of what is known is not shown any more.
    fn forget(&mut self, met: usize) {
        if self.known.len() > 2 * met + PARTS_KEPT {
            *self = Self::default();
        }
    }
}

#[derive(Debug)]
struct Entry {
    text: Box<str>,
    kind: MetricType,
    /// None: the rules drop it.
    labels: Option<Labels>,
    /// The round it was last met in; 0 is never.
    met: u64,
    /// Whether it is missed when it is not met again: it came without a time of its own.
    tracked: bool,
    /// A sample of it is stored and no marker after that.
    live: bool,
    /// Made by rules that hold no longer; only kept for its marker.
    retired: bool,
}

/// Hashes that are hashes already.
#[derive(Debug, Default)]
pub(super) struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64(bytes);
    }
    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// What came of one scrape.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) batch: WriteBatch,
    /// Samples in the exposition.
    pub(super) scraped: u64,
    /// Samples that the rules left.
    pub(super) kept: u64,
    /// Series that were not there the time before.
    pub(super) added: u64,
    pub(super) repeated: u64,
    pub(super) metadata_dropped: u64,
    pub(super) exemplars_dropped: u64,
    pub(super) histograms_dropped: u64,
}

impl Cache {
    /// Reads `body`, scraped at `now_ms`, and adds markers for series that are gone.
    ///
    /// # Errors
    /// Why the scrape counts as failed. Nothing of it is to be written; [`Cache::end_all`] ends what
    /// was there before.
    pub(super) fn scrape(
        &mut self,
        body: &[u8],
        format: Format,
        job: &Job,
        target: &Labels,
        now_ms: i64,
    ) -> Result<Outcome, String> {
        self.round += 1;
        let round = self.round;
        let gathered = Vec::new();
        let mut append = Append {
            cache: self,
            job,
            target,
            now_ms,
            format,
            gathered,
            parts_met: 0,
            out: Outcome::default(),
        };
        let options = Options { classic_histograms: job.classic_histograms };
        let read = read(format, body, options, &mut append).map_err(|error| error.to_string());
        let read = read.and_then(|()| append.write_gathered().map_err(|why| why.to_string()));
        let mut out = append.out;
        if let Err(error) = read {
            self.entries.iter_mut().filter(|entry| entry.met == round).for_each(|entry| entry.met = 0);
            return Err(error);
        }
        self.settle(&mut out.batch, now_ms);
        Ok(out)
    }

    /// Nothing came, or the target is gone: all its series end.
    pub(super) fn end_all(&mut self, now_ms: i64) -> WriteBatch {
        self.round += 1;
        let mut batch = WriteBatch::default();
        self.settle(&mut batch, now_ms);
        batch
    }

    /// Series met in this round live; those that lived and were not met get a marker.
    fn settle(&mut self, batch: &mut WriteBatch, now_ms: i64) {
        let round = self.round;
        let mut missing = false;
        for entry in &mut self.entries {
            if entry.met == round {
                entry.live = entry.tracked;
            } else {
                missing |= entry.live;
            }
        }
        if missing {
            self.mark_missing(batch, now_ms);
        }
        let old = |entry: &Entry| !entry.live && (entry.retired || entry.met + KEPT_SCRAPES < round);
        if self.entries.iter().filter(|entry| old(entry)).count() * 4 > self.entries.len() {
            self.entries.retain(|entry| !old(entry));
            self.build_index();
        }
    }

    fn mark_missing(&mut self, batch: &mut WriteBatch, now_ms: i64) {
        let round = self.round;
        // The same series may be written in another way than before: it is missed by its labels.
        let met = self.entries.iter().filter(|entry| entry.met == round);
        let here: HashSet<SeriesId> = met.filter_map(|entry| entry.labels.as_ref().map(Labels::id)).collect();
        for entry in self.entries.iter_mut().filter(|entry| entry.live && entry.met != round) {
            entry.live = false;
            if let Some(labels) = entry.labels.as_ref().filter(|labels| !here.contains(&labels.id())) {
                batch.row(labels).float(now_ms, stale_nan());
            }
        }
    }

    /// Says by which job the next scrape is read. Where its rules have changed, every series is
    /// looked at anew.
    pub(super) fn rules_are(&mut self, job: &Arc<Job>) {
        let same = self.job.as_ref().is_none_or(|before| Arc::ptr_eq(before, job));
        self.job = Some(Arc::clone(job));
        if !same {
            self.entries.iter_mut().for_each(|entry| entry.retired = true);
            self.index.clear();
        }
    }

    fn build_index(&mut self) {
        self.index.clear();
        for (at, entry) in self.entries.iter().enumerate().filter(|(_, entry)| !entry.retired) {
            let mut hash = hash_of(&entry.text, entry.kind);
            while self.index.contains_key(&hash) {
                hash = hash.wrapping_add(1);
            }
            self.index.insert(hash, at);
        }
    }

    /// The entry of a written series, or the free hash where it belongs.
    fn find(&self, text: &str, kind: MetricType) -> Result<usize, u64> {
        let mut hash = hash_of(text, kind);
        loop {
            match self.index.get(&hash) {
                None => return Err(hash),
                Some(&at) if &*self.entries[at].text == text && self.entries[at].kind == kind => {
                    return Ok(at);
                }
                Some(_) => hash = hash.wrapping_add(1),
            }
        }
    }
}

fn hash_of(text: &str, kind: MetricType) -> u64 {
    xxh3_64(text.as_bytes()) ^ (kind as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

struct Append<'a> {
    cache: &'a mut Cache,
    job: &'a Job,
    target: &'a Labels,
    now_ms: i64,
    format: Format,
    /// What was gathered of each of [`Cache::groups`].
    gathered: Vec<Gathered>,
    parts_met: usize,
    out: Outcome,
}

impl Append<'_> {
    fn dialect(&self) -> Dialect {
        if self.format == Format::OpenMetrics { Dialect::OpenMetrics } else { Dialect::Text }
    }

    /// Keeps a part of a classic histogram for later. True when it is not wanted for itself.
    fn gather(&mut self, sample: &Sample<'_>, own_ms: Option<i64>) -> Result<bool, Why> {
        let histogram = matches!(sample.kind, MetricType::Histogram | MetricType::GaugeHistogram);
        if !self.job.convert_to_nhcb || !histogram {
            return Ok(false);
        }
        let dialect = self.dialect();
        let Some((at, part)) = self.cache.parts.find(sample.series, dialect)? else { return Ok(false) };
        if self.gathered.len() <= at {
            self.gathered.resize_with(at + 1, Gathered::default);
        }
        self.parts_met += 1;
        self.gathered[at].add(part, sample.value);
        self.gathered[at].kind = sample.kind;
        self.gathered[at].time_ms = own_ms;
        if let Some(exemplar) = sample.exemplar
            && !self.job.classic_histograms
            && let Some(exemplar) = self.exemplar(exemplar)?
        {
            self.gathered[at].exemplars.push(exemplar);
        }
        Ok(!self.job.classic_histograms)
    }

    fn write_gathered(&mut self) -> Result<(), Why> {
        for (at, gathered) in std::mem::take(&mut self.gathered).into_iter().enumerate() {
            let (kind, time_ms) = (gathered.kind, gathered.time_ms);
            if gathered.is_empty() {
                continue;
            }
            let Some((value, exemplars)) = gathered.histogram() else {
                self.out.histograms_dropped += 1;
                continue;
            };
            let series = self.cache.parts.groups[at].clone();
            self.histogram(HistogramSample { series: &series, kind, value, time_ms, exemplars })?;
        }
        let met = self.parts_met;
        self.cache.parts.forget(met);
        Ok(())
    }

    /// The entry of a series; none when it is to be left out.
    fn enter(&mut self, text: &str, kind: MetricType, own_time: bool) -> Result<Option<usize>, Why> {
        self.out.scraped += 1;
        let round = self.cache.round;
        let at = match self.cache.find(text, kind) {
            Ok(at) => at,
            Err(hash) => {
                let labels = self.labels(text, kind)?;
                self.cache.entries.push(Entry {
                    text: text.into(),
                    kind,
                    labels,
                    met: 0,
                    tracked: false,
                    live: false,
                    retired: false,
                });
                let at = self.cache.entries.len() - 1;
                self.cache.index.insert(hash, at);
                at
            }
        };
        let entry = &mut self.cache.entries[at];
        if entry.labels.is_none() {
            entry.met = round;
            return Ok(None);
        }
        if entry.met == round && !own_time {
            self.out.repeated += 1;
            return Ok(None);
        }
        self.out.added += u64::from(entry.met + 1 < round || entry.met == 0);
        entry.met = round;
        entry.tracked = !own_time || self.job.track_timestamps_staleness;
        self.out.kept += 1;
        if self.job.limits.samples > 0 && self.out.kept > self.job.limits.samples {
            return Err(
                format!("sample limit exceeded: more than {} samples", self.job.limits.samples).into()
            );
        }
        Ok(Some(at))
    }

    /// Labels as they are stored; none when the rules drop the series.
    fn labels(&self, text: &str, kind: MetricType) -> Result<Option<Labels>, Why> {
        let dialect = if self.format == Format::OpenMetrics { Dialect::OpenMetrics } else { Dialect::Text };
        let exposed = series::labels(text, dialect, kind)?;
        self.check_limits(&exposed)?;
        let mut labels: LabelMap =
            exposed.iter().map(|label| (label.name.to_owned(), label.value.to_owned())).collect();
        for own in self.target {
            let exposed = match labels.get(own.name) {
                Some(_) if self.job.honor_labels => continue,
                Some(_) => labels.remove(own.name),
                None => None,
            };
            labels.insert(own.name.to_owned(), own.value.to_owned());
            if let Some(value) = exposed {
                let mut name = format!("exported_{}", own.name);
                while labels.contains_key(&name) || !self.target.get(&name).is_empty() {
                    name.insert_str(0, "exported_");
                }
                labels.insert(name, value);
            }
        }
        if !relabel::apply(&self.job.metric_relabel, &mut labels) {
            return Ok(None);
        }
        if !labels.contains_key(METRIC_NAME) {
            return Err("a series has no name after relabelling".into());
        }
        let labels = Labels::from_pairs(labels);
        self.check_limits(&labels)?;
        Ok(Some(labels))
    }

    fn check_limits(&self, labels: &Labels) -> Result<(), Why> {
        let limits = &self.job.limits;
        let over = |value: usize, limit: u64| limit > 0 && value as u64 > limit;
        let name = || series::short(labels.metric_name());
        if over(labels.len(), limits.labels) {
            return Err(format!("label_limit exceeded: `{}` has {} labels", name(), labels.len()).into());
        }
        for label in labels {
            if over(label.name.len(), limits.label_name_len) {
                return Err(format!("label_name_length_limit exceeded by a label of `{}`", name()).into());
            }
            if over(label.value.len(), limits.label_value_len) {
                let label = series::short(label.name);
                return Err(format!("label_value_length_limit exceeded by `{label}` of `{}`", name()).into());
            }
        }
        Ok(())
    }

    fn time_ms(&self, own_ms: Option<i64>) -> (i64, bool) {
        match own_ms.filter(|_| self.job.honor_timestamps) {
            Some(own_ms) => (own_ms, true),
            None => (self.now_ms, false),
        }
    }

    /// None when it is longer than exemplars may be.
    fn exemplar(&mut self, exemplar: ExemplarText<'_>) -> Result<Option<Exemplar>, Why> {
        let pairs = series::exemplar_pairs(exemplar.labels)?;
        if series::exemplar_chars(&pairs) > EXEMPLAR_CHARS_MAX {
            self.out.exemplars_dropped += 1;
            return Ok(None);
        }
        let time_ms = exemplar.time_seconds.map_or(self.now_ms, |seconds| (seconds * 1000.0).round() as i64);
        Ok(Some(Exemplar { labels: Labels::from_pairs(pairs), value: exemplar.value, time_ms }))
    }
}

impl Sink for Append<'_> {
    fn said(&mut self, metric: &str, said: Said<'_>) -> Result<(), Why> {
        let known = self.cache.metadata.get(metric);
        let mut now = known.cloned().unwrap_or_default();
        match said {
            Said::Kind(kind) => now.kind = kind,
            Said::Help(help) => help.clone_into(&mut now.help),
            Said::Unit(unit) => unit.clone_into(&mut now.unit),
        }
        if known == Some(&now) {
            return Ok(());
        }
        if known.is_none() && self.cache.metadata.len() >= METADATA_PER_TARGET_MAX {
            self.out.metadata_dropped += 1;
            return Ok(());
        }
        self.cache.metadata.insert(metric.to_owned(), now.clone());
        // What is said of one metric stands together.
        match self.out.batch.metadata.last_mut() {
            Some((name, kept)) if name == metric => *kept = now,
            _ => self.out.batch.metadata.push((metric.to_owned(), now)),
        }
        Ok(())
    }

    fn sample(&mut self, sample: Sample<'_>) -> Result<(), Why> {
        let (time_ms, own_time) = self.time_ms(sample.time_ms());
        if self.gather(&sample, own_time.then_some(time_ms))? {
            return Ok(());
        }
        let Some(at) = self.enter(sample.series, sample.kind, own_time)? else { return Ok(()) };
        if let Some(labels) = &self.cache.entries[at].labels {
            self.out.batch.row(labels).float(time_ms, sample.value);
        }
        if let Some(exemplar) = sample.exemplar
            && let Some(exemplar) = self.exemplar(exemplar)?
        {
            self.out.batch.exemplar(exemplar);
        }
        Ok(())
    }

    fn histogram(&mut self, mut sample: HistogramSample<'_>) -> Result<(), Why> {
        let limit = usize::try_from(self.job.limits.native_buckets).unwrap_or(usize::MAX);
        if limit > 0 && !nhcb::coarsen(&mut sample.value, limit) {
            return Err(format!("native_histogram_bucket_limit exceeded: more than {limit} buckets").into());
        }
        let (time_ms, own_time) = self.time_ms(sample.time_ms);
        let Some(at) = self.enter(sample.series, sample.kind, own_time)? else { return Ok(()) };
        if let Some(labels) = &self.cache.entries[at].labels {
            self.out.batch.row(labels).histogram(time_ms, sample.value);
        }
        for mut exemplar in sample.exemplars {
            if exemplar.time_ms == 0 {
                exemplar.time_ms = self.now_ms;
            }
            self.out.batch.exemplar(exemplar);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(settings: &str) -> Arc<Job> {
        let text = format!("scrape_configs:\n- {{job_name: j{settings}}}");
        Arc::new(crate::config::parse(std::path::Path::new("p.yml"), text).unwrap().jobs.remove(0))
    }

    fn scrape(cache: &mut Cache, job: &Arc<Job>, body: &str) -> Result<Outcome, String> {
        cache.rules_are(job);
        cache.scrape(body.as_bytes(), Format::Text, job, &Labels::from_pairs([("job", "j")]), 1000)
    }

    #[test]
    fn a_series_is_looked_into_once_and_forgotten_when_it_is_long_gone() {
        let (mut cache, job) = (Cache::default(), job(""));
        for round in 0..100 {
            let body: String = (0..100).map(|at| format!("churn{{round=\"{round}\"}} {at} {at}\n")).collect();
            let out = scrape(&mut cache, &job, &format!("steady 1\n{body}")).unwrap();
            assert_eq!(out.scraped, 101);
            assert!(cache.entries.len() <= 8, "{} entries after {round} rounds", cache.entries.len());
            assert_eq!(cache.index.len(), cache.entries.len());
        }
        let steady = cache.find("steady", MetricType::Unknown).unwrap();
        assert_eq!(cache.entries[steady].met, 100);
    }

    #[test]
    fn a_failed_scrape_leaves_nothing_and_counts_its_series_as_new_later() {
        let (mut cache, job) = (Cache::default(), job(", sample_limit: 2"));
        assert_eq!(scrape(&mut cache, &job, "a 1\n").unwrap().added, 1);
        assert!(scrape(&mut cache, &job, "a 1\nb 1\nc 1\n").is_err());
        let ended = cache.end_all(2000);
        let rows: Vec<_> =
            ended.rows().map(|row| Labels::from_bytes(row.labels).unwrap().to_string()).collect();
        assert_eq!(rows, [r#"a{job="j"}"#], "what was never stored needs no marker");
        assert!(cache.end_all(3000).is_empty());
        assert_eq!(scrape(&mut cache, &job, "a 1\nb 1\n").unwrap().added, 2);
    }

    #[test]
    fn names_of_the_target_win_and_what_was_there_is_kept_aside() {
        let (mut cache, job) = (Cache::default(), job(""));
        let out = scrape(&mut cache, &job, "a{job=\"x\",exported_job=\"y\"} 1\n").unwrap();
        let row = out.batch.rows().next().unwrap();
        let labels = Labels::from_bytes(row.labels).unwrap().to_string();
        assert_eq!(labels, r#"a{exported_exported_job="x", exported_job="y", job="j"}"#);
    }

    #[test]
    fn parts_of_histograms_that_are_long_gone_are_forgotten() {
        let (mut cache, job) = (Cache::default(), job(", convert_classic_histograms_to_nhcb: true"));
        for round in 0..30 {
            let parts: String =
                (0..100).map(|at| format!("h_bucket{{r=\"{round}\",le=\"{at}\"}} {at}\n")).collect();
            scrape(&mut cache, &job, &format!("# TYPE h histogram\n{parts}")).unwrap();
            assert!(cache.parts.known.len() <= 2 * 100 + PARTS_KEPT + 100);
        }
    }
}
