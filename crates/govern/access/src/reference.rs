//! The table as a page: `docs/reference/access.md`.

use std::fmt::Write;

use crate::action::{Action, Reach, Role, TokenScope};

/// The reference page, made from the table that decides.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(
        "# Who may do what\n\n\
         <!-- Made from the table in crates/govern/access/src/action.rs; a test fails when it differs. -->\n\n\
         Every request is decided in one place, by this table; what it does not allow is refused. A person\n\
         has one role. A token has its owner's role, limited to its scopes and, if it names some, to its\n\
         environments: a token for environments may do nothing that reaches further.\n\n\
         | action | what it allows |",
    );
    for role in Role::ALL {
        let _ = write!(page, " {role} |"); // writing to a string cannot fail
    }
    page.push_str(" token scope | reach |\n|---|---|");
    page.push_str(&":-:|".repeat(Role::ALL.len()));
    page.push_str("---|---|\n");
    for action in Action::ALL {
        let _ = write!(page, "| `{}` | {} |", action.id(), action.doc());
        for role in Role::ALL {
            page.push_str(if *role >= action.role() { " yes |" } else { " |" });
        }
        let reach = match action.reach() {
            Reach::Environment => "environment",
            Reach::Tenant => "tenant",
            Reach::Own => "one's own",
        };
        let scope = action.token_scope().map_or("any".to_owned(), |scope| format!("`{scope}`"));
        let _ = writeln!(page, " {scope} | {reach} |");
    }
    page.push_str("\n## Scopes of tokens\n\n");
    for scope in TokenScope::ALL {
        let actions = Action::ALL.iter().filter(|action| action.token_scope() == Some(*scope));
        let actions: Vec<_> = actions.map(|action| format!("`{}`", action.id())).collect();
        let also = if *scope == TokenScope::Deploy { ", and within environments all of `read`" } else { "" };
        let _ = writeln!(page, "- `{scope}`: {}{also}", actions.join(", "));
    }
    page.push_str(
        "\nA token with `access` of an admin can let in new admins, one with `exec` sees the secrets of\n\
         workloads: keep these as you keep a password.\n",
    );
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Set `STEAD_BLESS` to write the page anew.
    #[test]
    fn the_page_is_what_the_table_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/reference/access.md");
        if std::env::var_os("STEAD_BLESS").is_some() {
            std::fs::create_dir_all(std::path::Path::new(path).parent().unwrap()).unwrap();
            std::fs::write(path, reference()).unwrap();
        }
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(page == reference(), "docs/reference/access.md differs: run the test with STEAD_BLESS=1");
    }

    #[test]
    fn every_action_and_scope_is_named_once() {
        let mut ids: Vec<_> = Action::ALL.iter().map(|action| action.id()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), Action::ALL.len());
        for scope in TokenScope::ALL {
            assert!(
                Action::ALL.iter().any(|action| action.token_scope() == Some(*scope)),
                "{scope} allows nothing"
            );
        }
    }
}
