//! Passwords: optional, set by the person, stretched with argon2id off the runtime's threads.

use argon2::{Algorithm, Argon2, Params, Version};
use base::Ctx;
use serde_json::json;
use state::{Commit, Precondition, Put};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{
    Access, Error, Principal, Result, Who,
    engine::{commit_until, limits},
    record::{self, PasswordHash, PersonId, SessionId, SessionRecord},
    throttle::Subject,
};

const CHARS_MIN: usize = 12;
const CHARS_MAX: usize = 256;
/// Cost of a guess: 19 MiB and two passes, about 30 ms.
const MEMORY_KIB: u32 = 19 << 10;
const PASSES: u32 = 2;
/// Costs over these were not written by Stead.
const MEMORY_KIB_MAX: u32 = 256 << 10;
const PASSES_MAX: u32 = 16;
const HASH_BYTES: usize = 32;

impl Access {
    /// Sets one's own password, or takes it away with none. All other sessions of the person end.
    /// The current one is needed, unless none is set or the session has just begun.
    ///
    /// # Errors
    /// [`Error::NoSession`] for a token, [`Error::WeakPassword`], [`Error::CurrentPassword`],
    /// [`Error::Password`] when the current one is wrong, [`Error::Throttled`].
    pub async fn set_password(
        &self,
        ctx: &Ctx,
        principal: &Principal,
        current: Option<&str>,
        new: Option<&str>,
    ) -> Result<()> {
        let (Who::Session { session }, Some(person)) = (&principal.who, &principal.person) else {
            return Err(Error::NoSession);
        };
        if let Some(new) = new {
            check(new, &principal.name)?;
        }
        let (record, version) = self.person_record(&ctx.scope.tenant, person).await?;
        if let Some(stored) = record.password {
            self.check_current(ctx, person, session, current, stored).await?;
        }
        let hash = match new {
            Some(new) => Some(self.hash_password(new).await?),
            None => None,
        };
        commit_until!(self, self.password_set(ctx, (person, version), session, hash.as_ref()))
    }

    async fn check_current(
        &self,
        ctx: &Ctx,
        person: &PersonId,
        session: &SessionId,
        current: Option<&str>,
        stored: PasswordHash,
    ) -> Result<()> {
        let Some(current) = current else {
            let begun = self.session(&ctx.scope.tenant, session).await?.created_at;
            let fresh = self.now().since(begun) < self.options.session_fresh;
            return if fresh { Ok(()) } else { Err(Error::CurrentPassword) };
        };
        let subjects = [Subject::person(&ctx.scope.tenant, person)];
        self.begin_attempt(&subjects)?;
        if !self.verify_password(current, Some(stored)).await? {
            return Err(Error::Password);
        }
        self.end_attempt(&subjects);
        Ok(())
    }

    /// The commit that sets it, if the person is still as they were when the current one was checked.
    async fn password_set(
        &self,
        ctx: &Ctx,
        (id, checked): (&PersonId, u64),
        session: &SessionId,
        hash: Option<&PasswordHash>,
    ) -> Result<(Commit, ())> {
        let tenant = &ctx.scope.tenant;
        let mut commit = self.begin(tenant).await?;
        let (mut person, version) = self.person_record(tenant, id).await?;
        if !person.active {
            return Err(Error::Inactive { name: person.name });
        }
        if version != checked {
            return Err(Error::Busy);
        }
        person.password = hash.cloned();
        let term = record::term("person", id.as_str());
        for (other, _) in self.read_all::<SessionRecord>(tenant, record::SESSION, Some(term)).await? {
            if other.id != *session {
                commit.puts.push(Put::Remove(record::key(tenant, record::SESSION, other.id.as_str())));
            }
        }
        let key = record::key(tenant, record::PERSON, id.as_str());
        commit.preconditions.push(Precondition::Version(key, version));
        commit.puts.push(record::put_person(tenant, &person)?);
        let (kind, why) = match hash {
            Some(_) => ("person.password-set", "set a password; other sessions ended"),
            None => ("person.password-removed", "took the password away; other sessions ended"),
        };
        commit.entries.push(Self::draft(ctx, kind, id.as_str(), why, json!({ "name": person.name })));
        Ok((commit, ()))
    }

    /// Whether it matches. Without a stored one it takes as long and is false.
    pub(crate) async fn verify_password(&self, given: &str, stored: Option<PasswordHash>) -> Result<bool> {
        // Nothing longer was ever set, and stretching a megabyte is work for nothing.
        if given.chars().count() > CHARS_MAX {
            return Ok(false);
        }
        let dummy = PasswordHash {
            salt: "00".repeat(16),
            memory_kib: MEMORY_KIB,
            passes: PASSES,
            hash: "00".repeat(HASH_BYTES),
        };
        let exists = stored.is_some();
        let stored = stored.unwrap_or(dummy);
        let (memory_kib, passes) = (stored.memory_kib, stored.passes);
        let salt = hex::decode(&stored.salt).map_err(damaged)?;
        let expected = hex::decode(&stored.hash).map_err(damaged)?;
        let hash = self.stretch(given, salt, memory_kib, passes).await?;
        Ok(bool::from(hash.as_slice().ct_eq(&expected)) && exists)
    }

    async fn hash_password(&self, password: &str) -> Result<PasswordHash> {
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(damaged)?;
        let hash = self.stretch(password, salt.to_vec(), MEMORY_KIB, PASSES).await?;
        Ok(PasswordHash {
            salt: hex::encode(salt),
            memory_kib: MEMORY_KIB,
            passes: PASSES,
            hash: hex::encode(hash.as_slice()),
        })
    }

    /// At most two at once, and a bounded number waiting: memory and CPU are the attacker's to waste.
    async fn stretch(
        &self,
        password: &str,
        salt: Vec<u8>,
        memory_kib: u32,
        passes: u32,
    ) -> Result<Zeroizing<[u8; HASH_BYTES]>> {
        if memory_kib > MEMORY_KIB_MAX || passes > PASSES_MAX {
            return Err(Error::Internal { why: "the cost of a password is beyond what Stead writes".into() });
        }
        let _waiting = self.hashing_waiting.try_acquire().map_err(|_| Error::Limit {
            what: "passwords being checked at once",
            limit: limits::HASHING_AT_ONCE + limits::HASHING_WAITING_MAX,
        })?;
        let _working = self.hashing.acquire().await.map_err(damaged)?;
        let password = Zeroizing::new(password.to_owned());
        let work = tokio::task::spawn_blocking(move || {
            let params = Params::new(memory_kib, passes, 1, Some(HASH_BYTES)).map_err(damaged)?;
            let mut hash = Zeroizing::new([0; HASH_BYTES]);
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                .hash_password_into(password.as_bytes(), &salt, hash.as_mut_slice())
                .map_err(damaged)?;
            Ok(hash)
        });
        work.await.map_err(damaged)?
    }
}

fn check(password: &str, name: &str) -> Result<()> {
    let count = password.chars().count();
    let why = if count < CHARS_MIN {
        "it is too short"
    } else if count > CHARS_MAX {
        "it is too long"
    } else if password.to_lowercase().contains(&name.to_lowercase()) && name.chars().count() * 2 > count {
        "it is mostly the name"
    } else if password.chars().all(|c| password.starts_with(c)) {
        "it is one character many times"
    } else {
        return Ok(());
    };
    Err(Error::WeakPassword { why })
}

fn damaged(error: impl std::fmt::Display) -> Error {
    Error::Internal { why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_ones_are_refused() {
        for bad in ["", "short", "aaaaaaaaaaaaaaaa", "Ada-Lovelace1", &"long".repeat(65)] {
            assert!(check(bad, "ada-lovelace").is_err(), "{bad}");
        }
        for good in ["twelve chars", "ada likes long walks", "pässwörter sind lang"] {
            assert!(check(good, "ada").is_ok(), "{good}");
        }
    }
}
