//! PostgreSQL from Debian's packages: one cluster per need.

use std::{
    fs,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use base::{Class, Problem};
use runtime_api::Stop;

pub(super) use rotate::settle;

use super::{Credentials, Place, Workload, host};

mod rotate;

/// The role that owns the database and all in it. Services sign in with it at first, see [`login`].
pub const ROLE: &str = "app";
/// Superuser of the cluster, for Stead alone.
const SUPERUSER: &str = "stead";
/// Written last, so that a half-made cluster is made anew.
const DONE: &str = "stead-prepared";

/// Major versions that are installed, newest first.
#[must_use]
pub fn installed() -> Vec<String> {
    let mut versions: Vec<u32> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            entry.path().join("bin/postgres").exists() && entry.path().join("bin/initdb").exists()
        })
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    versions.sort_unstable_by(|left, right| right.cmp(left));
    versions.into_iter().map(|version| version.to_string()).collect()
}

/// The version to pin for a wish.
///
/// # Errors
/// None is installed, or not the wished one; the hint names the package.
pub fn pin(wish: Option<&str>) -> Result<String, Problem> {
    let versions = installed();
    match wish {
        None => versions.first().cloned().ok_or_else(|| missing("postgresql", "PostgreSQL is not installed")),
        Some(wish) if versions.iter().any(|version| version == wish) => Ok(wish.to_owned()),
        Some(wish) => {
            let have = if versions.is_empty() { "none".to_owned() } else { versions.join(", ") };
            Err(missing(
                &format!("postgresql-{wish}"),
                &format!("PostgreSQL {wish} is not installed (installed: {have})"),
            ))
        }
    }
}

/// The role that a version of the password belongs to. PostgreSQL keeps one password per role, so each
/// later version has a role of its own, which acts as [`ROLE`] from its first statement on.
#[must_use]
pub fn login(version: u64) -> String {
    if version <= 1 { ROLE.to_owned() } else { format!("{ROLE}_v{version}") }
}

fn missing(package: &str, message: &str) -> Problem {
    Problem::new(Class::Unavailable, "need.software_missing", message)
        .with_hint(format!("apt-get install --no-install-recommends {package}"))
}

fn programs(version: &str) -> Result<PathBuf, Problem> {
    let directory = PathBuf::from(format!("/usr/lib/postgresql/{version}/bin"));
    if directory.join("postgres").exists() {
        Ok(directory)
    } else {
        Err(missing(&format!("postgresql-{version}"), &format!("PostgreSQL {version} is not installed")))
    }
}

fn cluster(place: &Place, version: &str) -> PathBuf {
    place.directory.join(format!("postgres-{version}"))
}

/// Makes the cluster with its role and database.
///
/// `initdb` looks its user up by name, which the user a need runs as does not have. So it runs as an
/// account that exists, and the finished tree is given to the need's own user.
pub(super) fn prepare(
    version: &str,
    database: &str,
    place: &Place,
    credentials: &Credentials,
) -> Result<(), Problem> {
    let programs = programs(version)?;
    let cluster = cluster(place, version);
    if cluster.join(DONE).exists() {
        return Ok(());
    }
    host::make_directory(&place.directory, 0o711, None)?;
    let fresh = place.directory.join(format!("postgres-{version}.new"));
    if fresh.exists() {
        fs::remove_dir_all(&fresh).map_err(|error| host::io_problem("cannot remove", &fresh, &error))?;
    }
    let maker = match place.user {
        Some(_) => Some(host::account("postgres").or_else(|| host::account("nobody")).ok_or_else(|| {
            Problem::new(Class::Unavailable, "need.account_missing", "no account to run initdb as")
                .with_hint("install Debian's package postgresql-common, which makes the account `postgres`")
        })?),
        None => None,
    };
    host::make_directory(&fresh, 0o700, maker)?;
    make_cluster(&programs, &fresh, maker)?;
    make_database(&programs, &fresh, maker, database, credentials)?;
    write_configuration(&fresh)?;
    write_in(&fresh, DONE, "1\n", false)?;
    if let Some(user) = place.user {
        host::give(&fresh, user)?;
    }
    rustix_sync(&fresh);
    if cluster.exists() {
        // Made by hand or by a crash between two steps of an older Stead: kept, never deleted.
        return Err(Problem::new(
            Class::Conflict,
            "need.unfinished_data",
            format!("{} exists and is not a finished cluster of Stead's", cluster.display()),
        )
        .with_hint("look at it and move it away"));
    }
    fs::rename(&fresh, &cluster).map_err(|error| host::io_problem("cannot rename", &fresh, &error))
}

/// The cluster trusts everyone until [`write_configuration`]; nothing listens before that.
fn make_cluster(programs: &Path, fresh: &Path, maker: Option<(u32, u32)>) -> Result<(), Problem> {
    host::run_tool(
        &programs.join("initdb"),
        &[
            "--pgdata=.",
            "--username",
            SUPERUSER,
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--data-checksums",
            "--no-instructions",
            "--no-sync",
        ],
        fresh,
        &[],
        maker,
        b"",
    )
}

/// Single-user mode takes the statements on standard input, so that no password is in an argument.
fn make_database(
    programs: &Path,
    fresh: &Path,
    maker: Option<(u32, u32)>,
    database: &str,
    credentials: &Credentials,
) -> Result<(), Problem> {
    let superuser = quoted(credentials.superuser.as_deref().unwrap_or_default());
    let database = database.replace('"', "\"\"");
    let mut statements = format!(
        "ALTER ROLE {SUPERUSER} PASSWORD '{superuser}';\n\
         CREATE ROLE {ROLE};\n\
         CREATE DATABASE \"{database}\" OWNER {ROLE};\n"
    );
    for accepted in credentials.accepted() {
        let role = login(accepted.version);
        if role != ROLE {
            statements.push_str(&format!("CREATE ROLE {role};\n"));
        }
        for statement in rotate::admit(accepted) {
            statements.push_str(&format!("{statement}\n"));
        }
    }
    host::run_tool(
        &programs.join("postgres"),
        // A statement that fails would be repeated in the message, and with it the password.
        &["--single", "-D", ".", "-c", "exit_on_error=on", "-c", "log_min_error_statement=panic", "postgres"],
        fresh,
        &[],
        maker,
        statements.as_bytes(),
    )
}

/// The inside of a string literal.
fn quoted(text: &str) -> String {
    text.replace('\'', "''")
}

fn write_configuration(fresh: &Path) -> Result<(), Problem> {
    let write = |name: &str, text: &str, append: bool| write_in(fresh, name, text, append);
    write(
        "postgresql.conf",
        "\n# Set by Stead; the port comes with the command line.\n\
         listen_addresses = '127.0.0.1'\n\
         unix_socket_directories = ''\n\
         shared_buffers = 32MB\n\
         max_connections = 100\n\
         logging_collector = off\n\
         log_line_prefix = ''\n\
         password_encryption = scram-sha-256\n",
        true,
    )?;
    write("pg_hba.conf", "host all all 127.0.0.1/32 scram-sha-256\n", false)
}

/// Writes a file of a cluster. The directory is another account's by now, who may have put a link there:
/// Stead, as root, would write what it points to.
fn write_in(fresh: &Path, name: &str, text: &str, append: bool) -> Result<(), Problem> {
    let path = fresh.join(name);
    fs::OpenOptions::new()
        .write(true)
        .append(append)
        .truncate(!append)
        .create(true)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(&path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
        .map_err(|error| host::io_problem("cannot write", &path, &error))
}

/// Flushes the file system that holds `path`: one call for the thousand files of a cluster.
fn rustix_sync(path: &Path) {
    if let Ok(directory) = fs::File::open(path) {
        let _ = rustix::fs::syncfs(&directory);
    }
}

pub(super) fn workload(version: &str, place: &Place) -> Result<Workload, Problem> {
    let programs = programs(version)?;
    let command = vec![
        programs.join("postgres").display().to_string(),
        "-D".into(),
        cluster(place, version).display().to_string(),
        "-p".into(),
        place.port.to_string(),
    ];
    // INT is PostgreSQL's fast shutdown: it ends sessions and writes a checkpoint.
    let stop = Stop { signal: "INT".into(), grace: Duration::from_secs(60) };
    Ok(Workload { command, files: Vec::new(), stop })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::need::Login;

    #[test]
    fn a_missing_version_names_the_package() {
        let problem = pin(Some("7")).unwrap_err();
        assert!(problem.hint.unwrap().contains("postgresql-7"));
        assert!(problem.message.starts_with("PostgreSQL 7 is not installed"));
    }

    #[test]
    fn a_planted_link_is_not_written_through() {
        let home = tempfile::tempdir().unwrap();
        let precious = home.path().join("shadow");
        fs::write(&precious, "untouched").unwrap();
        for name in ["postgresql.conf", "pg_hba.conf", DONE] {
            let fresh = home.path().join(format!("of-{name}"));
            fs::create_dir(&fresh).unwrap();
            std::os::unix::fs::symlink(&precious, fresh.join(name)).unwrap();
            let written = match name {
                DONE => write_in(&fresh, DONE, "1\n", false),
                _ => write_configuration(&fresh),
            };
            assert!(written.is_err(), "{name}");
            assert_eq!(fs::read_to_string(&precious).unwrap(), "untouched", "{name}");
        }
    }

    #[test]
    fn a_cluster_is_made_once_and_again_after_a_crash() {
        let Some(version) = installed().first().cloned() else {
            println!("SKIP postgres_cluster: PostgreSQL is not installed");
            return;
        };
        let home = tempfile::tempdir().unwrap();
        let root = rustix::process::geteuid().is_root();
        let place =
            Place { directory: home.path().join("db"), port: 1, user: root.then_some((54_321, 54_321)) };
        fs::set_permissions(home.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let current = Login { version: 3, password: "it's".into() };
        let credentials = Credentials { current, also: Vec::new(), superuser: Some("other".into()) };
        let half_made = place.directory.join(format!("postgres-{version}.new"));
        fs::create_dir_all(half_made.join("base")).unwrap();
        prepare(&version, "app", &place, &credentials).unwrap();
        let cluster = cluster(&place, &version);
        assert!(cluster.join("PG_VERSION").exists() && !half_made.exists());
        prepare(&version, "app", &place, &credentials).unwrap();
        if root {
            let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(cluster).unwrap());
            assert_eq!(owner, 54_321);
        }
    }
}
