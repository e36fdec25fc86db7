//! What may be linked: `deny.toml`, read the way that cargo-deny reads it.
//!
//! cargo-deny takes minutes to build and is wanted in seconds, so this is the part of it that decides
//! about us: licences, banned crates, who alone may use a crate, and registries. Advisories are left to
//! `cargo deny check advisories`, which understands the same file.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::{
    spdx,
    stage::{cargo, read, say},
};

const FILE: &str = "deny.toml";
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";
/// More versions of more crates than this make builds slow for nothing.
const PACKAGES_MAX: usize = 700;

/// # Errors
/// A package is not to be linked, or deny.toml is not to be read.
pub fn run() -> anyhow::Result<()> {
    let rules: Rules = toml::from_str(&fs::read_to_string(FILE).context(FILE)?).context(FILE)?;
    let mut metadata: Vec<Package> = Vec::new();
    for target in &rules.graph.targets {
        let text = read(cargo().args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
            target,
        ]))?;
        metadata.extend(serde_json::from_str::<Metadata>(&text).context("cargo metadata")?.packages);
    }
    metadata.sort_by(|one, other| (&one.name, &one.version).cmp(&(&other.name, &other.version)));
    metadata.dedup_by(|one, other| one.name == other.name && one.version == other.version);
    let problems = judge(&rules, &metadata);
    for problem in &problems {
        say(&format!("  {problem}"));
    }
    if !problems.is_empty() {
        bail!("{} packages are not to be linked as they are", problems.len());
    }
    say(&format!("  {} packages, all allowed", metadata.len()));
    Ok(())
}

fn judge(rules: &Rules, packages: &[Package]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut users: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        // What a third party could use but does not is listed as well, so only ours are held to fences.
        for dependency in package.dependencies.iter().filter(|_| package.source.is_none()) {
            users.entry(&dependency.name).or_default().push(&package.name);
        }
        let named = format!("{} {}", package.name, package.version);
        match package.license.as_deref() {
            None => problems.push(format!("{named}: has no licence expression")),
            Some(text)
                if !spdx::allowed(text, &|licence| rules.licenses.allow.iter().any(|one| one == licence)) =>
            {
                problems.push(format!("{named}: licence `{text}` is not in {FILE}"));
            }
            Some(_) => {}
        }
        if package.source.as_deref().is_some_and(|source| source != CRATES_IO) {
            problems.push(format!("{named}: comes from {}", package.source.as_deref().unwrap_or_default()));
        }
    }
    for ban in &rules.bans.deny {
        if !packages.iter().any(|package| package.name == ban.krate) {
            continue;
        }
        if ban.wrappers.is_empty() {
            problems.push(format!("{}: {}", ban.krate, ban.reason));
        }
        let others = users.get(ban.krate.as_str()).into_iter().flatten();
        for user in
            others.filter(|user| !ban.wrappers.is_empty() && !ban.wrappers.iter().any(|one| one == *user))
        {
            problems.push(format!("{user} uses {}: {}", ban.krate, ban.reason));
        }
    }
    if packages.len() > PACKAGES_MAX {
        problems.push(format!("{} packages, at most {PACKAGES_MAX}", packages.len()));
    }
    problems
}

#[derive(Deserialize)]
struct Rules {
    graph: Graph,
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Graph {
    targets: Vec<String>,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    krate: String,
    /// Who alone may use it; empty when nobody may.
    #[serde(default)]
    wrappers: Vec<String>,
    reason: String,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = r#"
        [graph]
        targets = []
        [licenses]
        allow = ["MIT"]
        [bans]
        deny = [
            { crate = "openssl", reason = "one TLS" },
            { crate = "rusqlite", wrappers = ["state"], reason = "no SQL above state" },
        ]
    "#;

    fn package(name: &str, license: Option<&str>, source: Option<&str>, uses: &[&str]) -> Package {
        Package {
            name: name.into(),
            version: "1.0.0".into(),
            license: license.map(str::to_owned),
            source: source.map(str::to_owned),
            dependencies: uses.iter().map(|name| Dependency { name: (*name).to_owned() }).collect(),
        }
    }

    #[test]
    fn each_rule_bites() {
        let rules: Rules = toml::from_str(RULES).unwrap();
        let good = [
            package("state", Some("MIT"), None, &["rusqlite"]),
            package("rusqlite", Some("MIT"), Some(CRATES_IO), &[]),
        ];
        assert_eq!(judge(&rules, &good), Vec::<String>::new());
        let bad = [
            package("api", Some("MIT"), None, &["rusqlite"]),
            package("copyleft", Some("AGPL-3.0"), Some(CRATES_IO), &[]),
            package("elsewhere", Some("MIT"), Some("git+https://example.com/x"), &[]),
            package("openssl", Some("MIT"), Some(CRATES_IO), &[]),
            package("rusqlite", None, Some(CRATES_IO), &[]),
        ];
        let problems = judge(&rules, &bad);
        assert_eq!(problems.len(), 5, "{problems:?}");
        assert!(problems.iter().any(|one| one == "api uses rusqlite: no SQL above state"), "{problems:?}");
    }
}
