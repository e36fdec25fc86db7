//! The ledger of a back end: verified page by page, and stated in signed checkpoints.

use std::sync::Arc;

use base::{Class, Fault, Tenant, Timestamp};
use ledger::{
    Entry, Head,
    checkpoint::{Checkpoint, Keys, Log, Signer},
    verify::{Verdict, Verifier},
};

use crate::port::{EntryQuery, Error, Scan, State};

/// Why no checkpoint was made.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    State(#[from] Error),
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    /// Signing it would make the tampering good.
    #[error("the ledger does not verify: {0}")]
    Tampered(Box<Verdict>),
}

impl Fault for Refused {
    fn code(&self) -> &'static str {
        match self {
            Self::State(fault) => fault.code(),
            Self::Ledger(fault) => fault.code(),
            Self::Tampered(_) => "ledger.tampered",
        }
    }
    fn class(&self) -> Class {
        match self {
            Self::State(fault) => fault.class(),
            Self::Ledger(fault) => fault.class(),
            Self::Tampered(_) => Class::Internal,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            Self::State(fault) => fault.hint(),
            Self::Ledger(fault) => fault.hint(),
            Self::Tampered(_) => Some("see `stead audit verify`".into()),
        }
    }
}

/// Verifies all of `tenant`'s chain. Holds one page at a time; hashing runs on the blocking pool.
///
/// # Errors
/// When state cannot be read; what is wrong with the chain is in the verdict.
pub async fn verify(
    state: &dyn State,
    tenant: &Tenant,
    checkpoints: &[Checkpoint],
    keys: &Keys,
) -> Result<Verdict, Error> {
    let verifier = Verifier::new(tenant.clone(), checkpoints, keys);
    Ok(walk(state, tenant, verifier, 0).await?.finish())
}

/// Verifies what came since the last checkpoint in `log` and adds one for the end of the chain;
/// none when nothing came. `keys` are those whose checkpoints count: the signer's own, and the
/// public keys of signers before it.
///
/// # Errors
/// [`Refused::Tampered`] when the chain does not go on from there.
pub async fn checkpoint(
    state: &dyn State,
    tenant: &Tenant,
    signer: &Arc<Signer>,
    keys: &Keys,
    log: &Arc<Log>,
    at: Timestamp,
) -> Result<Option<Checkpoint>, Refused> {
    let reading = Arc::clone(log);
    let found = blocking(move || reading.read()).await??;
    let own: Vec<Checkpoint> = found.checkpoints.into_iter().filter(|c| c.tenant == *tenant).collect();
    let mut verifier = Verifier::new(tenant.clone(), &own, keys);
    let known = own.iter().rev().filter(|c| c.check(keys).is_ok()).find_map(Checkpoint::head);
    if let Some(known) = known {
        verifier = verifier.resume(stored(state, tenant, known).await?);
    }
    let from = verifier.head().seq;
    let verifier = walk(state, tenant, verifier, from).await?;
    let head = verifier.head();
    let verdict = verifier.finish();
    if !verdict.intact() {
        return Err(Refused::Tampered(Box::new(verdict)));
    }
    if head.seq == known.map_or(0, |k| k.seq) {
        return Ok(None);
    }
    let checkpoint = signer.sign(tenant, head, at);
    let (log, line) = (Arc::clone(log), checkpoint.clone());
    blocking(move || log.append(&line)).await??;
    Ok(Some(checkpoint))
}

/// What is stored where `known` was the end: an older copy in its place has something else there.
async fn stored(state: &dyn State, tenant: &Tenant, known: Head) -> Result<Head, Error> {
    let query = EntryQuery { limit: 1, ..from(tenant, known.seq.saturating_sub(1)) };
    let page = state.entries(query).await?;
    // Nothing there: the verifier then finds the chain too short.
    Ok(page.items.first().and_then(Head::at).unwrap_or_default())
}

async fn walk(
    state: &dyn State,
    tenant: &Tenant,
    mut verifier: Verifier,
    mut after: u64,
) -> Result<Verifier, Error> {
    loop {
        let page = state.entries(from(tenant, after)).await?;
        let Some(last) = page.items.last() else { return Ok(verifier) };
        after = last.seq;
        let more = page.next.is_some();
        verifier = blocking(move || push_all(verifier, &page.items)).await?;
        if !more {
            return Ok(verifier);
        }
    }
}

fn push_all(mut verifier: Verifier, entries: &[Entry]) -> Verifier {
    entries.iter().for_each(|entry| verifier.push(entry));
    verifier
}

fn from(tenant: &Tenant, after: u64) -> EntryQuery {
    EntryQuery {
        tenant: tenant.clone(),
        environment: None,
        subject: None,
        kind_prefix: None,
        actor: None,
        correlation: None,
        from: None,
        to: None,
        after: Some(after),
        descending: false,
        limit: Scan::LIMIT_MAX,
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Closed)
}
