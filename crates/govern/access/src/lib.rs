//! Who may do what: people with a role, their sessions and tokens, and one place that decides.
//!
//! # How somebody gets in
//! The first start makes the owner and a one-time link; every other person is invited with a link.
//! Redeeming a link gives a session (a cookie and a CSRF token). A person may set a password to come
//! back without a link. Programs use API tokens, which are never more than their owner. The command
//! line of this machine uses the token in `DIR/token`: whoever can read the data directory is admin.
//!
//! # What is kept
//! Secrets of links, sessions and tokens are 256 random bits; state has their SHA-256 digest only.
//! Passwords are stretched with argon2id. Records: `person`, `sign-in-link`, `session`, `api-token`
//! and `access-roster`, all of the tenant (environment `default`). Every change that adds somebody or
//! something, or alters a person, also writes the roster under its version, so limits and the rule
//! "never without an active admin" hold under races.
//!
//! # Time
//! Expiry is wall time, but within one run of the process time never goes back: it is at least the
//! time of the start plus what has passed. A credential from more than a day in the future is refused.
//! What remains: a clock set back while Stead is stopped lengthens lives by as much.
//!
//! # What it is not
//! No policy language, no single sign-on, no groups; they will feed the same [`decide`].
//!
//! Enter at [`Access`] for everything that is stored, at [`Access::authenticate`] for each request,
//! and at [`decide`] before each action.
#![forbid(unsafe_code)]

mod action;
mod authenticate;
mod cache;
mod cookie;
mod credential;
mod decide;
mod engine;
mod error;
mod links;
mod local;
mod password;
mod people;
mod record;
mod reference;
mod sessions;
mod throttle;
mod tokens;

pub use action::{Action, Reach, Role, TokenScope};
pub use authenticate::Authenticated;
pub use cookie::{clear_cookie, set_cookie};
pub use credential::{Credential, Csrf, RequestHeaders, Secret};
pub use decide::{Decision, Grant, Principal, Resource, Who, decide};
pub use engine::{Access, Options, limits};
pub use error::{Error, Result};
pub use links::{Invited, OneTimeLink};
pub use people::{ChangePerson, Person};
pub use record::{LinkId, PersonId, SessionId, TokenId};
pub use reference::reference;
pub use sessions::{Client, NewSession, Session};
pub use tokens::{CreatedToken, NewToken, Token};
