//! Which passwords a running cluster takes.
//!
//! PostgreSQL keeps one password per role, so two passwords that work at the same time are two roles.
//! Each is a member of [`ROLE`] and becomes it when it signs in (`ALTER ROLE … SET role`), so that
//! whatever a session makes belongs to [`ROLE`], and a role that is retired leaves nothing behind.

use base::{Class, Problem};

use super::{ROLE, SUPERUSER, login, programs, quoted};
use crate::need::{Credentials, Login, Place, host};

/// Statements that let `accepted` in; its role exists.
pub(super) fn admit(accepted: &Login) -> Vec<String> {
    let (role, password) = (login(accepted.version), quoted(&accepted.password));
    let mut statements = vec![format!("ALTER ROLE {role} LOGIN PASSWORD '{password}';")];
    if role != ROLE {
        statements.push(format!("GRANT {ROLE} TO {role};"));
        statements.push(format!("ALTER ROLE {role} SET role TO '{ROLE}';"));
    }
    statements
}

/// The script for `psql`. Each statement stands alone and can be repeated: a session that is ended must
/// not get in again before the end of a transaction.
fn script(credentials: &Credentials, retired: &[Login]) -> String {
    let mut lines = Vec::new();
    for accepted in credentials.accepted() {
        let role = login(accepted.version);
        if role != ROLE {
            let absent = format!("NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = '{role}')");
            lines.push(format!("SELECT 'CREATE ROLE {role}' WHERE {absent} \\gexec"));
        }
        lines.extend(admit(accepted));
    }
    for gone in retired {
        let role = login(gone.version);
        let present = format!("EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = '{role}')");
        let mut when_present =
            |statement: String| lines.push(format!("SELECT '{statement}' WHERE {present} \\gexec"));
        when_present(format!("ALTER ROLE {role} NOLOGIN PASSWORD NULL"));
        when_present(format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = ''{role}''"
        ));
        if role != ROLE {
            // Only what a session made after `SET ROLE NONE` is its own.
            when_present(format!("REASSIGN OWNED BY {role} TO {ROLE}"));
            when_present(format!("DROP OWNED BY {role}"));
            when_present(format!("DROP ROLE {role}"));
        }
    }
    lines.join("\n") + "\n"
}

/// See [`crate::need::settle`].
pub(in crate::need) fn settle(
    version: &str,
    database: &str,
    place: &Place,
    credentials: &Credentials,
    retired: &[Login],
) -> Result<(), Problem> {
    let port = place.port.to_string();
    let superuser = credentials.superuser.as_deref().unwrap_or_default();
    let arguments = [
        "--no-psqlrc",
        "--quiet",
        "--no-password",
        "--set=ON_ERROR_STOP=1",
        // Else a statement that fails is repeated in the message, and with it the password.
        "--set=VERBOSITY=terse",
        "--host=127.0.0.1",
        "--port",
        &port,
        "--username",
        SUPERUSER,
        "--dbname",
        database,
        "--file=-",
    ];
    let environment = [
        ("PGPASSWORD", superuser),
        ("PGSSLMODE", "disable"),
        ("PGCONNECT_TIMEOUT", "5"),
        // The server's log is the service's log, which people read.
        (
            "PGOPTIONS",
            "-c log_min_error_statement=panic -c log_statement=none -c log_min_duration_statement=-1",
        ),
    ];
    let psql = programs(version)?.join("psql");
    let script = script(credentials, retired);
    host::run_tool(&psql, &arguments, &place.directory, &environment, place.user, script.as_bytes())
        .map_err(|problem| Problem { class: Class::Timeout, ..problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_let_in_comes_before_what_is_shut_out_and_acts_as_the_owner() {
        let of = |version: u64| Login { version, password: format!("it's {version}") };
        let credentials = Credentials { current: of(3), also: vec![of(2)], superuser: None };
        let script = script(&credentials, &[of(1)]);
        let at = |text: &str| script.find(text).unwrap_or_else(|| panic!("{text}\n{script}"));
        assert!(at("ALTER ROLE app_v3 LOGIN PASSWORD 'it''s 3';") < at("ALTER ROLE app NOLOGIN"));
        assert!(at("ALTER ROLE app_v2 SET role TO 'app';") < at("pg_terminate_backend"));
        assert!(!script.contains("DROP ROLE app'"), "the owner stays\n{script}");
        assert!(!script.contains("'it''s 1'"), "{script}");
    }
}
