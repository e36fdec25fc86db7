//! The `run` section and what jobs share with it: commands, environment, limits, stop, restart.

use std::collections::BTreeMap;

use super::{Context, ENTRIES_MAX, Fields, Keys, Rules, shorten};
use crate::{
    model::{Command, Health, Kind, Limits, ParsedCommand, Port, Probe, Restart, RestartPolicy, Run, Stop},
    source::TextRange,
    template::{Reference, Template},
    yaml::{Node, Value},
};

pub(crate) static RUN: Keys = Keys {
    known: &[
        "kind",
        "build",
        "command",
        "args",
        "environment",
        "working_directory",
        "user",
        "replicas",
        "port",
        "ports",
        "limits",
        "health",
        "stop",
        "restart",
        "schedule",
    ],
    later: &["image", "volumes", "scale", "autoscale", "function", "wasm", "sidecars", "hooks"],
    instead: &[
        ("env", "write `environment`"),
        ("variables", "write `environment`"),
        ("cmd", "write `command`"),
        ("entrypoint", "write `command`"),
        ("start", "write `command`"),
        ("workdir", "write `working_directory`"),
        ("cwd", "write `working_directory`"),
        ("instances", "write `replicas`"),
        ("resources", "write `limits`"),
        ("healthcheck", "write `health: {readiness: …}`"),
        ("readiness", "write it under `health`"),
        ("liveness", "write it under `health`"),
        ("cron", "write `schedule`"),
        ("secrets", "`secrets` stands beside `run`, not in it"),
        ("needs", "`needs` stands beside `run`, not in it"),
    ],
};
pub(crate) static LIMITS: Keys = Keys {
    known: &["memory", "cpu", "processes", "open_files"],
    later: &["disk", "network", "gpu"],
    instead: &[("pids", "write `processes`"), ("nofile", "write `open_files`"), ("ram", "write `memory`")],
};
pub(crate) static STOP: Keys = Keys::only(&["signal", "grace"]);
pub(crate) static RESTART: Keys =
    Keys::only(&["policy", "backoff", "backoff_max", "stable_after", "crash_loop_after"]);
pub(crate) static PORT: Keys = Keys::only(&["number", "environment"]);

pub(crate) const KINDS: &[(&str, Kind)] = &[("service", Kind::Service), ("job", Kind::Job)];
pub(crate) const POLICIES: &[(&str, RestartPolicy)] = &[
    ("always", RestartPolicy::Always),
    ("on-failure", RestartPolicy::OnFailure),
    ("never", RestartPolicy::Never),
];
/// Processes of a service see everything; a command line nothing secret; a build nothing at all.
const ENVIRONMENT: Rules = Rules { secrets: true, config: true, ports: true };
const ARGUMENTS: Rules = Rules { secrets: false, config: true, ports: true };

const PORTS_MAX: usize = 100;

pub(crate) fn run(cx: &mut Context<'_>, node: &Node) -> Option<Run> {
    let fields = cx.fields(node, "run", &RUN)?;
    let schedule =
        fields.get("schedule").and_then(|node| super::schedule::schedule(cx, node, "run.schedule"));
    let kind = fields.get("kind").and_then(|node| cx.word(node, "run.kind", KINDS));
    let scheduled = fields.get("schedule").is_some();
    if let (Some(Kind::Service), Some(node)) = (kind, fields.get("kind"))
        && scheduled
    {
        cx.error_hint(node.range, "a service has no schedule", "leave `kind` out, or write `kind: job`");
    }
    let kind = kind.unwrap_or(if scheduled { Kind::Job } else { Kind::Service });
    let command = command(cx, &fields, "run", true, kind == Kind::Service);
    let ports = ports(cx, &fields, kind);
    if kind == Kind::Job {
        for key in ["replicas", "health", "restart", "port", "ports"] {
            if let Some(key) = fields.key(key) {
                let message = format!("a job takes no `{}`", key.text);
                cx.error_hint(key.range, message, "it runs once to its end; take this out, or the `kind`");
            }
        }
    }
    let health = health(cx, &fields, &ports, kind);
    let replicas = replicas(cx, &fields, &ports, kind);
    Some(Run {
        kind,
        build: build(cx, &fields),
        environment: environment(cx, &fields, "run", ENVIRONMENT),
        working_directory: working_directory(cx, &fields, "run").unwrap_or_else(|| ".".into()),
        user: user(cx, &fields, "run"),
        replicas,
        limits: limits(cx, &fields, "run"),
        stop: stop(cx, &fields, "run"),
        restart: restart(cx, &fields),
        command: command?,
        ports,
        health,
        schedule,
    })
}

fn health(cx: &mut Context<'_>, fields: &Fields<'_>, ports: &BTreeMap<String, Port>, kind: Kind) -> Health {
    let mut health = match fields.get("health") {
        Some(node) => super::health::health(cx, node, ports),
        None => Health::default(),
    };
    let silent = fields.get("health").is_none_or(|node| node.get("readiness").is_none());
    if silent && kind == Kind::Service {
        health.readiness = main_port(ports).map(Probe::tcp);
    }
    health
}

fn replicas(cx: &mut Context<'_>, fields: &Fields<'_>, ports: &BTreeMap<String, Port>, kind: Kind) -> u32 {
    let Some(node) = fields.get("replicas") else { return 1 };
    let replicas = cx.int(node, "run.replicas", 0..=i64::from(Run::REPLICAS_MAX)).unwrap_or(1);
    if replicas > 1 && kind == Kind::Service && ports.values().any(|port| port.number.is_some()) {
        cx.error_hint(
            node.range,
            "replicas on one machine cannot share a fixed port number",
            "leave the number out; each replica then gets a port of its own in `PORT`",
        );
    }
    replicas
}

/// The port that is meant when none is named.
pub(crate) fn main_port(ports: &BTreeMap<String, Port>) -> Option<&str> {
    match ports.get_key_value(Run::PORT_MAIN) {
        Some((name, _)) => Some(name),
        None => ports.keys().next().map(String::as_str),
    }
}

fn ports(cx: &mut Context<'_>, fields: &Fields<'_>, kind: Kind) -> BTreeMap<String, Port> {
    let mut ports = BTreeMap::new();
    if let (Some(_), Some(key)) = (fields.get("ports"), fields.key("port")) {
        cx.error_hint(key.range, "give either `port` or `ports`", "put it into `ports` as `http`");
    }
    if let Some(node) = fields.get("ports") {
        for (key, node) in cx.entries(node, "run.ports", PORTS_MAX) {
            let Some(name) = cx.label_of(&key.text, key.range, "run.ports") else { continue };
            if let Some(port) = port(cx, node, name.as_str()) {
                ports.insert(name.to_string(), port);
            }
        }
    } else if let Some(node) = fields.get("port") {
        if matches!(node.text(), Some("none" | "false")) {
            return ports;
        }
        let port = port(cx, node, Run::PORT_MAIN).unwrap_or_else(|| default_port(Run::PORT_MAIN));
        ports.insert(Run::PORT_MAIN.to_owned(), port);
    } else if kind == Kind::Service {
        ports.insert(Run::PORT_MAIN.to_owned(), default_port(Run::PORT_MAIN));
    }
    for (name, port) in &ports {
        if let Some((other, _)) = ports.iter().find(|(other, one)| {
            *other < name
                && (one.environment == port.environment || one.number.is_some() && one.number == port.number)
        }) {
            let message = format!("ports `{other}` and `{name}` are the same");
            cx.error(fields.key("ports").map_or(fields.range, |key| key.range), message);
        }
    }
    ports
}

fn default_port(name: &str) -> Port {
    let environment = if name == Run::PORT_MAIN {
        "PORT".to_owned()
    } else {
        format!("{}_PORT", name.to_uppercase().replace('-', "_"))
    };
    Port { number: None, environment }
}

/// A number, the name of a variable, a map of both, or nothing for the default.
fn port(cx: &mut Context<'_>, node: &Node, name: &str) -> Option<Port> {
    let mut port = default_port(name);
    let what = if name == Run::PORT_MAIN { "run.port".to_owned() } else { format!("run.ports.{name}") };
    match &node.value {
        Value::Scalar(scalar) if scalar.is_null() => {}
        Value::Scalar(scalar) if scalar.int().is_some() => {
            port.number = Some(cx.int(node, &what, 1..=65_535)?);
        }
        Value::Scalar(scalar) => port.environment = cx.variable(&scalar.text, node.range)?,
        _ => {
            let fields = cx.fields(node, &what, &PORT)?;
            if let Some(node) = fields.get("number") {
                port.number = cx.int(node, &what, 1..=65_535);
            }
            if let Some(node) = fields.get("environment") {
                let text = cx.text(node, &what)?;
                port.environment = cx.variable(&text, node.range)?;
            }
        }
    }
    Some(port)
}

/// `command` with `args`. `required` reports its absence.
pub(crate) fn command(
    cx: &mut Context<'_>,
    fields: &Fields<'_>,
    what: &str,
    required: bool,
    ports: bool,
) -> Option<Command> {
    let rules = Rules { ports, ..ARGUMENTS };
    let Some(node) = fields.get("command") else {
        // A misspelt one was reported already.
        if required && !fields.misspelt("command") {
            cx.error_hint(
                fields
                    .key("command")
                    .map_or(TextRange { end: fields.range.start, ..fields.range }, |key| key.range),
                format!("`{what}` has no `command`"),
                "say what to run, such as `command: node server.js`",
            );
        }
        return None;
    };
    let mut command = command_of(cx, node, &format!("{what}.command"), rules)?;
    if let Some(args) = fields.get("args") {
        let args = words(cx, args, &format!("{what}.args"), rules)?;
        match &mut command {
            Command::Words(words) => words.extend(args),
            Command::Shell(_) => {
                cx.error_hint(
                    fields.key("args").map_or(node.range, |key| key.range),
                    "a command for the shell takes no `args`",
                    "put them into the command, or write the command as a list",
                );
            }
        }
    }
    Some(command)
}

/// A line or a list of words.
pub(crate) fn command_of(cx: &mut Context<'_>, node: &Node, what: &str, rules: Rules) -> Option<Command> {
    let Value::Scalar(_) = &node.value else {
        let words = words(cx, node, what, rules)?;
        if words.is_empty() {
            cx.error(node.range, format!("`{what}` is empty"));
            return None;
        }
        return Some(Command::Words(words));
    };
    let line = cx.text(node, what)?;
    match Command::parse(&line) {
        ParsedCommand::Words(words) => {
            Some(Command::Words(words.iter().map(|word| Template::literal(word)).collect()))
        }
        ParsedCommand::Shell(line) => {
            shell_references(cx, node, &line);
            Some(Command::Shell(line))
        }
        ParsedCommand::Unbalanced => {
            cx.error_hint(
                node.range,
                format!("`{what}`: a quote in `{}` is never closed", shorten(&line)),
                "close it, or write the command as a list of words",
            );
            None
        }
        ParsedCommand::Empty => {
            cx.error(node.range, format!("`{what}` is empty"));
            None
        }
    }
}

/// A shell would replace `${port}` by nothing; say so instead.
fn shell_references(cx: &mut Context<'_>, node: &Node, line: &str) {
    for part in line.split("${").skip(1) {
        let inner = part.split('}').next().unwrap_or_default();
        let root = inner.split('.').next().unwrap_or_default();
        if Reference::ROOTS.contains(&root) && (inner.contains('.') || root == "port") {
            let at = cx.find(node.range, &format!("${{{inner}}}"));
            cx.error_hint(
                at,
                format!("`${{{inner}}}` in a command line is the shell's, not Stead's"),
                "use an environment variable such as `$PORT`, or write the command as a list of words",
            );
        }
    }
}

fn words(cx: &mut Context<'_>, node: &Node, what: &str, rules: Rules) -> Option<Vec<Template>> {
    let items = cx.items(node, what, ENTRIES_MAX);
    node.list()?;
    let mut all = Vec::with_capacity(items.len());
    let mut good = true;
    for item in items {
        match cx.template(item, what, rules) {
            Some(word) => all.push(word),
            None => good = false,
        }
    }
    good.then_some(all)
}

fn build(cx: &mut Context<'_>, fields: &Fields<'_>) -> Vec<Command> {
    let Some(node) = fields.get("build") else { return Vec::new() };
    let lines = node.list().unwrap_or(std::slice::from_ref(node));
    let mut all = Vec::new();
    let read = cx.at_most(node, "run.build", lines.len(), ENTRIES_MAX);
    for line in &lines[..read] {
        let Some(text) = cx.text(line, "run.build") else { continue };
        match Command::parse(&text) {
            ParsedCommand::Words(words) => all.push(Command::words(words)),
            ParsedCommand::Shell(line) => all.push(Command::Shell(line)),
            ParsedCommand::Unbalanced => {
                cx.error(line.range, "`run.build`: a quote is never closed");
            }
            ParsedCommand::Empty => cx.error(line.range, "`run.build` has an empty command"),
        }
    }
    all
}

pub(crate) fn environment(
    cx: &mut Context<'_>,
    fields: &Fields<'_>,
    what: &str,
    rules: Rules,
) -> BTreeMap<String, Template> {
    let mut all = BTreeMap::new();
    let Some(node) = fields.get("environment") else { return all };
    let what = format!("{what}.environment");
    if node.list().is_some() {
        cx.error_hint(node.range, format!("`{what}` must be a map, this is a list"), "write `NAME: value`");
        return all;
    }
    for (key, value) in cx.entries(node, &what, ENTRIES_MAX) {
        let name = cx.variable(&key.text, key.range);
        let value = cx.template(value, &format!("{what}.{}", shorten(&key.text)), rules);
        if let (Some(name), Some(value)) = (name, value) {
            all.insert(name, value);
        }
    }
    all
}

pub(crate) fn working_directory(cx: &mut Context<'_>, fields: &Fields<'_>, what: &str) -> Option<String> {
    let node = fields.get("working_directory")?;
    let what = format!("{what}.working_directory");
    let text = cx.text(node, &what)?;
    cx.path_inside(&text, node.range, &what)
}

pub(crate) fn user(cx: &mut Context<'_>, fields: &Fields<'_>, what: &str) -> Option<String> {
    let node = fields.get("user")?;
    let text = cx.text(node, &format!("{what}.user"))?;
    let numeric = text.parse::<u32>().ok();
    let good = numeric.is_some()
        || text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && text.len() <= 32
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    if text == "root" || numeric == Some(0) {
        cx.error_hint(
            node.range,
            "workloads never run as root",
            "leave `user` out to give the service a user of its own",
        );
        return None;
    }
    if !good {
        cx.error(node.range, format!("`{}` is no name or number of a user", shorten(&text)));
        return None;
    }
    Some(text)
}

pub(crate) fn limits(cx: &mut Context<'_>, fields: &Fields<'_>, what: &str) -> Limits {
    let mut limits = Limits::default();
    let Some(node) = fields.get("limits") else { return limits };
    let what = format!("{what}.limits");
    let Some(fields) = cx.fields(node, &what, &LIMITS) else { return limits };
    if let Some(node) = fields.get("memory") {
        limits.memory = cx.bytes(node, &format!("{what}.memory"));
        const MEMORY_MIN: base::units::Bytes = base::units::Bytes::mib(4);
        if limits.memory.is_some_and(|memory| memory < MEMORY_MIN) {
            cx.error_hint(
                node.range,
                format!("`{what}.memory` is less than {MEMORY_MIN}, nothing starts in that"),
                "units are `MiB` and `GiB`",
            );
        }
    }
    if let Some(node) = fields.get("cpu") {
        limits.cpu = cx.cpu(node, &format!("{what}.cpu"));
    }
    if let Some(node) = fields.get("processes") {
        limits.processes = cx.int(node, &format!("{what}.processes"), 1..=1_000_000);
    }
    if let Some(node) = fields.get("open_files") {
        limits.open_files = cx.int(node, &format!("{what}.open_files"), 16..=10_000_000);
    }
    limits
}

pub(crate) fn stop(cx: &mut Context<'_>, fields: &Fields<'_>, what: &str) -> Stop {
    let mut stop = Stop::default();
    let Some(node) = fields.get("stop") else { return stop };
    let what = format!("{what}.stop");
    let Some(fields) = cx.fields(node, &what, &STOP) else { return stop };
    if let Some(node) = fields.get("signal")
        && let Some(text) = cx.text(node, &format!("{what}.signal"))
    {
        let short = text.strip_prefix("SIG").unwrap_or(&text).to_owned();
        if Stop::SIGNALS.contains(&short.as_str()) {
            stop.signal = short;
        } else {
            let hint = crate::suggest::hint(&short, Stop::SIGNALS).unwrap_or_default();
            cx.error_hint(node.range, format!("`{}` is no signal to stop with", shorten(&text)), hint);
        }
    }
    if let Some(node) = fields.get("grace")
        && let Some(grace) = cx.span(node, &format!("{what}.grace"))
    {
        stop.grace = grace;
    }
    stop
}

fn restart(cx: &mut Context<'_>, fields: &Fields<'_>) -> Restart {
    let mut restart = Restart::default();
    let Some(node) = fields.get("restart") else { return restart };
    if node.text().is_some() {
        restart.policy = cx.word(node, "run.restart", POLICIES).unwrap_or(restart.policy);
        return restart;
    }
    let Some(fields) = cx.fields(node, "run.restart", &RESTART) else { return restart };
    if let Some(node) = fields.get("policy") {
        restart.policy = cx.word(node, "run.restart.policy", POLICIES).unwrap_or(restart.policy);
    }
    for (key, slot) in [
        ("backoff", &mut restart.backoff),
        ("backoff_max", &mut restart.backoff_max),
        ("stable_after", &mut restart.stable_after),
    ] {
        if let Some(node) = fields.get(key) {
            *slot = cx.span_some(node, &format!("run.restart.{key}")).unwrap_or(*slot);
        }
    }
    if let Some(node) = fields.get("crash_loop_after") {
        let what = "run.restart.crash_loop_after";
        restart.crash_loop_after = cx.int(node, what, 1..=1_000).unwrap_or(restart.crash_loop_after);
    }
    restart
}
