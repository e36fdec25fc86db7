//! The interface's tests against a real server that delivers the example shop.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command};

use anyhow::Context as _;
use serde::Deserialize;

use super::skips::Skips;
use crate::{
    install::{self, SHOP},
    stage::{self, expect_success, npm, run_and_read, say, target_directory},
};

/// Builds, delivers, tests, and takes all of it down again.
///
/// # Errors
/// The delivery or a test failed.
pub fn run(skips: &mut Skips) -> anyhow::Result<()> {
    // Built as for the other tests: alone it would have other features, and much be compiled twice.
    super::build()?;
    // In /tmp, which the users that services run as may enter; so must the directory itself be.
    let folder = tempfile::Builder::new().prefix("stead-web-test-").tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    let server = Server { program: target_directory().join("debug/stead"), data: folder.path().join("data") };
    let outcome = server.deliver().and_then(|delivered| {
        let mut playwright = npm("ui");
        playwright.args(["run", "--silent", "test:real"]);
        playwright.env("STEAD_URL", &delivered.ui).env("STEAD_SHOP_URL", delivered.shop()?);
        playwright.env("STEAD_LINK", stage::read(server.command().arg("open"))?.trim());
        let (status, text) = run_and_read(&mut playwright)?;
        skips.of_playwright(&text);
        expect_success("npm run test:real", status)
    });
    if outcome.is_err() {
        server.tell();
    }
    let stopped = stage::run(server.command().args(["stop", "--everything"]));
    outcome.and(stopped)
}

struct Server {
    program: PathBuf,
    data: PathBuf,
}

#[derive(Deserialize)]
struct Delivered {
    ui: String,
    services: Vec<Service>,
}

#[derive(Deserialize)]
struct Service {
    name: String,
    url: Option<String>,
}

impl Delivered {
    fn shop(&self) -> anyhow::Result<&str> {
        let web = self.services.iter().find(|service| service.name == "web").context("no service `web`")?;
        web.url.as_deref().context("`web` has no address")
    }
}

impl Server {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--data").arg(&self.data);
        if !install::missing(SHOP).is_empty() {
            command.args(["--environment", "embedded"]);
        }
        command
    }

    fn deliver(&self) -> anyhow::Result<Delivered> {
        let mut up = self.command();
        up.args(["--output", "json", "up", "examples/shop", "--yes", "--detach"]);
        up.args(["--listen", "127.0.0.1:0", "--gateway-listen", "127.0.0.1:0"]);
        say("  delivering examples/shop");
        serde_json::from_str(&stage::read(&mut up)?).context("what `stead up` printed")
    }

    /// Shows what is known, for whoever reads the failure.
    fn tell(&self) {
        for arguments in [&["status"][..], &["events", "--limit", "40"]] {
            let _ = stage::run(self.command().args(arguments));
        }
    }
}
