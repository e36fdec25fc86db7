//! Signed checkpoints of the ledger, kept outside the data directory, and verification against them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use api_types::AuditVerdict;
use base::{Clock, Problem, Tenant, Timestamp};
use disk::{Create, Disk as _, RealDisk, Sync};
use ledger::{
    checkpoint::{Keys, Log, Signer},
    verify::Tail,
};
use sha2::{Digest, Sha256};
use state::{EntryQuery, State, audit};
use tasks::Shutdown;

use crate::layout::Layout;

/// A checkpoint is made this long after a change at most.
const EVERY: Duration = Duration::from_secs(60);
/// Public keys of a thousand signers.
const KEYS_BYTES_MAX: u64 = 64 << 10;

#[derive(Debug, Clone)]
pub(crate) struct Checkpoints {
    state: Arc<dyn State>,
    clock: Arc<dyn Clock>,
    tenant: Tenant,
    key: PathBuf,
    folder: PathBuf,
    /// Of the log, without its ending.
    name: String,
}

impl Checkpoints {
    /// The log lies in `STEAD_CHECKPOINTS`, else where this user's system keeps state, and is named
    /// after the data directory.
    pub(crate) fn new(layout: &Layout, state: Arc<dyn State>, clock: Arc<dyn Clock>, tenant: Tenant) -> Self {
        let (folder, name) = place(layout);
        Self { state, clock, tenant, key: layout.checkpoint_key(), folder, name }
    }

    fn disk(&self) -> Result<RealDisk, Problem> {
        std::fs::create_dir_all(&self.folder).map_err(|error| crate::layout::io(&self.folder, &error))?;
        RealDisk::open(&self.folder).map_err(|error| Problem::from_fault(&error))
    }

    fn log(&self) -> Result<Log, Problem> {
        Ok(Log::new(Arc::new(self.disk()?), Path::new(&format!("{}.jsonl", self.name))))
    }

    fn signer(&self) -> Result<Signer, Problem> {
        Signer::load_or_create(&self.key).map_err(|error| Problem::from_fault(&error))
    }

    /// The keys whose checkpoints count: that of `signer`, and those before it. They are kept beside
    /// the log, outside of the data directory: a key that was lost or replaced leaves its checkpoints
    /// good, and who replaces it cannot unsay them.
    fn keys(&self, signer: &Signer) -> Result<Keys, Problem> {
        let disk = self.disk()?;
        let path = PathBuf::from(format!("{}.keys", self.name));
        let content = match disk::read(&disk, &path, KEYS_BYTES_MAX) {
            Ok(content) => content,
            Err(disk::Error::NotFound { .. }) => Vec::new(),
            Err(error) => return Err(Problem::from_fault(&error)),
        };
        let content = String::from_utf8_lossy(&content);
        let mut keys = Keys::from(signer);
        let own = signer.public_key();
        let mut known = false;
        for line in content.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if line == own {
                known = true;
            } else if let Err(why) = keys.add(line) {
                // A line that a crash cut; its key signed nothing yet.
                tracing::warn!(file = %path.display(), why, "a line is no public key");
            }
        }
        if !known {
            // Behind a line that a crash cut.
            let line = format!("{}{own}\n", if content.is_empty() { "" } else { "\n" });
            let written = disk
                .create(&path, Create { mode: 0o600, append: true })
                .and_then(|mut sink| {
                    sink.write_all(line.as_bytes()).map_err(|error| disk::Error::from_io(&path, &error))?;
                    sink.sync()
                })
                .and_then(|()| disk.sync(Sync::Dir(Path::new(""))));
            written.map_err(|error| Problem::from_fault(&error))?;
        }
        Ok(keys)
    }

    async fn last_entry(&self) -> Result<u64, Problem> {
        let query = EntryQuery {
            tenant: self.tenant.clone(),
            environment: None,
            subject: None,
            kind_prefix: None,
            actor: None,
            correlation: None,
            from: None,
            to: None,
            after: None,
            descending: true,
            limit: 1,
        };
        let page = self.state.entries(query).await.map_err(|error| Problem::from_fault(&error))?;
        Ok(page.items.first().map_or(0, |entry| entry.seq))
    }

    /// Verifies what came since the last checkpoint and signs the ledger's end, when it has moved.
    pub(crate) async fn make(&self, last: &mut u64) -> Result<(), Problem> {
        let seq = self.last_entry().await?;
        if seq <= *last {
            return Ok(());
        }
        let signer = Arc::new(self.signer()?);
        let (keys, log) = (self.keys(&signer)?, Arc::new(self.log()?));
        let now = self.clock.now();
        audit::checkpoint(&*self.state, &self.tenant, &signer, &keys, &log, now)
            .await
            .map_err(|error| Problem::from_fault(&error))?;
        *last = seq;
        Ok(())
    }

    /// Makes checkpoints until shutdown, and a last one then.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        let mut last = 0;
        loop {
            if let Err(problem) = self.make(&mut last).await {
                tracing::warn!(%problem, "no checkpoint could be made");
            }
            tokio::select! {
                () = shutdown.cancelled() => {
                    let _ = self.make(&mut last).await;
                    return;
                }
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// Walks the whole chain, page by page.
    pub(crate) async fn verify(&self) -> Result<AuditVerdict, Problem> {
        let found = self.log()?.read().map_err(|error| Problem::from_fault(&error))?;
        let signer = self.signer()?;
        let keys = self.keys(&signer)?;
        let verdict = audit::verify(&*self.state, &self.tenant, &found.checkpoints, &keys)
            .await
            .map_err(|error| Problem::from_fault(&error))?;
        Ok(AuditVerdict {
            intact: verdict.intact(),
            entries: verdict.entries,
            findings: verdict.findings.iter().map(ToString::to_string).collect(),
            tail_proven: matches!(verdict.tail, Tail::Proven { .. }),
        })
    }
}

/// The folder of the log, and its name without ending.
fn place(layout: &Layout) -> (PathBuf, String) {
    let folder = std::env::var_os("STEAD_CHECKPOINTS").map_or_else(default_folder, PathBuf::from);
    let digest = format!("{:x}", Sha256::digest(layout.root.to_string_lossy().as_bytes()));
    (folder, digest[..16].to_owned())
}

/// Puts the log aside and gives where it is: a backup that was put back is an older copy, which the
/// checkpoints from after it would show as tampering for ever. None when there is no log.
pub(crate) fn set_aside(layout: &Layout, now: Timestamp) -> Result<Option<PathBuf>, Problem> {
    let (folder, name) = place(layout);
    let log = folder.join(format!("{name}.jsonl"));
    let kept = folder.join(format!("{name}-until-{}.jsonl", now.to_string().replace([':', '.'], "-")));
    match std::fs::rename(&log, &kept) {
        Ok(()) => Ok(Some(kept)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(crate::layout::io(&log, &error)),
    }
}

fn default_folder() -> PathBuf {
    match std::env::var_os("HOME") {
        Some(home) if home != "/root" => PathBuf::from(home).join(".local/state/stead/checkpoints"),
        _ => PathBuf::from("/var/log/stead/checkpoints"),
    }
}

#[cfg(test)]
mod tests {
    use base::{Ctx, Scope, id::EventId, time::ManualClock};
    use state::{Commit, MemoryState};

    use super::*;

    async fn add(state: &dyn State, why: &str) {
        let ctx = Ctx::system("test", Scope::default());
        let entry = ledger::Draft {
            id: EventId::new(),
            tenant: ctx.scope.tenant.clone(),
            environment: ctx.scope.environment.clone(),
            kind: "stead.test.done.v1".into(),
            subject: "test".into(),
            actor: ctx.actor.clone(),
            cause: ctx.cause.clone(),
            why: why.into(),
            body: serde_json::json!({}),
        };
        state.commit(Commit { entries: vec![entry], ..Commit::default() }).await.unwrap();
    }

    fn checkpoints(home: &Path, state: Arc<dyn State>, clock: Arc<ManualClock>) -> Checkpoints {
        let (key, folder) = (home.join("key"), home.join("elsewhere"));
        Checkpoints { state, clock, tenant: Tenant::default(), key, folder, name: "log".into() }
    }

    #[tokio::test]
    async fn checkpoints_of_an_earlier_key_still_prove() {
        let home = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_700_000_000_000)));
        let state: Arc<dyn State> = Arc::new(MemoryState::new(clock.clone()));
        add(&*state, "one").await;
        let this = checkpoints(home.path(), state.clone(), clock.clone());
        this.make(&mut 0).await.unwrap();
        std::fs::remove_file(home.path().join("key")).unwrap();
        let verdict = this.verify().await.unwrap();
        assert!(verdict.intact && verdict.tail_proven, "{verdict:?}");
        add(&*state, "two").await;
        this.make(&mut 0).await.unwrap();
        assert!(this.verify().await.unwrap().tail_proven);

        // Another ledger under a key of its own: what the first key signed says that it is not this one.
        let other: Arc<dyn State> = Arc::new(MemoryState::new(clock.clone()));
        add(&*other, "made up").await;
        std::fs::remove_file(home.path().join("key")).unwrap();
        let forged = checkpoints(home.path(), other, clock);
        assert!(!forged.verify().await.unwrap().intact);
        let refused = forged.make(&mut 0).await.unwrap_err();
        assert_eq!(refused.code, "ledger.tampered");
    }

    #[tokio::test]
    async fn a_list_of_keys_that_is_too_long_is_an_error() {
        let home = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(0)));
        let state: Arc<dyn State> = Arc::new(MemoryState::new(clock.clone()));
        let this = checkpoints(home.path(), state, clock);
        let text = "0".repeat(usize::try_from(KEYS_BYTES_MAX).unwrap() + 1);
        std::fs::create_dir(&this.folder).unwrap();
        std::fs::write(this.folder.join("log.keys"), text).unwrap();
        assert!(this.verify().await.is_err());
    }
}
