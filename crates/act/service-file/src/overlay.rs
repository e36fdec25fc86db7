//! Merging an environment's part over the whole, with places kept.
//!
//! Maps merge key by key, `null` removes what the base has, everything else replaces it.

use std::collections::{HashMap, HashSet};

use crate::yaml::{Key, Node};

pub(crate) fn merge(base: &Node, patch: &Node) -> Node {
    let (Some(base_entries), Some(patch_entries)) = (base.map(), patch.map()) else {
        return patch.clone();
    };
    let over: HashMap<&str, &Node> = patch_entries.iter().map(|(key, value)| (&*key.text, value)).collect();
    let below: HashSet<&str> = base_entries.iter().map(|(key, _)| &*key.text).collect();
    let mut merged: Vec<(Key, Node)> = Vec::with_capacity(base_entries.len() + patch_entries.len());
    for (key, value) in base_entries.iter() {
        match over.get(&*key.text) {
            Some(over) if over.is_null() => {}
            Some(over) => merged.push((key.clone(), merge(value, over))),
            None => merged.push((key.clone(), value.clone())),
        }
    }
    for (key, value) in patch_entries.iter() {
        if !below.contains(&*key.text) && !value.is_null() {
            merged.push((key.clone(), value.clone()));
        }
    }
    patch.with_entries(merged)
}
