//! The table of routes: method, path, what it needs. The gate knows no other.

use access::Action;
use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::Method,
    middleware,
    routing::{MethodRouter, any, delete, get, patch, post, put},
};

use crate::{BODY_BYTES_MAX, PLAN_BYTES_MAX, PREFIX, Ports, SIGN_IN_BYTES_MAX, gate, handlers as h};

/// What a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Nothing: these are the only exceptions to authentication.
    Open,
    Needs(Action),
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    pub method: &'static str,
    /// Below [`PREFIX`].
    pub path: &'static str,
    pub gate: Gate,
}

macro_rules! table {
    ($($method:literal $path:literal $gate:expr, $handler:expr;)+) => {
        /// All routes.
        pub const TABLE: &[Route] = &[$(Route { method: $method, path: $path, gate: $gate }),+];

        fn all() -> Vec<(&'static str, MethodRouter<Ports>)> {
            vec![$(($path, $handler)),+]
        }
    };
}

use Gate::{Needs, Open};

table! {
    "GET" "/health" Open, get(h::machine::health);
    "GET" "/ready" Open, get(h::machine::ready);
    "POST" "/session" Open, post(h::session::sign_in);
    "GET" "/session" Needs(Action::ReadMachine), get(h::session::show);
    "DELETE" "/session" Needs(Action::OwnAccess), delete(h::session::sign_out);
    "PUT" "/session/password" Needs(Action::OwnAccess), put(h::session::set_password);
    "GET" "/info" Needs(Action::ReadMachine), get(h::machine::info);
    "GET" "/stream" Needs(Action::ReadServices), get(h::stream::changes);
    "GET" "/services" Needs(Action::ReadServices), get(h::services::list);
    "GET" "/services/{name}" Needs(Action::ReadServices), get(h::services::show);
    "POST" "/services/{name}/restart" Needs(Action::Restart), post(h::services::restart);
    "POST" "/services/{name}/scale" Needs(Action::Scale), post(h::services::scale);
    "POST" "/services/{name}/jobs/{job}/run" Needs(Action::RunJob), post(h::services::run_job);
    "POST" "/services/{name}/exec" Needs(Action::Exec), post(h::services::exec);
    "GET" "/services/{name}/traffic" Needs(Action::ReadServices), get(h::services::traffic);
    "GET" "/services/{name}/logs" Needs(Action::ReadLogs), get(h::logs::read);
    "GET" "/services/{name}/logs/stream" Needs(Action::ReadLogs), get(h::logs::follow);
    "GET" "/map" Needs(Action::ReadServices), get(h::services::map);
    "POST" "/plans" Needs(Action::Plan), post(h::plans::make);
    "GET" "/plans" Needs(Action::ReadServices), get(h::plans::list);
    "GET" "/plans/{id}" Needs(Action::ReadServices), get(h::plans::show);
    "POST" "/plans/{id}/apply" Needs(Action::Apply), post(h::plans::apply);
    "GET" "/runs" Needs(Action::ReadServices), get(h::plans::runs);
    "GET" "/runs/{id}" Needs(Action::ReadServices), get(h::plans::run);
    "POST" "/runs/{id}/cancel" Needs(Action::Apply), post(h::plans::cancel);
    "PUT" "/artifacts" Needs(Action::Plan), put(h::plans::upload);
    "GET" "/events" Needs(Action::ReadLedger), get(h::events::list);
    "GET" "/events/export" Needs(Action::ReadLedger), get(h::events::export);
    "GET" "/events/verify" Needs(Action::VerifyLedger), get(h::events::verify);
    "GET" "/secrets" Needs(Action::ReadSecretNames), get(h::secrets::list);
    "PUT" "/secrets/{name}" Needs(Action::ManageSecrets), put(h::secrets::set);
    "DELETE" "/secrets/{name}" Needs(Action::ManageSecrets), delete(h::secrets::remove);
    "GET" "/people" Needs(Action::ReadPeople), get(h::people::list);
    "POST" "/people" Needs(Action::ManagePeople), post(h::people::invite);
    "PATCH" "/people/{id}" Needs(Action::ManagePeople), patch(h::people::change);
    "POST" "/people/{id}/link" Needs(Action::ManagePeople), post(h::people::link);
    "GET" "/tokens" Needs(Action::OwnAccess), get(h::people::tokens);
    "POST" "/tokens" Needs(Action::OwnAccess), post(h::people::create_token);
    "DELETE" "/tokens/{id}" Needs(Action::OwnAccess), delete(h::people::revoke_token);
    "POST" "/machine/backup" Needs(Action::Backup), post(h::machine::backup);
    "POST" "/machine/shutdown" Needs(Action::Shutdown), post(h::machine::shutdown);
    "POST" "/machine/upgrade" Needs(Action::Upgrade), post(h::machine::upgrade);
}

/// Routes under one prefix and what each needs: the API itself, or a surface that speaks as another
/// product does (`/prometheus`).
#[derive(Debug, Clone, Copy)]
pub struct Surface {
    pub prefix: &'static str,
    pub table: &'static [Route],
    /// Clients of other products know a password and no bearer token: a refusal asks for one.
    pub basic: bool,
}

/// Stead's own API.
pub const API: Surface = Surface { prefix: PREFIX, table: TABLE, basic: false };

impl Surface {
    /// The rule for a request, by method and matched path. HEAD follows GET.
    #[must_use]
    pub fn gate(&self, method: &Method, matched: &str) -> Option<Gate> {
        let path = matched.strip_prefix(self.prefix)?;
        let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
        self.table.iter().find(|route| route.method == method && route.path == path).map(|route| route.gate)
    }
}

/// What a body may be; `/artifacts` is a stream that is never held whole.
fn body_bytes_max(path: &str) -> usize {
    match path {
        "/plans" => PLAN_BYTES_MAX,
        "/session" => SIGN_IN_BYTES_MAX,
        _ => BODY_BYTES_MAX,
    }
}

pub(crate) fn router(ports: Ports) -> Router {
    let mut router = Router::new();
    for (path, handler) in all() {
        let limited = handler.layer(DefaultBodyLimit::max(body_bytes_max(path)));
        router = router.route(&format!("{PREFIX}{path}"), limited);
    }
    // Behind no gate: it tells nothing but that there is nothing.
    let nothing = format!("{PREFIX}/{{*path}}");
    guarded(&ports, API, router).route(&nothing, any(h::nothing)).with_state(ports)
}

/// `router`, whose paths begin with the surface's prefix, behind the gate. Its handlers find who asks
/// as [`gate::Caller`] and [`base::Ctx`] among the extensions of the request.
pub fn guarded<S: Clone + Send + Sync + 'static>(
    ports: &Ports,
    surface: Surface,
    router: Router<S>,
) -> Router<S> {
    let guarded = gate::Guarded { ports: ports.clone(), surface };
    router.route_layer(middleware::from_fn_with_state(guarded, gate::guard))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_is_described_and_every_description_has_a_route() {
        let described: BTreeSet<(String, String)> = crate::openapi()["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, methods)| {
                methods
                    .as_object()
                    .unwrap()
                    .keys()
                    .map(|method| (method.to_uppercase(), path.clone()))
                    .collect::<Vec<_>>()
            })
            .collect();
        let routed: BTreeSet<(String, String)> =
            TABLE.iter().map(|route| (route.method.to_owned(), format!("{PREFIX}{}", route.path))).collect();
        assert_eq!(described, routed);
        assert_eq!(routed.len(), TABLE.len(), "a route stands in the table twice");
    }

    #[test]
    fn only_these_are_open() {
        let open: Vec<_> = TABLE
            .iter()
            .filter(|route| route.gate == Gate::Open)
            .map(|route| (route.method, route.path))
            .collect();
        assert_eq!(open, [("GET", "/health"), ("GET", "/ready"), ("POST", "/session")]);
    }
}
