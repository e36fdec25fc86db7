//! Requests changed at random: never a panic, never more rows than bytes could mean.

use otlp::{Settings, Stamp};
use proptest::prelude::*;

use crate::world::{World, gauge};

/// Requests of every kind in binary form, by way of the JSON cases.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![gauge(3, "value")];
    // Hand-made: a resource with one histogram, one exponential histogram and one summary point, packed
    // fields and all, so that each branch of the reader is in reach of a changed byte.
    let field = |number: u32, bytes: &[u8]| {
        let mut out = Vec::new();
        let key = number << 3 | 2;
        if key >= 0x80 {
            out.extend([key as u8 | 0x80, (key >> 7) as u8]);
        } else {
            out.push(key as u8);
        }
        let len = bytes.len();
        if len >= 0x80 {
            out.extend([len as u8 | 0x80, (len >> 7) as u8]);
        } else {
            out.push(len as u8);
        }
        [out, bytes.to_vec()].concat()
    };
    let fixed = |number: u8, value: u64| [vec![number << 3 | 1], value.to_le_bytes().to_vec()].concat();
    let time = fixed(3, 1_700_000_000_000_000_000);
    let double = |value: f64| value.to_bits();
    let packed: Vec<u8> = [1u64, 2].iter().flat_map(|count| count.to_le_bytes()).collect();
    let classic = [
        time.clone(),
        fixed(4, 3),
        fixed(5, double(1.5)),
        field(6, &packed),
        field(7, &double(0.5).to_le_bytes()),
        field(
            8,
            &[fixed(2, 1_700_000_000_000_000_000), fixed(3, double(0.4)), field(4, b"12345678")].concat(),
        ),
    ]
    .concat();
    let buckets = [vec![0x08, 3], field(2, &[1, 2, 0, 0, 0, 4])].concat();
    let exponential =
        [time.clone(), fixed(4, 7), fixed(5, double(1.5)), vec![0x30, 6], field(8, &buckets)].concat();
    let quantile = [fixed(1, double(0.5)), fixed(2, double(2.0))].concat();
    let summary = [time, fixed(4, 7), fixed(5, double(1.5)), field(6, &quantile)].concat();
    for (kind, point) in [(9, classic), (10, exponential), (11, summary)] {
        let data = [field(1, &point), vec![0x10, 1]].concat();
        let metric = [field(1, b"took"), field(3, b"s"), field(kind, &data)].concat();
        let resource = field(1, &[field(1, b"service.name"), field(2, &field(1, b"shop"))].concat());
        let scope = field(2, &field(2, &metric));
        seeds.push(field(1, &[field(1, &resource), scope].concat()));
    }
    seeds
}

fn strategy() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<u8>(), 0u8..4);
    (prop::sample::select(seeds()), prop::collection::vec(change, 0..6)).prop_map(|(mut bytes, changes)| {
        for (at, byte, how) in changes {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes[at] ^= 1 << (byte % 8),
                2 => bytes.truncate(at),
                _ => bytes.insert(at, byte),
            }
        }
        bytes
    })
}

fn take(bytes: &[u8], settings: Settings) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let world = World::new(settings, otlp::Limits::default());
    let stamp = Stamp { labels: vec![("service".into(), "s".into())] };
    let _ = runtime.block_on(world.receiver.receive(&base::Tenant::default(), &stamp, bytes));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn changed_requests_are_taken_or_refused(bytes in strategy(), nhcb in any::<bool>(), escape in any::<bool>()) {
        let translation_strategy =
            if escape { otlp::Strategy::UnderscoreEscapingWithSuffixes } else { otlp::Strategy::NoTranslation };
        take(&bytes, Settings {
            convert_histograms_to_nhcb: nhcb,
            promote_scope_metadata: true,
            translation_strategy,
            ..Settings::default()
        });
    }

    #[test]
    fn any_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        take(&bytes, Settings::default());
    }

    #[test]
    fn any_json_is_taken_or_refused(text in r#"[\[\]{}":,a-z0-9 ]{0,80}"#) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let world = World::plain();
        let answer = runtime.block_on(world.json(&text));
        prop_assert!(answer.status == 200 || answer.status == 400);
    }
}

#[test]
fn the_seeds_themselves_are_taken_whole() {
    for seed in seeds() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let world = World::plain();
        let taken =
            runtime.block_on(world.receiver.receive(&base::Tenant::default(), &Stamp::default(), &seed));
        let taken = taken.unwrap();
        assert!(taken.points > 0 && taken.refused == 0, "{taken:?}");
    }
}
