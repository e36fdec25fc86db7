//! Every way to tamper, and what it is called.

use std::sync::LazyLock;

use base::{Actor, Environment, Tenant, Timestamp, id::EventId};
use ledger::{
    ERASED_KIND, Entry, Head, canonical,
    checkpoint::{Checkpoint, Keys, Signer},
    erased_body, erased_subject,
    verify::{ERASURES_PENDING_MAX, FINDINGS_MAX, Finding, Tail, Verdict, Verifier, verify},
};
use proptest::prelude::*;
use serde_json::json;

use crate::{chain, draft, recompute};

fn check(entries: &[Entry]) -> Verdict {
    verify(Tenant::default(), entries, &[], &Keys::default())
}

fn signed(entries: &[Entry]) -> (Checkpoint, Keys) {
    // One key for all: making it costs more than the rest.
    static SIGNER: LazyLock<Signer> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        Signer::load_or_create(&folder.path().join("key")).unwrap()
    });
    let signer = &*SIGNER;
    let head = Head::at(entries.last().unwrap()).unwrap();
    (signer.sign(&Tenant::default(), head, Timestamp::from_millis(7)), Keys::from(signer))
}

#[test]
fn an_untouched_chain_is_intact_and_says_what_it_cannot_prove() {
    for length in [0, 1, 50] {
        let verdict = check(&chain(length));
        assert!(verdict.intact(), "{verdict:?}");
        assert_eq!((verdict.entries, verdict.last_seq), (length as u64, length as u64));
        assert_eq!(verdict.tail, Tail::NotProvable);
        assert!(verdict.to_string().contains("tail not provable"));
    }
    let entries = chain(10);
    let (checkpoint, keys) = signed(&entries[..8]);
    let verdict = verify(Tenant::default(), &entries, &[checkpoint], &keys);
    assert!(verdict.intact());
    assert_eq!(verdict.to_string(), "10 entries verified; proven up to entry 8, tail after it not provable");
}

#[test]
fn each_kind_of_tampering_has_its_name() {
    let whole = chain(10);
    let with = |change: &dyn Fn(&mut Vec<Entry>)| {
        let mut entries = whole.clone();
        change(&mut entries);
        check(&entries).findings
    };
    assert_eq!(with(&|e| e[4].draft.why.push('!')), [Finding::Edited { seq: 5 }]);
    assert_eq!(with(&|e| e[4].draft.body = json!({})), [Finding::BodyEdited { seq: 5 }]);
    assert_eq!(with(&|e| drop(e.remove(4))), [Finding::Order { expected: 5, found: 6 }]);
    assert_eq!(
        with(&|e| e.swap(4, 5)),
        [(5, 6), (7, 5), (6, 7)].map(|(expected, found)| Finding::Order { expected, found })
    );
    let put_in = with(&|e| {
        let head = &mut Head::at(&e[4]).unwrap();
        e.insert(5, head.append(Timestamp::default(), draft(99)));
    });
    assert_eq!(put_in, [Finding::Order { expected: 7, found: 6 }]);
    // The edited entry hashed anew: the next one does not follow it.
    let rehashed = with(&|e| {
        let mut head = Head::at(&e[3]).unwrap();
        e[4].draft.actor = Actor::user("eve");
        e[4] = head.append(e[4].at, e[4].draft.clone());
    });
    assert_eq!(rehashed, [Finding::Unlinked { seq: 6 }]);
    assert_eq!(
        with(&|e| e[4].draft.tenant = Tenant::parse("other").unwrap()),
        [Finding::Foreign { seq: 5 }, Finding::Edited { seq: 5 }]
    );
}

#[test]
fn only_a_checkpoint_shows_a_cut_an_older_copy_and_a_new_computation() {
    let whole = chain(10);
    let (checkpoint, keys) = signed(&whole);
    let check_signed =
        |entries: &[Entry]| verify(Tenant::default(), entries, std::slice::from_ref(&checkpoint), &keys);
    assert_eq!(check_signed(&whole).to_string(), "10 entries verified; proven to its end");
    let cut = &whole[..7];
    assert!(check(cut).intact());
    assert_eq!(check_signed(cut).findings, [Finding::Cut { found: 7, stated: 10 }]);
    assert_eq!(check_signed(&[]).findings, [Finding::Cut { found: 0, stated: 10 }]);
    // An older copy that went on its own way, and is longer by now.
    let mut head = Head::at(&whole[6]).unwrap();
    let mut swapped = whole[..7].to_vec();
    swapped.extend((0..5).map(|n| head.append(Timestamp::default(), draft(n))));
    assert!(check(&swapped).intact());
    assert_eq!(check_signed(&swapped).findings, [Finding::Rewritten { seq: 10 }]);
    let mut edited = whole.clone();
    edited[2].draft.why = "something else".into();
    let edited = recompute(&edited);
    assert!(check(&edited).intact());
    assert_eq!(check_signed(&edited).findings, [Finding::Rewritten { seq: 10 }]);
}

#[test]
fn an_erased_body_still_proves_and_needs_its_record() {
    let mut head = Head::default();
    let mut entries: Vec<Entry> = (0..3).map(|n| head.append(Timestamp::default(), draft(n))).collect();
    let mut record = draft(0);
    record.kind = ERASED_KIND.into();
    record.subject = erased_subject(2);
    entries[1].draft.body = erased_body(&record.id);
    assert_eq!(check(&entries).findings, [Finding::Erased { seq: 2 }], "before the record is there");
    entries.push(head.append(Timestamp::default(), record.clone()));
    let verdict = check(&entries);
    assert!(verdict.intact() && verdict.erased == 1, "{verdict:?}");
    // A record of another entry explains nothing.
    entries[0].draft.body = erased_body(&record.id);
    assert_eq!(check(&entries).findings, [Finding::Erased { seq: 1 }]);
}

#[test]
fn memory_is_bounded() {
    let mut entries = chain(ERASURES_PENDING_MAX + FINDINGS_MAX * 2);
    for entry in &mut entries {
        entry.draft.body = erased_body(&EventId::new());
    }
    let verdict = check(&entries);
    assert_eq!(verdict.findings.len(), FINDINGS_MAX);
    assert_eq!(verdict.findings_count, entries.len() as u64);
}

#[test]
fn verification_goes_on_from_a_known_entry() {
    let entries = chain(10);
    let known = Head::at(&entries[5]).unwrap();
    let resumed = |from: Head, entries: &[Entry]| {
        let mut verifier = Verifier::new(Tenant::default(), &[], &Keys::default()).resume(from);
        entries.iter().for_each(|e| verifier.push(e));
        verifier.finish()
    };
    assert!(resumed(known, &entries[6..]).intact());
    assert!(!resumed(known, &entries[7..]).intact());
    let other = Head { hash: [1; 32], ..known };
    assert_eq!(resumed(other, &entries[6..]).findings, [Finding::Unlinked { seq: 7 }]);
    let (checkpoint, keys) = signed(&entries[..6]);
    let verifier = Verifier::new(Tenant::default(), &[checkpoint], &keys).resume(other);
    assert_eq!(verifier.finish().findings, [Finding::Rewritten { seq: 6 }]);
}

/// One change to a chain; says whether it changed anything.
fn mutate(entries: &mut Vec<Entry>, at: usize, how: usize, other: usize) -> bool {
    let before = entries.clone();
    let (at, other) = (at % entries.len(), other % entries.len());
    let flip = |text: &mut String| {
        let changed = if text.starts_with('0') { '1' } else { '0' };
        text.replace_range(..1, &changed.to_string());
    };
    match how {
        0 => entries[at].seq = entries[at].seq.wrapping_add(other as u64 + 1),
        1 => entries[at].at = entries[at].at.plus(std::time::Duration::from_nanos(1)),
        2 => entries[at].draft.id = EventId::new(),
        3 => entries[at].draft.environment = Environment::parse("other").unwrap(),
        4 => entries[at].draft.kind.push('x'),
        5 => drop(entries[at].draft.subject.pop()),
        6 => entries[at].draft.actor = Actor::system("eve"),
        7 => entries[at].draft.cause.correlation.insert(0, 'x'),
        8 => entries[at].draft.cause.causation = Some(EventId::new()),
        9 => entries[at].draft.why.clear(),
        10 => entries[at].draft.body["after"]["n"] = json!(1.5),
        11 => flip(&mut entries[at].body_digest),
        12 => flip(&mut entries[at].prev_hash),
        13 => flip(&mut entries[at].hash),
        14 => drop(entries.remove(at)),
        15 => entries.insert(at, before[other].clone()),
        16 => entries.swap(at, other),
        17 => entries.truncate(at),
        18 => entries[at] = before[other].clone(),
        19 => entries[at].hash = entries[at].hash.to_uppercase(),
        20 => entries[at].draft.subject = format!("{}{}", before[at].draft.subject, before[at].draft.kind),
        21 => {
            // A later one in place of all: everything from here computed anew.
            entries[at].draft.why = "rewritten".into();
            *entries = recompute(entries);
        }
        _ => entries[at].draft.tenant = Tenant::parse("other").unwrap(),
    }
    *entries != before
}

proptest! {
    #[test]
    fn any_single_change_is_detected(length in 1usize..20, at in 0usize..20, how in 0usize..23, other in 0usize..20) {
        let whole = chain(length);
        let (checkpoint, keys) = signed(&whole);
        let mut entries = whole;
        if mutate(&mut entries, at, how, other) {
            let verdict = verify(Tenant::default(), &entries, &[checkpoint], &keys);
            prop_assert!(!verdict.intact(), "change {} at {} of {} went unseen", how, at, length);
        }
    }

    #[test]
    fn headers_are_as_different_as_entries(a in "[ab]{0,3}", b in "[ab]{0,3}", c in "[ab]{0,3}", d in "[ab]{0,3}") {
        // Texts that run together the same way must not hash the same way.
        let make = |kind: &str, subject: &str| {
            let mut entry = chain(1).remove(0);
            entry.draft.id = EventId::parse("evt_0193a0b0c0d0e0f00112233445566778").unwrap();
            entry.draft.kind = kind.into();
            entry.draft.subject = subject.into();
            canonical::entry_hash(&entry)
        };
        prop_assert_eq!(make(&a, &b) == make(&c, &d), (a, b) == (c, d));
    }
}
