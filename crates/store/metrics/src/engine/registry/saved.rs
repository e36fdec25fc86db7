//! The registry's file: frames of the log's form, each with the pairs it uses and its series.
//! Frames are appended at each flush; the file is written anew when much of it is out of date.

use metrics_api::Labels;

use super::Registry;
use crate::engine::wal::{
    frame::{self, Frames},
    record::{Cursor, put_bytes, put_varint, put_zigzag},
};

const KIND: u8 = 16;
/// Series of one frame: what one flipped bit may cost.
const SERIES_PER_FRAME: usize = 16_384;

/// A series in the file, about.
const SERIES_BYTES: usize = 8;

/// Writes `series` as frames.
pub fn save(registry: &Registry, series: &[u32], into: &mut Vec<u8>) {
    let mut local = vec![0u32; registry.pairs.len()];
    for part in series.chunks(SERIES_PER_FRAME) {
        frame::push(into, KIND, 0, |into| save_frame(registry, part, &mut local, into));
    }
}

fn save_frame(registry: &Registry, series: &[u32], local: &mut [u32], into: &mut Vec<u8>) {
    let mut used = Vec::new();
    for &number in series {
        for &pair in registry.pairs_of(number) {
            if local[pair as usize] == 0 {
                used.push(pair);
                local[pair as usize] = used.len() as u32;
            }
        }
    }
    put_varint(into, used.len() as u64);
    for &pair in &used {
        let pair = &registry.pairs[pair as usize];
        put_bytes(into, registry.names[pair.name as usize].text.as_bytes());
        put_bytes(into, pair.value.as_bytes());
    }
    let mut before = 0;
    for &number in series {
        put_zigzag(into, i64::from(number) - before);
        before = i64::from(number);
        let pairs = registry.pairs_of(number);
        put_varint(into, pairs.len() as u64);
        for &pair in pairs {
            put_varint(into, u64::from(local[pair as usize] - 1));
        }
    }
    used.iter().for_each(|pair| local[*pair as usize] = 0);
}

/// What a registry's file gave.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    pub frames: u64,
    /// Entries read, those that later ones replaced included.
    pub entries: u64,
    /// Parts of the file that do not read back.
    pub damaged: u64,
    /// It ends in the middle of a frame: nothing may be appended.
    pub torn: bool,
}

/// Reads the frames of `bytes` into `registry`.
pub fn load(bytes: &[u8], registry: &mut Registry) -> Loaded {
    let mut loaded = Loaded::default();
    registry.reserve(bytes.len() / SERIES_BYTES);
    let mut frames = Frames::new(bytes, 0);
    for frame in frames.by_ref() {
        loaded.frames += 1;
        match load_frame(frame.payload, registry) {
            Some(entries) if frame.kind == KIND => loaded.entries += entries,
            _ => loaded.damaged += 1,
        }
    }
    loaded.damaged += frames.damaged.len() as u64;
    loaded.torn = frames.torn_at.is_some();
    loaded
}

fn load_frame(payload: &[u8], registry: &mut Registry) -> Option<u64> {
    let mut from = Cursor(payload);
    let count = from.varint()?;
    let mut pairs = Vec::new();
    for _ in 0..count {
        let (name, value) = (from.text()?, from.text()?);
        let mut encoded = Vec::with_capacity(name.len() + value.len() + 4);
        put_bytes(&mut encoded, name.as_bytes());
        put_bytes(&mut encoded, value.as_bytes());
        pairs.push(LoadedPair { number: registry.pair(name, value), encoded, series: Vec::new() });
    }
    let mut entries = 0;
    let (mut number, mut places, mut numbers, mut labels) = (0i64, Vec::new(), Vec::new(), Vec::new());
    let mut whole = true;
    while !from.is_empty() {
        let Some(found) = load_series(&mut from, &mut number, pairs.len(), &mut places) else {
            whole = false;
            break;
        };
        labels.clear();
        numbers.clear();
        for &place in &places {
            let pair: &mut LoadedPair = &mut pairs[place];
            labels.extend_from_slice(&pair.encoded);
            numbers.push(pair.number);
            pair.series.push(found);
        }
        registry.place_without_postings(found, Labels::id_of(&labels), &numbers);
        entries += 1;
    }
    // At once for each pair: one by one is what a start would mostly spend its time on.
    for mut pair in pairs {
        pair.series.sort_unstable();
        registry.pairs[pair.number as usize].posting.insert_all(&pair.series);
    }
    whole.then_some(entries)
}

struct LoadedPair {
    number: u32,
    /// As labels have it.
    encoded: Vec<u8>,
    series: Vec<u32>,
}

/// The number of one series; `places` gets those of its pairs.
fn load_series(
    from: &mut Cursor<'_>,
    number: &mut i64,
    pairs: usize,
    places: &mut Vec<usize>,
) -> Option<u32> {
    *number = number.checked_add(from.zigzag()?)?;
    places.clear();
    for _ in 0..from.varint()? {
        let place = usize::try_from(from.varint()?).ok()?;
        if place >= pairs {
            return None;
        }
        places.push(place);
    }
    // The highest number is none.
    u32::try_from(*number).ok().filter(|number| *number != super::NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_loaded_and_damage_costs_a_frame() {
        let mut registry = Registry::default();
        for at in 0..40_000 {
            let labels = Labels::from_pairs([("__name__", "up"), ("pod", &format!("p{at}"))]);
            registry.register(labels.id(), &labels);
        }
        let mut bytes = Vec::new();
        save(&registry, &registry.unsaved.clone(), &mut bytes);
        let mut back = Registry::default();
        let loaded = load(&bytes, &mut back);
        assert_eq!((loaded.entries, loaded.damaged, loaded.torn), (40_000, 0, false));
        assert_eq!(back.len(), 40_000);
        for series in [0, 17, 39_999] {
            assert_eq!(back.labels(series), registry.labels(series));
            assert_eq!(back.id(series), back.labels(series).id());
        }
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let mut back = Registry::default();
        let loaded = load(&bytes, &mut back);
        assert_eq!((loaded.damaged, loaded.torn), (1, false));
        assert!(back.len() >= 40_000 - SERIES_PER_FRAME as u64);
    }
}
