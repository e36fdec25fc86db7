//! Starting flows at their planned times, each once.

use std::{sync::Arc, time::Duration};

use base::{Ctx, Scope, Timestamp};
use state::{Commit, Key, Precondition, Put, Record, Scan};

use super::{
    Engine, Inner, Start, home,
    lead::Lead,
    load::{decode, next_page},
};
use crate::{
    Error, Result, Schedule, ScheduleStatus,
    record::{FlowState, SCHEDULE, TENANT},
    schedule::{Overlap, Plan},
};

/// The wall clock may jump, so it is looked at this often while there are schedules.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Without schedules there is nothing to look at; whoever makes one says so.
const IDLE_LOOK_EVERY: Duration = Duration::from_secs(3_600);
/// Wait before trying again what failed.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// One schedule in memory.
#[derive(Debug)]
struct Entry {
    key: Key,
    version: u64,
    status: ScheduleStatus,
    plan: Plan,
    /// Planned times up to here are dealt with, as far as this term of leading knows.
    dealt_with: Timestamp,
    /// Not before this, on the monotonic clock.
    hold_until: Duration,
}

impl Engine {
    /// Makes or replaces a schedule. What ran before under its name is not run again.
    ///
    /// # Errors
    /// [`Error::Schedule`], [`Error::Invalid`], [`Error::UnknownHandler`], [`Error::Limit`],
    /// [`Error::NotLeading`].
    pub async fn put_schedule(&self, ctx: &Ctx, schedule: Schedule) -> Result<()> {
        let inner = &self.inner;
        let now = inner.clock.now();
        Plan::of(&schedule, now)?;
        inner.check(&schedule.definition)?;
        let lead = inner.leading(ctx.budget).await?;
        let key = Key::new(&ctx.scope, SCHEDULE, &schedule.name);
        let before = inner.state.get(key.clone()).await?;
        if before.is_none() && all(inner, &lead).await?.len() >= inner.limits.schedules_max {
            return Err(Error::Limit { what: "schedules", limit: inner.limits.schedules_max as u64 });
        }
        let status = match &before {
            // The same times go on from where they were; new times begin now.
            Some(stored) => {
                let old: ScheduleStatus = decode(stored)?;
                let same = old.schedule.when == schedule.when && schedule.enabled && old.schedule.enabled;
                let (since, planned_at) = if same { (old.since, old.planned_at) } else { (now, None) };
                ScheduleStatus { schedule, since, planned_at, last_flow: old.last_flow }
            }
            None => ScheduleStatus { schedule, since: now, planned_at: None, last_flow: None },
        };
        let expected = match before {
            Some(stored) => Precondition::Version(key.clone(), stored.version),
            None => Precondition::Absent(key.clone()),
        };
        let home_scope = Scope { tenant: home(), ..Scope::default() };
        let tenant = Key::new(&home_scope, TENANT, ctx.scope.tenant.as_str());
        let known = Put::Put { key: tenant, body: serde_json::json!({}), index: Vec::new() };
        let preconditions = vec![lead.fence.clone(), expected];
        let puts = vec![put(&key, &status)?, known];
        inner.state.commit(Commit { preconditions, puts, ..Commit::default() }).await?;
        lead.learn_tenant(&ctx.scope.tenant);
        lead.schedules_changed.notify_one();
        Ok(())
    }

    /// Removes a schedule; flows that it started go on.
    ///
    /// # Errors
    /// [`Error::NoSchedule`], [`Error::NotLeading`].
    pub async fn remove_schedule(&self, ctx: &Ctx, name: &str) -> Result<()> {
        let lead = self.inner.leading(ctx.budget).await?;
        let key = Key::new(&ctx.scope, SCHEDULE, name);
        let Some(stored) = self.inner.state.get(key.clone()).await? else {
            return Err(Error::NoSchedule { name: name.to_owned() });
        };
        let preconditions = vec![lead.fence.clone(), Precondition::Version(key.clone(), stored.version)];
        let puts = vec![Put::Remove(key)];
        self.inner.state.commit(Commit { preconditions, puts, ..Commit::default() }).await?;
        lead.schedules_changed.notify_one();
        Ok(())
    }

    /// The schedules of the context's scope.
    ///
    /// # Errors
    /// [`Error::Unreadable`], [`Error::State`].
    pub async fn schedules(&self, ctx: &Ctx) -> Result<Vec<ScheduleStatus>> {
        let mut scan = Scan::of(&ctx.scope, SCHEDULE);
        let mut found = Vec::new();
        while let Some(page) = next_page(&self.inner, &mut scan).await? {
            for stored in &page {
                found.push(decode(stored)?);
            }
        }
        Ok(found)
    }
}

/// Runs while this engine leads.
pub(super) async fn run(inner: &Arc<Inner>, lead: &Arc<Lead>) {
    let engine = Engine { inner: Arc::clone(inner) };
    let (mut entries, mut stale) = (Vec::<Entry>::new(), true);
    let mut wait = Duration::ZERO;
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = lead.schedules_changed.notified() => stale = true,
        }
        wait = if entries.is_empty() { IDLE_LOOK_EVERY } else { LOOK_EVERY };
        if stale {
            match read(inner, lead, &entries).await {
                Ok(read) => {
                    (entries, stale) = (read, false);
                    wait = if entries.is_empty() { IDLE_LOOK_EVERY } else { LOOK_EVERY };
                }
                Err(error) => {
                    tracing::warn!(%error, "schedules cannot be read, trying again");
                    wait = AGAIN_AFTER;
                }
            }
        }
        let mut changed = false;
        for entry in &mut entries {
            changed |= entry.look(&engine).await;
        }
        if changed {
            stale = true; // versions moved: read them again
            wait = Duration::ZERO;
        }
    }
}

impl Entry {
    /// Starts what is due; true when its record may have changed.
    async fn look(&mut self, engine: &Engine) -> bool {
        let inner = &engine.inner;
        let now = inner.clock.now();
        // The clock went back. Planned times between may come again; their keys keep them from
        // starting twice.
        self.dealt_with = self.dealt_with.min(now);
        if !self.status.schedule.enabled || inner.clock.monotonic() < self.hold_until {
            return false;
        }
        let Some((due, last)) = self.plan.due(self.dealt_with, now) else { return false };
        match self.start(engine, &due, last).await {
            Ok(()) => self.dealt_with = last,
            Err(error) => {
                tracing::warn!(schedule = %self.status.schedule.name, %error, "a planned flow cannot start yet");
                self.hold_until = inner.clock.monotonic() + AGAIN_AFTER;
            }
        }
        true
    }

    async fn start(&mut self, engine: &Engine, due: &[Timestamp], last: Timestamp) -> Result<()> {
        let name = self.status.schedule.name.clone();
        let ctx = Ctx::system("schedule", self.key.scope.clone());
        for planned_at in due {
            if self.status.schedule.overlap == Overlap::Skip && self.is_busy(engine, &ctx).await? {
                tracing::info!(schedule = %name, "a planned flow is left out: the one before still runs");
                continue;
            }
            let key = format!("schedule/{name}/{}", planned_at.nanos());
            let mut start = Start::new(self.status.schedule.definition.clone(), key);
            let mut status = self.status.clone();
            (status.planned_at, status.last_flow) = (Some(*planned_at), Some(start.id.clone()));
            start.extra = self.write(&status)?;
            match engine.start(&ctx, start).await {
                Ok(started) if started.existed => {}
                Ok(started) => {
                    self.version = started.versions.first().copied().unwrap_or(self.version);
                    self.status = status;
                }
                // It ran under an older definition of the schedule.
                Err(Error::KeyReused { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        if self.status.planned_at.is_none_or(|at| at < last) {
            let status = ScheduleStatus { planned_at: Some(last), ..self.status.clone() };
            let committed = engine.inner.state.commit(self.write(&status)?).await?;
            self.version = committed.versions.first().copied().unwrap_or(self.version);
            self.status = status;
        }
        Ok(())
    }

    /// The flow of the planned time before is not finished.
    async fn is_busy(&self, engine: &Engine, ctx: &Ctx) -> Result<bool> {
        let Some(flow) = &self.status.last_flow else { return Ok(false) };
        match engine.summary(ctx, flow).await {
            Ok(summary) => Ok(!summary.state.is_final() && summary.state != FlowState::Parked),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn write(&self, status: &ScheduleStatus) -> Result<Commit> {
        let preconditions = vec![Precondition::Version(self.key.clone(), self.version)];
        Ok(Commit { preconditions, puts: vec![put(&self.key, status)?], ..Commit::default() })
    }
}

async fn read(inner: &Inner, lead: &Lead, before: &[Entry]) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for stored in all(inner, lead).await? {
        let status: ScheduleStatus = match decode(&stored) {
            Ok(status) => status,
            Err(error) => {
                tracing::error!(%error, "a schedule is left as it is");
                continue;
            }
        };
        match Plan::of(&status.schedule, status.since) {
            Ok(plan) => {
                let old = before.iter().find(|old| old.key == stored.key);
                entries.push(Entry {
                    key: stored.key,
                    version: stored.version,
                    dealt_with: status.planned_at.unwrap_or(status.since),
                    hold_until: old.map_or(Duration::ZERO, |old| old.hold_until),
                    status,
                    plan,
                });
            }
            Err(error) => tracing::error!(%error, "a schedule is left as it is"),
        }
    }
    Ok(entries)
}

/// The schedules of all tenants that this engine knows.
async fn all(inner: &Inner, lead: &Lead) -> Result<Vec<Record>> {
    let mut found = Vec::new();
    for tenant in lead.tenants() {
        let mut scan = Scan::of(&Scope::default(), SCHEDULE);
        (scan.tenant, scan.environment) = (tenant, None);
        while let Some(page) = next_page(inner, &mut scan).await? {
            found.extend(page);
        }
    }
    Ok(found)
}

fn put(key: &Key, status: &ScheduleStatus) -> Result<Put> {
    let unreadable =
        |error: serde_json::Error| Error::Unreadable { what: key.id.clone(), why: error.to_string() };
    let body = serde_json::to_value(status).map_err(unreadable)?;
    Ok(Put::Put { key: key.clone(), body, index: Vec::new() })
}
