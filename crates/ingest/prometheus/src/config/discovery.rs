//! Where a job's targets come from.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use service_file::{Source, yaml, yaml::Node};

use super::{
    Group, HttpClient, STATIC_TARGETS_MAX,
    context::{Context, Fields, Keys},
    http::{client, client_keys, client_later},
};

/// A way to find targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discovery {
    Static(Vec<Group>),
    /// Files in JSON or YAML, by pattern, read anew every `refresh`.
    File {
        files: Vec<PathBuf>,
        refresh: Duration,
    },
    Http {
        url: String,
        refresh: Duration,
        http: Box<HttpClient>,
    },
    Dns {
        names: Vec<String>,
        kind: DnsKind,
        port: Option<u16>,
        refresh: Duration,
    },
    /// Stead's own services.
    Stead,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsKind {
    A,
    Aaaa,
    Srv,
}

/// Ways that Prometheus has and that are not served here.
pub(super) const LATER: &[&str] = &[
    "aws_sd_configs",
    "azure_sd_configs",
    "consul_sd_configs",
    "digitalocean_sd_configs",
    "docker_sd_configs",
    "dockerswarm_sd_configs",
    "ec2_sd_configs",
    "ecs_sd_configs",
    "eureka_sd_configs",
    "gce_sd_configs",
    "hetzner_sd_configs",
    "ionos_sd_configs",
    "kubernetes_sd_configs",
    "kuma_sd_configs",
    "lightsail_sd_configs",
    "linode_sd_configs",
    "marathon_sd_configs",
    "msk_sd_configs",
    "nerve_sd_configs",
    "nomad_sd_configs",
    "openstack_sd_configs",
    "outscale_sd_configs",
    "ovhcloud_sd_configs",
    "puppetdb_sd_configs",
    "scaleway_sd_configs",
    "serverset_sd_configs",
    "stackit_sd_configs",
    "triton_sd_configs",
    "uyuni_sd_configs",
    "vultr_sd_configs",
];

const STATIC: Keys = Keys { known: &["targets", "labels"], passed: &[], later: &[] };
const FILE: Keys = Keys { known: &["files", "refresh_interval"], passed: &[], later: &[] };
const HTTP: Keys =
    Keys { known: client_keys!["url", "refresh_interval",], passed: &[], later: client_later![] };
const DNS: Keys = Keys { known: &["names", "type", "port", "refresh_interval"], passed: &[], later: &[] };
const STEAD: Keys = Keys { known: &[], passed: &[], later: &[] };

/// Configurations of one kind in a job.
const CONFIGS_MAX: usize = 1_000;

pub(super) fn discoveries(context: &mut Context, fields: &Fields<'_>) -> Vec<Discovery> {
    let mut all = Vec::new();
    if let Some(node) = fields.get("static_configs") {
        let groups = groups(context, node, "static_configs");
        all.push(Discovery::Static(groups));
    }
    for (key, read) in [
        ("file_sd_configs", file as fn(&mut Context, &Node) -> Option<Discovery>),
        ("http_sd_configs", http),
        ("dns_sd_configs", dns),
        ("stead_sd_configs", stead),
    ] {
        if let Some(node) = fields.get(key) {
            for item in context.items(node, key, CONFIGS_MAX) {
                all.extend(read(context, item));
            }
        }
    }
    all
}

fn groups(context: &mut Context, node: &Node, what: &str) -> Vec<Group> {
    let mut groups = Vec::new();
    for (at, item) in context.items(node, what, STATIC_TARGETS_MAX).iter().enumerate() {
        let Some(fields) = context.fields(item, what, &STATIC) else { continue };
        let mut group = Group { source: at.to_string(), ..Group::default() };
        if let Some(node) = fields.get("targets") {
            for address in context.texts(node, "targets", STATIC_TARGETS_MAX) {
                if address.is_empty() || address.contains('/') {
                    let hint = Some("write host and port; the path is `metrics_path`".to_owned());
                    context.error(node.range, format!("`{address}` is no address of a target"), hint);
                    continue;
                }
                group.targets.push(BTreeMap::from([("__address__".to_owned(), address)]));
            }
        }
        if let Some(node) = fields.get("labels") {
            for (key, value) in context.entries(node, "labels") {
                if let Some(value) = context.text(value, &key.text) {
                    group.labels.insert(key.text.to_string(), value);
                }
            }
        }
        groups.push(group);
    }
    groups
}

/// Target groups as a file of `file_sd_configs` or an answer of `http_sd_configs` holds them, in JSON
/// or YAML.
///
/// # Errors
/// What is wrong with the text, with places.
pub fn groups_from_text(name: &str, text: String) -> Result<Vec<Group>, String> {
    let source = Source::new(name, text);
    let (documents, found) = yaml::parse(&source);
    let mut context = Context::new(source, found);
    let mut all =
        documents.first().map(|node| groups(&mut context, node, "target groups")).unwrap_or_default();
    for group in &mut all {
        group.source = format!("{name}:{}", group.source);
    }
    if context.found.is_empty() { Ok(all) } else { Err(context.found.to_string()) }
}

fn refresh(context: &mut Context, fields: &Fields<'_>, default: Duration) -> Duration {
    fields.get("refresh_interval").and_then(|node| context.span(node, "refresh_interval")).unwrap_or(default)
}

fn file(context: &mut Context, node: &Node) -> Option<Discovery> {
    let fields = context.fields(node, "file_sd_configs", &FILE)?;
    let refresh = refresh(context, &fields, Duration::from_secs(300));
    let mut files = Vec::new();
    if let Some(list) = fields.get("files") {
        for item in context.items(list, "files", CONFIGS_MAX) {
            let Some(path) = context.path(item, "files") else { continue };
            let known = path.extension().is_some_and(|end| end == "json" || end == "yml" || end == "yaml");
            if !known {
                context.error(item.range, "a file of targets ends with `.json`, `.yml` or `.yaml`", None);
            }
            files.push(path);
        }
    }
    if files.is_empty() {
        context.error(node.range, "`file_sd_configs` names no `files`", None);
    }
    Some(Discovery::File { files, refresh })
}

fn http(context: &mut Context, node: &Node) -> Option<Discovery> {
    let fields = context.fields(node, "http_sd_configs", &HTTP)?;
    let refresh = refresh(context, &fields, Duration::from_secs(60));
    let http = client(context, &fields);
    let url = fields.get("url").and_then(|node| context.text(node, "url")).unwrap_or_default();
    let good = url
        .parse::<::http::Uri>()
        .is_ok_and(|uri| uri.host().is_some() && matches!(uri.scheme_str(), Some("http" | "https")));
    if !good {
        context.error(node.range, format!("`url`: `{url}` is no address with http or https"), None);
        return None;
    }
    Some(Discovery::Http { url, refresh, http: Box::new(http) })
}

fn dns(context: &mut Context, node: &Node) -> Option<Discovery> {
    let fields = context.fields(node, "dns_sd_configs", &DNS)?;
    let refresh = refresh(context, &fields, Duration::from_secs(30));
    let names = fields.get("names").map(|node| context.texts(node, "names", CONFIGS_MAX)).unwrap_or_default();
    if names.is_empty() {
        context.error(node.range, "`dns_sd_configs` has no `names`", None);
    }
    let kinds = [("SRV", DnsKind::Srv), ("A", DnsKind::A), ("AAAA", DnsKind::Aaaa)];
    if let Some(node) = fields.get("type")
        && matches!(node.text(), Some("MX" | "NS"))
    {
        context.error(node.range, "records of type MX and NS are not available yet", None);
        return None;
    }
    let kind =
        fields.get("type").map_or(Some(DnsKind::Srv), |node| context.word(node, "type", &kinds, true))?;
    let port = fields.get("port").and_then(|node| context.count(node, "port").map(|port| (port, node.range)));
    let port = match port.map(|(port, place)| (u16::try_from(port), place)) {
        Some((Ok(port), _)) => Some(port),
        Some((Err(_), place)) => {
            context.error(place, "`port` is at most 65535", None);
            None
        }
        None => None,
    };
    if kind != DnsKind::Srv && port.is_none() {
        context.error(node.range, "records without a port need `port`", None);
    }
    Some(Discovery::Dns { names, kind, port, refresh })
}

fn stead(context: &mut Context, node: &Node) -> Option<Discovery> {
    context.fields(node, "stead_sd_configs", &STEAD).map(|_| Discovery::Stead)
}
