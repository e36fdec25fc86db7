//! The example shop, delivered by a build of Stead into a folder that goes afterwards.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;
use serde::Deserialize;

use crate::stage::{self, say};

/// A server with a data directory of its own.
pub struct Server {
    program: PathBuf,
    environment: &'static str,
    folder: tempfile::TempDir,
}

/// Where everything is.
#[derive(Debug, Deserialize)]
pub struct Delivered {
    pub ui: String,
    services: Vec<Service>,
}

#[derive(Debug, Deserialize)]
struct Service {
    name: String,
    url: Option<String>,
}

impl Delivered {
    /// # Errors
    /// The shop's web front has no address.
    pub fn shop(&self) -> anyhow::Result<&str> {
        let web = self.services.iter().find(|service| service.name == "web").context("no service `web`")?;
        web.url.as_deref().context("`web` has no address")
    }
}

impl Server {
    /// # Errors
    /// No folder can be made.
    pub fn new(program: PathBuf, environment: &'static str) -> anyhow::Result<Self> {
        // In /tmp, which the users that services run as may enter; so must the directory itself be.
        let folder = tempfile::Builder::new().prefix("stead-shop-").tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        Ok(Self { program, environment, folder })
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--data").arg(self.data()).args(["--environment", self.environment]);
        command.env("STEAD_CHECKPOINTS", self.folder.path().join("checkpoints"));
        command
    }

    /// # Errors
    /// The shop did not become healthy.
    pub fn deliver(&self) -> anyhow::Result<Delivered> {
        let mut up = self.command();
        up.args(["--output", "json", "up", "examples/shop", "--yes", "--detach"]);
        up.args(["--listen", "127.0.0.1:0", "--gateway-listen", "127.0.0.1:0"]);
        say(&format!("  delivering examples/shop, environment `{}`", self.environment));
        serde_json::from_str(&stage::read(&mut up)?).context("what `stead up` printed")
    }

    /// Does `work` and takes everything down, also when it failed; then it says what is known.
    ///
    /// # Errors
    /// The work failed, or something could not be stopped.
    pub fn while_it_runs<T>(&self, work: impl FnOnce(&Self) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let outcome = work(self);
        if outcome.is_err() {
            for arguments in [&["status"][..], &["events", "--limit", "40"]] {
                let _ = stage::run(self.command().args(arguments));
            }
        }
        let stopped = stage::run(self.command().args(["stop", "--everything"]));
        let value = outcome?;
        stopped.map(|()| value)
    }
}
