//! From what runs to what the gateway serves.

use std::collections::{BTreeMap, BTreeSet};

use base::{Scope, id::ReleaseId};
use gateway_api::{Endpoint, Listener, Policy, Route, Snapshot, Target};
use service_file::model::Run;

use super::live::{Definition, Live};
use crate::{decide, ports::Ports, record::BindingRecord};

/// Name of the listener that serves clients from outside.
pub const PUBLIC: &str = "public";

/// Listeners and routes for all services. The version is the caller's to set.
pub(crate) fn snapshot<'a>(
    ports: &Ports,
    services: impl Iterator<Item = &'a Live> + Clone,
    bindings: &BTreeMap<Scope, Vec<BindingRecord>>,
) -> Snapshot {
    let mut listeners = vec![Listener {
        name: PUBLIC.into(),
        address: ports.public_address,
        tls: ports.public_tls.clone(),
        trust_forwarded: false,
    }];
    let mut routes = Vec::new();
    for live in services.clone() {
        routes.extend(exposed(live));
    }
    let by_name: BTreeMap<(&Scope, &str), &Live> =
        services.map(|live| ((&live.scope, live.record.name.as_str()), live)).collect();
    for (scope, bindings) in bindings {
        for binding in bindings {
            let Some(live) = by_name.get(&(scope, binding.service.as_str())) else { continue };
            let name = format!("{}/{}->{}", scope.environment, binding.caller, binding.service);
            listeners.push(Listener {
                name: name.clone(),
                address: std::net::SocketAddr::from(([127, 0, 0, 1], binding.port)),
                tls: None,
                trust_forwarded: true,
            });
            routes.push(Route {
                name: name.clone(),
                scope: scope.clone(),
                service: binding.service.clone(),
                caller: Some(binding.caller.clone()),
                listener: name,
                host: None,
                path: "/".into(),
                strip_prefix: false,
                policy: Policy::default(),
                targets: targets(live, Run::PORT_MAIN),
            });
        }
    }
    Snapshot { version: 0, listeners, routes }
}

fn exposed(live: &Live) -> Vec<Route> {
    let Some(Definition::Service(service)) = &live.definition else { return Vec::new() };
    if live.record.removing || live.record.release.is_none() {
        return Vec::new();
    }
    let name = service.name.as_str();
    let several = service.expose.len() > 1;
    service
        .expose
        .iter()
        .enumerate()
        .map(|(index, way)| Route {
            name: if several {
                format!("{}/{name}#{index}", live.scope.environment)
            } else {
                format!("{}/{name}", live.scope.environment)
            },
            scope: live.scope.clone(),
            service: name.to_owned(),
            caller: None,
            listener: PUBLIC.into(),
            host: way.host.clone(),
            path: way.path.clone(),
            strip_prefix: way.strip_prefix,
            policy: Policy {
                response_timeout_ms: u64::try_from(way.timeout.get().as_millis()).unwrap_or(u64::MAX),
                request_body_bytes_max: way.body_max.get(),
                attempts_max: way.retries.saturating_add(1),
                ..Policy::default()
            },
            targets: targets(live, &way.port),
        })
        .collect()
}

/// Ready replicas by release, weighted by their number; weights add up to 100.
fn targets(live: &Live, port: &str) -> Vec<Target> {
    let mut by_release: BTreeMap<&ReleaseId, Vec<Endpoint>> = BTreeMap::new();
    for replica in live.replicas.values() {
        if replica.phase() != decide::Phase::Ready {
            continue;
        }
        let Some(number) = replica.port(port) else { continue };
        by_release.entry(&replica.observed.release).or_default().push(Endpoint {
            replica: replica.observed.id.clone(),
            address: std::net::SocketAddr::from(([127, 0, 0, 1], number)),
        });
    }
    let counts: Vec<usize> = by_release.values().map(Vec::len).collect();
    let weights = weights(&counts);
    by_release
        .into_iter()
        .zip(weights)
        .map(|((release, endpoints), weight)| Target { release: release.clone(), weight, endpoints })
        .collect()
}

/// Shares of 100 in proportion to `counts`, by the largest remainder, so that they add up exactly.
fn weights(counts: &[usize]) -> Vec<u32> {
    let total: usize = counts.iter().sum();
    if total == 0 {
        return vec![0; counts.len()];
    }
    let mut shares: Vec<u32> =
        counts.iter().map(|count| u32::try_from(count * 100 / total).unwrap_or(100)).collect();
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(counts[*index] * 100 % total));
    let missing = 100u32.saturating_sub(shares.iter().sum()) as usize;
    for index in order.into_iter().take(missing) {
        shares[index] += 1;
    }
    shares
}

/// Replicas that the snapshot sends requests to.
pub(crate) fn routed(snapshot: &Snapshot) -> BTreeSet<String> {
    snapshot
        .routes
        .iter()
        .flat_map(|route| &route.targets)
        .flat_map(|target| &target.endpoints)
        .map(|endpoint| endpoint.replica.to_string())
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::weights;

    proptest! {
        #[test]
        fn weights_add_up_to_100(counts in prop::collection::vec(1usize..50, 1..8)) {
            let shares = weights(&counts);
            prop_assert_eq!(shares.iter().sum::<u32>(), 100);
            for (index, other) in counts.iter().zip(&shares).collect::<Vec<_>>().windows(2).enumerate() {
                let ((left, left_share), (right, right_share)) = (other[0], other[1]);
                prop_assert!(left < right || left_share >= right_share || left == right, "{}", index);
            }
        }
    }
}
