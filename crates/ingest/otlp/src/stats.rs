//! What was taken in, and what was not and why. Nothing is dropped without a count here.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counted {
    ($(#[$about:meta])* $name:ident { $($variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($variant,)+ }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

counted! {
    /// The kinds of data points.
    Kind {
        Gauge = "gauge",
        Sum = "sum",
        Histogram = "histogram",
        Exponential = "exponential_histogram",
        Summary = "summary",
    }
}

counted! {
    /// Why a data point was not taken.
    Reason {
        Name = "name",
        Temporality = "temporality",
        Time = "time",
        Value = "value",
        Attributes = "attributes",
        Buckets = "buckets",
        Histogram = "histogram",
        DeltaLate = "delta_late",
        DeltaLimit = "delta_limit",
        Store = "store",
    }
}

counted! {
    /// How requests ended.
    Outcome {
        Taken = "taken",
        Partial = "partial",
        Malformed = "malformed",
        TooLarge = "too_large",
        Unsupported = "unsupported",
        Busy = "busy",
        Unavailable = "unavailable",
        Other = "other",
    }
}

/// Counters since the start.
#[derive(Debug, Default)]
pub struct Stats {
    points: [AtomicU64; Kind::ALL.len()],
    refused: [AtomicU64; Reason::ALL.len()],
    requests: [AtomicU64; Outcome::ALL.len()],
    attributes_dropped: AtomicU64,
    exemplars_dropped: AtomicU64,
    bytes: AtomicU64,
}

/// One counter: name, label where it has one, value.
pub type Count = (&'static str, Option<(&'static str, &'static str)>, u64);

impl Stats {
    pub(crate) fn points(&self, kind: Kind) {
        self.points[kind as usize].fetch_add(1, Ordering::Relaxed);
    }
    pub(crate) fn refused(&self, reason: Reason, points: u64) {
        self.refused[reason as usize].fetch_add(points, Ordering::Relaxed);
    }
    pub(crate) fn request(&self, outcome: Outcome) {
        self.requests[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }
    pub(crate) fn attributes_dropped(&self, attributes: u64) {
        self.attributes_dropped.fetch_add(attributes, Ordering::Relaxed);
    }
    pub(crate) fn exemplars_dropped(&self, exemplars: u64) {
        self.exemplars_dropped.fetch_add(exemplars, Ordering::Relaxed);
    }
    pub(crate) fn bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    #[must_use]
    pub fn refused_for(&self, reason: Reason) -> u64 {
        self.refused[reason as usize].load(Ordering::Relaxed)
    }

    /// All counters, for Stead's own metrics.
    #[must_use]
    pub fn counts(&self) -> Vec<Count> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut counts = Vec::new();
        for kind in Kind::ALL {
            let label = Some(("kind", kind.as_str()));
            counts.push(("stead_otlp_points_total", label, read(&self.points[*kind as usize])));
        }
        for reason in Reason::ALL {
            let label = Some(("reason", reason.as_str()));
            counts.push(("stead_otlp_points_refused_total", label, read(&self.refused[*reason as usize])));
        }
        for outcome in Outcome::ALL {
            let label = Some(("outcome", outcome.as_str()));
            counts.push(("stead_otlp_requests_total", label, read(&self.requests[*outcome as usize])));
        }
        counts.push(("stead_otlp_attributes_dropped_total", None, read(&self.attributes_dropped)));
        counts.push(("stead_otlp_exemplars_dropped_total", None, read(&self.exemplars_dropped)));
        counts.push(("stead_otlp_bytes_total", None, read(&self.bytes)));
        counts
    }
}
