//! The interface's tests against a real server that delivers the example shop.

use super::skips::Skips;
use crate::{
    delivered::Server,
    install::{self, SHOP},
    stage::{self, expect_success, npm, run_and_read, target_directory},
};

/// Builds, delivers, tests, and takes all of it down again.
///
/// # Errors
/// The delivery or a test failed.
pub fn run(skips: &mut Skips) -> anyhow::Result<()> {
    // Built as for the other tests: alone it would have other features, and much be compiled twice.
    super::build()?;
    let environment = if install::missing(SHOP).is_empty() { "default" } else { "embedded" };
    let server = Server::new(target_directory().join("debug/stead"), environment)?;
    server.while_it_runs(|server| {
        let delivered = server.deliver()?;
        let mut playwright = npm("ui");
        playwright.args(["run", "--silent", "test:real"]);
        playwright.env("STEAD_URL", &delivered.ui).env("STEAD_SHOP_URL", delivered.shop()?);
        playwright.env("STEAD_LINK", stage::read(server.command().arg("open"))?.trim());
        let (status, text) = run_and_read(&mut playwright)?;
        skips.of_playwright(&text);
        expect_success("npm run test:real", status)
    })
}
