//! One-time sign-in links.

use base::{Ctx, Tenant, Timestamp};
use serde_json::json;
use state::{Commit, Put};

use crate::{
    Access, Error, Result,
    credential::{self, Kind, Secret},
    engine::{commit_until, limits},
    people::Person,
    record::{self, LinkId, LinkRecord, PersonId},
};

/// A link token, shown once. Put it behind `#` in an address: what stands there is sent to no server
/// and stands in no log.
#[derive(Debug, Clone)]
pub struct OneTimeLink {
    pub person: PersonId,
    pub token: Secret,
    pub expires_at: Timestamp,
}

/// Somebody new, and the link to give them.
#[derive(Debug, Clone)]
pub struct Invited {
    pub person: Person,
    pub link: OneTimeLink,
}

impl Access {
    /// A new link for somebody who is in. Ask [`crate::Action::ManagePeople`] first, or be the machine.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Inactive`].
    pub async fn sign_in_link(&self, ctx: &Ctx, person: &PersonId) -> Result<OneTimeLink> {
        commit_until!(self, async {
            let tenant = &ctx.scope.tenant;
            let mut commit = self.begin(tenant).await?;
            let (found, _) = self.person_record(tenant, person).await?;
            if !found.active {
                return Err(Error::Inactive { name: found.name });
            }
            let link = self.put_new_link(&mut commit, tenant, person).await?;
            let body = json!({ "name": found.name, "expires_at": link.expires_at });
            commit.entries.push(Self::draft(ctx, "sign-in-link.made", person.as_str(), "to sign in", body));
            Ok::<_, Error>((commit, link))
        })
    }

    /// Adds a link to `commit`; expired ones and the oldest over the limit go.
    pub(crate) async fn put_new_link(
        &self,
        commit: &mut Commit,
        tenant: &Tenant,
        person: &PersonId,
    ) -> Result<OneTimeLink> {
        let now = self.now();
        let term = record::term("person", person.as_str());
        let mut links = self.read_all::<LinkRecord>(tenant, record::LINK, Some(term)).await?;
        links.retain(|(link, _)| {
            let live = record::is_live(link.created_at, link.expires_at, now);
            if !live {
                commit.puts.push(Put::Remove(record::key(tenant, record::LINK, link.id.as_str())));
            }
            live
        });
        let over = (links.len() + 1).saturating_sub(limits::LINKS_PER_PERSON_MAX);
        for (link, _) in links.iter().take(over) {
            commit.puts.push(Put::Remove(record::key(tenant, record::LINK, link.id.as_str())));
        }
        let id = LinkId::new();
        let (token, digest) = credential::make(Kind::Link, id.as_str())?;
        let expires_at = now.plus(self.options.link_life);
        let link = LinkRecord { format: 1, id, person: person.clone(), digest, created_at: now, expires_at };
        commit.puts.push(record::put_link(tenant, &link)?);
        Ok(OneTimeLink { person: person.clone(), token, expires_at })
    }

    /// The link that `text` is, if it is good.
    pub(crate) async fn good_link(&self, tenant: &Tenant, text: &str) -> Result<(LinkRecord, u64)> {
        let parsed = credential::parse(Kind::Link, text).ok_or(Error::Link)?;
        let id = format!("{}_{}", LinkId::PREFIX, parsed.id);
        let (link, version) = self.read::<LinkRecord>(tenant, record::LINK, &id).await?.ok_or(Error::Link)?;
        let good = credential::matches(&parsed, &link.digest)
            && record::is_live(link.created_at, link.expires_at, self.now());
        if good { Ok((link, version)) } else { Err(Error::Link) }
    }
}
