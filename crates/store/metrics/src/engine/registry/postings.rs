//! Finding series of the registry by matchers.

use std::collections::BTreeSet;

use metrics_api::{MatchOp, Matcher};
use roaring::RoaringBitmap;

use super::{Pair, Registry};

impl Registry {
    /// Series that meet all matchers.
    pub fn select(&self, matchers: &[Matcher]) -> RoaringBitmap {
        let mut found: Option<RoaringBitmap> = None;
        // Equality first: it is one look, and makes little of much.
        let mut ordered: Vec<&Matcher> = matchers.iter().collect();
        ordered.sort_by_key(|matcher| (matcher.matches_empty(), matcher.op != MatchOp::Equal));
        for matcher in ordered {
            let met = match found.take() {
                Some(candidates) => self.narrow(candidates, matcher),
                None if matcher.matches_empty() => self.narrow(self.live.clone(), matcher),
                None => self.with(matcher, true),
            };
            if met.is_empty() {
                return met;
            }
            found = Some(met);
        }
        found.unwrap_or_else(|| self.live.clone())
    }

    fn narrow(&self, mut candidates: RoaringBitmap, matcher: &Matcher) -> RoaringBitmap {
        let values = self.values_len(&matcher.name);
        if candidates.len() < values as u64 / 4 {
            return candidates
                .iter()
                .filter(|series| matcher.matches(self.value_of(*series, &matcher.name)))
                .collect();
        }
        if matcher.matches_empty() {
            candidates -= self.with(matcher, false);
        } else {
            candidates &= self.with(matcher, true);
        }
        candidates
    }

    /// Series whose value of the matcher's label, which they have, meets it or does not.
    fn with(&self, matcher: &Matcher, meets: bool) -> RoaringBitmap {
        let is_value = matches!(matcher.op, MatchOp::Equal | MatchOp::NotEqual);
        if is_value && (matcher.op == MatchOp::Equal) == meets {
            let pair = self.find_pair(&matcher.name, &matcher.value);
            return pair
                .map_or_else(RoaringBitmap::new, |pair| self.pairs[pair as usize].posting.to_bitmap());
        }
        let mut found = RoaringBitmap::new();
        for pair in self.values(&matcher.name) {
            if matcher.matches(&pair.value) == meets {
                pair.posting.add_to(&mut found);
            }
        }
        found
    }

    /// Names of labels of those series, or values of one label.
    pub fn texts(&self, name: Option<&str>, among: &RoaringBitmap, into: &mut BTreeSet<String>) {
        if among.is_empty() {
            return;
        }
        match name {
            Some(name) => {
                let held = self.values(name).filter(|pair| pair.posting.meets(among));
                into.extend(held.map(|pair| pair.value.to_string()));
            }
            None => {
                let held = |name: &&super::Name| {
                    name.values.iter().any(|pair| self.pairs[*pair as usize].posting.meets(among))
                };
                into.extend(self.names.iter().filter(held).map(|name| name.text.to_string()));
            }
        }
    }

    /// Every pair with its number of series.
    pub fn each_pair<'r>(&'r self, mut each: impl FnMut(&'r str, &'r str, u64)) {
        for pair in &self.pairs {
            let series = pair.posting.len();
            if series > 0 {
                each(&self.names[pair.name as usize].text, &pair.value, series);
            }
        }
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &Pair> {
        let name = self.name_numbers.get(name).map(|number| &self.names[*number as usize]);
        name.into_iter().flat_map(|name| name.values.iter().map(|pair| &self.pairs[*pair as usize]))
    }

    fn values_len(&self, name: &str) -> usize {
        self.name_numbers.get(name).map_or(0, |number| self.names[*number as usize].values.len())
    }

    fn value_of(&self, series: u32, name: &str) -> &str {
        self.labels_of(series).find(|label| label.0 == name).map_or("", |label| label.1)
    }
}

#[cfg(test)]
mod tests {
    use metrics_api::Labels;
    use proptest::prelude::*;

    use super::*;

    fn matcher() -> impl Strategy<Value = Matcher> {
        let op = prop_oneof![
            Just(MatchOp::Equal),
            Just(MatchOp::NotEqual),
            Just(MatchOp::Regex),
            Just(MatchOp::NotRegex)
        ];
        (
            "[abc]",
            op,
            prop_oneof!["[xyz]?", Just("x|y".to_owned()), Just(".+".to_owned()), Just(".*".to_owned())],
        )
            .prop_map(|(name, op, value)| Matcher::new(name, op, value).unwrap())
    }

    proptest! {
        #[test]
        fn postings_find_what_a_look_at_every_series_finds(
            series in proptest::collection::btree_set(proptest::collection::btree_map("[abc]", "[xyz]", 0..4), 1..30),
            matchers in proptest::collection::vec(matcher(), 0..4),
        ) {
            let mut registry = Registry::default();
            let all: Vec<Labels> = series.into_iter().map(Labels::from_pairs).collect();
            for labels in &all {
                registry.register(labels.id(), labels);
            }
            let wanted: Vec<u32> = (0..all.len() as u32)
                .filter(|at| matchers.iter().all(|matcher| matcher.matches_labels(&all[*at as usize])))
                .collect();
            prop_assert_eq!(registry.select(&matchers).iter().collect::<Vec<_>>(), wanted);
        }
    }
}
