//! Tests that were left out: found in what the runners say, counted, and judged.
//!
//! A Rust test that cannot run prints `SKIP name: why` and returns. On a developer's machine that is a
//! count at the end; in CI each has to be expected, with a reason, in `tests/allowed-skips.toml`.

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::stage::say;

const FILE: &str = "tests/allowed-skips.toml";

/// A test that was left out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Skip {
    name: String,
    why: String,
}

impl Skip {
    pub fn new(name: impl Into<String>, why: impl Into<String>) -> Self {
        Self { name: name.into(), why: why.into() }
    }
}

/// All that were left out in a run.
#[derive(Debug, Default)]
pub struct Skips {
    found: BTreeSet<Skip>,
}

impl Skips {
    pub fn add(&mut self, skip: Skip) {
        self.found.insert(skip);
    }

    /// Lines `SKIP name: why`.
    pub fn of_rust(&mut self, text: &str) {
        for line in text.lines() {
            if let Some((name, why)) =
                line.trim_start().strip_prefix("SKIP ").and_then(|rest| rest.split_once(": "))
            {
                self.add(Skip::new(name.trim(), why.trim()));
            }
        }
    }

    /// The same in the report of cargo-nextest, which shows no output of tests that passed.
    pub fn of_junit(&mut self, xml: &str) {
        let text = xml.replace('>', ">\n").replace('<', "\n<");
        let text =
            text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'");
        self.of_rust(&text.replace("&amp;", "&"));
    }

    /// `ok 3 - name # SKIP why` or, for people, `﹣ name (0.2ms) # why`.
    pub fn of_node(&mut self, text: &str) {
        for line in text.lines().map(str::trim_start) {
            if let Some((test, why)) = line.split_once("# SKIP").filter(|_| line.starts_with("ok ")) {
                let name = test.split_once(" - ").map_or(test, |(_, name)| name);
                self.add(Skip::new(name.trim(), why.trim()));
            } else if let Some((test, why)) = line.strip_prefix('﹣').and_then(|rest| rest.split_once(" # "))
            {
                let name = test.rsplit_once(" (").map_or(test, |(name, _)| name);
                self.add(Skip::new(name.trim(), why.trim()));
            }
        }
    }

    /// `  -  4 [fixtures] › pages/map.spec.ts:8:1 › name`.
    pub fn of_playwright(&mut self, text: &str) {
        for line in text.lines() {
            let Some(rest) = line.trim_start().strip_prefix("-  ") else { continue };
            let numbered =
                rest.trim_start().split_once(' ').filter(|(number, _)| number.parse::<u32>().is_ok());
            if let Some((_, test)) = numbered.filter(|(_, test)| test.starts_with('[')) {
                let name = test.rsplit(" › ").next().unwrap_or(test);
                self.add(Skip::new(name.trim(), "skipped by Playwright"));
            }
        }
    }

    /// Prints all, and with `is_ci` fails for those that are not expected.
    ///
    /// # Errors
    /// One is not in the file, or the file is not to be read.
    pub fn judge(&self, is_ci: bool) -> anyhow::Result<()> {
        let file: File = toml::from_str(&fs::read_to_string(FILE).context(FILE)?).context(FILE)?;
        say(&format!("  {} tests left out", self.found.len()));
        let unexpected = self.unexpected(&file);
        for skip in &self.found {
            let mark = if unexpected.contains(&skip) { "not expected" } else { "expected" };
            say(&format!("  {mark}: {}: {}", skip.name, skip.why));
        }
        if is_ci && !unexpected.is_empty() {
            bail!("{} tests were left out that {FILE} does not have", unexpected.len());
        }
        Ok(())
    }

    fn unexpected(&self, file: &File) -> Vec<&Skip> {
        self.found.iter().filter(|skip| !file.allow.iter().any(|one| one.name == skip.name)).collect()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    allow: Vec<Allowed>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Allowed {
    name: String,
    /// Required, for whoever reads the file.
    #[serde(rename = "reason")]
    _reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(skips: &Skips) -> Vec<(&str, &str)> {
        skips.found.iter().map(|skip| (skip.name.as_str(), skip.why.as_str())).collect()
    }

    #[test]
    fn each_runner_is_understood() {
        let mut skips = Skips::default();
        skips.of_rust("running 1 test\nSKIP full_disk: cannot mount: a tmpfs\ntest SKIP is fine\n");
        assert_eq!(names(&skips), [("full_disk", "cannot mount: a tmpfs")]);

        let mut skips = Skips::default();
        skips
            .of_junit("<testcase><system-out>SKIP a: no &quot;x&quot; &amp; y\nmore</system-out></testcase>");
        assert_eq!(names(&skips), [("a", "no \"x\" & y")]);

        let mut skips = Skips::default();
        skips.of_node(
            "ok 3 - buys # SKIP no engine\nok 4 - sells\n    ﹣ waits (0.21ms) # no redis\n✔ fine (3ms)\n",
        );
        assert_eq!(names(&skips), [("buys", "no engine"), ("waits", "no redis")]);

        let mut skips = Skips::default();
        skips.of_playwright(
            "  ✓  1 [fixtures] › a.spec.ts:1:1 › works\n  -  2 [fixtures] › a.spec.ts:8:1 › page › waits\n",
        );
        assert_eq!(names(&skips), [("waits", "skipped by Playwright")]);
    }

    #[test]
    fn only_what_is_expected_passes() {
        let mut skips = Skips::default();
        skips.add(Skip::new("known", "why"));
        skips.add(Skip::new("new", "why"));
        let file: File = toml::from_str("[[allow]]\nname = \"known\"\nreason = \"the kernel's\"\n").unwrap();
        assert_eq!(skips.unexpected(&file), [&Skip::new("new", "why")]);
        assert!(toml::from_str::<File>("[[allow]]\nname = \"without a reason\"\n").is_err());
    }

    #[test]
    fn the_real_file_is_to_be_read() {
        let text = fs::read_to_string(crate::stage::root().join(FILE)).unwrap();
        toml::from_str::<File>(&text).unwrap();
    }
}
