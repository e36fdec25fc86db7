//! The description of the API, generated from the handlers.

use utoipa::OpenApi;

use crate::handlers as h;

#[derive(OpenApi)]
#[openapi(
    info(title = "Stead", version = "1", description = "The API of Stead. Additive only within v1."),
    paths(
        h::machine::health,
        h::machine::ready,
        h::machine::info,
        h::machine::backup,
        h::machine::shutdown,
        h::machine::upgrade,
        h::session::sign_in,
        h::session::show,
        h::session::sign_out,
        h::session::set_password,
        h::stream::changes,
        h::services::list,
        h::services::show,
        h::services::restart,
        h::services::scale,
        h::services::run_job,
        h::services::exec,
        h::services::traffic,
        h::services::map,
        h::logs::read,
        h::logs::follow,
        h::plans::make,
        h::plans::list,
        h::plans::show,
        h::plans::apply,
        h::plans::runs,
        h::plans::run,
        h::plans::cancel,
        h::plans::upload,
        h::events::list,
        h::events::export,
        h::events::verify,
        h::secrets::list,
        h::secrets::set,
        h::secrets::remove,
        h::people::list,
        h::people::invite,
        h::people::change,
        h::people::link,
        h::people::tokens,
        h::people::create_token,
        h::people::revoke_token,
    ),
    components(schemas(api_types::Problem, api_types::LogLine, api_types::Change))
)]
struct Description;

/// OpenAPI 3.1 as JSON.
#[must_use]
pub fn openapi() -> serde_json::Value {
    let mut description = serde_json::to_value(Description::openapi()).unwrap_or_default();
    let paths = description.get_mut("paths").and_then(serde_json::Value::as_object_mut);
    for (path, methods) in paths.into_iter().flatten() {
        for (method, operation) in methods.as_object_mut().into_iter().flatten() {
            operation["operationId"] = operation_id(path, method).into();
        }
    }
    description
}

/// A name that no other operation has: `GET /services/{name}/logs` is `get_services_name_logs`.
/// The handlers' own names, which the generator would take, are only unique within their module.
fn operation_id(path: &str, method: &str) -> String {
    let words = path.trim_start_matches(crate::PREFIX).split('/').map(|word| word.trim_matches(['{', '}']));
    words.filter(|word| !word.is_empty()).fold(method.to_owned(), |id, word| format!("{id}_{word}"))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    #[test]
    fn every_operation_has_a_name_of_its_own() {
        let description = super::openapi();
        let paths = description["paths"].as_object().unwrap();
        let ids: Vec<_> = paths
            .values()
            .flat_map(|methods| methods.as_object().unwrap().values())
            .map(|operation| operation["operationId"].as_str().unwrap())
            .collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    }

    /// The description that clients are generated from is the one this code gives.
    #[test]
    fn the_checked_in_description_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/reference/openapi.json");
        let now = format!("{}\n", serde_json::to_string_pretty(&super::openapi()).unwrap());
        if std::env::var_os("STEAD_BLESS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &now).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == now,
            "docs/reference/openapi.json is stale: run with STEAD_BLESS=1, then `cargo xtask generate`"
        );
    }
}
