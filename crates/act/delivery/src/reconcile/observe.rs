//! Reading: records from state, replicas from the driver, the last routes from disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use base::{Scope, id::ReplicaId};
use runtime_api::Observed;
use state::Scan;

use super::{
    OBSERVE_EVERY, RELOAD_EVERY, Reconciler, Report, Stale, checks,
    live::{Definition, Live, ReplicaLive},
    routes,
};
use crate::record::{self, BindingRecord, ReleaseRecord, ServiceRecord};

impl Reconciler {
    pub(super) async fn restore_routes(&mut self) {
        if self.restored {
            return;
        }
        match self.ports.gateway.published().await {
            Ok(snapshot) => {
                self.adopted_ready = snapshot.as_ref().map(routes::routed).unwrap_or_default();
                self.snapshot = snapshot;
                self.restored = true;
            }
            Err(problem) => tracing::warn!(%problem, "the last routes cannot be read"),
        }
    }

    /// Reads the records anew when they changed. True when all is known.
    pub(super) async fn reload(&mut self) -> bool {
        let now = self.now();
        if !self.dirty && now < self.reload_at {
            return true;
        }
        match self.read_records().await {
            Ok(()) => {
                self.dirty = false;
                self.stale = Stale::Some(BTreeSet::new());
                self.reload_at = now + RELOAD_EVERY;
                true
            }
            Err(problem) => {
                tracing::warn!(%problem, "records cannot be read; what runs goes on running");
                self.reload_at = now + Duration::from_secs(1);
                false
            }
        }
    }

    async fn read_records(&mut self) -> Result<(), base::Problem> {
        let everywhere = |kind: &str| Scan {
            tenant: self.tenant().clone(),
            environment: None,
            kind: kind.to_owned(),
            term: None,
            after: None,
            limit: Scan::LIMIT_MAX,
        };
        let services = self.books.all::<ServiceRecord>(everywhere(record::SERVICE)).await?;
        let bindings = self.books.all::<BindingRecord>(everywhere(record::BINDING)).await?;
        self.bindings.clear();
        for (scope, found) in bindings {
            self.bindings.entry(scope).or_default().push(found.body);
        }
        let mut gone: BTreeSet<(Scope, String)> = self.services.keys().cloned().collect();
        for (scope, found) in services {
            let key = (scope.clone(), found.body.name.clone());
            gone.remove(&key);
            let wall = self.ports.clock.now();
            let live = self
                .services
                .entry(key)
                .or_insert_with(|| Live::new(scope.clone(), found.body.clone(), found.version, wall));
            live.generation = found.version;
            let changed = *live.record != found.body;
            if changed {
                live.record = Arc::new(found.body);
            }
            let current = live.release.as_ref().map(|release| &release.id);
            let stale = current.is_some_and(|release| self.stale.has(release.as_str()));
            let other = current != live.record.release.as_ref() || stale;
            if other {
                live.release = match &live.record.release {
                    Some(id) => self.books.release(&scope, id.as_str()).await?.map(Arc::new),
                    None => None,
                };
            }
            if other || changed {
                live.definition = live.release.as_ref().and_then(|release| definition(&live.record, release));
            }
            let revision = live.record.revision();
            if live.revision != revision {
                live.revision = revision;
                live.rollout_since = self.ports.clock.monotonic();
                live.rolled_out = false;
                live.completed = 0;
                live.start_problem = None;
                live.backoff.succeeded();
            }
        }
        for key in gone {
            // A removed record whose replicas still run: they are stopped by the turn.
            let empty = self.services.get(&key).is_none_or(|live| live.replicas.is_empty());
            if empty {
                self.services.remove(&key);
            } else if let Some(live) = self.services.get_mut(&key) {
                Arc::make_mut(&mut live.record).removing = true;
            }
        }
        Ok(())
    }

    /// Looks at all replicas when it is time. True when they are known.
    pub(super) async fn observe(&mut self) -> bool {
        let now = self.now();
        if now < self.observe_at {
            return true;
        }
        let seen = match self.ports.driver.list().await {
            Ok(seen) => seen,
            Err(error) => {
                tracing::warn!(%error, "replicas cannot be listed");
                self.observe_at = now + Duration::from_secs(1);
                return false;
            }
        };
        self.observe_at = now + OBSERVE_EVERY;
        let mut present: BTreeMap<ReplicaId, Observed> =
            seen.into_iter().map(|observed| (observed.id.clone(), observed)).collect();
        for live in self.services.values_mut() {
            live.replicas.retain(|id, replica| match present.remove(id) {
                Some(observed) => {
                    replica.see(observed, now);
                    true
                }
                None => false,
            });
        }
        self.owners
            .retain(|id, key| self.services.get(key).is_some_and(|live| live.replicas.contains_key(id)));
        for (id, observed) in present {
            self.adopt(id, observed, now);
        }
        self.account_for_ends().await;
        true
    }

    /// Takes in a replica that was not known: just started, or started by an earlier control.
    fn adopt(&mut self, id: ReplicaId, observed: Observed, now: Duration) {
        let key = (observed.scope.clone(), observed.service.clone());
        let wall = self.ports.clock.now();
        let Some(live) = self.services.get_mut(&key) else {
            if !self.looked {
                return;
            }
            // Nothing on record wants it: it goes.
            let orphan = orphan_record(&observed);
            let mut live = Live::new(observed.scope.clone(), orphan, 0, wall);
            live.replicas.insert(id.clone(), ReplicaLive::new(observed, now));
            self.owners.insert(id, key.clone());
            self.services.insert(key, live);
            return;
        };
        let mut replica = ReplicaLive::new(observed, now);
        let adopted_ready = self.adopted_ready.contains(id.as_str());
        if let Some(definition) = live.definition.as_ref().filter(|_| replica.job().is_none()) {
            checks::set_up(&mut replica, definition, adopted_ready, live.record.port);
        }
        self.owners.insert(id.clone(), key);
        live.replicas.insert(id, replica);
    }

    /// The first snapshot that the gateway serves, asked while a replica waits to leave the routes.
    pub(super) fn ask_gateway(&mut self) {
        if self.gateway_asked {
            return;
        }
        self.gateway_asked = true;
        let (gateway, reports) = (Arc::clone(&self.ports.gateway), self.reports.clone());
        let spawned = self.ports.tasks.spawn_once(tasks::Kind::WORK, "gateway status", move |_| async move {
            let version = gateway.status().await.map_or(0, |status| status.snapshot_version);
            let _ = reports.send(Report::GatewayVersion(version)).await;
        });
        if spawned.is_err() {
            self.gateway_asked = false;
        }
    }
}

fn definition(record: &ServiceRecord, release: &ReleaseRecord) -> Option<Definition> {
    let value = release.definition.clone();
    if record.is_platform_service() {
        serde_json::from_value(value).ok().map(Definition::Need)
    } else {
        // Replicas, routes and ownership come from the record: they change without a release.
        let mut service = service_file::model::Service::from_canonical(value).ok()?;
        if let Ok(now) = service_file::model::Service::from_canonical(record.definition.clone()) {
            service.expose = now.expose;
            service.description = now.description;
            service.owner = now.owner;
            service.tier = now.tier;
            service.links = now.links;
        }
        Some(Definition::Service(Box::new(service)))
    }
}

fn orphan_record(observed: &Observed) -> ServiceRecord {
    ServiceRecord {
        v: ServiceRecord::FORMAT,
        entity: base::id::EntityId::new(),
        name: observed.service.clone(),
        kind: delivery_api::Kind::Service,
        belongs_to: None,
        project: String::new(),
        definition: serde_json::Value::Null,
        replicas: 0,
        release: None,
        restarts: 0,
        removing: true,
        user: None,
        password: None,
        port: None,
        created_at: base::Timestamp::default(),
        changed_by: None,
    }
}
