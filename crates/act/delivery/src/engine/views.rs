//! What is shown: services, their details, traffic, the map.

use std::collections::{BTreeMap, BTreeSet};

use base::{Class, Problem, Scope};
use delivery_api::{
    Binding, Endpoint, Health, Kind, Map, MapEdge, MapNode, Release, Series, Service, ServiceDetail,
    port::Result, service::Link,
};
use service_file::model::{NeedKind, Service as Definition};

use super::Engine;
use crate::{
    planner,
    reconcile::{ServiceNow, World, routes::PUBLIC, start::credential_secret},
    record::ReleaseRecord,
    traffic::{self, Rates},
};

/// The map and the rates on it look back this far.
const MAP_SECONDS: u32 = 60;
/// Releases that a service's page lists.
const RELEASES_LISTED: usize = 50;
/// Of these, the newest so many with their definition: it is what makes an answer large.
const RELEASES_DEFINED: usize = 10;
/// Stands on the map for clients outside.
const INTERNET: &str = "internet";

impl Engine {
    pub(super) fn list_services(&self, scope: &Scope) -> Vec<Service> {
        let world = self.shared.world();
        let endpoints = self.endpoints(scope, &world);
        world
            .services
            .iter()
            .filter(|((of, _), now)| of == scope && is_shown(now))
            .map(|(_, now)| summary(scope, now, endpoints.get(now.record.name.as_str())))
            .collect()
    }

    pub(super) async fn show_service(&self, scope: &Scope, name: &str) -> Result<ServiceDetail> {
        let world = self.shared.world();
        let now = world.service(scope, name).filter(|now| is_shown(now)).ok_or_else(|| {
            Problem::new(Class::NotFound, "delivery.no_service", format!("there is no service `{name}`"))
                .with_hint("`stead status` lists the services of an environment")
        })?;
        let releases = self.books.releases(scope, name).await?;
        let definition = definition_of(now);
        let bindings = self.books.bindings(scope).await?;
        let public = self.endpoints(scope, &world).remove(name).unwrap_or_default();
        let service = summary(scope, now, Some(&public));
        let endpoints = public.into_iter().chain(
            bindings.iter().filter(|binding| binding.service == name).map(|binding| Endpoint {
                audience: binding.caller.clone(),
                url: format!("http://127.0.0.1:{}", binding.port),
            }),
        );
        Ok(ServiceDetail {
            service,
            generation: now.generation,
            replicas: now.replicas.clone(),
            releases: releases
                .iter()
                .take(RELEASES_LISTED)
                .enumerate()
                .map(|(index, release)| {
                    let definition = (index < RELEASES_DEFINED).then(|| release.definition.clone());
                    Release { definition, ..release_view(release) }
                })
                .collect(),
            bindings: definition
                .as_ref()
                .map(bindings_of)
                .unwrap_or_default()
                .into_iter()
                .map(|binding| with_password(binding, &world, scope))
                .collect(),
            endpoints: endpoints.collect(),
            definition: now.record.definition.clone(),
            links: definition
                .map(|definition| {
                    definition
                        .links
                        .into_iter()
                        .map(|link| Link { title: link.title, url: link.url })
                        .collect()
                })
                .unwrap_or_default(),
        })
    }

    /// Where the services of an environment are reached from outside, by their name.
    fn endpoints<'w>(&self, scope: &Scope, world: &'w World) -> BTreeMap<&'w str, Vec<Endpoint>> {
        let scheme = if self.ports.public_tls.is_some() { "https" } else { "http" };
        let address = self.public_address(world);
        let routes = world.snapshot.iter().flat_map(|snapshot| &snapshot.routes);
        let mut found: BTreeMap<&str, Vec<Endpoint>> = BTreeMap::new();
        for route in routes.filter(|route| route.listener == PUBLIC && route.scope == *scope) {
            let host = match &route.host {
                Some(host) => format!("{host}:{}", address.port()),
                None => address.to_string(),
            };
            let url = format!("{scheme}://{host}{}", route.path);
            found
                .entry(route.service.as_str())
                .or_default()
                .push(Endpoint { audience: "public".into(), url });
        }
        found
    }

    fn public_address(&self, world: &World) -> std::net::SocketAddr {
        let listener =
            world.snapshot.iter().flat_map(|snapshot| &snapshot.listeners).find(|one| one.name == PUBLIC);
        listener.map_or(self.ports.public_address, |listener| listener.address)
    }

    pub(super) fn series(&self, scope: &Scope, service: &str, seconds: u32) -> Series {
        let now = self.ports.clock.now();
        match self.shared.window.lock() {
            Ok(window) => window.series(scope, service, seconds, now),
            Err(_) => Series { service: service.to_owned(), step_seconds: 1, points: Vec::new() },
        }
    }

    pub(super) async fn draw_map(&self, scope: &Scope) -> Result<Map> {
        let world = self.shared.world();
        let now = self.ports.clock.now();
        let rates = match self.shared.window.lock() {
            Ok(window) => window.rates(scope, MAP_SECONDS, now),
            Err(_) => BTreeMap::new(),
        };
        let shown: Vec<&ServiceNow> = world
            .services
            .iter()
            .filter(|((of, _), service)| of == scope && is_shown(service))
            .map(|(_, service)| service)
            .collect();
        let mut edges = declared(&shown);
        let exposed: BTreeSet<&str> = world
            .snapshot
            .iter()
            .flat_map(|snapshot| &snapshot.routes)
            .filter(|route| route.listener == PUBLIC && route.scope == *scope)
            .map(|route| route.service.as_str())
            .collect();
        for service in &exposed {
            edges.insert((INTERNET.to_owned(), (*service).to_owned()), true);
        }
        for (service, caller) in rates.keys() {
            let from = caller.clone().unwrap_or_else(|| INTERNET.to_owned());
            edges.entry((from, service.clone())).or_insert(false);
        }
        let mut nodes: Vec<MapNode> = shown.iter().map(|service| node(service, &rates)).collect();
        if edges.keys().any(|(from, _)| from == INTERNET) {
            nodes.push(internet(&rates));
        }
        let known: BTreeSet<String> = nodes.iter().map(|node| node.name.clone()).collect();
        let edges = edges
            .into_iter()
            .filter(|((from, to), _)| known.contains(from) && known.contains(to))
            .map(|((from, to), declared)| edge(from, to, declared, &rates))
            .collect();
        Ok(Map { nodes, edges })
    }
}

fn summary(scope: &Scope, now: &ServiceNow, endpoints: Option<&Vec<Endpoint>>) -> Service {
    let definition = definition_of(now);
    let needs = definition.as_ref().map(needs_of).unwrap_or_default();
    Service {
        id: now.record.entity.to_string(),
        name: now.record.name.clone(),
        kind: now.record.kind,
        environment: scope.environment.to_string(),
        description: definition.as_ref().and_then(|definition| definition.description.clone()),
        owner: definition.as_ref().and_then(|definition| definition.owner.clone()),
        tier: definition.as_ref().map_or("standard", |definition| definition.tier.as_str()).to_owned(),
        health: now.health,
        reason: now.reason.clone(),
        since: now.since.to_string(),
        replicas_ready: now.ready,
        replicas_wanted: now.wanted,
        release: now.release.as_deref().map(release_view),
        url: endpoints.and_then(|all| all.first()).map(|endpoint| endpoint.url.clone()),
        needs,
        belongs_to: now.record.belongs_to.clone(),
    }
}

type RatesByEdge = BTreeMap<(String, Option<String>), Rates>;

/// Platform services that were given up keep a record for their data, but are not shown.
fn is_shown(now: &ServiceNow) -> bool {
    now.record.release.is_some() || now.record.removing || !now.record.is_platform_service()
}

fn definition_of(now: &ServiceNow) -> Option<Definition> {
    if now.record.is_platform_service() {
        return None;
    }
    Definition::from_canonical(now.record.definition.clone()).ok()
}

fn needs_of(definition: &Definition) -> Vec<String> {
    definition
        .needs
        .iter()
        .map(|(need, wish)| match &wish.kind {
            NeedKind::Service { service } => service.to_string(),
            _ => planner::need_name(definition.name.as_str(), need.as_str()),
        })
        .collect()
}

fn bindings_of(definition: &Definition) -> Vec<Binding> {
    definition
        .needs
        .iter()
        .map(|(need, wish)| {
            let (kind, target) = match &wish.kind {
                NeedKind::Service { service } => (Kind::Service, service.to_string()),
                NeedKind::Postgres(_) => {
                    (Kind::Postgres, planner::need_name(definition.name.as_str(), need.as_str()))
                }
                NeedKind::Redis(_) => {
                    (Kind::Redis, planner::need_name(definition.name.as_str(), need.as_str()))
                }
            };
            Binding {
                need: need.to_string(),
                kind,
                target,
                environment: wish.environment.values().cloned().collect(),
                password_version: None,
            }
        })
        .collect()
}

fn with_password(mut binding: Binding, world: &World, scope: &Scope) -> Binding {
    if let Some(now) = world.service(scope, &binding.target).filter(|now| now.record.is_platform_service()) {
        let secret = credential_secret(&binding.target, crate::need::PASSWORD).ok();
        let pinned = now
            .release
            .as_ref()
            .zip(secret)
            .and_then(|(release, secret)| release.secrets.get(secret.as_str()).copied());
        binding.password_version = now.record.password.as_ref().map(|password| password.current).or(pinned);
    }
    binding
}

pub(super) fn release_view(release: &ReleaseRecord) -> Release {
    Release {
        id: release.id.to_string(),
        number: release.number,
        state: release.state,
        created_at: release.created_at.to_string(),
        created_by: release.created_by.clone(),
        source: release.source.clone(),
        artifact: release.artifact.clone(),
        secrets: release.secrets.iter().map(|(name, version)| format!("{name}@{version}")).collect(),
        reason: release.reason.clone(),
        definition: None,
    }
}

/// Edges that stand in service files, from who needs to what is needed.
fn declared(shown: &[&ServiceNow]) -> BTreeMap<(String, String), bool> {
    let mut edges = BTreeMap::new();
    for service in shown {
        for need in definition_of(service).as_ref().map(needs_of).unwrap_or_default() {
            edges.insert((service.record.name.clone(), need), true);
        }
    }
    edges
}

fn node(service: &ServiceNow, rates: &RatesByEdge) -> MapNode {
    let name = &service.record.name;
    let total = traffic::total(rates.iter().filter(|((called, _), _)| called == name).map(|(_, rate)| rate));
    MapNode {
        name: name.clone(),
        kind: Some(service.record.kind),
        health: Some(service.health),
        reason: service.reason.clone().filter(|_| service.health != Health::Healthy),
        replicas_ready: service.ready,
        replicas_wanted: service.wanted,
        requests_per_second: total.requests_per_second,
        error_ratio: total.error_ratio,
        p99_ms: total.p99_ms,
    }
}

fn internet(rates: &RatesByEdge) -> MapNode {
    let total =
        traffic::total(rates.iter().filter(|((_, caller), _)| caller.is_none()).map(|(_, rate)| rate));
    MapNode {
        name: INTERNET.into(),
        kind: None,
        health: None,
        reason: None,
        replicas_ready: 0,
        replicas_wanted: 0,
        requests_per_second: total.requests_per_second,
        error_ratio: total.error_ratio,
        p99_ms: total.p99_ms,
    }
}

fn edge(from: String, to: String, declared: bool, rates: &RatesByEdge) -> MapEdge {
    let caller = (from != INTERNET).then(|| from.clone());
    let seen = rates.get(&(to.clone(), caller)).copied().unwrap_or_default();
    MapEdge {
        from,
        to,
        declared,
        observed: seen.requests_per_second > 0.0,
        requests_per_second: seen.requests_per_second,
        error_ratio: seen.error_ratio,
        p99_ms: seen.p99_ms,
    }
}
