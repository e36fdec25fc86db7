//! What was taken in and what was left out: one counter for each way a thing can go.

use std::sync::atomic::{AtomicU64, Ordering};

use metrics_api::{Appended, RefusalKind};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters since the start. Cheap to read at any time.
        #[derive(Debug, Default)]
        pub struct Stats {
            $($(#[$doc])* pub $name: Counter,)*
        }

        impl Stats {
            /// Names and values, for whoever shows them as metrics.
            #[must_use]
            pub fn snapshot(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get()),)*]
            }
        }
    };
}

counters! {
    /// Requests of remote write.
    requests,
    /// Requests refused as a whole: not readable, too large, of another kind.
    requests_refused,
    /// Requests sent back to be sent again.
    requests_put_off,
    /// Scrapes begun.
    scrapes,
    /// Scrapes that gave nothing.
    scrapes_failed,
    /// Samples taken, staleness markers included.
    samples,
    exemplars,
    /// Samples that were there already.
    duplicates,
    /// Samples whose labels are no labels.
    dropped_labels,
    dropped_too_old,
    dropped_in_future,
    dropped_conflict,
    dropped_series_limit,
    dropped_metric_limit,
    dropped_histogram,
    dropped_exemplar,
    /// Samples that the rules of the configuration drop.
    dropped_by_relabelling,
    /// Samples of a scrape that stand twice for one series at one time.
    dropped_repeated,
    /// Samples lost with a scrape that failed or passed a limit.
    dropped_with_scrape,
    /// Metadata over its bound.
    dropped_metadata,
    /// Targets over a limit.
    dropped_targets,
}

/// One counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Stats {
    /// Counts what a store said of a batch.
    pub fn appended(&self, appended: &Appended) {
        self.samples.add(appended.samples);
        self.exemplars.add(appended.exemplars);
        self.duplicates.add(appended.duplicates);
        for (kind, samples) in &appended.refused {
            self.refused(*kind).add(*samples);
        }
    }

    /// The counter of samples refused for this reason.
    #[must_use]
    pub fn refused(&self, kind: RefusalKind) -> &Counter {
        match kind {
            RefusalKind::Labels => &self.dropped_labels,
            RefusalKind::TooOld => &self.dropped_too_old,
            RefusalKind::InFuture => &self.dropped_in_future,
            RefusalKind::Conflict => &self.dropped_conflict,
            RefusalKind::SeriesLimit => &self.dropped_series_limit,
            RefusalKind::MetricLimit => &self.dropped_metric_limit,
            RefusalKind::Histogram => &self.dropped_histogram,
            RefusalKind::Exemplar => &self.dropped_exemplar,
        }
    }
}
