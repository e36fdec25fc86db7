//! All actions, and the table that says who may: role, scope of a token, and how far it reaches.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Error;

/// What a person is. Each role may all that the one before may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sees.
    Viewer,
    /// Changes services.
    Operator,
    /// Changes who may, and the machine.
    Admin,
}

/// What a token is for; it limits the role of its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenScope {
    Read,
    /// Sends metrics; all that a workload or an agent that reports needs.
    Telemetry,
    Deploy,
    Exec,
    Secrets,
    Access,
    Machine,
}

/// How far an action reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// One environment, or all when the resource names none.
    Environment,
    /// The whole tenant.
    Tenant,
    /// What belongs to the one who asks.
    Own,
}

macro_rules! named {
    ($type:ident, $what:literal: $($variant:ident = $text:literal),+) => {
        impl $type {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl FromStr for $type {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self, Error> {
                let known = Self::ALL.iter().find(|known| known.as_str() == text);
                known.copied().ok_or_else(|| Error::Unknown {
                    what: $what,
                    given: text.chars().take(40).collect(),
                    known: Self::ALL.iter().map(|known| known.as_str()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}
named!(Role, "role": Viewer = "viewer", Operator = "operator", Admin = "admin");
named!(TokenScope, "token scope": Read = "read", Telemetry = "telemetry", Deploy = "deploy", Exec = "exec", Secrets = "secrets",
    Access = "access", Machine = "machine");

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) id: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) role: Role,
    /// None: every token, whatever its scopes and environments.
    pub(crate) scope: Option<TokenScope>,
    pub(crate) reach: Reach,
}

macro_rules! actions {
    (@scope Any) => { None };
    (@scope $scope:ident) => { Some(TokenScope::$scope) };
    ($($action:ident $id:literal $role:ident $scope:ident $reach:ident $doc:literal;)+) => {
        /// All that can be asked for. Every route of the API names one of these.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Action {
            $(#[doc = $doc] $action,)+
        }

        impl Action {
            pub const ALL: &'static [Self] = &[$(Self::$action),+];

            pub(crate) const fn row(self) -> Row {
                match self {
                    $(Self::$action => Row {
                        id: $id,
                        doc: $doc,
                        role: Role::$role,
                        scope: actions!(@scope $scope),
                        reach: Reach::$reach,
                    },)+
                }
            }
        }
    };
}

// action, its id, the least role, the scope that a token needs (or Any), its reach, what it is
actions! {
    ReadServices "services.read" Viewer Read Environment
        "See services, releases, plans, runs, replicas, routes and their figures.";
    ReadLogs "logs.read" Viewer Read Environment
        "Read and follow what workloads print.";
    ReadMetrics "metrics.read" Viewer Read Tenant
        "Query metrics, their labels, targets and figures of the store.";
    WriteMetrics "metrics.write" Operator Telemetry Environment
        "Send metrics.";
    ReadLedger "ledger.read" Viewer Read Environment
        "Read, follow and export the changes on the ledger.";
    VerifyLedger "ledger.verify" Viewer Read Tenant
        "Check that the ledger is as it was written.";
    ReadSecretNames "secrets.read-names" Viewer Read Environment
        "See names, versions and use of secrets; values cannot be read by anybody.";
    ReadPeople "people.read" Viewer Read Tenant
        "See who is in and with which role.";
    ReadMachine "machine.read" Viewer Any Tenant
        "See who one is, and version, health and what the machine lacks.";
    OwnAccess "own.access" Viewer Access Own
        "See and change one's own name, password, sessions and tokens.";
    Plan "plans.make" Operator Deploy Environment
        "Compute a plan from a service file, uploading what it needs.";
    Apply "plans.apply" Operator Deploy Environment
        "Carry out a plan, go back to an earlier release, answer a run that waits for a person.";
    Restart "services.restart" Operator Deploy Environment
        "Replace the replicas of a service.";
    Scale "services.scale" Operator Deploy Environment
        "Change the number of replicas.";
    RunJob "jobs.run" Operator Deploy Environment
        "Start a job now.";
    Remove "services.remove" Operator Deploy Environment
        "Take a service away, keeping its data.";
    Exec "replicas.exec" Operator Exec Environment
        "Run a command beside a replica, with its environment and so with its secrets.";
    ManageSecrets "secrets.manage" Operator Secrets Environment
        "Set, rotate and remove secrets.";
    DeleteData "data.delete" Admin Machine Environment
        "Delete the data of a need for good.";
    ReloadScrapes "scrapes.reload" Admin Machine Tenant
        "Have the scrape configuration read again.";
    DeleteMetrics "metrics.delete" Admin Machine Tenant
        "Delete stored samples for good.";
    ManagePeople "people.manage" Admin Access Tenant
        "Invite people, change their name and role, deactivate them, give them a new sign-in link.";
    ManageTokens "tokens.manage" Admin Access Tenant
        "See and revoke the tokens and sessions of everybody.";
    RotateKeys "keys.rotate" Admin Machine Tenant
        "Change the root key of secrets and the key that signs checkpoints.";
    Backup "machine.backup" Admin Machine Tenant
        "Write a backup of Stead's own state.";
    Restore "machine.restore" Admin Machine Tenant
        "Put a backup in place of the state.";
    Upgrade "machine.upgrade" Admin Machine Tenant
        "Run another version of Stead in place of this one.";
    Shutdown "machine.shutdown" Admin Machine Tenant
        "Stop Stead.";
}

impl Action {
    /// A stable name, such as `services.read`.
    #[must_use]
    pub const fn id(self) -> &'static str {
        self.row().id
    }
    /// What it allows, in a sentence.
    #[must_use]
    pub const fn doc(self) -> &'static str {
        self.row().doc
    }
    /// The least role that may.
    #[must_use]
    pub const fn role(self) -> Role {
        self.row().role
    }
    /// The scope that a token needs; none when every token will do.
    #[must_use]
    pub const fn token_scope(self) -> Option<TokenScope> {
        self.row().scope
    }
    /// Whether a token with `scope` may, as far as scopes go. `deploy` includes `read` within
    /// environments: who carries out a plan has to see what becomes of it.
    #[must_use]
    pub fn is_in(self, scope: TokenScope) -> bool {
        let row = self.row();
        let seen_by_deploy = row.scope == Some(TokenScope::Read) && row.reach == Reach::Environment;
        row.scope.is_none_or(|needed| needed == scope) || (scope == TokenScope::Deploy && seen_by_deploy)
    }
    #[must_use]
    pub const fn reach(self) -> Reach {
        self.row().reach
    }
}
