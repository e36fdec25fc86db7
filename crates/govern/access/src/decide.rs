//! The one decision point: pure, driven by the table, and no unless every condition holds.

use std::collections::BTreeSet;

use base::{Actor, Environment, Tenant, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    action::{Action, Reach, Role, TokenScope},
    record::{PersonId, SessionId, TokenId},
};

/// Who asks, once authenticated. It is a snapshot: authenticate again for each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub tenant: Tenant,
    pub who: Who,
    /// The person; none for a token of this machine.
    pub person: Option<PersonId>,
    /// Of the person or the token, to show.
    pub name: String,
    /// The role of the person now.
    pub role: Role,
}

/// By what they came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    Session { session: SessionId },
    Token { token: TokenId, grant: Grant, expires_at: Timestamp },
}

/// What a token is limited to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    pub scopes: BTreeSet<TokenScope>,
    /// None means all environments, those to come included.
    pub environments: Option<BTreeSet<Environment>>,
}

/// What is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    pub tenant: Tenant,
    /// None means all environments.
    pub environment: Option<Environment>,
    /// Whose it is, for [`Reach::Own`]: a person, or none for what belongs to this machine.
    pub owner: Option<PersonId>,
}

/// The answer and the reason, in words for the one who asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub allow: bool,
    pub why: String,
}

/// Whether `principal` may do `action` to `resource`.
#[must_use]
pub fn decide(principal: &Principal, action: Action, resource: &Resource) -> Decision {
    match refusal(principal, action, resource) {
        Some(why) => Decision { allow: false, why },
        None => {
            let by = match (&principal.who, action.token_scope()) {
                (Who::Token { .. }, Some(scope)) => format!(" and the token's scopes include {scope}"),
                _ => String::new(),
            };
            Decision { allow: true, why: format!("role {} may {}{by}", principal.role, action.id()) }
        }
    }
}

fn refusal(principal: &Principal, action: Action, resource: &Resource) -> Option<String> {
    let row = action.row();
    if principal.tenant != resource.tenant {
        return Some(format!("it belongs to another tenant than {}", principal.tenant));
    }
    if principal.role < row.role {
        return Some(format!(
            "{} needs role {}, and {} is {}",
            row.id, row.role, principal.name, principal.role
        ));
    }
    if row.reach == Reach::Own && principal.person != resource.owner {
        return Some(format!("{} is only for what is one's own", row.id));
    }
    let Who::Token { grant, .. } = &principal.who else { return None };
    let needed = row.scope?;
    if !grant.scopes.iter().any(|scope| action.is_in(*scope)) {
        return Some(format!("{} needs scope {needed}, which the token does not have", row.id));
    }
    let environments = grant.environments.as_ref()?;
    match (row.reach, &resource.environment) {
        (Reach::Environment, Some(environment)) if environments.contains(environment) => None,
        (Reach::Environment, Some(environment)) => {
            Some(format!("the token is not good for environment {environment}"))
        }
        (Reach::Environment, None) => Some("the token is not good for all environments".into()),
        (Reach::Tenant | Reach::Own, _) => {
            Some(format!("{} reaches beyond the environments of the token", row.id))
        }
    }
}

impl Principal {
    /// As it stands on the ledger.
    #[must_use]
    pub fn actor(&self) -> Actor {
        match (&self.who, &self.person) {
            (Who::Token { token, .. }, _) => Actor::token(token.as_str()),
            (Who::Session { .. }, Some(person)) => Actor::user(person.as_str()),
            (Who::Session { session }, None) => Actor::user(session.as_str()),
        }
    }

    #[must_use]
    pub fn session(&self) -> Option<&SessionId> {
        match &self.who {
            Who::Session { session } => Some(session),
            Who::Token { .. } => None,
        }
    }
}

impl Resource {
    /// Something in one environment.
    #[must_use]
    pub fn environment(scope: &base::Scope) -> Self {
        Self { tenant: scope.tenant.clone(), environment: Some(scope.environment.clone()), owner: None }
    }

    /// The whole tenant.
    #[must_use]
    pub fn tenant(tenant: &Tenant) -> Self {
        Self { tenant: tenant.clone(), environment: None, owner: None }
    }

    /// Something of one person, or of this machine.
    #[must_use]
    pub fn owned(tenant: &Tenant, owner: Option<PersonId>) -> Self {
        Self { tenant: tenant.clone(), environment: None, owner }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(environment: Option<&str>, owner: Option<PersonId>) -> Resource {
        Resource {
            tenant: Tenant::default(),
            environment: environment.map(|e| Environment::parse(e).unwrap()),
            owner,
        }
    }

    fn session(role: Role) -> Principal {
        Principal {
            tenant: Tenant::default(),
            who: Who::Session { session: SessionId::new() },
            person: Some(PersonId::new()),
            name: "ada".into(),
            role,
        }
    }

    fn token(role: Role, scopes: &[TokenScope], environments: Option<&[&str]>) -> Principal {
        let environments =
            environments.map(|list| list.iter().map(|e| Environment::parse(e).unwrap()).collect());
        let grant = Grant { scopes: scopes.iter().copied().collect(), environments };
        let who = Who::Token { token: TokenId::new(), grant, expires_at: Timestamp::from_millis(0) };
        Principal { who, ..session(role) }
    }

    fn may(principal: &Principal, action: Action, environment: Option<&str>) -> bool {
        decide(principal, action, &resource(environment, principal.person.clone())).allow
    }

    #[test]
    fn roles_are_nested_and_the_table_decides() {
        for action in Action::ALL {
            for role in Role::ALL {
                let allowed = may(&session(*role), *action, Some("prod"));
                assert_eq!(allowed, *role >= action.role(), "{action:?} {role}");
            }
        }
        // Spot checks, so that a slip in the table shows.
        assert!(!may(&session(Role::Viewer), Action::Apply, None));
        assert!(!may(&session(Role::Operator), Action::ManagePeople, None));
        assert!(!may(&session(Role::Operator), Action::DeleteData, None));
        assert!(may(&session(Role::Admin), Action::Shutdown, None));
    }

    #[test]
    fn a_token_needs_the_scope_and_never_exceeds_its_owner() {
        for action in Action::ALL {
            let (within, without): (Vec<_>, Vec<_>) =
                TokenScope::ALL.iter().copied().partition(|scope| action.is_in(*scope));
            assert!(!may(&token(Role::Admin, &without, None), *action, None) || without.is_empty());
            for scope in &within {
                assert!(may(&token(Role::Admin, &[*scope], None), *action, None), "{action:?} {scope}");
            }
            for role in Role::ALL.iter().filter(|role| **role < action.role()) {
                assert!(!may(&token(*role, TokenScope::ALL, None), *action, None), "{action:?} {role}");
            }
            let any = action.token_scope().is_none();
            assert_eq!(may(&token(Role::Admin, &[], None), *action, None), any, "{action:?}");
        }
    }

    #[test]
    fn deploying_includes_seeing_and_nothing_else() {
        let ci = token(Role::Admin, &[TokenScope::Deploy], Some(&["prod"]));
        for action in [Action::Apply, Action::ReadServices, Action::ReadLogs, Action::ReadLedger] {
            assert!(may(&ci, action, Some("prod")), "{action:?}");
            assert!(!may(&ci, action, Some("staging")), "{action:?}");
        }
        for action in [Action::ReadPeople, Action::Exec, Action::ManageSecrets, Action::DeleteData] {
            assert!(!may(&ci, action, Some("prod")), "{action:?}");
        }
        // Every token may ask who it is.
        assert!(may(&ci, Action::ReadMachine, None));
    }

    #[test]
    fn a_token_for_environments_reaches_nothing_else() {
        let limited = token(Role::Admin, TokenScope::ALL, Some(&["prod"]));
        for action in Action::ALL.iter().filter(|action| action.token_scope().is_some()) {
            let inside = action.reach() == Reach::Environment;
            assert_eq!(may(&limited, *action, Some("prod")), inside, "{action:?}");
            assert!(!may(&limited, *action, Some("staging")), "{action:?}");
            assert!(!may(&limited, *action, None), "{action:?}");
            let none = token(Role::Admin, TokenScope::ALL, Some(&[]));
            assert!(!may(&none, *action, Some("prod")), "{action:?}");
        }
    }

    #[test]
    fn other_tenants_and_other_people_are_out_of_reach() {
        let admin = session(Role::Admin);
        let mut elsewhere = resource(Some("prod"), admin.person.clone());
        elsewhere.tenant = Tenant::parse("acme").unwrap();
        for action in Action::ALL {
            assert!(!decide(&admin, *action, &elsewhere).allow, "{action:?}");
        }
        assert!(!decide(&admin, Action::OwnAccess, &resource(None, Some(PersonId::new()))).allow);
        assert!(!decide(&admin, Action::OwnAccess, &resource(None, None)).allow);
    }

    #[test]
    fn a_refusal_says_what_would_be_needed() {
        let why = decide(&session(Role::Viewer), Action::Apply, &resource(None, None)).why;
        assert_eq!(why, "plans.apply needs role operator, and ada is viewer");
        let why = decide(&token(Role::Admin, &[], None), Action::Apply, &resource(None, None)).why;
        assert_eq!(why, "plans.apply needs scope deploy, which the token does not have");
    }
}
