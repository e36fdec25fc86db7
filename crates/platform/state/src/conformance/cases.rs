//! The cases, one function each.

use std::{sync::Arc, time::Duration};

use base::{Actor, Timestamp, time::ManualClock};
use ledger::Head;
use serde_json::json;

use super::{Fixture, draft, put, scope};
use crate::{
    limits,
    port::{Commit, EntryQuery, Error, IndexTerm, Key, Message, Precondition, Put, Scan},
};

type Made = (Fixture, Arc<ManualClock>);

pub async fn absent_records_are_none((made, _): Made) {
    let key = Key::new(&scope("a", "default"), "thing", "1");
    assert_eq!(made.state.get(key.clone()).await.unwrap(), None);
    let page = made.state.scan(Scan::of(&key.scope, "thing")).await.unwrap();
    assert_eq!((page.items.len(), page.next), (0, None));
    made.state.acknowledge(key.scope.tenant.clone(), 7).await.unwrap();
    assert_eq!(made.state.outbox(key.scope.tenant, 0, 10).await.unwrap(), []);
}

pub async fn puts_count_versions((made, clock): Made) {
    let key = Key::new(&scope("a", "default"), "thing", "1");
    for version in 1..=3 {
        clock.advance(Duration::from_secs(1));
        let committed = made.state.commit(put(&key, json!({ "n": version }))).await.unwrap();
        assert_eq!(committed.versions, [version]);
        let record = made.state.get(key.clone()).await.unwrap().unwrap();
        assert_eq!((record.version, &record.body), (version, &json!({ "n": version })));
        assert_eq!((&record.key, record.updated_at), (&key, base::Clock::now(&*clock)));
    }
}

pub async fn a_removed_key_begins_again((made, _): Made) {
    let key = Key::new(&scope("a", "default"), "thing", "1");
    let remove = Commit { puts: vec![Put::Remove(key.clone())], ..Commit::default() };
    assert_eq!(made.state.commit(remove.clone()).await.unwrap().versions, [0], "removing what is absent");
    made.state.commit(put(&key, json!(1))).await.unwrap();
    made.state.commit(put(&key, json!(2))).await.unwrap();
    assert_eq!(made.state.commit(remove).await.unwrap().versions, [0]);
    assert_eq!(made.state.get(key.clone()).await.unwrap(), None);
    assert_eq!(made.state.commit(put(&key, json!(3))).await.unwrap().versions, [1]);
}

pub async fn preconditions_hold((made, _): Made) {
    let key = Key::new(&scope("a", "default"), "thing", "1");
    let with = |precondition: Precondition| {
        let mut commit = put(&key, json!(1));
        commit.preconditions.push(precondition);
        made.state.commit(commit)
    };
    assert!(matches!(with(Precondition::Version(key.clone(), 1)).await, Err(Error::Conflict { .. })));
    with(Precondition::Absent(key.clone())).await.unwrap();
    assert!(matches!(with(Precondition::Absent(key.clone())).await, Err(Error::Conflict { .. })));
    assert!(matches!(with(Precondition::Version(key.clone(), 2)).await, Err(Error::Conflict { .. })));
    assert_eq!(with(Precondition::Version(key.clone(), 1)).await.unwrap().versions, [2]);
}

pub async fn a_refused_commit_writes_nothing((made, _): Made) {
    let scope = scope("a", "default");
    let key = Key::new(&scope, "thing", "1");
    made.state.commit(put(&key, json!(1))).await.unwrap();
    let mut commit = put(&Key::new(&scope, "thing", "2"), json!(2));
    commit.puts.push(Put::Remove(key.clone()));
    commit.entries.push(draft(&scope, "stead.thing.changed.v1", "thing/2", json!({})));
    commit.outbox.push((scope.tenant.clone(), Message { seq: 0, topic: "t".into(), body: json!(1) }));
    // Met and unmet together: all must hold.
    commit.preconditions = vec![Precondition::Version(key.clone(), 1), Precondition::Absent(key.clone())];
    let Err(Error::Conflict { what }) = made.state.commit(commit).await else {
        panic!("a commit with an unmet precondition went through")
    };
    assert!(what.contains("thing") && what.contains('1'), "{what:?} names the record");
    assert!(made.state.get(key).await.unwrap().is_some());
    assert_eq!(made.state.get(Key::new(&scope, "thing", "2")).await.unwrap(), None);
    assert!(made.state.entries(all(&scope)).await.unwrap().items.is_empty());
    assert!(made.state.outbox(scope.tenant, 0, 10).await.unwrap().is_empty());
}

pub async fn a_commit_puts_one_key_twice((made, _): Made) {
    let key = Key::new(&scope("a", "default"), "thing", "1");
    let mut commit = put(&key, json!(1));
    commit.puts.extend(put(&key, json!(2)).puts);
    assert_eq!(made.state.commit(commit).await.unwrap().versions, [1, 2]);
    assert_eq!(made.state.get(key).await.unwrap().unwrap().body, json!(2));
}

pub async fn scans_page_in_order((made, _): Made) {
    let scope = scope("a", "default");
    let mut commit = Commit::default();
    for n in [5, 3, 9, 1, 7] {
        commit.puts.extend(put(&Key::new(&scope, "thing", format!("id/{n}")), json!(n)).puts);
    }
    // Neighbours that must not be seen.
    commit.puts.extend(put(&Key::new(&scope, "thin", "z"), json!(0)).puts);
    commit.puts.extend(put(&Key::new(&scope, "things", "a"), json!(0)).puts);
    made.state.commit(commit).await.unwrap();
    let mut seen = Vec::new();
    let mut scan = Scan { limit: 2, ..Scan::of(&scope, "thing") };
    loop {
        let page = made.state.scan(scan.clone()).await.unwrap();
        assert!(page.items.len() <= 2);
        seen.extend(page.items.into_iter().map(|r| r.key.id));
        let Some(next) = page.next else { break };
        scan.after = Some(next);
    }
    assert_eq!(seen, ["id/1", "id/3", "id/5", "id/7", "id/9"]);
    // A page that ends exactly at the last one has no next.
    let whole = made.state.scan(Scan { limit: 5, ..Scan::of(&scope, "thing") }).await.unwrap();
    assert_eq!((whole.items.len(), whole.next), (5, None));
    let wrong = Scan { after: Some("nonsense".into()), ..Scan::of(&scope, "thing") };
    assert!(matches!(made.state.scan(wrong).await, Err(Error::Invalid { .. })));
}

pub async fn scans_find_terms((made, _): Made) {
    let scope = scope("a", "default");
    let term = |name: &str, value: &str| IndexTerm { name: name.into(), value: value.into() };
    let write = |id: &str, index: Vec<IndexTerm>| Commit {
        puts: vec![Put::Put { key: Key::new(&scope, "thing", id), body: json!(id), index }],
        ..Commit::default()
    };
    let find = async |name: &str, value: &str| {
        let scan = Scan { term: Some(term(name, value)), limit: 1, ..Scan::of(&scope, "thing") };
        let mut ids = Vec::new();
        let mut after = None;
        loop {
            let page = made.state.scan(Scan { after, ..scan.clone() }).await.unwrap();
            ids.extend(page.items.into_iter().map(|r| r.key.id));
            after = page.next;
            if after.is_none() {
                return ids;
            }
        }
    };
    for id in ["1", "2", "3"] {
        made.state.commit(write(id, vec![term("owner", "ada"), term("tier", id)])).await.unwrap();
    }
    assert_eq!(find("owner", "ada").await, ["1", "2", "3"]);
    assert_eq!(find("tier", "2").await, ["2"]);
    assert_eq!(find("tier", "ada").await, Vec::<String>::new());
    // Terms follow the record: changed, doubled, removed.
    made.state.commit(write("2", vec![term("owner", "bob"), term("owner", "bob")])).await.unwrap();
    assert_eq!(find("owner", "ada").await, ["1", "3"]);
    assert_eq!(find("owner", "bob").await, ["2"]);
    assert_eq!(find("tier", "2").await, Vec::<String>::new());
    let remove = Put::Remove(Key::new(&scope, "thing", "1"));
    made.state.commit(Commit { puts: vec![remove], ..Commit::default() }).await.unwrap();
    assert_eq!(find("owner", "ada").await, ["3"]);
    let kept = made.state.get(Key::new(&scope, "thing", "3")).await.unwrap().unwrap();
    assert_eq!(kept.index, [term("owner", "ada"), term("tier", "3")]);
}

pub async fn scans_filter_environments((made, _): Made) {
    let (one, other) = (scope("a", "production"), scope("a", "staging"));
    for at in [&one, &other] {
        for id in ["x", "y"] {
            made.state.commit(put(&Key::new(at, "thing", id), json!(1))).await.unwrap();
        }
    }
    let page = made.state.scan(Scan::of(&one, "thing")).await.unwrap();
    assert!(page.items.iter().all(|r| r.key.scope == one) && page.items.len() == 2);
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let all = Scan { environment: None, limit: 1, after, ..Scan::of(&one, "thing") };
        let page = made.state.scan(all).await.unwrap();
        seen.extend(page.items.into_iter().map(|r| format!("{}@{}", r.key.id, r.key.scope.environment)));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["x@production", "x@staging", "y@production", "y@staging"]);
}

pub async fn tenants_are_apart((made, _): Made) {
    let (one, other) = (scope("one", "default"), scope("other", "default"));
    let mut commit = put(&Key::new(&one, "thing", "1"), json!("one"));
    commit.entries.push(draft(&one, "stead.thing.made.v1", "thing/1", json!({})));
    commit.outbox.push((one.tenant.clone(), Message { seq: 0, topic: "t".into(), body: json!(1) }));
    made.state.commit(commit).await.unwrap();
    assert_eq!(made.state.get(Key::new(&other, "thing", "1")).await.unwrap(), None);
    assert!(made.state.scan(Scan::of(&other, "thing")).await.unwrap().items.is_empty());
    assert!(made.state.entries(all(&other)).await.unwrap().items.is_empty());
    assert!(made.state.outbox(other.tenant.clone(), 0, 10).await.unwrap().is_empty());
    made.state.lease(one.tenant.clone(), "l".into(), "h".into(), Duration::from_secs(9)).await.unwrap();
    let free = made.state.lease(other.tenant.clone(), "l".into(), "g".into(), Duration::from_secs(9)).await;
    assert_eq!(free.unwrap().token, 1);
    // Each tenant has a chain of its own, both in one commit.
    let entries = vec![
        draft(&other, "stead.thing.made.v1", "thing/1", json!({})),
        draft(&one, "stead.thing.made.v1", "thing/2", json!({})),
    ];
    let committed = made.state.commit(Commit { entries, ..Commit::default() }).await.unwrap();
    assert_eq!([committed.entries[0].seq, committed.entries[1].seq], [1, 2]);
}

pub async fn leases_change_hands((made, clock): Made) {
    let tenant = scope("a", "default").tenant;
    let ttl = Duration::from_secs(10);
    let ask = |holder: &str, ttl| made.state.lease(tenant.clone(), "leader".into(), holder.into(), ttl);
    let first = ask("one", ttl).await.unwrap();
    assert_eq!((first.token, first.expires_at), (1, base::Clock::now(&*clock).plus(ttl)));
    let Err(Error::Held { holder, .. }) = ask("two", ttl).await else { panic!("two holders") };
    assert_eq!(holder, "one");
    clock.advance(Duration::from_secs(9));
    assert_eq!(ask("one", ttl).await.unwrap().token, 1, "renewing keeps the token");
    clock.advance(Duration::from_secs(9));
    assert!(matches!(ask("two", ttl).await, Err(Error::Held { .. })), "it was renewed");
    clock.advance(Duration::from_secs(1));
    assert_eq!(ask("two", ttl).await.unwrap().token, 2);
    assert!(matches!(ask("one", ttl).await, Err(Error::Held { .. })));
    ask("two", Duration::ZERO).await.unwrap();
    assert_eq!(ask("one", ttl).await.unwrap().token, 3, "a lease given up is free at once");
}

pub async fn leases_fence_writes((made, clock): Made) {
    let scope = scope("a", "default");
    let ttl = Duration::from_secs(10);
    let ask = |holder: &str| made.state.lease(scope.tenant.clone(), "leader".into(), holder.into(), ttl);
    let write = |token| {
        let mut commit = put(&Key::new(&scope, "thing", "1"), json!(token));
        let fence = Precondition::Fence { tenant: scope.tenant.clone(), name: "leader".into(), token };
        commit.preconditions.push(fence);
        made.state.commit(commit)
    };
    assert!(matches!(write(1).await, Err(Error::Conflict { .. })), "nobody holds it");
    let old = ask("one").await.unwrap().token;
    write(old).await.unwrap();
    clock.advance(Duration::from_secs(60));
    write(old).await.unwrap(); // lapsed, but nobody took it: the token decides
    let new = ask("two").await.unwrap().token;
    assert!(matches!(write(old).await, Err(Error::Conflict { .. })), "a stale holder is fenced off");
    write(new).await.unwrap();
}

pub async fn leases_survive_a_clock_that_jumps((made, clock): Made) {
    let tenant = scope("a", "default").tenant;
    let ttl = Duration::from_secs(10);
    let ask = |holder: &str| made.state.lease(tenant.clone(), "leader".into(), holder.into(), ttl);
    ask("one").await.unwrap();
    // Years back: the holder keeps it for its ttl at most, and not for years.
    clock.jump_to(Timestamp::from_millis(1_600_000_000_000));
    assert!(matches!(ask("two").await, Err(Error::Held { .. })));
    clock.advance(ttl);
    assert_eq!(ask("two").await.unwrap().token, 2);
}

pub async fn watchers_hear_commits_in_order((made, _): Made) {
    let scope = scope("a", "default");
    let mut watch = made.state.watch();
    for n in 0..5 {
        let key = Key::new(&scope, "thing", n.to_string());
        let mut commit = put(&key, json!(n));
        commit.entries.push(draft(&scope, "stead.thing.made.v1", "thing", json!(n)));
        made.state.commit(commit).await.unwrap();
        let refused = Commit { preconditions: vec![Precondition::Absent(key)], ..Commit::default() };
        made.state.commit(refused).await.unwrap_err();
    }
    for n in 0..5 {
        let heard = tokio::time::timeout(Duration::from_secs(5), watch.recv()).await.unwrap().unwrap();
        assert_eq!(heard.keys[0].id, n.to_string());
        assert_eq!(heard.entries[0].seq, n + 1);
    }
    assert!(watch.try_recv().is_err(), "refused commits are not heard");
}

pub async fn entries_chain((made, clock): Made) {
    let scope = scope("a", "default");
    for n in 0..4 {
        clock.advance(Duration::from_millis(1));
        let entries = (0..3).map(|m| draft(&scope, "stead.thing.made.v1", "thing", json!([n, m]))).collect();
        made.state.commit(Commit { entries, ..Commit::default() }).await.unwrap();
    }
    let stored = made.state.entries(all(&scope)).await.unwrap().items;
    assert_eq!(stored.len(), 12);
    let mut head = Head::default();
    for entry in stored {
        assert_eq!(head.append(entry.at, entry.draft.clone()), entry);
    }
}

pub async fn entries_filter_both_ways((made, _): Made) {
    let (one, other) = (scope("a", "production"), scope("a", "staging"));
    let mut entries = Vec::new();
    for n in 0..6 {
        let at = if n % 2 == 0 { &one } else { &other };
        let kind = if n < 3 { "stead.release.made.v1" } else { "stead.service.made.v1" };
        let mut entry = draft(at, kind, &format!("thing/{}", n % 3), json!(n));
        entry.actor = if n == 5 { Actor::system("reconciler") } else { Actor::user("ada") };
        entry.cause.correlation = format!("c{}", n / 2);
        entries.push(entry);
    }
    let cause = entries[0].id.clone();
    entries[1].cause.causation = Some(cause.clone());
    made.state.commit(Commit { entries, ..Commit::default() }).await.unwrap();
    let seqs = async |query: EntryQuery| {
        let page = made.state.entries(query).await.unwrap();
        (page.items.iter().map(|e| e.seq).collect::<Vec<_>>(), page.next)
    };
    let query = all(&one);
    assert_eq!(seqs(query.clone()).await.0, [1, 2, 3, 4, 5, 6]);
    let q = EntryQuery { environment: Some(other.environment.clone()), ..query.clone() };
    assert_eq!(seqs(q).await.0, [2, 4, 6]);
    assert_eq!(seqs(EntryQuery { subject: Some("thing/0".into()), ..query.clone() }).await.0, [1, 4]);
    let q = EntryQuery { kind_prefix: Some("stead.release.".into()), ..query.clone() };
    assert_eq!(seqs(q).await.0, [1, 2, 3]);
    assert_eq!(seqs(EntryQuery { kind_prefix: Some("release".into()), ..query.clone() }).await.0, [0u64; 0]);
    let q = EntryQuery { actor: Some("system:reconciler".into()), ..query.clone() };
    assert_eq!(seqs(q).await.0, [6]);
    assert_eq!(seqs(EntryQuery { correlation: Some("c1".into()), ..query.clone() }).await.0, [3, 4]);
    let up = EntryQuery { limit: 2, after: Some(1), ..query.clone() };
    assert_eq!(seqs(up).await, (vec![2, 3], Some("3".into())));
    let down = EntryQuery { limit: 2, descending: true, ..query.clone() };
    assert_eq!(seqs(down.clone()).await, (vec![6, 5], Some("5".into())));
    assert_eq!(seqs(EntryQuery { after: Some(3), ..down }).await, (vec![2, 1], None));
    assert_eq!(seqs(EntryQuery { after: Some(u64::MAX), ..query.clone() }).await.0, [0u64; 0]);
    let second = made.state.entries(EntryQuery { after: Some(1), limit: 1, ..query }).await.unwrap();
    assert_eq!(second.items[0].draft.cause.causation, Some(cause));
}

pub async fn entries_of_a_time((made, clock): Made) {
    let scope = scope("a", "default");
    let mut at = Vec::new();
    for n in 0..4 {
        clock.advance(Duration::from_secs(60));
        let entries = vec![draft(&scope, "stead.thing.made.v1", "thing", json!(n))];
        made.state.commit(Commit { entries, ..Commit::default() }).await.unwrap();
        at.push(base::Clock::now(&*clock));
    }
    let seqs = async |from: Option<base::Timestamp>, to: Option<base::Timestamp>, descending: bool| {
        let query = EntryQuery { from, to, descending, ..all(&scope) };
        made.state.entries(query).await.unwrap().items.iter().map(|e| e.seq).collect::<Vec<_>>()
    };
    assert_eq!(seqs(Some(at[1]), None, false).await, [2, 3, 4], "from is within");
    assert_eq!(seqs(None, Some(at[1]), false).await, [1], "to is not");
    assert_eq!(seqs(Some(at[1]), Some(at[3]), true).await, [3, 2]);
    assert_eq!(seqs(Some(at[3]), Some(at[1]), false).await, [0u64; 0]);
}

pub async fn the_outbox_delivers_until_acknowledged((made, _): Made) {
    let tenant = scope("a", "default").tenant;
    let send = |n: u64| {
        let message = Message { seq: 0, topic: format!("t{n}"), body: json!(n) };
        made.state.commit(Commit { outbox: vec![(tenant.clone(), message)], ..Commit::default() })
    };
    for n in 1..=5 {
        send(n).await.unwrap();
    }
    let seqs = async |after, limit| {
        let messages = made.state.outbox(tenant.clone(), after, limit).await.unwrap();
        messages.iter().map(|m| (m.seq, m.body.as_u64().unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(seqs(0, 2).await, [(1, 1), (2, 2)]);
    assert_eq!(seqs(0, 2).await, [(1, 1), (2, 2)], "reading is not acknowledging");
    assert_eq!(seqs(2, 10).await, [(3, 3), (4, 4), (5, 5)]);
    made.state.acknowledge(tenant.clone(), 3).await.unwrap();
    assert_eq!(seqs(0, 10).await, [(4, 4), (5, 5)]);
    made.state.acknowledge(tenant.clone(), 3).await.unwrap();
    made.state.acknowledge(tenant.clone(), 100).await.unwrap();
    assert!(seqs(0, 10).await.is_empty());
    send(6).await.unwrap();
    assert_eq!(seqs(0, 10).await, [(6, 6)], "sequences are never given twice");
}

pub async fn concurrent_commits_lose_nothing((made, _): Made) {
    let scope = scope("a", "default");
    let commits = (0..200).map(|n| {
        let mut commit = put(&Key::new(&scope, "thing", format!("{n:03}")), json!(n));
        commit.entries.push(draft(&scope, "stead.thing.made.v1", "thing", json!(n)));
        made.state.commit(commit)
    });
    let mut seqs: Vec<u64> = futures_util::future::join_all(commits)
        .await
        .into_iter()
        .map(|c| c.unwrap().entries[0].seq)
        .collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=200).collect::<Vec<u64>>());
    let page = made.state.scan(Scan::of(&scope, "thing")).await.unwrap();
    assert_eq!(page.items.len(), 200);
}

pub async fn one_winner_per_version((made, _): Made) {
    let key = Key::new(&scope("a", "default"), "thing", "1");
    made.state.commit(put(&key, json!(0))).await.unwrap();
    for version in 1..=10 {
        let tries = (0..8).map(|n| {
            let mut commit = put(&key, json!(n));
            commit.preconditions.push(Precondition::Version(key.clone(), version));
            made.state.commit(commit)
        });
        let results = futures_util::future::join_all(tries).await;
        assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1);
        assert!(results.iter().all(|r| matches!(r, Ok(_) | Err(Error::Conflict { .. }))));
    }
    assert_eq!(made.state.get(key).await.unwrap().unwrap().version, 11);
}

pub async fn a_clock_going_back_keeps_the_order((made, clock): Made) {
    let scope = scope("a", "default");
    for millis in [1_800_000_000_000, 1_500_000_000_000, -5, 1_700_000_000_000] {
        clock.jump_to(Timestamp::from_millis(millis));
        let entries = vec![draft(&scope, "stead.thing.made.v1", "thing", json!(millis))];
        let committed = made.state.commit(Commit { entries, ..Commit::default() }).await.unwrap();
        assert_eq!(committed.entries[0].at, Timestamp::from_millis(millis), "it says what the clock said");
    }
    let stored = made.state.entries(all(&scope)).await.unwrap().items;
    assert_eq!(stored.iter().map(|e| e.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let mut head = Head::default();
    assert!(stored.iter().all(|e| head.append(e.at, e.draft.clone()) == *e), "and the chain proves");
}

pub async fn limits_are_errors((made, _): Made) {
    let scope = scope("a", "default");
    let limited = async |commit: Commit| match made.state.commit(commit).await {
        Err(Error::Limit { limit, .. }) => limit as usize,
        other => panic!("not limited: {other:?}"),
    };
    let key = Key::new(&scope, "thing", "1");
    let big = json!("x".repeat(limits::BODY_BYTES_MAX));
    assert_eq!(limited(put(&key, big)).await, limits::BODY_BYTES_MAX);
    let long = Key::new(&scope, "thing", "x".repeat(limits::KEY_BYTES_MAX + 1));
    assert_eq!(limited(put(&long, json!(1))).await, limits::KEY_BYTES_MAX);
    let puts = vec![Put::Remove(key.clone()); limits::COMMIT_WRITES_MAX + 1];
    assert_eq!(limited(Commit { puts, ..Commit::default() }).await, limits::COMMIT_WRITES_MAX);
    let term = IndexTerm { name: "n".into(), value: "v".into() };
    let index = vec![term; limits::TERMS_MAX + 1];
    let puts = vec![Put::Put { key: key.clone(), body: json!(1), index }];
    assert_eq!(limited(Commit { puts, ..Commit::default() }).await, limits::TERMS_MAX);
    let almost = json!("x".repeat(limits::BODY_BYTES_MAX - 2));
    let puts =
        (0..9).map(|_| Put::Put { key: key.clone(), body: almost.clone(), index: Vec::new() }).collect();
    assert_eq!(limited(Commit { puts, ..Commit::default() }).await, limits::COMMIT_BYTES_MAX);
    let with = |change: &dyn Fn(&mut ledger::Draft)| {
        let mut entry = draft(&scope, "stead.thing.made.v1", "thing", json!({}));
        change(&mut entry);
        Commit { entries: vec![entry], ..Commit::default() }
    };
    let long = "x".repeat(limits::KEY_BYTES_MAX + 1);
    assert_eq!(limited(with(&|d| d.kind.clone_from(&long))).await, limits::KEY_BYTES_MAX);
    assert_eq!(limited(with(&|d| d.subject.clone_from(&long))).await, limits::KEY_BYTES_MAX);
    assert_eq!(limited(with(&|d| d.cause.correlation.clone_from(&long))).await, limits::KEY_BYTES_MAX);
    let reason = "x".repeat(limits::REASON_BYTES_MAX + 1);
    assert_eq!(limited(with(&|d| d.why.clone_from(&reason))).await, limits::REASON_BYTES_MAX);
    let scan = Scan { limit: Scan::LIMIT_MAX + 1, ..Scan::of(&scope, "thing") };
    assert!(matches!(made.state.scan(scan).await, Err(Error::Limit { .. })));
    let query = EntryQuery { limit: Scan::LIMIT_MAX + 1, ..all(&scope) };
    assert!(matches!(made.state.entries(query).await, Err(Error::Limit { .. })));
    let empty = put(&Key::new(&scope, "thing", ""), json!(1));
    assert!(matches!(made.state.commit(empty).await, Err(Error::Invalid { .. })));
    assert_eq!(made.state.get(key).await.unwrap(), None);
}

pub async fn bodies_come_back_as_they_were((made, _): Made) {
    let key = Key::new(&scope("a", "default"), "thing", "ключ/\u{1F980} '\";--");
    let body = json!({
        "z": 0.1 + 0.2, "a": [u64::MAX, i64::MIN, -0.0, 1e300, null, true],
        "text": "quote \" nul \u{0} line\nend \u{1F980}", "": {"deep": [[[{}]]]},
    });
    made.state.commit(put(&key, body.clone())).await.unwrap();
    let read = made.state.get(key).await.unwrap().unwrap().body;
    assert_eq!(read.to_string(), body.to_string(), "the order of keys too");
}

fn all(scope: &base::Scope) -> EntryQuery {
    EntryQuery {
        tenant: scope.tenant.clone(),
        environment: None,
        subject: None,
        kind_prefix: None,
        actor: None,
        correlation: None,
        from: None,
        to: None,
        after: None,
        descending: false,
        limit: Scan::LIMIT_MAX,
    }
}
