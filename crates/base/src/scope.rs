//! Whose data, who asks, and why: tenant, environment, actor, cause, deadline.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::id::{EventId, InvalidId, NameId};

/// The tenant that data belongs to. Data access without one does not compile.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tenant(NameId);

/// An environment of a tenant, such as `default`, `staging`, `production`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Environment(NameId);

macro_rules! named {
    ($name:ident) => {
        impl $name {
            /// # Errors
            /// The text is not a label, see [`NameId::parse`].
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                NameId::parse(text).map(Self)
            }
            #[must_use]
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }
        impl Default for $name {
            #[allow(clippy::expect_used)] // the literal is a label
            fn default() -> Self {
                Self(NameId::parse("default").expect("a label"))
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
named!(Tenant);
named!(Environment);

/// Tenant and environment together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Scope {
    pub tenant: Tenant,
    pub environment: Environment,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.environment)
    }
}

/// Who acts: `user:<id>`, `token:<id>` or `system:<component>`.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Actor(String);

impl Actor {
    #[must_use]
    pub fn user(id: &str) -> Self {
        Self(format!("user:{id}"))
    }
    #[must_use]
    pub fn token(id: &str) -> Self {
        Self(format!("token:{id}"))
    }
    /// A part of Stead itself, such as `system:reconciler`.
    #[must_use]
    pub fn system(component: &str) -> Self {
        Self(format!("system:{component}"))
    }
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why something is done: the conversation it belongs to and the change that caused it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// All that follows from one request shares it; a W3C trace id where there is one.
    pub correlation: String,
    /// The ledger entry that led to this; none for what a person or the outside started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation: Option<EventId>,
}

/// What every call into the domain carries.
#[derive(Debug, Clone)]
pub struct Ctx {
    pub actor: Actor,
    pub scope: Scope,
    pub cause: Cause,
    /// Time this call has left.
    pub budget: Duration,
}

impl Ctx {
    /// The budget of a call that names none.
    pub const BUDGET_DEFAULT: Duration = Duration::from_secs(30);

    #[must_use]
    pub fn system(component: &str, scope: Scope) -> Self {
        Self { actor: Actor::system(component), scope, cause: Cause::default(), budget: Self::BUDGET_DEFAULT }
    }

    #[must_use]
    pub fn caused_by(mut self, event: EventId) -> Self {
        self.cause.causation = Some(event);
        self
    }
}
