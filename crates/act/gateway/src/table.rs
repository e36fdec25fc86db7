//! The routes as one thread sees them, and how a request finds its own.

use std::{
    collections::{HashMap, hash_map::RandomState},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
};

use base::id::{ReleaseId, ReplicaId};

use crate::{
    balance::{Budget, Upstream},
    plan::{Plan, PlannedRoute},
    stats::{Series, SeriesKey, ThreadStats},
};

/// Up to so many paths of one host are compared one after the other, which beats hashing.
const LINEAR_MAX: usize = 8;

#[derive(Debug, Default)]
pub(crate) struct Table {
    listeners: HashMap<String, Hosts>,
    upstreams: HashMap<(ReplicaId, SocketAddr), Rc<Upstream>>,
    routes: HashMap<String, Rc<Route>>,
}

#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) planned: Arc<PlannedRoute>,
    pub(crate) targets: Vec<Target>,
    pub(crate) budget: Budget,
    /// Counts what no replica took.
    pub(crate) refused: Rc<Series>,
}

#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) weight: u32,
    pub(crate) endpoints: Vec<Rc<Endpoint>>,
}

#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) upstream: Rc<Upstream>,
    pub(crate) series: Rc<Series>,
}

impl Table {
    /// The table of `plan`; routes, load averages and connections of `self` that stay are shared.
    pub(crate) fn next(&self, plan: &Plan, stats: &ThreadStats) -> Self {
        let mut next = Self::default();
        for planned in &plan.routes {
            let name = &planned.route.name;
            let route = match self.routes.get(name) {
                Some(same) if Arc::ptr_eq(&same.planned, planned) => same.clone(),
                _ => Rc::new(self.build(planned, stats, &mut next.upstreams)),
            };
            for endpoint in route.targets.iter().flat_map(|target| &target.endpoints) {
                let upstream = &endpoint.upstream;
                let key = (upstream.replica.clone(), upstream.address);
                next.upstreams.entry(key).or_insert_with(|| upstream.clone());
            }
            next.listeners.entry(planned.route.listener.clone()).or_default().insert(&route);
            next.routes.insert(name.clone(), route);
        }
        next.listeners.values_mut().for_each(Hosts::finish);
        next
    }

    fn build(
        &self,
        planned: &Arc<PlannedRoute>,
        stats: &ThreadStats,
        fresh: &mut HashMap<(ReplicaId, SocketAddr), Rc<Upstream>>,
    ) -> Route {
        let route = &planned.route;
        let series = |at: Option<(&ReleaseId, &ReplicaId)>| stats.series(&SeriesKey::new(route, at));
        let targets = route.targets.iter().zip(&planned.health).map(|(target, health)| {
            let endpoints = target.endpoints.iter().zip(health).map(|(endpoint, health)| {
                let key = (endpoint.replica.clone(), endpoint.address);
                let known = self.upstreams.get(&key).or_else(|| fresh.get(&key));
                let known = known.filter(|upstream| Arc::ptr_eq(&upstream.health, health)).cloned();
                let upstream = known.unwrap_or_else(|| {
                    Rc::new(Upstream::new(endpoint.replica.clone(), endpoint.address, health.clone()))
                });
                fresh.insert(key, upstream.clone());
                Rc::new(Endpoint { upstream, series: series(Some((&target.release, &endpoint.replica))) })
            });
            Target { weight: target.weight, endpoints: endpoints.collect() }
        });
        Route {
            targets: targets.collect(),
            budget: Budget::default(),
            refused: series(None),
            planned: planned.clone(),
        }
    }

    /// The route of a request. `host` may have a port; `path` is without the query.
    pub(crate) fn find(&self, listener: &str, host: &[u8], path: &[u8]) -> Option<&Rc<Route>> {
        self.listeners.get(listener)?.find(host, path)
    }

    /// All that this thread has connections to.
    pub(crate) fn upstreams(&self) -> impl Iterator<Item = &Rc<Upstream>> {
        self.upstreams.values()
    }
}

/// The routes of one listener by host.
#[derive(Debug, Default)]
struct Hosts {
    exact: HashMap<Box<[u8]>, Paths>,
    /// `.example.com` for `*.example.com`, longest first.
    suffixes: Vec<(Box<[u8]>, Paths)>,
    any: Paths,
}

impl Hosts {
    fn insert(&mut self, route: &Rc<Route>) {
        let host = route.planned.route.host.as_ref().map(|host| host.to_ascii_lowercase());
        let paths = match host.as_deref() {
            None | Some("" | "*") => &mut self.any,
            Some(host) => match host.strip_prefix('*') {
                None => self.exact.entry(host.as_bytes().into()).or_default(),
                Some(suffix) => {
                    let known = self.suffixes.iter().position(|(one, _)| **one == *suffix.as_bytes());
                    let at = known.unwrap_or_else(|| {
                        self.suffixes.push((suffix.as_bytes().into(), Paths::default()));
                        self.suffixes.len() - 1
                    });
                    &mut self.suffixes[at].1
                }
            },
        };
        paths.list.push((route.planned.route.path.trim_end_matches('/').as_bytes().into(), route.clone()));
    }

    fn finish(&mut self) {
        self.suffixes.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        let all = self.exact.values_mut().chain(self.suffixes.iter_mut().map(|(_, paths)| paths));
        all.chain([&mut self.any]).for_each(Paths::finish);
    }

    fn find(&self, host: &[u8], path: &[u8]) -> Option<&Rc<Route>> {
        if self.exact.is_empty() && self.suffixes.is_empty() {
            return self.any.find(path);
        }
        let host = without_port(host);
        let lower;
        let host = if host.iter().any(u8::is_ascii_uppercase) {
            lower = host.to_ascii_lowercase();
            &lower
        } else {
            host
        };
        let exact = self.exact.get(host).into_iter();
        let suffixes =
            self.suffixes.iter().filter(|(suffix, _)| host.len() > suffix.len() && host.ends_with(suffix));
        let mut all = exact.chain(suffixes.map(|(_, paths)| paths)).chain([&self.any]);
        all.find_map(|paths| paths.find(path))
    }
}

/// `example.com:80`, `[::1]:80` and `example.com.` without port and last dot.
pub(crate) fn without_port(host: &[u8]) -> &[u8] {
    let end = match host.iter().rposition(|byte| *byte == b':') {
        Some(colon) if host[colon + 1..].iter().all(u8::is_ascii_digit) && !host[..colon].contains(&b':') => {
            colon
        }
        Some(colon) if host[..colon].ends_with(b"]") => colon,
        _ => host.len(),
    };
    host[..end].strip_suffix(b".").unwrap_or(&host[..end])
}

/// The routes of one host, longest path first. `/` is stored as the empty prefix.
#[derive(Debug, Default)]
struct Paths {
    list: Vec<(Box<[u8]>, Rc<Route>)>,
    /// The same by prefix, when there are many.
    index: Option<HashMap<Box<[u8]>, Rc<Route>, RandomState>>,
}

impl Paths {
    fn finish(&mut self) {
        self.list.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        if self.list.len() > LINEAR_MAX {
            self.index = Some(self.list.iter().cloned().collect());
        }
    }

    fn find(&self, path: &[u8]) -> Option<&Rc<Route>> {
        let Some(index) = &self.index else {
            let starts = |prefix: &[u8]| {
                path.starts_with(prefix) && matches!(path.get(prefix.len()), None | Some(b'/'))
            };
            return self
                .list
                .iter()
                .find(|(prefix, _)| starts(prefix) || prefix.is_empty())
                .map(|(_, route)| route);
        };
        let mut prefix = path;
        loop {
            if let Some(route) = index.get(prefix) {
                return Some(route);
            }
            // The longest registered path bounds the walk: a path of 16 KiB of slashes is one
            // slice operation and not thousands of look-ups.
            let longest = self.list.first().map_or(0, |(path, _)| path.len());
            let border = prefix[..prefix.len().min(longest + 1)].iter().rposition(|byte| *byte == b'/');
            match border {
                Some(at) if at < prefix.len() => prefix = &prefix[..at],
                _ if prefix.is_empty() => return None,
                _ => prefix = b"",
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A route whose releases have these weights and numbers of endpoints.
    pub(crate) fn route(releases: &[(u32, usize)]) -> Route {
        let targets = releases.iter().map(|&(weight, count)| gateway_api::Target {
            release: ReleaseId::new(),
            weight,
            endpoints: (0..count)
                .map(|at| gateway_api::Endpoint {
                    replica: ReplicaId::new(),
                    address: SocketAddr::from(([127, 0, 0, 1], 1_000 + at as u16)),
                })
                .collect(),
        });
        let table = table(vec![planned("one", None, "/", targets.collect())]);
        let route = table.routes["one"].clone();
        drop(table);
        Rc::try_unwrap(route).unwrap()
    }

    pub(crate) fn planned(
        name: &str,
        host: Option<&str>,
        path: &str,
        targets: Vec<gateway_api::Target>,
    ) -> gateway_api::Route {
        gateway_api::Route {
            name: name.into(),
            scope: base::Scope::default(),
            service: name.into(),
            caller: None,
            listener: "public".into(),
            host: host.map(Into::into),
            path: path.into(),
            strip_prefix: false,
            policy: gateway_api::Policy::default(),
            targets,
        }
    }

    pub(crate) fn table(routes: Vec<gateway_api::Route>) -> Table {
        let listener = gateway_api::Listener {
            name: "public".into(),
            address: ([127, 0, 0, 1], 0).into(),
            tls: None,
            trust_forwarded: false,
        };
        let snapshot = gateway_api::Snapshot { version: 1, listeners: vec![listener], routes };
        let mut problems = Vec::new();
        let routes = crate::plan::routes(&snapshot, &Plan::default(), &mut Default::default(), &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        let plan = Plan { version: 1, listeners: Vec::new(), routes };
        Table::default().next(&plan, &ThreadStats::default())
    }
}

#[cfg(test)]
mod tests {
    use super::{testing::*, *};

    fn name_of(table: &Table, host: &str, path: &str) -> Option<String> {
        let route = table.find("public", host.as_bytes(), path.as_bytes())?;
        Some(route.planned.route.name.clone())
    }

    #[test]
    fn the_longest_host_then_the_longest_path_wins() {
        let table = table(vec![
            planned("any", None, "/", vec![]),
            planned("any-api", None, "/api", vec![]),
            planned("wild", Some("*.example.com"), "/", vec![]),
            planned("wilder", Some("*.a.example.com"), "/", vec![]),
            planned("exact", Some("Shop.example.com"), "/cart", vec![]),
            planned("exact-deep", Some("shop.example.com"), "/cart/items/", vec![]),
        ]);
        for (host, path, expected) in [
            ("other", "/", "any"),
            ("other", "/api", "any-api"),
            ("other", "/api/x", "any-api"),
            ("other", "/apix", "any"),
            ("other", "*", "any"),
            ("x.example.com", "/api", "wild"),
            ("x.a.example.com", "/", "wilder"),
            ("example.com", "/", "any"),
            ("SHOP.example.com:8443", "/cart", "exact"),
            ("shop.example.com.", "/cart/", "exact"),
            ("shop.example.com", "/cart/items", "exact-deep"),
            ("shop.example.com", "/cart/items/7", "exact-deep"),
            ("shop.example.com", "/carts", "wild"),
        ] {
            assert_eq!(name_of(&table, host, path).as_deref(), Some(expected), "{host} {path}");
        }
        assert!(table.find("another", b"x", b"/").is_none());
    }

    #[test]
    fn many_paths_give_the_same_answers_as_few() {
        let mut routes = vec![planned("/a", None, "/a", vec![]), planned("/a/b", None, "/a/b", vec![])];
        let few = table(routes.clone());
        routes.extend((0..100).map(|at| planned(&format!("/n{at}"), None, &format!("/n{at}"), vec![])));
        let many = table(routes);
        let long = format!("/a/{}", "/".repeat(16_000));
        for path in ["/", "/a", "/a/", "/a/b", "/a/b/c", "/a/bc", "/ab", "*", "", "//a", long.as_str()] {
            assert_eq!(name_of(&few, "h", path), name_of(&many, "h", path), "{path}");
        }
        assert_eq!(name_of(&many, "h", "/n42/x").as_deref(), Some("/n42"));
    }

    #[test]
    fn ports_come_off() {
        for (given, expected) in
            [("a:1", "a"), ("a", "a"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("a.:80", "a"), ("", "")]
        {
            assert_eq!(without_port(given.as_bytes()), expected.as_bytes());
        }
    }
}
