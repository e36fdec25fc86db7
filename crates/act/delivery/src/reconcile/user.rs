//! Which account a service may ask to run as.

use std::{
    collections::BTreeSet,
    fs,
    io::Read,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use base::{Class, Problem};

use crate::{books::USER_FIRST, need::host};

/// Accounts of the machine that services may run as, one name per line, in the data directory: its
/// owner writes it by hand, since nobody who delivers a service may.
pub(crate) const ALLOWED: &str = "allowed-users";
/// Some thousand names.
const ALLOWED_BYTES_MAX: u64 = 64 << 10;
/// Below are the system's own accounts, also those of packages that are not installed yet.
const ORDINARY_FIRST: u32 = 1_000;
/// The account that by its definition owns nothing.
const NOBODY: &str = "nobody";
/// The group of users that are in none, on Debian `nogroup`.
const NO_GROUP: u32 = 65_534;

/// User and group for `named`, a name or a number of this machine. A number that no account has is
/// fine; an account has to be among `allowed`, for its files and processes are somebody's.
///
/// # Errors
/// It is root or in root's group, there is no such name, it is an account that is not allowed, or the
/// number is one that Stead gives out: as that user it could read what another service keeps.
pub(crate) fn unprivileged(named: &str, allowed: &BTreeSet<String>) -> Result<(u32, u32), Problem> {
    let (name, uid, gid) = match named.parse::<u32>() {
        Ok(uid) => (host::account_name(uid), uid, host::group_of(uid).unwrap_or(NO_GROUP)),
        Err(_) => match host::account(named) {
            Some((uid, gid)) => (Some(named.to_owned()), uid, gid),
            None => {
                let message = format!("there is no user `{named}` on this machine");
                return Err(Problem::new(Class::Invalid, "delivery.user", message));
            }
        },
    };
    let denied = |code: &str, message: String, hint: &str| {
        Err(Problem::new(Class::Denied, code, message).with_hint(hint.to_owned()))
    };
    let leave_out = "leave `user` out: each service gets an unprivileged user of its own";
    if uid == 0 || gid == 0 {
        return denied("delivery.root", "workloads never run as root".into(), leave_out);
    }
    if u64::from(uid) >= USER_FIRST {
        let message = format!("user {uid} is Stead's to give: it is or may become that of another service");
        return denied("delivery.user_reserved", message, leave_out);
    }
    let is_allowed = name.as_ref().is_some_and(|name| name == NOBODY || allowed.contains(name));
    if is_allowed || (name.is_none() && uid >= ORDINARY_FIRST) {
        return Ok((uid, gid));
    }
    let whose =
        name.map_or_else(|| "of the system's range".to_owned(), |name| format!("the account `{name}`"));
    denied(
        "delivery.user_not_allowed",
        format!("user {uid} is {whose}: as it, the service could read and stop what is not its own"),
        &format!(
            "{leave_out}; or the owner of this machine adds the account to `{ALLOWED}` in the data directory"
        ),
    )
}

/// The accounts that the machine's owner allows; none without the file.
///
/// # Errors
/// The file cannot be read, is too large, or others than its owner may write it.
pub(crate) fn allowed(data_directory: &Path) -> Result<BTreeSet<String>, Problem> {
    let path = data_directory.join(ALLOWED);
    let wrong = |why: String| {
        Problem::new(Class::Unavailable, "delivery.allowed_users", format!("{}: {why}", path.display()))
    };
    let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let file = match fs::OpenOptions::new().read(true).custom_flags(flags).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(wrong(error.to_string())),
    };
    let about = file.metadata().map_err(|error| wrong(error.to_string()))?;
    let own = rustix::process::geteuid().as_raw();
    if !about.is_file() || about.mode() & 0o022 != 0 || about.uid() != own {
        return Err(wrong("it is not a file that Stead's user alone may write".into())
            .with_hint("chown it to the user that Stead runs as, and chmod 644"));
    }
    let mut text = String::new();
    let read = file.take(ALLOWED_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|error| wrong(error.to_string()))?;
    if text.len() as u64 > ALLOWED_BYTES_MAX {
        return Err(wrong(format!("it is larger than {ALLOWED_BYTES_MAX} bytes")));
    }
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    Ok(lines.filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn try_as(named: &str, allowed: &[&str]) -> Result<(u32, u32), Problem> {
        unprivileged(named, &allowed.iter().map(|name| (*name).to_owned()).collect())
    }

    fn code(named: &str) -> String {
        try_as(named, &[]).unwrap_err().code
    }

    #[test]
    fn the_user_of_another_service_cannot_be_asked_for() {
        for uid in [USER_FIRST, USER_FIRST + 1, 4_294_967_294, u64::from(u32::MAX)] {
            assert_eq!(code(&uid.to_string()), "delivery.user_reserved");
        }
        assert!(try_as(&(USER_FIRST - 1).to_string(), &[]).is_ok());
    }

    #[test]
    fn root_cannot_be_asked_for_in_any_spelling() {
        for named in ["root", "0", "00", "+0"] {
            assert_eq!(try_as(named, &["root"]).unwrap_err().code, "delivery.root", "{named}");
        }
        assert_eq!(code("nobody-of-this-name"), "delivery.user");
        assert_eq!(code("4294967296"), "delivery.user");
    }

    #[test]
    fn an_account_of_the_machine_takes_its_owners_word() {
        let passwd = fs::read_to_string("/etc/passwd").unwrap();
        for line in passwd.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            let (uid, gid): (u32, u32) = (fields[2].parse().unwrap(), fields[3].parse().unwrap());
            if uid == 0 || gid == 0 || fields[0] == NOBODY || u64::from(uid) >= USER_FIRST {
                continue;
            }
            assert_eq!(code(fields[0]), "delivery.user_not_allowed", "{line}");
            assert_eq!(code(fields[2]), "delivery.user_not_allowed", "{line}");
            assert_eq!(try_as(fields[0], &[fields[0]]).unwrap(), (uid, gid));
        }
        assert_eq!(try_as(NOBODY, &[]).unwrap(), (65_534, NO_GROUP));
        // No account has these numbers; a group may well have. A package may bring the first.
        assert_eq!(code("987"), "delivery.user_not_allowed");
        assert_eq!(try_as("1234567", &[]).unwrap(), (1_234_567, NO_GROUP));
    }

    #[test]
    fn the_list_of_accounts_is_its_owners_alone() {
        let home = tempfile::tempdir().unwrap();
        assert!(allowed(home.path()).unwrap().is_empty());
        let path = home.path().join(ALLOWED);
        fs::write(&path, "# for the old site\nwww-data # until May\n\n  deploy\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(allowed(home.path()).unwrap(), BTreeSet::from(["www-data".into(), "deploy".into()]));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).unwrap();
        assert_eq!(allowed(home.path()).unwrap_err().code, "delivery.allowed_users");
        fs::write(&path, "x".repeat(usize::try_from(ALLOWED_BYTES_MAX).unwrap() + 1)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(allowed(home.path()).unwrap_err().message.contains("larger"));
        fs::remove_file(&path).unwrap();
        symlink("/etc/hostname", &path).unwrap();
        assert!(allowed(home.path()).is_err(), "a link is not followed");
    }
}
