//! A whole document: catalogue data, the sections, and the overlays of environments.

use std::collections::BTreeMap;

use base::{Environment, id::NameId};

use super::{Context, Fields, Keys, shorten};
use crate::{
    Diagnostic,
    diagnostic::Diagnostics,
    model::{Link, Service, Tier},
    source::{Source, TextRange},
    yaml::{Key, Node},
};

pub(crate) const API_VERSION: &str = "stead/v1";

pub(crate) static SERVICE: Keys = Keys {
    known: &[
        "apiVersion",
        "name",
        "description",
        "owner",
        "tier",
        "links",
        "run",
        "jobs",
        "needs",
        "expose",
        "config",
        "secrets",
        "environments",
        "environment",
    ],
    later: &[
        "rollout",
        "slo",
        "alerts",
        "budget",
        "backup",
        "policy",
        "image",
        "volumes",
        "scale",
        "autoscale",
        "dashboards",
        "runbooks",
        "tests",
        "flags",
        "pipeline",
        "oncall",
        "escalation",
        "dependencies",
        "labels",
        "annotations",
        "tags",
    ],
    instead: &[
        ("env", "variables are set in `run.environment`"),
        ("command", "it belongs to `run`: `run: {command: …}`"),
        ("build", "it belongs to `run`: `run: {build: …}`"),
        ("replicas", "it belongs to `run`"),
        ("port", "it belongs to `run`"),
        ("ports", "it belongs to `run`"),
        ("health", "it belongs to `run`"),
        ("limits", "it belongs to `run`"),
        ("schedule", "it belongs to `run`, or to one of `jobs`"),
        ("depends_on", "write `needs: {NAME: {service: NAME}}`"),
        (
            "services",
            "a file describes one service; put each in a folder of its own, or between lines of `---`",
        ),
        ("version", "write `apiVersion: stead/v1`, or nothing"),
        ("kind", "leave it out: a service file always describes a service"),
        ("metadata", "`name`, `owner` and the like stand at the top"),
        ("spec", "`run`, `needs` and the like stand at the top"),
        ("team", "write `owner`"),
        ("route", "write `expose`"),
        ("routes", "write `expose`"),
        ("ingress", "write `expose`"),
    ],
};
pub(crate) static LINK: Keys = Keys::only(&["title", "url"]);

/// What an overlay may not change.
const FIXED: &[&str] = &["apiVersion", "name", "environments", "environment"];
/// The most overlays of one service.
const ENVIRONMENTS_MAX: usize = 50;
const LINKS_MAX: usize = 50;

/// What a document says: the service itself, and as each of its environments changes it.
pub(crate) struct Document {
    /// Known even where the rest is wrong, so that others may name it.
    pub(crate) name: Option<NameId>,
    pub(crate) service: Option<Service>,
    pub(crate) overlays: BTreeMap<Environment, Service>,
    pub(crate) name_at: TextRange,
}

/// Reads a document with its overlays; everything that is wrong is in the diagnostics.
pub(crate) fn document(
    source: &Source,
    node: &Node,
    folder_name: Option<&str>,
) -> (Option<Document>, Diagnostics) {
    let mut cx = Context::new(source);
    let Some(fields) = cx.fields(node, "", &SERVICE) else { return (None, cx.found) };
    api_version(&mut cx, &fields);
    let (name, name_at) = name(&mut cx, &fields, folder_name);
    let service = service(&mut cx, node, name.clone());
    let mut overlays = BTreeMap::new();
    for (key, patch) in overlay_entries(&mut cx, &fields) {
        let Some(environment) = environment_name(&mut cx, key) else { continue };
        for (inner, _) in patch.map().into_iter().flat_map(|entries| entries.iter()) {
            if FIXED.contains(&&*inner.text) {
                let message = format!("an environment cannot change `{}`", inner.text);
                cx.error(inner.range, message);
            }
        }
        let merged = crate::overlay::merge(&without(node, &["environments", "environment"]), patch);
        let mut overlay_cx = Context::new(source);
        let changed = service_section(&mut overlay_cx, &merged, name.clone());
        cx.found.append(overlay_cx.found);
        overlays.extend(changed.map(|changed| (environment, changed)));
    }
    (Some(Document { name, service, overlays, name_at }), cx.found)
}

fn service_section(cx: &mut Context<'_>, node: &Node, name: Option<NameId>) -> Option<Service> {
    cx.fields(node, "", &SERVICE)?;
    service(cx, node, name)
}

fn service(cx: &mut Context<'_>, node: &Node, name: Option<NameId>) -> Option<Service> {
    let get = |key: &str| node.get(key).filter(|node| !node.is_null());
    let run = get("run").and_then(|node| super::run::run(cx, node));
    let no_ports = BTreeMap::new();
    // Without a `run` that could be read there is nothing to check the ports against.
    let ports = match (&run, get("run")) {
        (Some(run), _) => Some(&run.ports),
        (None, Some(_)) => None,
        (None, None) => Some(&no_ports),
    };
    let expose = get("expose").map_or_else(Vec::new, |node| super::expose::expose(cx, node, ports));
    let run_is_whole = run.is_some() || get("run").is_none();
    let service = Service {
        description: get("description").and_then(|node| cx.text(node, "description")),
        owner: get("owner").and_then(|node| cx.text(node, "owner")),
        tier: get("tier").and_then(|node| cx.word(node, "tier", Tier::WORDS)).unwrap_or_default(),
        links: get("links").map_or_else(Vec::new, |node| links(cx, node)),
        run,
        jobs: get("jobs").map_or_else(BTreeMap::new, |node| super::jobs::jobs(cx, node)),
        needs: get("needs").map_or_else(BTreeMap::new, |node| super::needs::needs(cx, node)),
        expose,
        config: get("config").map_or_else(Default::default, |node| super::config::config(cx, node)),
        secrets: get("secrets").map_or_else(BTreeMap::new, |node| super::config::secrets(cx, node)),
        name: name.clone().or_else(|| NameId::parse("unnamed").ok())?,
    };
    super::references::check(cx, &service);
    (run_is_whole && name.is_some()).then_some(service)
}

fn api_version(cx: &mut Context<'_>, fields: &Fields<'_>) {
    let Some(node) = fields.get("apiVersion") else { return };
    let Some(text) = cx.text(node, "apiVersion") else { return };
    if text == API_VERSION {
        return;
    }
    let newer =
        text.strip_prefix("stead/v").is_some_and(|version| version.parse::<u32>().is_ok_and(|v| v > 1));
    let message = if newer {
        format!("this file is for a newer Stead: `{}`", shorten(&text))
    } else {
        format!("`{}` is no version of a service file", shorten(&text))
    };
    cx.error_hint(node.range, message, format!("write `apiVersion: {API_VERSION}`, or leave it out"));
}

fn name(cx: &mut Context<'_>, fields: &Fields<'_>, folder: Option<&str>) -> (Option<NameId>, TextRange) {
    if let Some(node) = fields.get("name") {
        return (cx.label(node, "name"), node.range);
    }
    let at = TextRange { start: fields.range.start, end: fields.range.start };
    let label = folder.and_then(crate::names::label).and_then(|label| NameId::parse(&label).ok());
    if label.is_none() {
        cx.error_hint(at, "the service has no name, and its folder's cannot be one", "give it a `name`");
    }
    (label, at)
}

fn links(cx: &mut Context<'_>, node: &Node) -> Vec<Link> {
    let mut all = Vec::new();
    for item in cx.items(node, "links", LINKS_MAX) {
        let (title, url_node) = if item.text().is_some() {
            (None, Some(item))
        } else {
            let Some(fields) = cx.fields(item, "links", &LINK) else { continue };
            let title = fields.get("title").and_then(|node| cx.text(node, "links.title"));
            if fields.get("url").is_none() {
                cx.error(item.range, "a link needs a `url`");
            }
            (title, fields.get("url"))
        };
        let Some(url_node) = url_node else { continue };
        let Some(url) = cx.text(url_node, "links.url") else { continue };
        // Shown as links in the UI, so that no other scheme may pass.
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let Some(rest) = rest.filter(|rest| !rest.is_empty() && !url.contains(char::is_whitespace)) else {
            let message = format!("`{}` is no link", shorten(&url));
            cx.error_hint(url_node.range, message, "links start with `https://` or `http://`");
            continue;
        };
        let host = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        all.push(Link { title: title.unwrap_or_else(|| host.to_owned()), url: url.clone() });
    }
    all
}

fn overlay_entries<'n>(cx: &mut Context<'_>, fields: &Fields<'n>) -> Vec<(&'n Key, &'n Node)> {
    if let (Some(_), Some(key)) = (fields.get("environments"), fields.key("environment")) {
        cx.error_hint(key.range, "`environment` is another word for `environments`", "keep one of them");
    }
    let Some((key, node)) =
        ["environments", "environment"].into_iter().find_map(|key| fields.get(key).map(|node| (key, node)))
    else {
        return Vec::new();
    };
    let mut good = Vec::new();
    for (name, patch) in cx.entries(node, key, ENVIRONMENTS_MAX) {
        if patch.map().is_some() {
            good.push((name, patch));
        } else if !patch.is_null() {
            let hint = "an environment holds sections, such as `staging: {run: {replicas: 1}}`; \
                        variables of the process stand in `run.environment`";
            cx.found.push(
                Diagnostic::new(format!(
                    "`{key}.{}` must be a map, this is {}",
                    shorten(&name.text),
                    patch.kind()
                ))
                .at(cx.source, patch.range)
                .hint(hint),
            );
        }
    }
    good
}

fn environment_name(cx: &mut Context<'_>, key: &Key) -> Option<Environment> {
    let name = cx.label_of(&key.text, key.range, "environments")?;
    Environment::parse(name.as_str()).ok()
}

fn without(node: &Node, keys: &[&str]) -> Node {
    let entries = node.map().into_iter().flat_map(|entries| entries.iter());
    node.with_entries(entries.filter(|(key, _)| !keys.contains(&&*key.text)).cloned().collect())
}
