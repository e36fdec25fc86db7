//! A plan: what would change, in words and as a diff, and where it came from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A text file of the user's: its path relative to the project and what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Document {
    pub path: String,
    pub text: String,
}

/// A file of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ArtifactFile {
    /// Relative, with `/`, without `..`.
    pub path: String,
    /// `sha256:<hex>`; empty for a symbolic link.
    #[serde(default)]
    pub digest: String,
    pub size: u64,
    #[serde(default)]
    pub executable: bool,
    /// Target of a symbolic link, which stays within the artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// The files of a service as they are pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ArtifactTree {
    /// Digest of the sorted list: the identity of the tree.
    pub digest: String,
    pub files: Vec<ArtifactFile>,
}

/// Where the input came from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Source {
    /// Identity of the project: the absolute path of the folder given to `stead up`.
    pub project: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Whether the working tree had changes that are in no commit.
    #[serde(default)]
    pub dirty: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed_at: Option<String>,
}

/// What a client hands in to be planned.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Submission {
    pub source: Source,
    pub documents: Vec<Document>,
    /// By service name.
    #[serde(default)]
    pub artifacts: BTreeMap<String, ArtifactTree>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removal: Option<Removal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
}

/// Asks for a new password of a platform service. It goes alone in a submission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rotation {
    /// The service whose need it is.
    pub service: String,
    /// The need as the service's file names it; may be left out when there is only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub need: Option<String>,
}

/// Asks for services to be taken down.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Removal {
    /// Names of services; empty means all of the project in `source`, or all of the environment when
    /// that is empty too.
    pub services: Vec<String>,
    /// Whether the data of what they needed goes too. It cannot be undone.
    #[serde(default)]
    pub delete_data: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Create,
    Change,
    /// The running one cannot be changed in place: a new one takes over, then the old one goes.
    Replace,
    Remove,
    Keep,
}

/// One field that differs. Secret values never appear, only that they differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FieldChange {
    /// Path in the definition, such as `run.replicas`.
    pub path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// What happens to one thing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Step {
    /// `service/checkout`, `need/checkout.db`.
    pub subject: String,
    pub action: Action,
    /// Why, in a sentence.
    pub why: String,
    /// What differs. What is created differs in all of its fields: they are listed where the plan is
    /// asked for by its id, and left out in the answer that makes it and in lists.
    #[serde(default)]
    pub changes: Vec<FieldChange>,
    /// Subjects that come before this one.
    #[serde(default)]
    pub after: Vec<String>,
    /// What a person should know before saying yes, such as data that is deleted.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Data is deleted for good, which takes a right of its own.
    #[serde(default, skip_serializing_if = "is_no")]
    pub deletes_data: bool,
    /// Credentials are made anew, which takes the right to manage secrets.
    #[serde(default, skip_serializing_if = "is_no")]
    pub rotates_credentials: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_no(flag: &bool) -> bool {
    !flag
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Summary {
    pub create: u32,
    pub change: u32,
    pub replace: u32,
    pub remove: u32,
    pub keep: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlanState {
    /// Waits for somebody to apply it.
    Open,
    /// Was applied, see `run`.
    Applied,
    /// What it was made from has changed since; it can no longer be applied.
    Stale,
}

/// An immutable plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    pub id: String,
    pub environment: String,
    pub state: PlanState,
    pub created_at: String,
    pub created_by: String,
    pub source: Source,
    pub steps: Vec<Step>,
    pub summary: Summary,
    /// Things that are allowed but deserve a look.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Digests of artifact files that must be uploaded before it can be applied.
    #[serde(default)]
    pub missing_blobs: Vec<String>,
    /// The run that applied it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

impl Plan {
    /// Whether applying it would change nothing.
    #[must_use]
    pub fn changes_nothing(&self) -> bool {
        self.steps.iter().all(|step| step.action == Action::Keep)
    }
}
