//! The books: typed access to delivery's records, and the allocation of ports and users.

use std::{collections::BTreeMap, net::TcpListener, sync::Arc};

use base::{Class, Ctx, Problem, Scope, id::EventId};
use ledger::Draft;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use state::{Commit, Key, Precondition, Put, Scan, State};

use crate::record::{self, BindingRecord, PlanRecord, ReleaseRecord, ServiceRecord};

/// Times that a change is tried anew after somebody else changed the same record.
const CONFLICT_RETRIES_MAX: u32 = 8;
/// The same for the one record that hands out users, which every step of a large plan wants at once:
/// each round serves one of them.
const USER_RETRIES_MAX: u32 = 4_096;
/// Ports for replicas and bindings: below Linux' range for outgoing connections.
pub const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// First user id of services; above what systemd and container tools hand out. Nobody else chooses
/// one from here on.
pub(crate) const USER_FIRST: u64 = 1_900_000_000;

#[derive(Debug, Clone)]
pub struct Books {
    pub state: Arc<dyn State>,
}

/// A record with the version it was read at.
#[derive(Debug, Clone)]
pub struct Versioned<T> {
    pub version: u64,
    pub body: T,
}

pub(crate) fn problem(error: &state::Error) -> Problem {
    Problem::from_fault(error)
}

impl Books {
    pub async fn get<T: DeserializeOwned>(
        &self,
        scope: &Scope,
        kind: &str,
        id: &str,
    ) -> Result<Option<Versioned<T>>, Problem> {
        let found = self.state.get(Key::new(scope, kind, id)).await.map_err(|error| problem(&error))?;
        found
            .map(|record| Ok(Versioned { version: record.version, body: record::read(&record)? }))
            .transpose()
    }

    /// All records that `scan` finds, page by page.
    pub async fn all<T: DeserializeOwned>(
        &self,
        mut scan: Scan,
    ) -> Result<Vec<(Scope, Versioned<T>)>, Problem> {
        let mut found = Vec::new();
        loop {
            let (page, next) = self.page(scan.clone()).await?;
            found.extend(page);
            match next {
                Some(next) => scan.after = Some(next),
                None => return Ok(found),
            }
        }
    }

    /// One page of what `scan` finds, and where the next begins.
    pub async fn page<T: DeserializeOwned>(
        &self,
        scan: Scan,
    ) -> Result<(Vec<(Scope, Versioned<T>)>, Option<String>), Problem> {
        let page = self.state.scan(scan).await.map_err(|error| problem(&error))?;
        let read = |item: &state::Record| {
            let versioned = Versioned { version: item.version, body: record::read(item)? };
            Ok((item.key.scope.clone(), versioned))
        };
        Ok((page.items.iter().map(read).collect::<Result<_, Problem>>()?, page.next))
    }

    pub async fn service(&self, scope: &Scope, name: &str) -> Result<Versioned<ServiceRecord>, Problem> {
        self.get(scope, record::SERVICE, name).await?.ok_or_else(|| {
            Problem::new(Class::NotFound, "delivery.no_service", format!("there is no service `{name}`"))
                .with_hint("`stead status` lists the services of an environment")
        })
    }

    pub async fn services(&self, scope: &Scope) -> Result<BTreeMap<String, ServiceRecord>, Problem> {
        let found = self.all::<ServiceRecord>(Scan::of(scope, record::SERVICE)).await?;
        Ok(found.into_iter().map(|(_, record)| (record.body.name.clone(), record.body)).collect())
    }

    pub async fn release(&self, scope: &Scope, id: &str) -> Result<Option<ReleaseRecord>, Problem> {
        Ok(self.get(scope, record::RELEASE, id).await?.map(|found| found.body))
    }

    /// Releases of a service, newest first.
    pub async fn releases(&self, scope: &Scope, service: &str) -> Result<Vec<ReleaseRecord>, Problem> {
        let mut scan = Scan::of(scope, record::RELEASE);
        scan.term = Some(state::IndexTerm { name: "service".into(), value: service.to_owned() });
        let mut found: Vec<_> =
            self.all::<ReleaseRecord>(scan).await?.into_iter().map(|(_, found)| found.body).collect();
        found.sort_by_key(|release| std::cmp::Reverse(release.number));
        Ok(found)
    }

    pub async fn bindings(&self, scope: &Scope) -> Result<Vec<BindingRecord>, Problem> {
        let found = self.all::<BindingRecord>(Scan::of(scope, record::BINDING)).await?;
        Ok(found.into_iter().map(|(_, found)| found.body).collect())
    }

    pub async fn plan(&self, scope: &Scope, id: &str) -> Result<Versioned<PlanRecord>, Problem> {
        self.get(scope, record::PLAN, id).await?.ok_or_else(|| {
            Problem::new(Class::NotFound, "delivery.no_plan", format!("there is no plan `{id}`"))
        })
    }

    pub async fn commit(&self, commit: Commit) -> Result<(), Problem> {
        self.state.commit(commit).await.map(drop).map_err(|error| problem(&error))
    }

    /// Reads a service, changes it and writes it with its ledger entry, trying again when somebody
    /// else was quicker. `change` gives the entry's draft, or none when nothing is to change.
    pub async fn change_service<F>(
        &self,
        ctx: &Ctx,
        name: &str,
        mut change: F,
    ) -> Result<ServiceRecord, Problem>
    where
        F: FnMut(&mut ServiceRecord) -> Result<Option<Draft>, Problem>,
    {
        for _ in 0..CONFLICT_RETRIES_MAX {
            let found = self.service(&ctx.scope, name).await?;
            let mut record = found.body;
            let Some(draft) = change(&mut record)? else { return Ok(record) };
            record.changed_by = Some(draft.id.clone());
            let key = Key::new(&ctx.scope, record::SERVICE, name);
            let commit = Commit {
                preconditions: vec![Precondition::Version(key, found.version)],
                puts: vec![put_service(&ctx.scope, &record)],
                entries: vec![draft],
                ..Commit::default()
            };
            match self.state.commit(commit).await {
                Ok(_) => return Ok(record),
                Err(state::Error::Conflict { .. }) => {}
                Err(error) => return Err(problem(&error)),
            }
        }
        Err(Problem::new(Class::Conflict, "delivery.busy", format!("`{name}` is being changed by others"))
            .with_hint("try again"))
    }

    /// A user id that no service had before.
    pub async fn allocate_user(&self, scope: &Scope) -> Result<u32, Problem> {
        // Users are the machine's, so they are counted once for all environments.
        let shared = Scope { tenant: scope.tenant.clone(), environment: base::Environment::default() };
        for _ in 0..USER_RETRIES_MAX {
            let found = self.get::<u64>(&shared, record::ALLOCATION, "user").await?;
            let next = found.as_ref().map_or(USER_FIRST, |found| found.body);
            let key = Key::new(&shared, record::ALLOCATION, "user");
            let precondition = match &found {
                Some(found) => Precondition::Version(key, found.version),
                None => Precondition::Absent(key),
            };
            let commit = Commit {
                preconditions: vec![precondition],
                puts: vec![record::put(&shared, record::ALLOCATION, "user", &(next + 1), &[])],
                ..Commit::default()
            };
            match self.state.commit(commit).await {
                Ok(_) => return u32::try_from(next).map_err(|_| users_exhausted()),
                Err(state::Error::Conflict { .. }) => {}
                Err(error) => return Err(problem(&error)),
            }
        }
        Err(Problem::new(Class::Conflict, "delivery.busy", "too many services want a user at once")
            .with_hint("try again"))
    }

    /// Gives a user to what was delivered while Stead was not root: as root it starts nothing without.
    ///
    /// # Errors
    /// State cannot be read or changed, or no user is left.
    pub async fn give_users(&self, tenant: &base::Tenant) -> Result<(), Problem> {
        let everything = Scan {
            tenant: tenant.clone(),
            environment: None,
            kind: record::SERVICE.to_owned(),
            term: None,
            after: None,
            limit: Scan::LIMIT_MAX,
        };
        for (scope, found) in self.all::<ServiceRecord>(everything).await? {
            if found.body.user.is_some() {
                continue;
            }
            let user = self.allocate_user(&scope).await?;
            let ctx = Ctx::system("reconciler", scope);
            self.change_service(&ctx, &found.body.name, |record| {
                if record.user.is_some() {
                    return Ok(None);
                }
                record.user = Some(user);
                let why = "Stead is root now, and runs each service as a user of its own";
                let body = changed("user", Value::Null, user);
                Ok(Some(draft(&ctx, "service.user-given", record.entity.as_str(), why, body)))
            })
            .await?;
        }
        Ok(())
    }

    /// A port that no record holds and nothing listens on.
    pub async fn allocate_port(&self, tenant: &base::Tenant) -> Result<u16, Problem> {
        let everywhere = |kind: &str| Scan {
            tenant: tenant.clone(),
            environment: None,
            kind: kind.to_owned(),
            term: None,
            after: None,
            limit: Scan::LIMIT_MAX,
        };
        let mut taken: Vec<u16> = Vec::new();
        for (_, found) in self.all::<ServiceRecord>(everywhere(record::SERVICE)).await? {
            taken.extend(found.body.port);
        }
        for (_, found) in self.all::<BindingRecord>(everywhere(record::BINDING)).await? {
            taken.push(found.body.port);
        }
        free_port(&taken)
    }
}

fn users_exhausted() -> Problem {
    Problem::new(Class::Limit, "delivery.users", "no user id is left for a new service")
}

/// A port of [`PORTS`] that is not in `taken` and can be bound now. It starts at a random place, so
/// that two who ask at once rarely get the same.
pub fn free_port(taken: &[u16]) -> Result<u16, Problem> {
    let count = PORTS.end - PORTS.start;
    let seed = EventId::new();
    let seed: u32 =
        seed.as_str().bytes().rev().take(8).fold(0, |sum, byte| sum.wrapping_mul(31) + u32::from(byte));
    let offset = u16::try_from(seed % u32::from(count)).unwrap_or(0);
    (0..count)
        .map(|step| PORTS.start + (offset + step) % count)
        .find(|port| !taken.contains(port) && TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .ok_or_else(|| {
            Problem::new(
                Class::Limit,
                "delivery.ports",
                format!("no port between {} and {} is free", PORTS.start, PORTS.end),
            )
            .with_hint("stop something that listens there")
        })
}

/// A port whose number somebody chose, unless something listens there.
pub fn fixed_port(number: u16) -> Result<u16, Problem> {
    match TcpListener::bind(("127.0.0.1", number)) {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            Err(Problem::new(Class::Conflict, "delivery.port_in_use", format!("port {number} is in use"))
                .with_hint("stop what listens there, or leave the number out: the platform then chooses one"))
        }
        // Whatever else stands in the way, the service itself will say.
        _ => Ok(number),
    }
}

pub fn put_service(scope: &Scope, record: &ServiceRecord) -> Put {
    let mut index = vec![("project", record.project.as_str())];
    if let Some(owner) = &record.belongs_to {
        index.push(("belongs_to", owner));
    }
    record::put(scope, record::SERVICE, &record.name, record, &index)
}

pub fn put_release(scope: &Scope, release: &ReleaseRecord) -> Put {
    record::put(scope, record::RELEASE, release.id.as_str(), release, &[("service", &release.service)])
}

/// A ledger draft in the words of delivery.
pub fn draft(ctx: &Ctx, kind: &str, subject: &str, why: impl Into<String>, body: Value) -> Draft {
    Draft {
        id: EventId::new(),
        tenant: ctx.scope.tenant.clone(),
        environment: ctx.scope.environment.clone(),
        kind: format!("stead.{kind}.v1"),
        subject: subject.to_owned(),
        actor: ctx.actor.clone(),
        cause: ctx.cause.clone(),
        why: why.into(),
        body,
    }
}

/// The body of an entry for a field that changed.
pub fn changed(field: &str, before: impl Into<Value>, after: impl Into<Value>) -> Value {
    json!({"before": {field: before.into()}, "after": {field: after.into()}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doubles::{Keep, Machine, delivered, ports};

    #[test]
    fn a_port_is_free_and_in_the_range_and_when_none_is_left_that_is_said() {
        let port = free_port(&[]).unwrap();
        assert!(PORTS.contains(&port));
        let bound = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let all_but_one: Vec<u16> = PORTS.filter(|other| *other != port).collect();
        let problem = free_port(&all_but_one).unwrap_err();
        assert_eq!(
            (problem.class, problem.code.as_ref()),
            (Class::Limit, "delivery.ports"),
            "bound by another"
        );
        drop(bound);
        assert_eq!(free_port(&all_but_one).unwrap(), port);
    }

    #[tokio::test]
    async fn many_at_once_get_a_user_each() {
        let home = tempfile::tempdir().unwrap();
        let ports = ports(home.path(), &Arc::new(Machine::default()), Keep::default());
        let books = Books { state: Arc::clone(&ports.state) };
        let scope = Scope::default();
        // More than the times that another kind of change is tried anew.
        let wishes = (0..10 * CONFLICT_RETRIES_MAX).map(|_| books.allocate_user(&scope));
        let users = futures_util::future::try_join_all(wishes).await.unwrap();
        let different: std::collections::BTreeSet<u32> = users.iter().copied().collect();
        assert_eq!(different.len(), users.len());
    }

    #[tokio::test]
    async fn what_has_no_user_gets_one_of_its_own_and_keeps_it() {
        let home = tempfile::tempdir().unwrap();
        let ports = ports(home.path(), &Arc::new(Machine::default()), Keep::default());
        let books = Books { state: Arc::clone(&ports.state) };
        let scope = Scope::default();
        let puts = ["one", "two"].map(|name| {
            let (_, record, _) = delivered(&format!("name: {name}\nrun: {{command: serve}}\n"));
            put_service(&scope, &record)
        });
        books.commit(Commit { puts: puts.into(), ..Commit::default() }).await.unwrap();
        books.give_users(&ports.tenant).await.unwrap();
        let users = async |name: &str| books.service(&scope, name).await.unwrap().body.user.unwrap();
        let given = (users("one").await, users("two").await);
        assert!(given.0 != given.1 && u64::from(given.0) >= USER_FIRST);
        books.give_users(&ports.tenant).await.unwrap();
        assert_eq!((users("one").await, users("two").await), given);
    }
}
