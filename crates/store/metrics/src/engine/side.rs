//! What is said beside samples: metadata of metrics, and exemplars in a ring.

use std::collections::{BTreeMap, VecDeque};

use metrics_api::{Exemplar, LabelQuery, Labels, Metadata, SeriesExemplars};

use super::wal::{
    frame::{self, Frames},
    record::{self, KIND_EXEMPLARS, KIND_METADATA},
};

/// Different things said of one metric; the newest stay.
const SAID_PER_METRIC_MAX: usize = 8;
/// Letters of an exemplar's labels, as OpenMetrics has it.
pub const EXEMPLAR_LETTERS_MAX: usize = 128;

#[derive(Debug, Default)]
pub struct Side {
    metadata: BTreeMap<String, Vec<Metadata>>,
    exemplars: VecDeque<(Labels, Exemplar)>,
    /// Something came since the last save.
    pub changed: bool,
}

impl Side {
    pub fn knows(&self, name: &str, said: &Metadata) -> bool {
        self.metadata.get(name).is_some_and(|known| known.contains(said))
    }

    /// Takes it unless there is no room for another metric.
    pub fn say(&mut self, name: &str, said: Metadata, metrics_max: usize) {
        if self.metadata.len() >= metrics_max && !self.metadata.contains_key(name) {
            return;
        }
        let known = self.metadata.entry(name.to_owned()).or_default();
        if !known.contains(&said) {
            if known.len() == SAID_PER_METRIC_MAX {
                known.remove(0);
            }
            known.push(said);
            self.changed = true;
        }
    }

    /// Takes an exemplar; says how many old ones went for it.
    pub fn show(&mut self, series: Labels, exemplar: Exemplar, exemplars_max: usize) -> u64 {
        let mut dropped = 0;
        while self.exemplars.len() >= exemplars_max.max(1) {
            self.exemplars.pop_front();
            dropped += 1;
        }
        self.exemplars.push_back((series, exemplar));
        self.changed = true;
        dropped
    }

    pub fn metadata(&self, metric: Option<&str>) -> Vec<(String, Vec<Metadata>)> {
        match metric {
            Some(metric) => self
                .metadata
                .get_key_value(metric)
                .map(|(n, said)| (n.clone(), said.clone()))
                .into_iter()
                .collect(),
            None => self.metadata.iter().map(|(name, said)| (name.clone(), said.clone())).collect(),
        }
    }

    pub fn exemplars(&self, query: &LabelQuery) -> Vec<SeriesExemplars> {
        let mut found: BTreeMap<Labels, Vec<Exemplar>> = BTreeMap::new();
        for (series, exemplar) in &self.exemplars {
            let meets = || {
                query.any_of.is_empty()
                    || query.any_of.iter().any(|set| set.iter().all(|matcher| matcher.matches_labels(series)))
            };
            if query.range.contains(exemplar.time_ms) && meets() {
                found.entry(series.clone()).or_default().push(exemplar.clone());
            }
        }
        let limit = if query.limit == 0 { usize::MAX } else { query.limit };
        let found = found.into_iter().take(limit).map(|(series, mut exemplars)| {
            exemplars.sort_by_key(|exemplar| exemplar.time_ms);
            // A log read again after a crash shows some twice.
            exemplars.dedup();
            SeriesExemplars { series, exemplars }
        });
        found.collect()
    }

    pub fn size_bytes(&self) -> usize {
        let said =
            |all: &Vec<Metadata>| all.iter().map(|one| 80 + one.help.len() + one.unit.len()).sum::<usize>();
        self.exemplars
            .iter()
            .map(|(series, e)| 64 + series.as_bytes().len() + e.labels.as_bytes().len())
            .sum::<usize>()
            + self.metadata.iter().map(|(name, all)| name.len() + said(all)).sum::<usize>()
    }

    pub fn save(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame::push(&mut bytes, KIND_METADATA, 0, |into| {
            for (name, all) in &self.metadata {
                all.iter().for_each(|said| record::put_metadata(into, name, said));
            }
        });
        frame::push(&mut bytes, KIND_EXEMPLARS, 0, |into| {
            self.exemplars.iter().for_each(|(series, exemplar)| record::put_exemplar(into, series, exemplar));
        });
        bytes
    }

    /// Reads what [`Side::save`] wrote; false when some of it is damaged.
    pub fn load(&mut self, bytes: &[u8], metrics_max: usize, exemplars_max: usize) -> bool {
        let mut frames = Frames::new(bytes, 0);
        let mut good = true;
        for frame in frames.by_ref() {
            good &= self.take(frame.kind, frame.payload, metrics_max, exemplars_max).is_some();
        }
        self.changed = false;
        good && frames.damaged.is_empty() && frames.torn_at.is_none()
    }

    /// Takes what a frame of the log or of the file says.
    pub fn take(&mut self, kind: u8, payload: &[u8], metrics_max: usize, exemplars_max: usize) -> Option<()> {
        match kind {
            KIND_METADATA => record::each_metadata(payload, |name, said| self.say(name, said, metrics_max)),
            KIND_EXEMPLARS => record::each_exemplar(payload, |series, exemplar| {
                self.show(series, exemplar, exemplars_max);
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use metrics_api::TimeRange;

    use super::*;

    #[test]
    fn the_ring_is_bounded_and_both_read_back() {
        let mut side = Side::default();
        let series = Labels::from_pairs([("__name__", "up")]);
        for time_ms in 0..20 {
            let exemplar = Exemplar { labels: Labels::empty(), value: 1.0, time_ms };
            side.show(series.clone(), exemplar, 8);
        }
        for metric in 0..5 {
            side.say(&format!("m{metric}"), Metadata::default(), 3);
        }
        for help in 0..20 {
            side.say("m0", Metadata { help: help.to_string(), ..Metadata::default() }, 3);
        }
        let mut back = Side::default();
        assert!(back.load(&side.save(), 3, 8));
        let all = LabelQuery { any_of: Vec::new(), range: TimeRange::ALL, limit: 0 };
        assert_eq!(back.exemplars(&all)[0].exemplars.len(), 8);
        assert_eq!(back.exemplars(&all)[0].exemplars[0].time_ms, 12);
        assert_eq!(back.metadata(None).len(), 3);
        assert_eq!(back.metadata(Some("m0"))[0].1.len(), SAID_PER_METRIC_MAX);
    }
}
