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
    serde_json::to_value(Description::openapi()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

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
