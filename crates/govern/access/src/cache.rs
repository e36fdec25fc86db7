//! Principals that were just authenticated, so that most requests need no look into state.
//!
//! It listens to state: whatever changes a person, session or token is forgotten before the next
//! look-up. An entry that was read before such a change and put after it is noticed by the count.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use base::{Tenant, Timestamp};
use state::Change;
use tokio::sync::broadcast::{Receiver, error::TryRecvError};

use crate::{
    decide::Principal,
    engine::limits,
    record::{PERSON, SESSION, TOKEN},
};

/// What is known about a credential that was good.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) principal: Principal,
    /// Id of the session or token.
    pub(crate) credential: String,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    /// When "last used" was written.
    pub(crate) touched_at: Timestamp,
}

/// Which credential of which tenant, by its digest.
pub(crate) type Digest = (Tenant, [u8; 32]);

#[derive(Debug)]
pub(crate) struct Cache(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    entries: HashMap<Digest, (Known, Duration)>,
    changes: Receiver<Change>,
    /// False once state is gone; then nothing is remembered.
    listening: bool,
    count: u64,
}

impl Cache {
    pub(crate) fn new(changes: Receiver<Change>) -> Self {
        Self(Mutex::new(Inner { entries: HashMap::new(), changes, listening: true, count: 0 }))
    }

    /// What is known, and the count to give back to [`Cache::put`].
    pub(crate) fn get(&self, digest: &Digest, now: Duration) -> (Option<Known>, u64) {
        let mut inner = self.lock();
        inner.hear();
        let known = inner.entries.get(digest);
        let fresh = known.filter(|(_, at)| now.saturating_sub(*at) < limits::CACHED_FOR);
        (fresh.map(|(known, _)| known.clone()), inner.count)
    }

    /// Remembers what was read since `count`, unless something changed meanwhile.
    pub(crate) fn put(&self, digest: Digest, known: Known, now: Duration, count: u64) {
        let mut inner = self.lock();
        inner.hear();
        if inner.count != count || !inner.listening {
            return;
        }
        if inner.entries.len() >= limits::CACHED_MAX {
            inner.entries.retain(|_, (_, at)| now.saturating_sub(*at) < limits::CACHED_FOR);
        }
        if inner.entries.len() >= limits::CACHED_MAX {
            inner.entries.clear();
        }
        inner.entries.insert(digest, (known, now));
    }

    pub(crate) fn forget_all(&self) {
        let mut inner = self.lock();
        inner.count += 1;
        inner.entries.clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn hear(&mut self) {
        loop {
            match self.changes.try_recv() {
                Ok(change) => {
                    for key in change.keys.iter() {
                        if [PERSON, SESSION, TOKEN].contains(&key.kind.as_str()) {
                            self.count += 1;
                            self.entries.retain(|(tenant, _), (known, _)| {
                                let person = known.principal.person.as_ref().map(|id| id.as_str());
                                *tenant != key.scope.tenant
                                    || (known.credential != key.id && person != Some(key.id.as_str()))
                            });
                        }
                    }
                }
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Lagged(_)) => {
                    self.count += 1;
                    self.entries.clear();
                }
                Err(TryRecvError::Closed) => {
                    self.listening = false;
                    self.entries.clear();
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use state::Key;
    use tokio::sync::broadcast;

    use super::*;
    use crate::{
        action::Role,
        decide::Who,
        record::{PersonId, SessionId},
    };

    fn known() -> Known {
        let session = SessionId::new();
        Known {
            credential: session.to_string(),
            principal: Principal {
                tenant: Tenant::default(),
                who: Who::Session { session },
                person: Some(PersonId::new()),
                name: "ada".into(),
                role: Role::Viewer,
            },
            created_at: Timestamp::default(),
            expires_at: Timestamp::default(),
            touched_at: Timestamp::default(),
        }
    }

    fn digest(n: usize) -> Digest {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&n.to_le_bytes());
        (Tenant::default(), digest)
    }

    #[test]
    fn it_is_bounded_and_forgets_with_time() {
        let (_changes, heard) = broadcast::channel(4);
        let cache = Cache::new(heard);
        for n in 0..limits::CACHED_MAX + 10 {
            cache.put(digest(n), known(), Duration::ZERO, 0);
            assert!(cache.lock().entries.len() <= limits::CACHED_MAX);
        }
        let last = digest(limits::CACHED_MAX + 9);
        assert!(cache.get(&last, Duration::ZERO).0.is_some());
        assert!(cache.get(&last, limits::CACHED_FOR).0.is_none());
    }

    #[test]
    fn a_change_is_heard_before_the_next_look() {
        let (changes, heard) = broadcast::channel(4);
        let cache = Cache::new(heard);
        let (mine, other) = (known(), known());
        cache.put(digest(1), mine.clone(), Duration::ZERO, 0);
        cache.put(digest(2), other, Duration::ZERO, 0);
        let key = crate::record::key(&Tenant::default(), SESSION, &mine.credential);
        let change = |key: &Key| Change { keys: Arc::from([key.clone()]), entries: Arc::from([]) };
        changes.send(change(&key)).unwrap();
        assert!(cache.get(&digest(1), Duration::ZERO).0.is_none());
        assert!(cache.get(&digest(2), Duration::ZERO).0.is_some());
        // Read before the change, put after it.
        cache.put(digest(1), mine.clone(), Duration::ZERO, 0);
        assert!(cache.get(&digest(1), Duration::ZERO).0.is_none());
        // More changes than were kept: everything goes.
        for _ in 0..10 {
            changes.send(change(&key)).unwrap();
        }
        assert!(cache.get(&digest(2), Duration::ZERO).0.is_none());
        drop(changes);
        let (_, count) = cache.get(&digest(2), Duration::ZERO);
        cache.put(digest(2), mine, Duration::ZERO, count);
        assert!(cache.get(&digest(2), Duration::ZERO).0.is_none());
    }
}
