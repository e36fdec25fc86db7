//! The crates as a table and a graph, between two marks of a page.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use anyhow::Context as _;

use super::{Crate, Layer};

const BEGIN: &str = "<!-- crates: drawn by `cargo xtask arch --write` -->";
const END: &str = "<!-- end of crates -->";

/// The page with the drawing replaced.
///
/// # Errors
/// The page lacks the marks.
pub fn into_page(page: &str, crates: &[Crate]) -> anyhow::Result<String> {
    let (before, rest) = page.split_once(BEGIN).with_context(|| format!("lacks the mark {BEGIN}"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("lacks the mark {END}"))?;
    Ok(format!("{before}{BEGIN}\n\n{}\n{}\n{END}{after}", table(crates), graph(crates)))
}

fn table(crates: &[Crate]) -> String {
    let mut out = String::from("| layer | crate | what it is |\n|---|---|---|\n");
    for one in crates {
        let layer = one.layer.map(name).unwrap_or_default();
        let _ = writeln!(out, "| {layer} | [`{}`]({}) | {} |", one.name, one.folder, one.description);
    }
    out
}

/// Edges that follow from others are left out, and so are the tools, which may use anything.
fn graph(crates: &[Crate]) -> String {
    let drawn: Vec<&Crate> =
        crates.iter().filter(|one| one.layer.is_some_and(|layer| layer != Layer::Tool)).collect();
    let below = reachable(&drawn);
    let mut out = String::from("```mermaid\nflowchart TD\n");
    for layer in [Layer::Bin, Layer::Serve, Layer::Engine, Layer::Contract, Layer::Platform, Layer::Base] {
        let members: Vec<&str> =
            drawn.iter().filter(|one| one.layer == Some(layer)).map(|one| one.name.as_str()).collect();
        if !members.is_empty() {
            let _ = writeln!(
                out,
                "  subgraph layer-{0} [{0}]\n    {1}\n  end",
                name(layer),
                members.join("\n    ")
            );
        }
    }
    for one in &drawn {
        let direct: BTreeSet<&str> = one
            .depends
            .iter()
            .map(String::as_str)
            .filter(|on| *on != one.name && below.contains_key(on))
            .collect();
        let implied: BTreeSet<&str> = direct.iter().flat_map(|on| below[on].iter().copied()).collect();
        let edges: Vec<&str> = direct.difference(&implied).copied().collect();
        if !edges.is_empty() {
            let _ = writeln!(out, "  {} --> {}", one.name, edges.join(" & "));
        }
    }
    out.push_str("```\n");
    out
}

/// For each crate all that it stands on, directly or not.
fn reachable<'a>(crates: &[&'a Crate]) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let direct: BTreeMap<&str, &Crate> = crates.iter().map(|one| (one.name.as_str(), *one)).collect();
    crates
        .iter()
        .map(|one| {
            let mut seen = BTreeSet::new();
            let mut open = vec![*one];
            while let Some(next) = open.pop() {
                for name in next.depends.iter().filter(|name| **name != one.name) {
                    if let Some(on) = direct.get(name.as_str())
                        && seen.insert(on.name.as_str())
                    {
                        open.push(on);
                    }
                }
            }
            (one.name.as_str(), seen)
        })
        .collect()
}

fn name(layer: Layer) -> &'static str {
    match layer {
        Layer::Base => "base",
        Layer::Platform => "platform",
        Layer::Contract => "contract",
        Layer::Engine => "engine",
        Layer::Serve => "serve",
        Layer::Bin => "bin",
        Layer::Tool => "tool",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, layer: Layer, depends: &[&str]) -> Crate {
        Crate {
            name: name.into(),
            folder: format!("crates/{name}"),
            description: format!("what {name} is"),
            layer: Some(layer),
            depends: depends.iter().map(|name| (*name).to_owned()).collect(),
            lines: 1,
        }
    }

    #[test]
    fn edges_that_follow_from_others_are_left_out() {
        let crates = [
            one("base", Layer::Base, &[]),
            one("state", Layer::Platform, &["base"]),
            one("delivery", Layer::Engine, &["base", "state"]),
            one("xtask", Layer::Tool, &["delivery"]),
        ];
        let graph = graph(&crates);
        assert!(graph.contains("delivery --> state\n"), "{graph}");
        assert!(graph.contains("state --> base\n"), "{graph}");
        assert!(!graph.contains("xtask"), "{graph}");
    }

    #[test]
    fn drawing_twice_changes_nothing_and_keeps_the_page() {
        let crates = [one("base", Layer::Base, &[])];
        let page = format!("# Top\n{BEGIN}\nold\n{END}\nbelow\n");
        let once = into_page(&page, &crates).unwrap();
        assert!(once.starts_with("# Top\n") && once.ends_with("below\n") && !once.contains("old"));
        assert_eq!(into_page(&once, &crates).unwrap(), once);
        assert!(into_page("no marks", &crates).is_err());
    }
}
