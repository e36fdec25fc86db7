//! Secrets, sealed in state: the engine behind the port [`secrets_api::Secrets`].
//!
//! # How a value is sealed
//! ```text
//! passphrase ─argon2id─┐
//! file (0600) ─────────┴→ root key ─seals→ data key of a tenant ─seals→ value of one version
//! ```
//! Both seals are XChaCha20-Poly1305 with a random 192-bit nonce. What a seal belongs to is
//! authenticated with it: a data key to its tenant, its id and the root key's id; a value to tenant,
//! environment, name, version and data key. A sealed body that is moved to another name does not
//! open. Changing the root key wraps the data keys anew and touches no value.
//!
//! # What it writes
//! Records `secret` (numbers, who, when, pins), `secret-version` (one sealed value),
//! `secret-pins` (what a release pins), `secret-count` per scope, `secret-keys` per tenant and
//! `secret-tenant` (the list of tenants that have keys). Every change is one commit together with
//! its ledger entry, guarded by versions, and tried again when it loses a race. Destroying a version
//! removes its record; what the storage engine leaves in free pages is sealed all the same.
//!
//! # What it is not
//! It hands out no leases on foreign systems and knows no key service of a cloud; both would be other
//! implementations of the port. A backup of state holds sealed values only: the root key is not part
//! of it and has to be kept elsewhere.
//!
//! Enter at [`Vault::open`].
#![forbid(unsafe_code)]

mod generate;
mod keys;
mod pins;
mod read;
mod record;
mod root;
mod seal;
mod vault;
mod write;

pub use root::Unlock;
pub use vault::{Vault, limits};
