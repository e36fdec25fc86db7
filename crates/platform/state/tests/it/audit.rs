//! The ledger in a real file, tampered with by SQL, and what verification says.

use std::{path::Path, sync::Arc};

use base::{Tenant, Timestamp};
use disk::RealDisk;
use ledger::{
    ERASED_KIND,
    checkpoint::{Keys, Log, Signer},
    erased_subject,
    verify::{Finding, Tail, Verdict},
};
use rusqlite::Connection;
use serde_json::json;
use state::{
    SqliteState,
    audit::{self, Refused},
    conformance::{draft, scope},
};

use crate::file::{fill, open};

struct Ground {
    folder: tempfile::TempDir,
    signer: Arc<Signer>,
    log: Arc<Log>,
    tenant: Tenant,
}

fn ground() -> Ground {
    let folder = tempfile::tempdir().unwrap();
    let signer = Arc::new(Signer::load_or_create(&folder.path().join("key")).unwrap());
    let outside = Arc::new(RealDisk::open(folder.path()).unwrap());
    let log = Arc::new(Log::new(outside, Path::new("checkpoints.jsonl")));
    Ground { folder, signer, log, tenant: scope("a", "default").tenant }
}

impl Ground {
    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("state.db")
    }
    async fn checkpoint(&self, state: &SqliteState) -> Result<Option<u64>, Refused> {
        let (keys, at) = (Keys::from(&*self.signer), Timestamp::default());
        let made = audit::checkpoint(state, &self.tenant, &self.signer, &keys, &self.log, at).await;
        made.map(|c| c.map(|c| c.seq))
    }
    async fn verify(&self, state: &SqliteState) -> Verdict {
        let found = self.log.read().unwrap();
        audit::verify(state, &self.tenant, &found.checkpoints, &Keys::from(&*self.signer)).await.unwrap()
    }
}

#[tokio::test]
async fn checkpoints_follow_the_chain() {
    let ground = ground();
    let state = open(&ground.path()).unwrap();
    assert_eq!(ground.checkpoint(&state).await.unwrap(), None, "nothing to state yet");
    fill(&state, 5).await;
    assert_eq!(ground.verify(&state).await.tail, Tail::NotProvable);
    assert_eq!(ground.checkpoint(&state).await.unwrap(), Some(5));
    assert_eq!(ground.checkpoint(&state).await.unwrap(), None, "nothing came since");
    fill(&state, 3).await;
    assert_eq!(ground.checkpoint(&state).await.unwrap(), Some(8));
    let verdict = ground.verify(&state).await;
    assert_eq!(verdict.to_string(), "8 entries verified; proven to its end");
}

#[tokio::test]
async fn a_new_key_goes_on_where_the_old_one_is_still_trusted() {
    let mut ground = ground();
    let state = open(&ground.path()).unwrap();
    fill(&state, 2).await;
    ground.checkpoint(&state).await.unwrap();
    let old = ground.signer.public_key();
    ground.signer = Arc::new(Signer::load_or_create(&ground.folder.path().join("key2")).unwrap());
    fill(&state, 2).await;
    assert!(matches!(ground.checkpoint(&state).await, Err(Refused::Tampered(_))), "nobody vouches for it");
    let mut keys = Keys::from(&*ground.signer);
    keys.add(&old).unwrap();
    let at = Timestamp::default();
    let made = audit::checkpoint(&state, &ground.tenant, &ground.signer, &keys, &ground.log, at).await;
    assert_eq!(made.unwrap().map(|c| c.seq), Some(4));
}

#[tokio::test]
async fn a_chain_of_more_than_a_page_verifies() {
    let ground = ground();
    let state = open(&ground.path()).unwrap();
    let scope = scope("a", "default");
    for _ in 0..5 {
        let entries = (0..500).map(|n| draft(&scope, "stead.thing.made.v1", "thing", json!(n))).collect();
        state::State::commit(&state, state::Commit { entries, ..Default::default() }).await.unwrap();
    }
    let verdict = ground.verify(&state).await;
    assert!(verdict.intact() && verdict.entries == 2_500, "{verdict}");
}

#[tokio::test]
async fn tampering_by_sql_is_found() {
    for (sql, finding) in [
        ("UPDATE entry SET why = 'nothing' WHERE seq = 3", Finding::Edited { seq: 3 }),
        ("UPDATE entry SET body = '{}' WHERE seq = 3", Finding::BodyEdited { seq: 3 }),
        ("DELETE FROM entry WHERE seq = 3", Finding::Order { expected: 3, found: 4 }),
        ("DELETE FROM entry WHERE seq > 3", Finding::Cut { found: 3, stated: 6 }),
        ("DELETE FROM entry", Finding::Cut { found: 0, stated: 6 }),
    ] {
        let ground = ground();
        let state = open(&ground.path()).unwrap();
        fill(&state, 6).await;
        ground.checkpoint(&state).await.unwrap();
        Connection::open(ground.path()).unwrap().execute_batch(sql).unwrap();
        let verdict = ground.verify(&state).await;
        assert!(verdict.findings.contains(&finding), "{sql}: {verdict:?}");
    }
}

#[tokio::test]
async fn an_older_copy_is_found_and_never_signed() {
    let ground = ground();
    let state = open(&ground.path()).unwrap();
    fill(&state, 3).await;
    let copy = ground.folder.path().join("old.db");
    state.backup_to(&copy).await.unwrap();
    fill(&state, 3).await;
    assert_eq!(ground.checkpoint(&state).await.unwrap(), Some(6));
    let old = open(&copy).unwrap();
    assert!(ground.verify(&old).await.findings.contains(&Finding::Cut { found: 3, stated: 6 }));
    assert!(matches!(ground.checkpoint(&old).await, Err(Refused::Tampered(_))));
    // It went on by itself and is longer now.
    fill(&old, 9).await;
    assert!(ground.verify(&old).await.findings.contains(&Finding::Rewritten { seq: 6 }));
    assert!(matches!(ground.checkpoint(&old).await, Err(Refused::Tampered(_))));
    assert_eq!(ground.checkpoint(&state).await.unwrap(), None);
}

#[tokio::test]
async fn an_erased_body_verifies() {
    let ground = ground();
    let state = open(&ground.path()).unwrap();
    fill(&state, 3).await;
    let record = draft(&scope("a", "default"), ERASED_KIND, &erased_subject(2), json!({}));
    state.erase_body(ground.tenant.clone(), 2, record).await.unwrap();
    let verdict = ground.verify(&state).await;
    assert!(verdict.intact() && verdict.erased == 1, "{verdict}");
}
