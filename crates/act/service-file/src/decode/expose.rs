//! The `expose` section: ways in from outside.

use std::collections::BTreeMap;

use base::units::{Bytes, Span};

use super::{Context, Keys, health, shorten};
use crate::{
    model::{Expose, Port},
    yaml::Node,
};

pub(crate) static EXPOSE: Keys = Keys {
    known: &["host", "path", "port", "strip_prefix", "timeout", "retries", "body_max"],
    later: &["auth", "rate_limit", "cache", "cors", "headers", "rewrite", "mirror", "tls", "websocket"],
    instead: &[
        ("domain", "write `host`"),
        ("hostname", "write `host`"),
        ("prefix", "write `path`"),
        ("strip", "write `strip_prefix: true`"),
        ("max_body", "write `body_max`"),
    ],
};

/// The most ways into one service.
const EXPOSE_MAX: usize = 100;

pub(crate) fn expose(
    cx: &mut Context<'_>,
    node: &Node,
    ports: Option<&BTreeMap<String, Port>>,
) -> Vec<Expose> {
    let items = node.list().unwrap_or(std::slice::from_ref(node));
    let read = cx.at_most(node, "expose", items.len(), EXPOSE_MAX);
    let mut all: Vec<Expose> = Vec::new();
    for item in &items[..read] {
        let Some(one) = entry(cx, item, ports) else { continue };
        if all.iter().any(|other| other.host == one.host && other.path == one.path) {
            let host = one.host.as_deref().unwrap_or("any host");
            cx.error(item.range, format!("`{}` on {host} is exposed twice", one.path));
            continue;
        }
        all.push(one);
    }
    all
}

fn entry(cx: &mut Context<'_>, node: &Node, ports: Option<&BTreeMap<String, Port>>) -> Option<Expose> {
    let mut one = Expose {
        host: None,
        path: "/".into(),
        port: String::new(),
        strip_prefix: false,
        timeout: Span::from_secs(30),
        retries: 1,
        body_max: Bytes::mib(64),
    };
    if node.text().is_some() {
        one.path = path(cx, node, "expose")?;
        one.port = health::port_of(cx, None, node, "expose", ports)?;
        return Some(one);
    }
    let fields = cx.fields(node, "expose", &EXPOSE)?;
    let before = cx.found.items.len() + cx.found.left_out;
    if let Some(node) = fields.get("host") {
        one.host = host(cx, node);
    }
    if let Some(node) = fields.get("path") {
        one.path = path(cx, node, "expose.path").unwrap_or(one.path);
    }
    one.port = health::port_of(cx, fields.get("port"), node, "expose", ports).unwrap_or_default();
    if let Some(node) = fields.get("strip_prefix") {
        one.strip_prefix = cx.flag(node, "expose.strip_prefix").unwrap_or_default();
    }
    if let Some(node) = fields.get("timeout") {
        one.timeout = cx.span_some(node, "expose.timeout").unwrap_or(one.timeout);
    }
    if let Some(node) = fields.get("retries") {
        one.retries = cx.int(node, "expose.retries", 0..=10).unwrap_or_default();
    }
    if let Some(node) = fields.get("body_max") {
        one.body_max = cx.bytes(node, "expose.body_max").unwrap_or(one.body_max);
    }
    (cx.found.items.len() + cx.found.left_out == before).then_some(one)
}

/// A prefix on segment borders: `/shop/` is `/shop`.
fn path(cx: &mut Context<'_>, node: &Node, what: &str) -> Option<String> {
    let text = health::url_path(cx, node, what)?;
    if text.contains(['?', '#', '*'])
        || text.split('/').any(|part| matches!(part, "." | ".."))
        || text.contains("//")
    {
        cx.error_hint(
            node.range,
            format!("`{what}`: `{}` is no prefix of paths", shorten(&text)),
            "a prefix such as `/shop` takes everything below it; no patterns, no query, no `..`",
        );
        return None;
    }
    let trimmed = text.trim_end_matches('/');
    Some(if trimmed.is_empty() { "/".into() } else { trimmed.to_owned() })
}

fn host(cx: &mut Context<'_>, node: &Node) -> Option<String> {
    let text = cx.text(node, "expose.host")?;
    if crate::names::is_host(&text) {
        return Some(text.to_ascii_lowercase());
    }
    let bare = text.split("://").last().unwrap_or_default();
    let bare = bare.split(['/', ':']).next().unwrap_or_default();
    let hint = if crate::names::is_host(bare) {
        format!("write `{bare}`, without scheme, port and path")
    } else {
        "a name such as `shop.example.com` or `*.example.com`".to_owned()
    };
    cx.error_hint(node.range, format!("`{}` is no host name", shorten(&text)), hint);
    None
}
