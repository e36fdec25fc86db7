//! Plans that nobody applied are forgotten after a while: whoever looks at plans often, a pipeline
//! that plans each commit, would fill the state with them. What was applied stays with its run.

use std::{collections::BTreeMap, time::Duration};

use base::{Problem, Scope, Tenant, Timestamp};
use state::{Commit, Key, Precondition, Put, Scan};
use tasks::Shutdown;

use super::Engine;
use crate::{
    books::{Books, Versioned},
    record::{self, PlanRecord},
};

/// Plans of one environment that nobody applied; the oldest go first.
pub const UNAPPLIED_KEPT_MAX: usize = 100;
/// And none of them is kept for longer.
pub const UNAPPLIED_KEPT_FOR: Duration = Duration::from_secs(7 * 86_400);
/// How often that is looked at.
const FORGET_EVERY: Duration = Duration::from_secs(3_600);
/// A large plan is megabytes: so many are in memory at once.
const PAGE: usize = 10;

impl Engine {
    pub(super) async fn keep_plans_few(self, shutdown: Shutdown) {
        loop {
            if let Err(problem) = forget_old(&self.books, &self.ports.tenant, self.ports.clock.now()).await {
                tracing::warn!(%problem, "old plans could not be forgotten");
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(FORGET_EVERY) => {}
            }
        }
    }
}

/// Removes what is too old or too many; gives their number.
async fn forget_old(books: &Books, tenant: &Tenant, now: Timestamp) -> Result<usize, Problem> {
    let mut unapplied: BTreeMap<Scope, Vec<(Key, u64, Timestamp)>> = BTreeMap::new();
    let mut scan = Scan {
        tenant: tenant.clone(),
        environment: None,
        kind: record::PLAN.to_owned(),
        term: None,
        after: None,
        limit: PAGE,
    };
    loop {
        let (found, next) = books.page::<PlanRecord>(scan.clone()).await?;
        for (scope, Versioned { version, body }) in found {
            if body.plan.run.is_none() {
                let key = Key::new(&scope, record::PLAN, &body.plan.id);
                unapplied.entry(scope).or_default().push((key, version, body.created_at));
            }
        }
        match next {
            Some(next) => scan.after = Some(next),
            None => break,
        }
    }
    let mut count = 0;
    for plans in unapplied.into_values() {
        // Ids carry their time of creation, so the scan's order is that of age.
        let too_many = plans.len().saturating_sub(UNAPPLIED_KEPT_MAX);
        for (at, (key, version, created_at)) in plans.into_iter().enumerate() {
            if at >= too_many && now.since(created_at) < UNAPPLIED_KEPT_FOR {
                continue;
            }
            let commit = Commit {
                // It may be applied at this moment.
                preconditions: vec![Precondition::Version(key.clone(), version)],
                puts: vec![Put::Remove(key)],
                ..Commit::default()
            };
            match books.state.commit(commit).await {
                Ok(_) => count += 1,
                Err(state::Error::Conflict { .. }) => {}
                Err(error) => return Err(Problem::from_fault(&error)),
            }
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base::id::PlanId;
    use delivery_api::{Plan, PlanState, Source, Summary};

    use super::*;
    use crate::doubles::{Keep, Machine, ports};

    fn plan(scope: &Scope, created_at: Timestamp, run: Option<&str>) -> Put {
        let id = PlanId::new().to_string();
        let plan = Plan {
            id: id.clone(),
            environment: scope.environment.to_string(),
            state: PlanState::Open,
            created_at: created_at.to_string(),
            created_by: "person/ada".into(),
            source: Source::default(),
            steps: Vec::new(),
            summary: Summary::default(),
            warnings: Vec::new(),
            missing_blobs: Vec::new(),
            run: run.map(str::to_owned),
        };
        let stored =
            PlanRecord { v: PlanRecord::FORMAT, plan, basis: String::new(), work: Vec::new(), created_at };
        record::put(scope, record::PLAN, &id, &stored, &[])
    }

    #[tokio::test]
    async fn unapplied_plans_are_bounded_in_number_and_age_and_applied_ones_stay() {
        let home = tempfile::tempdir().unwrap();
        let ports = ports(home.path(), &Arc::new(Machine::default()), Keep::default());
        let books = Books { state: Arc::clone(&ports.state) };
        let (scope, now) = (Scope::default(), ports.clock.now());
        let staging = Scope { environment: base::Environment::parse("staging").unwrap(), ..scope.clone() };
        let old = Timestamp::from_nanos(now.nanos() - UNAPPLIED_KEPT_FOR.as_nanos() as i64);
        let mut puts = vec![plan(&scope, old, Some("run_1")), plan(&staging, old, None)];
        puts.extend((0..UNAPPLIED_KEPT_MAX + 7).map(|_| plan(&scope, now, None)));
        puts.push(plan(&staging, now, None));
        books.commit(Commit { puts: puts.clone(), ..Commit::default() }).await.unwrap();
        assert_eq!(forget_old(&books, &ports.tenant, now).await.unwrap(), 7 + 1);
        let left = async |scope: &Scope| {
            let found = books.all::<PlanRecord>(Scan::of(scope, record::PLAN)).await.unwrap();
            found.into_iter().map(|(_, found)| found.body.plan).collect::<Vec<_>>()
        };
        let here = left(&scope).await;
        assert_eq!(here.len(), UNAPPLIED_KEPT_MAX + 1);
        assert!(here.iter().any(|plan| plan.run.is_some()), "what was applied stays");
        // The oldest went: the newest of them all is still there.
        let newest = puts.iter().rev().nth(1).unwrap();
        let Put::Put { key, .. } = newest else { panic!() };
        assert!(ports.state.get(key.clone()).await.unwrap().is_some());
        assert_eq!(left(&staging).await.len(), 1);
        assert_eq!(forget_old(&books, &ports.tenant, now).await.unwrap(), 0);
    }
}
