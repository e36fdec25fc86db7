//! From batches to the log to the buffer: one group at a time.
//!
//! Whoever writes puts the batch into a queue and then waits for the pipeline; the first to get it
//! takes all that wait, finds or registers their series, checks each sample, writes one group to the
//! log, syncs it once, and only then puts the samples into the buffer and answers. The state that
//! decides about samples (the last of each series) changes before the log is written and is put
//! back when that fails.

use std::{collections::HashMap, sync::Arc};

use hashbrown::HashTable;
use metrics_api::{Appended, Histogram, Labels, RefusalKind, Row, SeriesId, WriteBatch};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{
    Stats,
    registry::NONE,
    side::EXEMPLAR_LETTERS_MAX,
    tenant::{TenantStore, read, write},
    wal::{
        Wal, frame,
        record::{
            self, Float, HistogramSample, KIND_EXEMPLARS, KIND_FLOATS, KIND_HISTOGRAMS, KIND_METADATA,
            KIND_SERIES,
        },
    },
};

/// Series of a metric looked at to find the label at fault.
const WIDEST_LOOK_AT: usize = 20_000;

/// A batch in line, its room in the queue, and who waits for the answer.
#[derive(Debug)]
pub struct Waiting {
    pub batch: WriteBatch,
    pub room: OwnedSemaphorePermit,
    pub reply: oneshot::Sender<metrics_api::Result<Appended>>,
}

#[derive(Debug)]
pub struct Pipeline {
    pub wal: Wal,
    series: HashTable<u32>,
    hot: Vec<Hot>,
    last_histograms: HashMap<u32, (i64, Arc<Histogram>)>,
    /// Series whose record a failed group took with it: the next one has it.
    unlogged: Vec<u32>,
    undo: Vec<(u32, Hot)>,
    frames: Vec<u8>,
    refs: Vec<u32>,
    group: u32,
    /// A group ended in a panic: nothing is taken any more.
    broken: bool,
}

/// What decides about the next sample of a series.
#[derive(Debug, Clone, Copy)]
struct Hot {
    id: SeriesId,
    time_ms: i64,
    bits: u64,
    /// Seconds of the monotonic clock.
    touched_s: u32,
    group: u32,
}

const FRESH: Hot = Hot { id: SeriesId(0), time_ms: i64::MIN, bits: 0, touched_s: 0, group: 0 };

/// Times a sample may have.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub oldest_ms: i64,
    pub newest_ms: i64,
    pub window_ms: i64,
}

/// What is left of a batch when it was looked at.
#[derive(Debug, Default)]
struct Prepared {
    appended: Appended,
    floats: Vec<Float>,
    histograms: Vec<HistogramSample>,
    /// Payloads about metadata and exemplars, by kind.
    side: Vec<(u8, Vec<u8>)>,
}

fn hash(id: SeriesId) -> u64 {
    id.0 as u64
}

impl Pipeline {
    pub fn new(wal: Wal) -> Self {
        Self {
            wal,
            series: HashTable::new(),
            hot: Vec::new(),
            last_histograms: HashMap::new(),
            unlogged: Vec::new(),
            undo: Vec::new(),
            frames: Vec::new(),
            refs: Vec::new(),
            group: 0,
            broken: false,
        }
    }

    pub fn size_bytes(&self) -> usize {
        self.series.capacity() * 5
            + self.hot.capacity() * size_of::<Hot>()
            + self.last_histograms.len() * 500
            + self.frames.capacity()
            + (self.undo.capacity() * size_of::<(u32, Hot)>())
    }

    /// Knows a series from now on, in place of one that had its number before.
    pub fn know(&mut self, series: u32, id: SeriesId, touched_s: u32) {
        let at = series as usize;
        if at >= self.hot.len() {
            self.hot.resize(at + 1, FRESH);
        }
        self.forget(series);
        self.hot[at] = Hot { id, touched_s, ..FRESH };
        let hot = &self.hot;
        self.series.insert_unique(hash(id), series, |known| hash(hot[*known as usize].id));
    }

    /// Knows all series of a registry; it knew none before.
    pub fn know_all(&mut self, registry: &super::registry::Registry, touched_s: u32) {
        self.hot = vec![FRESH; registry.numbers()];
        for series in registry.live() {
            self.hot[series as usize] = Hot { id: registry.id(series), touched_s, ..FRESH };
        }
        let hot = &self.hot;
        let id_hash = |known: &u32| hash(hot[*known as usize].id);
        self.series.reserve(registry.len() as usize, id_hash);
        for series in registry.live() {
            self.series.insert_unique(id_hash(&series), series, id_hash);
        }
    }

    pub fn forget(&mut self, series: u32) {
        let id = self.hot[series as usize].id;
        if let Ok(entry) = self.series.find_entry(hash(id), |known| *known == series) {
            entry.remove();
        }
        self.last_histograms.remove(&series);
    }

    /// Series without a sample since then.
    pub fn idle(&self, before_s: u32) -> impl Iterator<Item = u32> {
        self.series.iter().copied().filter(move |series| self.hot[*series as usize].touched_s < before_s)
    }

    /// Forgets what the last sample of a series was: it was deleted.
    pub fn forget_last(&mut self, series: u32) {
        if let Some(hot) = self.hot.get_mut(series as usize) {
            hot.time_ms = i64::MIN;
        }
        self.last_histograms.remove(&series);
    }

    /// Takes note of samples that the log had.
    pub fn replayed(&mut self, float: &Float) {
        if let Some(hot) = self.hot.get_mut(float.series as usize)
            && float.time_ms >= hot.time_ms
        {
            (hot.time_ms, hot.bits) = (float.time_ms, float.value.to_bits());
        }
    }

    pub fn replayed_histogram(&mut self, sample: &HistogramSample) {
        if let Some(hot) = self.hot.get_mut(sample.0 as usize)
            && sample.1 >= hot.time_ms
        {
            hot.time_ms = sample.1;
            self.last_histograms.insert(sample.0, (sample.1, Arc::clone(&sample.2)));
        }
    }

    fn find(&self, id: SeriesId) -> u32 {
        self.series.find(hash(id), |known| self.hot[*known as usize].id == id).copied().unwrap_or(NONE)
    }

    /// Takes one group of batches through. Every one of them is answered.
    pub fn run_group(&mut self, store: &TenantStore, group: Vec<Waiting>) {
        if std::mem::replace(&mut self.broken, true) {
            let why = "an earlier write ended in a panic; restart to recover from the log";
            answer_all(group, |_| Err(metrics_api::Error::Unavailable { why: why.into() }));
            return;
        }
        self.group = self.group.wrapping_add(1);
        self.undo.clear();
        self.frames.clear();
        let first = self.wal.next_seq;
        let mut seq = first;
        self.log_again(store, &mut seq);
        let bounds = store.bounds();
        let mut prepared: Vec<Prepared> =
            group.iter().map(|waiting| self.prepare(store, &waiting.batch, bounds, &mut seq)).collect();
        let logged = if seq == first { Ok(()) } else { self.wal.append(&self.frames, seq - 1) };
        self.frames.shrink_to(4 << 20);
        match logged {
            Ok(()) => {
                self.unlogged.clear();
                for one in &mut prepared {
                    store.take_in(&one.floats, std::mem::take(&mut one.histograms), &one.side);
                }
                let stats = &store.stats;
                Stats::add(&stats.wal_fsyncs, u64::from(seq != first));
                Stats::add(&stats.wal_bytes, self.frames.len() as u64);
                let mut done = prepared.into_iter();
                answer_all(group, |_| {
                    Ok(store.count(done.next().map(|one| one.appended).unwrap_or_default()))
                });
            }
            Err(error) => {
                for (series, hot) in self.undo.drain(..) {
                    self.hot[series as usize] = hot;
                    self.last_histograms.remove(&series);
                }
                tracing::warn!(tenant = %store.name, %error, "samples could not be logged and are refused");
                Stats::add(&store.stats.writes_failed, 1);
                let why = error.to_string();
                answer_all(group, |_| Err(metrics_api::Error::Unavailable { why: why.clone() }));
            }
        }
        self.broken = false;
    }

    fn log_again(&mut self, store: &TenantStore, seq: &mut u64) {
        if self.unlogged.is_empty() {
            return;
        }
        let head = read(&store.head);
        frame::push(&mut self.frames, KIND_SERIES, take(seq), |into| {
            for &series in &self.unlogged {
                record::put_series(into, series, head.registry.labels(series).as_bytes());
            }
        });
    }

    fn prepare(
        &mut self,
        store: &TenantStore,
        batch: &WriteBatch,
        bounds: Bounds,
        seq: &mut u64,
    ) -> Prepared {
        let mut prepared = Prepared::default();
        self.refs.clear();
        let mut misses = Vec::new();
        for (at, row) in batch.rows().enumerate() {
            let series = self.find(Labels::id_of(row.labels));
            self.refs.push(series);
            if series == NONE {
                misses.push(at);
            }
        }
        if !misses.is_empty() {
            self.register(store, batch, &misses, &mut prepared.appended, seq);
        }
        let touched_s = store.seconds();
        prepared.floats.reserve(batch.samples_len());
        let refs = std::mem::take(&mut self.refs);
        for (row, &series) in batch.rows().zip(&refs) {
            if series != NONE {
                self.take_row(&row, series, bounds, touched_s, &mut prepared);
            }
        }
        self.refs = refs;
        if !prepared.floats.is_empty() {
            frame::push(&mut self.frames, KIND_FLOATS, take(seq), |into| {
                record::put_floats(into, &prepared.floats)
            });
        }
        if !prepared.histograms.is_empty() {
            frame::push(&mut self.frames, KIND_HISTOGRAMS, take(seq), |into| {
                record::put_histograms(into, &prepared.histograms);
            });
        }
        self.log_side(store, batch, seq, &mut prepared);
        prepared
    }

    fn take_row(&mut self, row: &Row<'_>, series: u32, bounds: Bounds, touched_s: u32, out: &mut Prepared) {
        let hot = &mut self.hot[series as usize];
        if hot.group != self.group {
            self.undo.push((series, *hot));
            hot.group = self.group;
        }
        hot.touched_s = touched_s;
        let appended = &mut out.appended;
        for &(time_ms, value) in row.floats {
            if time_ms > hot.time_ms && time_ms <= bounds.newest_ms && time_ms >= bounds.oldest_ms {
                (hot.time_ms, hot.bits) = (time_ms, value.to_bits());
            } else {
                let histogram = self.last_histograms.get(&series).is_some_and(|last| last.0 == time_ms);
                let same = !histogram && value.to_bits() == hot.bits;
                if !admit(time_ms, hot.time_ms, same, bounds, row, appended) {
                    continue;
                }
            }
            appended.samples += 1;
            out.floats.push(Float { time_ms, value, series });
        }
        for (time_ms, histogram) in row.histograms {
            if let Err(why) = histogram.check() {
                appended.refuse(RefusalKind::Histogram, 1, || format!("{} at {time_ms}: {why}", said(row)));
                continue;
            }
            let last = self.last_histograms.get(&series).filter(|last| last.0 == *time_ms);
            let same = last.is_some_and(|last| *last.1 == *histogram);
            if !admit(*time_ms, hot.time_ms, same, bounds, row, appended) {
                continue;
            }
            let histogram = Arc::new(histogram.clone());
            if *time_ms > hot.time_ms {
                hot.time_ms = *time_ms;
                self.last_histograms.insert(series, (*time_ms, Arc::clone(&histogram)));
            }
            appended.samples += 1;
            out.histograms.push((series, *time_ms, histogram));
        }
    }

    fn register(
        &mut self,
        store: &TenantStore,
        batch: &WriteBatch,
        misses: &[usize],
        appended: &mut Appended,
        seq: &mut u64,
    ) {
        let mut head = write(&store.head);
        let (before, touched_s) = (self.unlogged.len(), store.seconds());
        let rows: Vec<Row<'_>> = batch.rows().collect();
        for &at in misses {
            let row = &rows[at];
            let id = Labels::id_of(row.labels);
            let mut series = self.find(id); // a batch may name a series twice
            if series == NONE {
                let samples = (row.floats.len() + row.histograms.len()) as u64;
                let admitted = store.admit_series(&head.registry, row.labels, appended.refused.is_empty());
                match admitted {
                    Ok(labels) => {
                        series = head.registry.register(id, &labels);
                        self.know(series, id, touched_s);
                        self.unlogged.push(series);
                    }
                    Err((kind, why)) => {
                        appended.refuse(kind, samples.max(1), || why);
                        continue;
                    }
                }
            }
            self.refs[at] = series;
        }
        let fresh = &self.unlogged[before..];
        Stats::add(&store.stats.series_registered, fresh.len() as u64);
        if !fresh.is_empty() {
            frame::push(&mut self.frames, KIND_SERIES, take(seq), |into| {
                for &series in fresh {
                    record::put_series(into, series, head.registry.labels(series).as_bytes());
                }
            });
        }
    }

    fn log_side(&mut self, store: &TenantStore, batch: &WriteBatch, seq: &mut u64, out: &mut Prepared) {
        let appended = &mut out.appended;
        let mut exemplars = Vec::new();
        for (row, &series) in batch.rows().zip(&self.refs) {
            if row.exemplars.is_empty() || series == NONE {
                continue;
            }
            let Some(labels) = Labels::from_bytes(row.labels) else { continue };
            for exemplar in row.exemplars {
                let letters =
                    |label: metrics_api::Label<'_>| label.name.chars().count() + label.value.chars().count();
                if exemplar.labels.iter().map(letters).sum::<usize>() > EXEMPLAR_LETTERS_MAX {
                    appended.refuse(RefusalKind::Exemplar, 1, || {
                        format!("{labels}: its labels are longer than {EXEMPLAR_LETTERS_MAX} letters")
                    });
                    continue;
                }
                appended.exemplars += 1;
                record::put_exemplar(&mut exemplars, &labels, exemplar);
            }
        }
        if !exemplars.is_empty() {
            out.side.push((KIND_EXEMPLARS, exemplars));
        }
        let mut metadata = Vec::new();
        if !batch.metadata.is_empty() {
            let head = read(&store.head);
            for (name, said) in batch.metadata.iter().filter(|(name, said)| !head.side.knows(name, said)) {
                record::put_metadata(&mut metadata, name, said);
            }
        }
        if !metadata.is_empty() {
            out.side.push((KIND_METADATA, metadata));
        }
        for (kind, payload) in &out.side {
            frame::push(&mut self.frames, *kind, take(seq), |into| into.extend_from_slice(payload));
        }
    }
}

fn take(seq: &mut u64) -> u64 {
    *seq += 1;
    *seq - 1
}

/// Whether a sample is to be stored; says and counts why not.
fn admit(
    time_ms: i64,
    last_ms: i64,
    same: bool,
    bounds: Bounds,
    row: &Row<'_>,
    appended: &mut Appended,
) -> bool {
    if time_ms > bounds.newest_ms {
        let newest_ms = bounds.newest_ms;
        appended.refuse(RefusalKind::InFuture, 1, || {
            format!(
                "{} at {time_ms}: later than {newest_ms}, as far ahead of this clock as is taken",
                said(row)
            )
        });
        return false;
    }
    let oldest_ms = bounds.oldest_ms.max(last_ms.saturating_sub(bounds.window_ms));
    if time_ms < oldest_ms {
        appended
            .refuse(RefusalKind::TooOld, 1, || format!("{} at {time_ms}: older than {oldest_ms}", said(row)));
        return false;
    }
    if time_ms == last_ms && same {
        appended.samples += 1;
        appended.duplicates += 1;
        return false;
    }
    if time_ms == last_ms {
        appended.refuse(RefusalKind::Conflict, 1, || {
            format!("{} at {time_ms}: another value is stored", said(row))
        });
        return false;
    }
    true
}

fn said(row: &Row<'_>) -> String {
    Labels::from_bytes(row.labels).map_or_else(|| "a series".into(), |labels| labels.to_string())
}

fn answer_all(group: Vec<Waiting>, mut answer: impl FnMut(&WriteBatch) -> metrics_api::Result<Appended>) {
    for waiting in group {
        let Waiting { batch, room, reply } = waiting;
        let said = answer(&batch);
        drop((batch, room));
        let _ = reply.send(said); // whoever asked may have gone
    }
}

impl TenantStore {
    /// Whether a series that is not known may be, and its labels.
    fn admit_series(
        &self,
        registry: &super::registry::Registry,
        encoded: &[u8],
        explain: bool,
    ) -> Result<Labels, (RefusalKind, String)> {
        let settings = &self.settings;
        let refuse = |why: String| Err((RefusalKind::Labels, why));
        let Some(labels) = Labels::from_bytes(encoded) else {
            return refuse("the labels are out of order or no UTF-8".into());
        };
        if labels.is_empty() {
            return refuse("a series without labels".into());
        }
        let mut count = 0;
        for label in &labels {
            count += 1;
            if label.name.len() > settings.label_name_bytes_max {
                let (name, max) = (label.name.len(), settings.label_name_bytes_max);
                return refuse(format!("a label's name is {name} bytes long, {max} are taken"));
            }
            if label.value.len() > settings.label_value_bytes_max {
                let (value, max) = (label.value.len(), settings.label_value_bytes_max);
                return refuse(format!(
                    "the value of label {:?} is {value} bytes long, {max} are taken",
                    label.name
                ));
            }
        }
        if count > settings.labels_max {
            return refuse(format!("{labels}: {count} labels, {} are taken", settings.labels_max));
        }
        let metric = labels.metric_name();
        if registry.metric_len(metric) >= settings.metric_series_max {
            // Once for a batch: it costs a look at many series.
            let widest = if explain { registry.widest_label(metric, WIDEST_LOOK_AT) } else { None };
            let fault = widest.map_or_else(String::new, |(label, values)| {
                format!("; its label {label:?} has the most values ({values} in {WIDEST_LOOK_AT} series looked at)")
            });
            let limit = settings.metric_series_max;
            return Err((
                RefusalKind::MetricLimit,
                format!("metric {metric:?} has {limit} series already{fault}"),
            ));
        }
        if registry.len() >= settings.series_max {
            return Err((
                RefusalKind::SeriesLimit,
                format!("{} series are active already", settings.series_max),
            ));
        }
        Ok(labels)
    }
}
