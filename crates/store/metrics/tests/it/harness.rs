//! A store on a simulated disk under a clock moved by hand.

use std::{collections::BTreeMap, sync::Arc};

use base::{Tenant, Timestamp, time::ManualClock};
use disk::SimulatedDisk;
use metrics::engine::{Settings, Store};
use metrics_api::{
    Appended, Budget, LabelQuery, Labels, Limits, Reader, Result, Samples, Select, TimeRange, WriteBatch,
    Writer,
};

/// A day at noon, in milliseconds.
pub const NOON: i64 = 1_800_014_400_000;
pub const MINUTE: i64 = 60_000;
pub const DAY: i64 = 86_400_000;

/// Series by their text, with times and bits of values; histograms by their count.
pub type Content = BTreeMap<String, Vec<(i64, u64)>>;

pub struct Harness {
    pub disk: SimulatedDisk,
    pub clock: Arc<ManualClock>,
    pub settings: Settings,
    pub store: Store,
    pub tenant: Tenant,
}

impl Harness {
    pub fn new() -> Self {
        Self::with(Settings::default())
    }

    pub fn with(settings: Settings) -> Self {
        Self::on(SimulatedDisk::new(), settings)
    }

    pub fn on(disk: SimulatedDisk, settings: Settings) -> Self {
        Self::try_on(disk, settings).unwrap()
    }

    pub fn try_on(disk: SimulatedDisk, settings: Settings) -> Result<Self> {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(NOON)));
        let store = Store::open(Arc::new(disk.clone()), Arc::clone(&clock) as _, settings.clone())?;
        Ok(Self { disk, clock, settings, store, tenant: Tenant::default() })
    }

    /// The store as it is found after a power cut now.
    pub fn crashed(&self, seed: u64) -> Self {
        Self::on(self.disk.crash(seed), self.settings.clone())
    }

    /// The store after its process ended without a word.
    pub fn reopened(self) -> Self {
        let Self { disk, clock, settings, store, tenant } = self;
        drop(store);
        let store = Store::open(Arc::new(disk.clone()), Arc::clone(&clock) as _, settings.clone()).unwrap();
        Self { disk, clock, settings, store, tenant }
    }

    pub async fn write(&self, batch: WriteBatch) -> Result<Appended> {
        self.store.write(&self.tenant, batch).await
    }

    pub async fn content(&self) -> Content {
        let (content, warnings) = content_of(&self.store, &self.tenant).await.unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        content
    }
}

pub fn budget() -> Arc<Budget> {
    Budget::new(Limits::default())
}

pub fn every() -> LabelQuery {
    LabelQuery { any_of: Vec::new(), range: TimeRange::ALL, limit: 0 }
}

/// Everything that answers hold, and the warnings with it.
pub async fn content_of(store: &dyn Reader, tenant: &Tenant) -> Result<(Content, Vec<String>)> {
    let select = Select { matchers: Vec::new(), range: TimeRange::ALL };
    let found = store.select(tenant, &select, &budget()).await?;
    let mut content = Content::new();
    for mut series in found.series {
        let mut samples = Samples::default();
        series.read(TimeRange::ALL, &mut samples)?;
        let floats =
            samples.float_times.iter().copied().zip(samples.floats.iter().map(|value| value.to_bits()));
        let histograms = samples
            .histogram_times
            .iter()
            .copied()
            .zip(samples.histograms.iter().map(|one| one.count.to_bits()));
        let mut all: Vec<_> = floats.chain(histograms).collect();
        all.sort_unstable();
        assert!(
            all.windows(2).all(|pair| pair[0].0 < pair[1].0),
            "{}: a time twice: {all:?}",
            series.labels()
        );
        if !all.is_empty() {
            assert!(content.insert(series.labels().to_string(), all).is_none(), "a series twice");
        }
    }
    Ok((content, found.warnings))
}

pub fn labels(metric: &str, instance: &str) -> Labels {
    Labels::from_pairs([("__name__", metric), ("job", "test"), ("instance", instance)])
}

/// Metric, instance, samples.
pub type Floats<'a> = (&'a str, &'a str, &'a [(i64, f64)]);

pub fn batch(rows: &[Floats<'_>]) -> WriteBatch {
    let mut batch = WriteBatch::default();
    for (metric, instance, samples) in rows {
        batch.row(&labels(metric, instance));
        for &(time_ms, value) in *samples {
            batch.float(time_ms, value);
        }
    }
    batch
}
