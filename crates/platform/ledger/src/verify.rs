//! Does a chain still say what it said?
//!
//! A [`Verifier`] takes the entries of one tenant in the order in which they are stored and goes on
//! after what it finds, so that one edit is one finding. Its memory does not grow with the chain.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use base::{Tenant, Timestamp, id::EventId};
use serde::Serialize;

use crate::{
    ERASED_KIND, Entry, Head, canonical,
    checkpoint::{Checkpoint, Keys},
    entry::{erased_by, erased_subject},
};

/// Findings that are listed; more are only counted.
pub const FINDINGS_MAX: usize = 100;
/// Erased bodies whose record is still to come. Beyond it they count as without one.
pub const ERASURES_PENDING_MAX: usize = 10_000;

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub enum Finding {
    /// The header is not the one that was hashed.
    Edited { seq: u64 },
    /// The body is not the one that was hashed.
    BodyEdited { seq: u64 },
    /// The body is gone, and no entry says who erased it.
    Erased { seq: u64 },
    /// An entry is missing, was put in, or stands elsewhere.
    Order { expected: u64, found: u64 },
    /// It does not follow the entry before.
    Unlinked { seq: u64 },
    /// It belongs to another tenant.
    Foreign { seq: u64 },
    /// A checkpoint states another hash: the chain was computed anew.
    Rewritten { seq: u64 },
    /// A checkpoint states that the chain was longer: its tail was cut, or an older copy put back.
    Cut { found: u64, stated: u64 },
    /// A checkpoint that proves nothing.
    Checkpoint { seq: u64, why: String },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Edited { seq } => write!(f, "entry {seq} was edited"),
            Self::BodyEdited { seq } => write!(f, "the body of entry {seq} was edited"),
            Self::Erased { seq } => {
                write!(f, "the body of entry {seq} is gone without a record of its erasure")
            }
            Self::Order { expected, found } => {
                write!(f, "entry {found} stands where entry {expected} should be")
            }
            Self::Unlinked { seq } => write!(f, "entry {seq} does not follow the one before it"),
            Self::Foreign { seq } => write!(f, "entry {seq} belongs to another tenant"),
            Self::Rewritten { seq } => {
                write!(f, "entry {seq} is another than the one in its signed checkpoint")
            }
            Self::Cut { found, stated } => write!(
                f,
                "the chain ends with entry {found}, but a signed checkpoint saw entry {stated}: its tail was \
                 cut or an older copy put back"
            ),
            Self::Checkpoint { seq, why } => write!(f, "the checkpoint of entry {seq} does not count: {why}"),
        }
    }
}

/// How much of the chain checkpoints prove to be all there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "tail", rename_all = "snake_case")]
pub enum Tail {
    /// Without a checkpoint nobody can tell whether there was more.
    NotProvable,
    /// Up to and with `seq`, which was the last at `at`; what follows is not provable.
    Proven { seq: u64, at: Timestamp },
}

/// What verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    pub tenant: Tenant,
    pub entries: u64,
    pub last_seq: u64,
    /// Of the last entry, 64 hexadecimal digits.
    pub last_hash: String,
    /// Bodies erased on record.
    pub erased: u64,
    /// At most [`FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    pub findings_count: u64,
    pub tail: Tail,
}

impl Verdict {
    /// Nothing was found. See [`Verdict::tail`] for what that covers.
    #[must_use]
    pub fn intact(&self) -> bool {
        self.findings_count == 0
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.intact() {
            write!(f, "{} entries verified", self.entries)?;
        } else {
            write!(f, "{} findings in {} entries", self.findings_count, self.entries)?;
        }
        if self.erased > 0 {
            write!(f, ", {} bodies erased on record", self.erased)?;
        }
        match &self.tail {
            Tail::NotProvable => write!(f, "; tail not provable (no signed checkpoint)"),
            Tail::Proven { seq, .. } if *seq < self.last_seq => {
                write!(f, "; proven up to entry {seq}, tail after it not provable")
            }
            Tail::Proven { .. } => write!(f, "; proven to its end"),
        }
    }
}

/// Verifies one tenant's chain, page by page.
#[derive(Debug)]
pub struct Verifier {
    tenant: Tenant,
    head: Head,
    entries: u64,
    erased: u64,
    /// Sequence of a body that is gone, by the entry that should record it.
    erasures_pending: HashMap<EventId, Vec<u64>>,
    erasures_pending_count: usize,
    findings: Vec<Finding>,
    findings_count: u64,
    /// What trusted checkpoints state, by sequence.
    stated: BTreeMap<u64, (canonical::Hash, Timestamp)>,
}

impl Verifier {
    /// For the chain of `tenant` from its first entry, against those of `checkpoints` that are its.
    #[must_use]
    pub fn new(tenant: Tenant, checkpoints: &[Checkpoint], keys: &Keys) -> Self {
        let mut verifier = Self {
            tenant,
            head: Head::default(),
            entries: 0,
            erased: 0,
            erasures_pending: HashMap::new(),
            erasures_pending_count: 0,
            findings: Vec::new(),
            findings_count: 0,
            stated: BTreeMap::new(),
        };
        for checkpoint in checkpoints {
            verifier.take(checkpoint, keys);
        }
        verifier
    }

    /// As [`Verifier::new`], from behind an entry that is known to be good.
    #[must_use]
    pub fn resume(mut self, head: Head) -> Self {
        self.head = head;
        self.stated.retain(|seq, _| *seq >= head.seq);
        // The entry at the head is not seen again: what is stated of it is compared now.
        if let Some((hash, _)) = self.stated.get(&head.seq)
            && *hash != head.hash
        {
            self.find(Finding::Rewritten { seq: head.seq });
        }
        self
    }

    fn take(&mut self, checkpoint: &Checkpoint, keys: &Keys) {
        if checkpoint.tenant != self.tenant {
            return;
        }
        let seq = checkpoint.seq;
        match (checkpoint.check(keys), checkpoint.head()) {
            (Ok(()), Some(head)) => {
                let first = self.stated.entry(seq).or_insert((head.hash, checkpoint.at));
                if first.0 != head.hash {
                    let why = "another one of the same entry states another hash".into();
                    self.find(Finding::Checkpoint { seq, why });
                }
            }
            (checked, _) => {
                let why = checked.err().unwrap_or("its hash is malformed").into();
                self.find(Finding::Checkpoint { seq, why });
            }
        }
    }

    /// Takes the next entry as it is stored.
    pub fn push(&mut self, entry: &Entry) {
        self.entries += 1;
        let seq = entry.seq;
        if entry.draft.tenant != self.tenant {
            self.find(Finding::Foreign { seq });
        }
        if seq != self.head.seq + 1 {
            self.find(Finding::Order { expected: self.head.seq + 1, found: seq });
        } else if canonical::parse_hash(&entry.prev_hash) != Some(self.head.hash) {
            self.find(Finding::Unlinked { seq });
        }
        let stated_by_itself = canonical::parse_hash(&entry.hash);
        if stated_by_itself.is_none() || canonical::entry_hash(entry) != stated_by_itself {
            self.find(Finding::Edited { seq });
        }
        self.check_body(entry);
        // Go on from what the entry says it is, so that the next one is judged by itself.
        self.head = Head { seq, hash: stated_by_itself.unwrap_or_default() };
        if let Some((hash, _)) = self.stated.get(&seq)
            && *hash != self.head.hash
        {
            self.find(Finding::Rewritten { seq });
        }
    }

    fn check_body(&mut self, entry: &Entry) {
        let draft = &entry.draft;
        if draft.kind == ERASED_KIND
            && let Some(seqs) = self.erasures_pending.remove(&draft.id)
        {
            self.erasures_pending_count -= seqs.len();
            for seq in seqs {
                if draft.subject == erased_subject(seq) {
                    self.erased += 1;
                } else {
                    self.find(Finding::Erased { seq });
                }
            }
        }
        let digest = canonical::body_digest(&draft.body);
        if canonical::parse_hash(&entry.body_digest) == Some(digest) {
            return;
        }
        match erased_by(&draft.body) {
            None => self.find(Finding::BodyEdited { seq: entry.seq }),
            Some(_) if self.erasures_pending_count == ERASURES_PENDING_MAX => {
                self.find(Finding::Erased { seq: entry.seq });
            }
            Some(by) => {
                self.erasures_pending_count += 1;
                self.erasures_pending.entry(by).or_default().push(entry.seq);
            }
        }
    }

    fn find(&mut self, finding: Finding) {
        self.findings_count += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }

    /// The end of the chain as far as it was pushed.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// After the last entry.
    #[must_use]
    pub fn finish(mut self) -> Verdict {
        let mut unexplained: Vec<u64> = self.erasures_pending.values().flatten().copied().collect();
        unexplained.sort_unstable();
        for seq in unexplained {
            self.find(Finding::Erased { seq });
        }
        let last = self.stated.last_key_value().map(|(seq, (_, at))| (*seq, *at));
        let tail = match last {
            None => Tail::NotProvable,
            Some((seq, at)) => {
                if seq > self.head.seq {
                    self.find(Finding::Cut { found: self.head.seq, stated: seq });
                }
                Tail::Proven { seq, at }
            }
        };
        Verdict {
            tenant: self.tenant,
            entries: self.entries,
            last_seq: self.head.seq,
            last_hash: canonical::hash_text(&self.head.hash),
            erased: self.erased,
            findings: self.findings,
            findings_count: self.findings_count,
            tail,
        }
    }
}

/// Verifies `entries`, all of `tenant`'s chain.
pub fn verify<'e>(
    tenant: Tenant,
    entries: impl IntoIterator<Item = &'e Entry>,
    checkpoints: &[Checkpoint],
    keys: &Keys,
) -> Verdict {
    let mut verifier = Verifier::new(tenant, checkpoints, keys);
    for entry in entries {
        verifier.push(entry);
    }
    verifier.finish()
}
