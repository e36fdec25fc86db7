//! People: the owner, invitations, and changes that never leave a tenant without an active admin.

use base::{Ctx, Tenant, Timestamp};
use serde_json::{Value as Json, json};
use state::{Commit, Precondition, Put};

use crate::{
    Access, Error, Result, Role,
    engine::{commit_until, limits},
    links::{Invited, OneTimeLink},
    record::{self, LinkRecord, PersonId, PersonRecord, SessionRecord, TokenRecord},
};

/// A person, as others may see them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    pub id: PersonId,
    pub name: String,
    pub role: Role,
    pub active: bool,
    /// Whether a password is set.
    pub password: bool,
    pub created_at: Timestamp,
    pub signed_in_at: Option<Timestamp>,
}

/// What to change of a person; none leaves it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangePerson {
    pub name: Option<String>,
    pub role: Option<Role>,
    pub active: Option<bool>,
}

impl From<PersonRecord> for Person {
    fn from(record: PersonRecord) -> Self {
        Self {
            id: record.id,
            name: record.name,
            role: record.role,
            active: record.active,
            password: record.password.is_some(),
            created_at: record.created_at,
            signed_in_at: record.signed_in_at,
        }
    }
}

impl Access {
    /// Makes the owner, once for all times, and gives the link to sign in with; none when that was
    /// done before.
    pub async fn bootstrap(&self, ctx: &Ctx) -> Result<Option<OneTimeLink>> {
        let tenant = &ctx.scope.tenant;
        let mut attempts = 0;
        loop {
            let mut commit = self.begin(tenant).await?;
            if !matches!(commit.preconditions[0], Precondition::Absent(_)) {
                return Ok(None);
            }
            let person = self.new_person("owner", Role::Admin);
            let link = self.put_new_link(&mut commit, tenant, &person.id).await?;
            commit.puts.push(record::put_person(tenant, &person)?);
            let (body, why) =
                (json!({ "before": null, "after": shown(&person) }), "the first start makes the owner");
            commit.entries.push(Self::draft(ctx, "person.invited", person.id.as_str(), why, body));
            if self.committed(commit, &mut attempts).await? {
                return Ok(Some(link));
            }
        }
    }

    /// The people of a tenant, oldest first.
    pub async fn people(&self, tenant: &Tenant) -> Result<Vec<Person>> {
        let people = self.read_all::<PersonRecord>(tenant, record::PERSON, None).await?;
        Ok(people.into_iter().map(|(person, _)| person.into()).collect())
    }

    /// # Errors
    /// [`Error::NotFound`].
    pub async fn person(&self, tenant: &Tenant, id: &PersonId) -> Result<Person> {
        self.person_record(tenant, id).await.map(|(person, _)| person.into())
    }

    /// The active admin who is there for longest: whom `stead open` signs in.
    ///
    /// # Errors
    /// [`Error::NotFound`] before [`Access::bootstrap`].
    pub async fn owner(&self, tenant: &Tenant) -> Result<Person> {
        let people = self.people(tenant).await?;
        let owner = people.into_iter().find(|person| person.active && person.role == Role::Admin);
        owner.ok_or_else(|| Error::NotFound { what: "an active admin of tenant", id: tenant.to_string() })
    }

    /// Lets somebody in: makes the person, and a link for them.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::NameTaken`], [`Error::Limit`].
    pub async fn invite(&self, ctx: &Ctx, name: &str, role: Role) -> Result<Invited> {
        let name = check_name(name)?;
        commit_until!(self, self.invited(ctx, &name, role))
    }

    async fn invited(&self, ctx: &Ctx, name: &str, role: Role) -> Result<(Commit, Invited)> {
        let tenant = &ctx.scope.tenant;
        let mut commit = self.begin(tenant).await?;
        let people = self.read_all::<PersonRecord>(tenant, record::PERSON, None).await?;
        if people.len() >= limits::PEOPLE_MAX {
            return Err(Error::Limit {
                what: "people, with those not active any more,",
                limit: limits::PEOPLE_MAX,
            });
        }
        check_active(&people)?;
        check_free(&people, name, None)?;
        let person = self.new_person(name, role);
        let link = self.put_new_link(&mut commit, tenant, &person.id).await?;
        commit.puts.push(record::put_person(tenant, &person)?);
        let body = json!({ "before": null, "after": shown(&person) });
        commit.entries.push(Self::draft(ctx, "person.invited", person.id.as_str(), "invited", body));
        Ok((commit, Invited { person: person.into(), link }))
    }

    /// Renames, gives another role, deactivates or activates. Who is deactivated loses all sessions,
    /// links and tokens in the same moment.
    ///
    /// # Errors
    /// [`Error::LastAdmin`], [`Error::NotFound`], [`Error::NameTaken`], [`Error::Limit`].
    pub async fn change_person(&self, ctx: &Ctx, id: &PersonId, change: ChangePerson) -> Result<Person> {
        let name = change.name.as_deref().map(check_name).transpose()?;
        let change = ChangePerson { name, ..change };
        commit_until!(self, self.person_changed(ctx, id, &change))
    }

    async fn person_changed(
        &self,
        ctx: &Ctx,
        id: &PersonId,
        change: &ChangePerson,
    ) -> Result<(Commit, Person)> {
        let tenant = &ctx.scope.tenant;
        let mut commit = self.begin(tenant).await?;
        let people = self.read_all::<PersonRecord>(tenant, record::PERSON, None).await?;
        let (before, version) = people
            .iter()
            .find(|(person, _)| person.id == *id)
            .cloned()
            .ok_or_else(|| Error::NotFound { what: "person", id: id.to_string() })?;
        let mut after = before.clone();
        if let Some(name) = &change.name {
            check_free(&people, name, Some(id))?;
            after.name.clone_from(name);
        }
        after.role = change.role.unwrap_or(after.role);
        after.active = change.active.unwrap_or(after.active);
        let admin = |person: &PersonRecord| person.active && person.role == Role::Admin;
        let others = people.iter().any(|(person, _)| person.id != *id && admin(person));
        if admin(&before) && !admin(&after) && !others {
            return Err(Error::LastAdmin { name: before.name });
        }
        if after.active && !before.active {
            check_active(&people)?;
        }
        if before.active && !after.active {
            // Coming back later, they set a new one.
            after.password = None;
            self.put_out(&mut commit, tenant, id).await?;
        }
        let (kind, why) = match (before.active, after.active) {
            (true, false) => ("person.deactivated", "deactivated; sessions, links and tokens ended"),
            (false, true) => ("person.activated", "activated"),
            _ => ("person.changed", "changed"),
        };
        let body = json!({ "before": shown(&before), "after": shown(&after) });
        commit.entries.push(Self::draft(ctx, kind, id.as_str(), why, body));
        commit
            .preconditions
            .push(Precondition::Version(record::key(tenant, record::PERSON, id.as_str()), version));
        commit.puts.push(record::put_person(tenant, &after)?);
        Ok((commit, after.into()))
    }

    /// Ends all that a person could come in with.
    async fn put_out(&self, commit: &mut Commit, tenant: &Tenant, id: &PersonId) -> Result<()> {
        let term = || Some(record::term("person", id.as_str()));
        let links = self.read_all::<LinkRecord>(tenant, record::LINK, term()).await?;
        let sessions = self.read_all::<SessionRecord>(tenant, record::SESSION, term()).await?;
        let tokens = self.read_all::<TokenRecord>(tenant, record::TOKEN, term()).await?;
        let remove = |kind, id: &str| Put::Remove(record::key(tenant, kind, id));
        commit.puts.extend(links.iter().map(|(link, _)| remove(record::LINK, link.id.as_str())));
        commit.puts.extend(sessions.iter().map(|(session, _)| remove(record::SESSION, session.id.as_str())));
        commit.puts.extend(tokens.iter().map(|(token, _)| remove(record::TOKEN, token.id.as_str())));
        Ok(())
    }

    pub(crate) async fn person_record(&self, tenant: &Tenant, id: &PersonId) -> Result<(PersonRecord, u64)> {
        let found = self.read::<PersonRecord>(tenant, record::PERSON, id.as_str()).await?;
        found.ok_or_else(|| Error::NotFound { what: "person", id: id.to_string() })
    }

    fn new_person(&self, name: &str, role: Role) -> PersonRecord {
        PersonRecord {
            format: 1,
            id: PersonId::new(),
            name: name.to_owned(),
            role,
            active: true,
            password: None,
            created_at: self.now(),
            signed_in_at: None,
        }
    }
}

/// What the ledger keeps of a person.
fn shown(person: &PersonRecord) -> Json {
    json!({ "name": person.name, "role": person.role, "active": person.active })
}

pub(crate) fn check_name(name: &str) -> Result<String> {
    let name = name.trim();
    let count = name.chars().count();
    if count == 0 || count > limits::NAME_CHARS_MAX || name.chars().any(unprintable) {
        return Err(Error::Name { given: name.chars().take(limits::NAME_CHARS_MAX).collect() });
    }
    Ok(name.to_owned())
}

/// Control characters, and those that turn text around or hide in it.
fn unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn check_active(people: &[(PersonRecord, u64)]) -> Result<()> {
    if people.iter().filter(|(person, _)| person.active).count() < limits::PEOPLE_ACTIVE_MAX {
        return Ok(());
    }
    Err(Error::Limit { what: "active people", limit: limits::PEOPLE_ACTIVE_MAX })
}

fn check_free(people: &[(PersonRecord, u64)], name: &str, except: Option<&PersonId>) -> Result<()> {
    let same = |person: &PersonRecord| person.name.to_lowercase() == name.to_lowercase();
    if people.iter().any(|(person, _)| Some(&person.id) != except && same(person)) {
        return Err(Error::NameTaken { name: name.to_owned() });
    }
    Ok(())
}
