//! The `needs` section.

use std::collections::BTreeMap;

use base::id::NameId;

use super::{Context, Fields, Keys, shorten};
use crate::{
    model::{Need, NeedKind, Postgres, Redis},
    source::TextRange,
    suggest,
    yaml::{Key, Node},
};

pub(crate) static NEED: Keys = Keys {
    known: &["postgres", "redis", "service", "environment"],
    later: &[
        "mysql",
        "mariadb",
        "mongodb",
        "mongo",
        "kafka",
        "nats",
        "rabbitmq",
        "memcached",
        "bucket",
        "s3",
        "elasticsearch",
        "opensearch",
        "clickhouse",
        "queue",
        "volume",
        "smtp",
        "external",
    ],
    instead: &[
        ("postgresql", "write `postgres`"),
        ("pg", "write `postgres`"),
        ("database", "say which kind, such as `postgres: {}`"),
        ("cache", "say which kind, such as `redis: {}`"),
        ("valkey", "write `redis`"),
        ("type", "the kind is the key: `postgres: {}`"),
        ("env", "write `environment`"),
    ],
};
pub(crate) static POSTGRES: Keys = Keys::only(&["version", "database", "extensions"]);
pub(crate) static REDIS: Keys = Keys::only(&["version", "memory"]);

/// The most needs of one service.
const NEEDS_MAX: usize = 100;

pub(crate) fn needs(cx: &mut Context<'_>, node: &Node) -> BTreeMap<NameId, Need> {
    let mut all = BTreeMap::new();
    if node.list().is_some() {
        cx.error_hint(
            node.range,
            "`needs` must be a map, this is a list",
            "give each need a name: `needs: {db: {postgres: {}}}`",
        );
        return all;
    }
    let mut taken: BTreeMap<String, String> = BTreeMap::new();
    for (key, node) in cx.entries(node, "needs", NEEDS_MAX) {
        let name = cx.label_of(&key.text, key.range, "needs");
        let Some(need) = need(cx, key, node) else { continue };
        let Some(name) = name else { continue };
        let mut clashes: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for variable in need.environment.values() {
            if let Some(other) = taken.insert(variable.clone(), name.to_string()) {
                clashes.entry(other).or_default().push(variable);
            }
        }
        for (other, variables) in clashes {
            cx.error_hint(
                key.range,
                format!("needs `{other}` and `{name}` both set {}", suggest::list(&variables)),
                format!("choose names, such as `environment: {{url: {}_URL}}`", shout(name.as_str())),
            );
        }
        all.insert(name, need);
    }
    all
}

fn need(cx: &mut Context<'_>, key: &Key, node: &Node) -> Option<Need> {
    let what = format!("needs.{}", shorten(&key.text));
    if let Some(word) = node.text() {
        let kind = match word {
            "postgres" => NeedKind::Postgres(Postgres::default()),
            "redis" => NeedKind::Redis(Redis::default()),
            "service" => NeedKind::Service { service: cx.label_of(&key.text, key.range, &what)? },
            _ => {
                unknown_kind(cx, word, node.range, &what);
                return None;
            }
        };
        let environment = kind.environment_default(&key.text);
        return Some(Need { kind, environment });
    }
    if node.is_null() {
        cx.error_hint(
            key.range,
            format!("`{what}` does not say what is needed"),
            "such as `postgres: {}`, `redis: {}` or `service: NAME`",
        );
        return None;
    }
    let fields = cx.fields(node, &what, &NEED)?;
    let given: Vec<&str> =
        NeedKind::KINDS.iter().copied().filter(|kind| fields.given(kind).is_some()).collect();
    let kind = match given.as_slice() {
        ["postgres"] => postgres(cx, &fields, &what)?,
        ["redis"] => redis(cx, &fields, &what)?,
        ["service"] => {
            let node = fields.given("service")?;
            NeedKind::Service { service: cx.label(node, &format!("{what}.service"))? }
        }
        [] => {
            // An unknown kind was reported as an unknown key already.
            if node.map().is_some_and(|entries| entries.iter().all(|(key, _)| &*key.text == "environment")) {
                cx.error_hint(
                    key.range,
                    format!("`{what}` does not say what is needed"),
                    "such as `postgres: {}`, `redis: {}` or `service: NAME`",
                );
            }
            return None;
        }
        [.., second] => {
            let range = fields.key(second).map_or(key.range, |key| key.range);
            cx.error_hint(
                range,
                format!("`{what}` is {} at once", suggest::list(&given)),
                "give each a name of its own; an overlay removes a key with `null`",
            );
            return None;
        }
    };
    let environment = match fields.get("environment") {
        Some(node) => chosen(cx, node, &what, &kind),
        None => kind.environment_default(&key.text),
    };
    Some(Need { kind, environment })
}

fn unknown_kind(cx: &mut Context<'_>, word: &str, range: TextRange, what: &str) {
    if NEED.later.contains(&word) {
        return cx.error_hint(
            range,
            format!("`{word}` in `{what}` is not available yet"),
            format!("available are {}", suggest::list(NeedKind::KINDS)),
        );
    }
    let hint = match NEED.instead.iter().find(|(other, _)| *other == word) {
        Some((_, hint)) => (*hint).to_owned(),
        None => suggest::hint(word, NeedKind::KINDS).unwrap_or_default(),
    };
    cx.error_hint(range, format!("`{}` is nothing that `{what}` could be", shorten(word)), hint);
}

fn postgres(cx: &mut Context<'_>, fields: &Fields<'_>, what: &str) -> Option<NeedKind> {
    let node = fields.given("postgres")?;
    let mut postgres = Postgres::default();
    if node.is_null() {
        return Some(NeedKind::Postgres(postgres));
    }
    let what = format!("{what}.postgres");
    let fields = cx.fields(node, &what, &POSTGRES)?;
    postgres.version = version(cx, &fields, &what);
    if let Some(node) = fields.get("database") {
        postgres.database = identifier(cx, node, &format!("{what}.database"));
    }
    if let Some(node) = fields.get("extensions") {
        let what = format!("{what}.extensions");
        for item in cx.items(node, &what, NEEDS_MAX) {
            if let Some(name) = identifier(cx, item, &what) {
                postgres.extensions.push(name);
            }
        }
        postgres.extensions.sort();
        postgres.extensions.dedup();
    }
    Some(NeedKind::Postgres(postgres))
}

fn redis(cx: &mut Context<'_>, fields: &Fields<'_>, what: &str) -> Option<NeedKind> {
    let node = fields.given("redis")?;
    let mut redis = Redis::default();
    if node.is_null() {
        return Some(NeedKind::Redis(redis));
    }
    let what = format!("{what}.redis");
    let fields = cx.fields(node, &what, &REDIS)?;
    redis.version = version(cx, &fields, &what);
    if let Some(node) = fields.get("memory") {
        redis.memory = cx.bytes(node, &format!("{what}.memory"));
    }
    Some(NeedKind::Redis(redis))
}

fn version(cx: &mut Context<'_>, fields: &Fields<'_>, what: &str) -> Option<String> {
    let node = fields.get("version")?;
    let what = format!("{what}.version");
    let text = cx.text(node, &what)?;
    let good = text.len() <= 32
        && text.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    if !good {
        cx.error_hint(node.range, format!("`{what}`: `{}` is no version", shorten(&text)), "such as `16`");
        return None;
    }
    Some(text)
}

/// A name in a database: lowercase letters, digits and `_` (extensions may have `-`).
fn identifier(cx: &mut Context<'_>, node: &Node, what: &str) -> Option<String> {
    let text = cx.text(node, what)?;
    let good = text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b));
    if !good {
        cx.error_hint(
            node.range,
            format!("`{what}`: `{}` is no name for it", shorten(&text)),
            "lowercase letters, digits and `_`, starting with a letter, at most 63",
        );
        return None;
    }
    Some(text)
}

/// The variables that the file chooses; they replace the usual ones.
fn chosen(cx: &mut Context<'_>, node: &Node, what: &str, kind: &NeedKind) -> BTreeMap<String, String> {
    let what = format!("{what}.environment");
    let outputs: Vec<&str> = kind.outputs().iter().map(|(output, _)| *output).collect();
    let mut all = BTreeMap::new();
    for (key, node) in cx.entries(node, &what, NEEDS_MAX) {
        if !outputs.contains(&&*key.text) {
            let message = format!("a {} need gives no `{}`", kind.name(), shorten(&key.text));
            let hint = suggest::hint(&key.text, &outputs).unwrap_or_default();
            cx.error_hint(key.range, message, hint);
            continue;
        }
        let Some(text) = cx.text(node, &what) else { continue };
        if let Some(variable) = cx.variable(&text, node.range) {
            all.insert(key.text.to_string(), variable);
        }
    }
    all
}

fn shout(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}
