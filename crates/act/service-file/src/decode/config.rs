//! The `config` and `secrets` sections.

use std::collections::BTreeMap;

use super::{Context, ENTRIES_MAX, Fields, Keys, Rules, shorten};
use crate::{
    model::{Config, ConfigFile, Content, Secret, SecretDelivery},
    yaml::{Key, Node, Value},
};

pub(crate) static CONFIG: Keys = Keys {
    known: &["values", "files"],
    later: &["flags"],
    instead: &[(
        "environment",
        "variables of the process stand in `run.environment`, shared ones in `config.values`",
    )],
};
pub(crate) static FILE: Keys = Keys::only(&["content", "from", "mode", "template"]);
pub(crate) static SECRET: Keys = Keys {
    known: &["from", "as", "path"],
    later: &["rotate", "version"],
    instead: &[
        ("value", "a value never stands in this file: set it with `stead secret set NAME`"),
        ("mount", "write `as: file` and `path`"),
    ],
};

/// Config values must not refer to one another: there is no order to go wrong, and no cycle.
const VALUES: Rules = Rules { secrets: true, config: false, ports: true };
const FILES: Rules = Rules { secrets: true, config: true, ports: true };

const CONTENT_BYTES_MAX: usize = 256 << 10;

pub(crate) fn config(cx: &mut Context<'_>, node: &Node) -> Config {
    let mut config = Config::default();
    let Some(fields) = cx.fields(node, "config", &CONFIG) else { return config };
    if let Some(node) = fields.get("values") {
        for (key, value) in cx.entries(node, "config.values", ENTRIES_MAX) {
            let name = cx.variable(&key.text, key.range);
            let value = cx.template(value, &format!("config.values.{}", shorten(&key.text)), VALUES);
            if let (Some(name), Some(value)) = (name, value) {
                config.values.insert(name, value);
            }
        }
    }
    if let Some(node) = fields.get("files") {
        for (key, value) in cx.entries(node, "config.files", ENTRIES_MAX) {
            let path = cx.path_inside(&key.text, key.range, "config.files");
            let file = file(cx, key, value);
            if let (Some(path), Some(file)) = (path, file) {
                config.files.insert(path, file);
            }
        }
    }
    config
}

fn file(cx: &mut Context<'_>, key: &Key, node: &Node) -> Option<ConfigFile> {
    const MODE_DEFAULT: u32 = 0o644;
    let what = format!("config.files.{}", shorten(&key.text));
    if let Value::Scalar(_) = &node.value {
        let content = content(cx, node, &what, true)?;
        return Some(ConfigFile { content, mode: MODE_DEFAULT });
    }
    let fields = cx.fields(node, &what, &FILE)?;
    let mode = match fields.get("mode") {
        Some(node) => mode(cx, node, &what)?,
        None => MODE_DEFAULT,
    };
    let template = match fields.get("template") {
        Some(node) => Some(cx.flag(node, &format!("{what}.template"))?),
        None => None,
    };
    let content = match (fields.given("content"), fields.get("from")) {
        (Some(node), None) => content(cx, node, &what, template.unwrap_or(true))?,
        (None, Some(node)) => {
            let text = cx.text(node, &format!("{what}.from"))?;
            let path = cx.path_inside(&text, node.range, &format!("{what}.from"))?;
            Content::From { path, template: template.unwrap_or(false) }
        }
        _ => {
            let message = format!("`{what}` must have either `content` or `from`");
            cx.error_hint(key.range, message, "`content` is text, `from` a file of the service's folder");
            return None;
        }
    };
    Some(ConfigFile { content, mode })
}

fn content(cx: &mut Context<'_>, node: &Node, what: &str, template: bool) -> Option<Content> {
    if node.text().is_some_and(|text| text.len() > CONTENT_BYTES_MAX) {
        let message = format!("`{what}` is longer than {CONTENT_BYTES_MAX} bytes");
        cx.error_hint(node.range, message, "put it in a file and name it with `from`");
        return None;
    }
    if template {
        return cx.template(node, what, FILES).map(Content::Template);
    }
    cx.text(node, what).map(Content::Literal)
}

/// Octal digits, with or without `0o`.
fn mode(cx: &mut Context<'_>, node: &Node, what: &str) -> Option<u32> {
    let text = cx.text(node, &format!("{what}.mode"))?;
    let digits = text.strip_prefix("0o").unwrap_or(&text);
    let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o777);
    if mode.is_none() {
        let message = format!("`{what}.mode`: `{}` are no permissions", shorten(&text));
        cx.error_hint(node.range, message, "three octal digits such as `0644`");
    }
    mode
}

/// A list of names, or a map from name to where it comes from and how it arrives.
pub(crate) fn secrets(cx: &mut Context<'_>, node: &Node) -> BTreeMap<String, Secret> {
    let mut all = BTreeMap::new();
    if node.list().is_some() {
        for item in cx.items(node, "secrets", ENTRIES_MAX) {
            let Some(name) = cx.text(item, "secrets") else { continue };
            let Some(name) = cx.variable(&name, item.range) else { continue };
            let secret = Secret { from: name.clone(), delivery: SecretDelivery::Environment };
            if all.insert(name.clone(), secret).is_some() {
                cx.error(item.range, format!("secret `{name}` is given twice"));
            }
        }
        return all;
    }
    for (key, node) in cx.entries(node, "secrets", ENTRIES_MAX) {
        if let Some(secret) = secret(cx, key, node) {
            all.insert(key.text.to_string(), secret);
        }
    }
    all
}

fn secret(cx: &mut Context<'_>, key: &Key, node: &Node) -> Option<Secret> {
    let what = format!("secrets.{}", shorten(&key.text));
    let mut secret = Secret { from: key.text.to_string(), delivery: SecretDelivery::Environment };
    if node.text().is_some() {
        secret.from = store_name(cx, node, &what)?;
    } else if !node.is_null() {
        let fields = cx.fields(node, &what, &SECRET)?;
        if let Some(node) = fields.get("from") {
            secret.from = store_name(cx, node, &what)?;
        }
        secret.delivery = delivery(cx, &fields, key, &what)?;
    }
    match secret.delivery {
        SecretDelivery::Environment => {
            cx.variable(&key.text, key.range)?;
        }
        _ if !crate::names::is_secret(&key.text) => {
            cx.error_hint(
                key.range,
                format!("`{}` is no name for a secret", shorten(&key.text)),
                "letters, digits, `_`, `-`, `.` and `/`",
            );
            return None;
        }
        _ => {}
    }
    if !crate::names::is_stored(&secret.from) {
        cx.error_hint(
            key.range,
            format!("`{}` is no name of a secret in the store", shorten(&key.text)),
            "say which one it is with `from: NAME`",
        );
        return None;
    }
    Some(secret)
}

fn delivery(cx: &mut Context<'_>, fields: &Fields<'_>, key: &Key, what: &str) -> Option<SecretDelivery> {
    const WORDS: &[(&str, u8)] = &[("environment", 0), ("file", 1), ("template", 2)];
    let path = fields.get("path");
    let word = match fields.get("as") {
        Some(node) => cx.word(node, &format!("{what}.as"), WORDS)?,
        None => u8::from(path.is_some()),
    };
    match (word, path) {
        (1, Some(node)) => {
            let text = cx.text(node, &format!("{what}.path"))?;
            let path = cx.path_inside(&text, node.range, &format!("{what}.path"))?;
            Some(SecretDelivery::File { path })
        }
        (1, None) => Some(SecretDelivery::File { path: key.text.to_string() }),
        (_, Some(node)) => {
            cx.error_hint(node.range, format!("`{what}.path` goes with `as: file`"), "leave one of them out");
            None
        }
        (0, None) => Some(SecretDelivery::Environment),
        _ => Some(SecretDelivery::Template),
    }
}

fn store_name(cx: &mut Context<'_>, node: &Node, what: &str) -> Option<String> {
    let text = cx.text(node, what)?;
    if crate::names::is_stored(&text) {
        return Some(text);
    }
    if text.starts_with("stead.") {
        let hint = "bind to what a need gives: `${needs.NAME.password}`";
        cx.error_hint(node.range, format!("`{what}` names a secret of the platform's own"), hint);
        return None;
    }
    // The text is not shown: whoever put a value here by mistake should not find it in a log.
    cx.found.push(
        crate::Diagnostic::new(format!("`{what}` must be the name of a secret in the store"))
            .at_hidden(cx.source, node.range)
            .hint("a value never stands in this file: set it with `stead secret set NAME`"),
    );
    None
}
