//! Which account a service may ask to run as.

use base::{Class, Problem};

use crate::{books::USER_FIRST, need::host};

/// The group of users that are in none, on Debian `nogroup`.
const NO_GROUP: u32 = 65_534;

/// User and group for `named`, a name or a number of this machine.
///
/// # Errors
/// It is root or in root's group, there is no such name, or the number is one that Stead gives out: as
/// that user it could read what another service keeps.
pub(crate) fn unprivileged(named: &str) -> Result<(u32, u32), Problem> {
    let found = match named.parse::<u32>() {
        Ok(uid) => Some((uid, host::group_of(uid).unwrap_or(NO_GROUP))),
        Err(_) => host::account(named),
    };
    let denied = |code: &str, message: String| {
        Err(Problem::new(Class::Denied, code, message)
            .with_hint("leave `user` out: each service gets an unprivileged user of its own"))
    };
    match found {
        Some((0, _) | (_, 0)) => denied("delivery.root", "workloads never run as root".into()),
        Some((uid, _)) if u64::from(uid) >= USER_FIRST => denied(
            "delivery.user_reserved",
            format!("user {uid} is Stead's to give: it is or may become that of another service"),
        ),
        Some(user) => Ok(user),
        None => Err(Problem::new(
            Class::Invalid,
            "delivery.user",
            format!("there is no user `{named}` on this machine"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(named: &str) -> String {
        unprivileged(named).unwrap_err().code
    }

    #[test]
    fn the_user_of_another_service_cannot_be_asked_for() {
        for uid in [USER_FIRST, USER_FIRST + 1, 4_294_967_294, u64::from(u32::MAX)] {
            assert_eq!(code(&uid.to_string()), "delivery.user_reserved");
        }
        assert!(unprivileged(&(USER_FIRST - 1).to_string()).is_ok());
    }

    #[test]
    fn root_cannot_be_asked_for_in_any_spelling() {
        for named in ["root", "0", "00", "+0"] {
            assert_eq!(code(named), "delivery.root", "{named}");
        }
        assert_eq!(code("nobody-of-this-name"), "delivery.user");
        assert_eq!(code("4294967296"), "delivery.user");
    }

    #[test]
    fn the_group_is_that_of_the_account_and_never_the_number_of_the_user() {
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
        for line in passwd.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            let (uid, gid): (u32, u32) = (fields[2].parse().unwrap(), fields[3].parse().unwrap());
            if uid == 0 || gid == 0 {
                continue;
            }
            assert_eq!(unprivileged(fields[0]).unwrap(), (uid, gid));
            assert_eq!(unprivileged(fields[2]).unwrap().0, uid);
            assert_eq!(host::group_of(uid).map(|gid| (uid, gid)), unprivileged(fields[2]).ok());
        }
        // No account has this number; a group may well have.
        assert_eq!(unprivileged("1234567").unwrap(), (1_234_567, NO_GROUP));
    }
}
