//! `run.health`: probes.

use std::collections::BTreeMap;

use super::{Context, Fields, Keys, Rules, shorten};
use crate::{
    model::{Check, Health, Port, Probe, Run, StatusRange},
    suggest,
    yaml::Node,
};

pub(crate) static HEALTH: Keys = Keys {
    known: &["readiness", "liveness", "startup"],
    later: &[],
    instead: &[
        ("http", "say which probe it is: `readiness: {http: …}`"),
        ("tcp", "say which probe it is: `readiness: {tcp: …}`"),
        ("exec", "say which probe it is: `readiness: {exec: …}`"),
        ("ready", "write `readiness`"),
        ("live", "write `liveness`"),
    ],
};
pub(crate) static PROBE: Keys = Keys {
    known: &["http", "tcp", "exec", "interval", "timeout", "start_period", "threshold", "success_threshold"],
    later: &["grpc"],
    instead: &[
        ("path", "it belongs to `http`: `http: {path: /healthz}`"),
        ("httpGet", "write `http: {path: /healthz}`"),
        ("tcpSocket", "write `tcp: {}`"),
        ("periodSeconds", "write `interval: 5s`"),
        ("timeoutSeconds", "write `timeout: 1s`"),
        ("failureThreshold", "write `threshold`"),
        ("initialDelaySeconds", "write `start_period: 30s`"),
        ("retries", "write `threshold`"),
    ],
};
pub(crate) static HTTP: Keys = Keys::only(&["path", "port", "status"]);
pub(crate) static TCP: Keys = Keys::only(&["port"]);

pub(crate) fn health(cx: &mut Context<'_>, node: &Node, ports: &BTreeMap<String, Port>) -> Health {
    let Some(fields) = cx.fields(node, "run.health", &HEALTH) else { return Health::default() };
    let mut read =
        |key: &str| fields.get(key).and_then(|node| probe(cx, node, &format!("run.health.{key}"), ports));
    Health { readiness: read("readiness"), liveness: read("liveness"), startup: read("startup") }
}

fn probe(cx: &mut Context<'_>, node: &Node, what: &str, ports: &BTreeMap<String, Port>) -> Option<Probe> {
    let fields = cx.fields(node, what, &PROBE)?;
    let kinds = ["http", "tcp", "exec"];
    let given: Vec<&str> = kinds.into_iter().filter(|kind| fields.given(kind).is_some()).collect();
    let check = match given.as_slice() {
        ["http"] => http(cx, &fields, what, ports),
        ["tcp"] => tcp(cx, &fields, what, ports),
        ["exec"] => {
            let rules = Rules { secrets: false, config: true, ports: true };
            let node = fields.given("exec")?;
            super::run::command_of(cx, node, &format!("{what}.exec"), rules).map(Check::Exec)
        }
        [] => {
            cx.error_hint(
                node.range,
                format!("`{what}` does not say what to check"),
                "give one of `http: {path: /healthz}`, `tcp: {}` and `exec: [program, argument]`",
            );
            None
        }
        [.., second] => {
            let range = fields.key(second).map_or(node.range, |key| key.range);
            cx.error(range, format!("`{what}` has {}, give one", suggest::list(&given)));
            None
        }
    };
    let times = times(cx, &fields, what);
    Some(times(check?))
}

/// Reads the times and counts, even when the check itself is wrong.
fn times(cx: &mut Context<'_>, fields: &Fields<'_>, what: &str) -> impl FnOnce(Check) -> Probe + use<> {
    let mut span = |key: &str, usual| {
        fields.get(key).and_then(|node| cx.span_some(node, &format!("{what}.{key}"))).unwrap_or(usual)
    };
    let interval = span("interval", Probe::INTERVAL_DEFAULT);
    let timeout = span("timeout", Probe::TIMEOUT_DEFAULT);
    let start_period = fields
        .get("start_period")
        .and_then(|node| cx.span(node, &format!("{what}.start_period")))
        .unwrap_or(Probe::START_PERIOD_DEFAULT);
    let mut count = |key: &str, usual| {
        fields.get(key).and_then(|node| cx.int(node, &format!("{what}.{key}"), 1..=1_000)).unwrap_or(usual)
    };
    let threshold = count("threshold", Probe::THRESHOLD_DEFAULT);
    let success_threshold = count("success_threshold", 1);
    move |check| Probe { interval, timeout, start_period, threshold, success_threshold, ..Probe::of(check) }
}

fn http(
    cx: &mut Context<'_>,
    fields: &Fields<'_>,
    what: &str,
    ports: &BTreeMap<String, Port>,
) -> Option<Check> {
    let node = fields.given("http")?;
    let what = format!("{what}.http");
    // The short form is the path alone.
    if node.text().is_some() {
        let path = url_path(cx, node, &what)?;
        let port = port_of(cx, None, node, &what, Some(ports))?;
        return Some(Check::Http { path, port, status: StatusRange::default() });
    }
    let fields = cx.fields(node, &what, &HTTP)?;
    let path = match fields.get("path") {
        Some(node) => url_path(cx, node, &format!("{what}.path")),
        None => Some("/".to_owned()),
    };
    let port = port_of(cx, fields.get("port"), node, &what, Some(ports));
    let status = match fields.get("status") {
        Some(node) => status(cx, node, &format!("{what}.status"))?,
        None => StatusRange::default(),
    };
    Some(Check::Http { path: path?, port: port?, status })
}

fn tcp(
    cx: &mut Context<'_>,
    fields: &Fields<'_>,
    what: &str,
    ports: &BTreeMap<String, Port>,
) -> Option<Check> {
    let node = fields.given("tcp")?;
    let what = format!("{what}.tcp");
    if node.is_null() || node.text().is_some() {
        let port = port_of(cx, (!node.is_null()).then_some(node), node, &what, Some(ports))?;
        return Some(Check::Tcp { port });
    }
    let fields = cx.fields(node, &what, &TCP)?;
    let port = port_of(cx, fields.get("port"), node, &what, Some(ports))?;
    Some(Check::Tcp { port })
}

/// Path of a URL: starts with `/`, no spaces or control characters.
pub(crate) fn url_path(cx: &mut Context<'_>, node: &Node, what: &str) -> Option<String> {
    let text = cx.text(node, what)?;
    if text.len() > 2_048 || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        cx.error(node.range, format!("`{what}`: `{}` is no path of a URL", shorten(&text)));
        return None;
    }
    if !text.starts_with('/') {
        let hint = format!("write `/{}`", shorten(&text));
        cx.error_hint(node.range, format!("`{what}` must start with `/`"), hint);
        return None;
    }
    Some(text)
}

/// The port that is named, by name or number, or else the main one. `ports` is none when they could
/// not be read.
pub(crate) fn port_of(
    cx: &mut Context<'_>,
    named: Option<&Node>,
    around: &Node,
    what: &str,
    ports: Option<&BTreeMap<String, Port>>,
) -> Option<String> {
    let Some(ports) = ports else {
        return Some(named.and_then(Node::text).unwrap_or(Run::PORT_MAIN).to_owned());
    };
    let Some(node) = named else {
        let main = super::run::main_port(ports).map(str::to_owned);
        if main.is_none() {
            cx.error_hint(
                around.range,
                format!("`{what}` needs a port and the service has none"),
                "give the service one with `run.port`",
            );
        }
        return main;
    };
    let scalar = cx.scalar(node, &format!("{what}.port"), "the name or number of a port")?;
    let found = ports.iter().find(|(name, port)| {
        **name == *scalar.text || port.number.is_some() && scalar.int() == port.number.map(i64::from)
    });
    if let Some((name, _)) = found {
        return Some(name.clone());
    }
    let names: Vec<&str> = ports.keys().map(String::as_str).collect();
    let message = format!("the service has no port `{}`", shorten(&scalar.text));
    let hint = match (scalar.int(), names.is_empty()) {
        (Some(number), _) => format!("declare it with `run.port: {number}`, or leave the port out"),
        (None, true) => "declare it in `run.ports`".to_owned(),
        (None, false) => suggest::hint(&scalar.text, &names).unwrap_or_default(),
    };
    cx.error_hint(node.range, message, hint);
    None
}

/// `204`, `200-299` or `2xx`.
fn status(cx: &mut Context<'_>, node: &Node, what: &str) -> Option<StatusRange> {
    let text = cx.text(node, what)?;
    let number = |text: &str| text.parse::<u16>().ok().filter(|status| (100..=599).contains(status));
    let range = match text.split_once('-') {
        Some((from, to)) => number(from.trim()).zip(number(to.trim())),
        None => match text.strip_suffix("xx").and_then(|class| class.parse::<u16>().ok()) {
            Some(class @ 1..=5) => Some((class * 100, class * 100 + 99)),
            _ => number(&text).map(|status| (status, status)),
        },
    };
    match range {
        Some((from, to)) if from <= to => Some(StatusRange { from, to }),
        _ => {
            cx.error_hint(
                node.range,
                format!("`{what}`: `{}` is no HTTP status", shorten(&text)),
                "write `204`, `200-299` or `2xx`",
            );
            None
        }
    }
}
