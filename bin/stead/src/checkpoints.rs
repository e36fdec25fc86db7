//! Signed checkpoints of the ledger, kept outside the data directory, and verification against them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use api_types::AuditVerdict;
use base::{Clock, Problem, Tenant};
use disk::RealDisk;
use ledger::{
    Head,
    checkpoint::{Keys, Log, Signer},
    verify::{Tail, Verifier},
};
use sha2::{Digest, Sha256};
use state::{EntryQuery, Scan, State};
use tasks::Shutdown;

use crate::layout::Layout;

/// A checkpoint is made this long after a change at most.
const EVERY: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
pub(crate) struct Checkpoints {
    state: Arc<dyn State>,
    clock: Arc<dyn Clock>,
    tenant: Tenant,
    key: PathBuf,
    folder: PathBuf,
    file: String,
}

impl Checkpoints {
    /// The log lies in `STEAD_CHECKPOINTS`, else where this user's system keeps state, and is named
    /// after the data directory.
    pub(crate) fn new(layout: &Layout, state: Arc<dyn State>, clock: Arc<dyn Clock>, tenant: Tenant) -> Self {
        let folder = std::env::var_os("STEAD_CHECKPOINTS").map_or_else(default_folder, PathBuf::from);
        let name = format!("{:x}", Sha256::digest(layout.root.to_string_lossy().as_bytes()));
        Self {
            state,
            clock,
            tenant,
            key: layout.checkpoint_key(),
            folder,
            file: format!("{}.jsonl", &name[..16]),
        }
    }

    fn log(&self) -> Result<Log, Problem> {
        std::fs::create_dir_all(&self.folder).map_err(|error| crate::layout::io(&self.folder, &error))?;
        let disk = RealDisk::open(&self.folder).map_err(|error| Problem::from_fault(&error))?;
        Ok(Log::new(Arc::new(disk), Path::new(&self.file)))
    }

    fn signer(&self) -> Result<Signer, Problem> {
        Signer::load_or_create(&self.key).map_err(|error| Problem::from_fault(&error))
    }

    async fn head(&self) -> Result<Option<Head>, Problem> {
        let query = EntryQuery {
            tenant: self.tenant.clone(),
            environment: None,
            subject: None,
            kind_prefix: None,
            actor: None,
            correlation: None,
            after: None,
            descending: true,
            limit: 1,
        };
        let page = self.state.entries(query).await.map_err(|error| Problem::from_fault(&error))?;
        Ok(page.items.first().and_then(Head::at))
    }

    /// Signs the ledger's end when it has moved.
    pub(crate) async fn make(&self, last: &mut u64) -> Result<(), Problem> {
        let Some(head) = self.head().await?.filter(|head| head.seq > *last) else { return Ok(()) };
        let checkpoint = self.signer()?.sign(&self.tenant, head, self.clock.now());
        self.log()?.append(&checkpoint).map_err(|error| Problem::from_fault(&error))?;
        *last = head.seq;
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
        let mut verifier = Verifier::new(self.tenant.clone(), &found.checkpoints, &Keys::from(&signer));
        let mut query = EntryQuery {
            tenant: self.tenant.clone(),
            environment: None,
            subject: None,
            kind_prefix: None,
            actor: None,
            correlation: None,
            after: None,
            descending: false,
            limit: Scan::LIMIT_MAX,
        };
        loop {
            let page =
                self.state.entries(query.clone()).await.map_err(|error| Problem::from_fault(&error))?;
            for entry in &page.items {
                verifier.push(entry);
                query.after = Some(entry.seq);
            }
            if page.next.is_none() || page.items.is_empty() {
                break;
            }
        }
        let verdict = verifier.finish();
        Ok(AuditVerdict {
            intact: verdict.intact(),
            entries: verdict.entries,
            findings: verdict.findings.iter().map(ToString::to_string).collect(),
            tail_proven: matches!(verdict.tail, Tail::Proven { .. }),
        })
    }
}

fn default_folder() -> PathBuf {
    match std::env::var_os("HOME") {
        Some(home) if home != "/root" => PathBuf::from(home).join(".local/state/stead/checkpoints"),
        _ => PathBuf::from("/var/log/stead/checkpoints"),
    }
}
