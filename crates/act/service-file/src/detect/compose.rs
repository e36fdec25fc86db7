//! compose.yaml: services that are built become services, known servers become needs.

use std::collections::BTreeMap;

use super::{
    Draft, Folder, Notes,
    draft::{Need, Port, literal},
};
use crate::{Source, yaml::Node};

const FILES: &[&str] = &["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
const SERVICES_MAX: usize = 50;

/// A server that Stead provides.
struct Server {
    name: String,
    kind: &'static str,
    version: Option<String>,
    environment: BTreeMap<String, String>,
}

struct Compose {
    file: &'static str,
    root: Node,
    servers: Vec<Server>,
    /// Names of the services that become ours.
    built: Vec<String>,
}

/// The services of a compose file, when it builds any.
pub(super) fn drafts(folder: &Folder, notes: &mut Notes) -> Option<Vec<Draft>> {
    let compose = Compose::read(folder)?;
    if compose.built.is_empty() {
        return None;
    }
    notes.source(compose.file);
    compose.say_left_out(notes);
    let mut drafts = Vec::new();
    for name in &compose.built {
        let Some(service) = compose.service(name) else { continue };
        let Some(label) = crate::names::label(name) else { continue };
        if let Some(draft) = compose.draft(folder, &label, service, notes) {
            drafts.push(draft);
        }
    }
    share(&drafts, notes);
    let named: Vec<String> = drafts.iter().map(|draft| draft.name.clone()).collect();
    for draft in &mut drafts {
        draft
            .needs
            .retain(|need| matches!(need.kind.as_str(), "postgres" | "redis") || named.contains(&need.kind));
    }
    Some(drafts)
}

/// The servers of a compose file, for services that other files describe.
pub(super) fn add_needs(folder: &Folder, drafts: &mut [Draft], notes: &mut Notes) {
    let Some(compose) = Compose::read(folder) else { return };
    if drafts.is_empty() || compose.servers.is_empty() {
        return;
    }
    notes.source(compose.file);
    compose.say_left_out(notes);
    let names: Vec<&str> = compose.servers.iter().map(|server| server.name.as_str()).collect();
    notes.say(format!("{} runs {}, so the service needs them.", compose.file, names.join(" and ")));
    for draft in drafts {
        draft.needs = compose.needs(&compose.servers.iter().collect::<Vec<_>>());
    }
}

impl Compose {
    fn read(folder: &Folder) -> Option<Self> {
        let (file, text) = folder.first(FILES)?;
        let (documents, _) = crate::yaml::parse(&Source::new(file, text));
        let root = documents.into_iter().next()?;
        let mut servers = Vec::new();
        let mut built = Vec::new();
        for (key, service) in root.get("services")?.map()?.iter().take(SERVICES_MAX) {
            let image = service.get("image").and_then(Node::text).unwrap_or_default();
            match server(image) {
                Some((kind, version)) if service.get("build").is_none() => servers.push(Server {
                    name: key.text.to_string(),
                    kind,
                    version,
                    environment: environment(service),
                }),
                _ if service.get("build").is_some() => built.push(key.text.to_string()),
                _ => {}
            }
        }
        Some(Self { file, root, servers, built })
    }

    fn service(&self, name: &str) -> Option<&Node> {
        self.root.get("services")?.get(name)
    }

    fn say_left_out(&self, notes: &mut Notes) {
        let services = self.root.get("services").and_then(Node::map);
        for (key, service) in services.into_iter().flat_map(|all| all.iter()) {
            let name = key.text.to_string();
            if !self.built.contains(&name) && !self.servers.iter().any(|server| server.name == name) {
                let image = service.get("image").and_then(Node::text).unwrap_or("no image");
                notes.say(format!("`{name}` ({image}) is left out: Stead cannot run images yet."));
            }
        }
    }

    fn draft(&self, folder: &Folder, label: &str, service: &Node, notes: &mut Notes) -> Option<Draft> {
        let build = service.get("build")?;
        let context = build.text().or_else(|| build.get("context").and_then(Node::text)).unwrap_or(".");
        let context = context.trim_start_matches("./").trim_end_matches('/');
        let inside = context.is_empty() || context == ".";
        if !inside && !crate::names::is_inside(context) {
            notes.say(format!("`{label}` is built from {context}, outside of this folder: it is left out."));
            return None;
        }
        let own = if inside { folder.clone() } else { folder.inner(context) };
        let mut inner = Notes::default();
        let mut draft = match super::services(&own, label, &mut inner).into_iter().next() {
            Some(draft) => Draft { name: label.to_owned(), ..draft },
            None => Draft::named(label),
        };
        inner.sources.iter().for_each(|source| notes.source(source));
        for sentence in inner.sentences {
            notes.say(format!("`{label}`: {sentence}"));
        }
        if let Some(command) = command(service) {
            notes.say(format!("{} says how `{label}` is started: `{command}`.", self.file));
            let python = draft.environment.contains_key("PYTHONUNBUFFERED");
            draft.command = Some(if python { super::python::adapt(&command) } else { command });
        }
        if draft.command.is_none() {
            notes.say(format!("Nothing says how `{label}` is started; fill in its `run.command`."));
        }
        if !inside {
            let inner = draft.working_directory.take();
            draft.build = draft.build.iter().map(|step| format!("cd {context} && {step}")).collect();
            draft.working_directory =
                Some(inner.map_or_else(|| context.to_owned(), |inner| format!("{context}/{inner}")));
        }
        self.port(service, &mut draft, notes);
        self.bind(service, &mut draft, notes);
        Some(draft)
    }

    /// The port inside the container is where the program listens; published ones are reached from outside.
    fn port(&self, service: &Node, draft: &mut Draft, notes: &mut Notes) {
        let ports = service.get("ports").and_then(Node::list).unwrap_or_default();
        let target = ports.iter().find_map(|port| match port.text() {
            Some(text) => text.rsplit(':').next()?.split('/').next()?.parse::<u16>().ok(),
            None => port.get("target")?.text()?.parse().ok(),
        });
        draft.expose = target.is_some();
        draft.listens = draft.listens.take().filter(|_| target.is_none());
        let command = draft.command.clone().unwrap_or_default();
        match target {
            Some(_) if draft.port != Port::Given || command.contains("$PORT") => {}
            Some(_) if environment(service).contains_key("PORT") => {}
            Some(number) => {
                notes.say(format!(
                    "{} publishes port {number} of `{}`, where it listens.",
                    self.file, draft.name
                ));
                draft.port = Port::Fixed(number);
            }
            None if service.get("expose").is_none() && ports.is_empty() && draft.name.contains("worker") => {
                notes.say(format!("`{}` publishes no port and is taken to listen on nothing.", draft.name));
                draft.port = Port::None;
                draft.listens = None;
            }
            None => notes
                .say(format!("`{}` publishes no port, so only services that need it reach it.", draft.name)),
        }
    }

    /// Environment and needs: addresses of other services become references.
    fn bind(&self, service: &Node, draft: &mut Draft, notes: &mut Notes) {
        let depends = depends_on(service);
        let mut used: Vec<&Server> =
            self.servers.iter().filter(|server| depends.contains(&server.name)).collect();
        let mut callees: Vec<String> =
            self.built.iter().filter(|name| depends.contains(name)).cloned().collect();
        for (name, value) in environment(service) {
            if name == "PORT" {
                continue;
            }
            for server in &self.servers {
                if mentions(&value, &server.name) && !used.iter().any(|other| other.name == server.name) {
                    used.push(server);
                }
            }
            for callee in self.built.iter().filter(|callee| mentions(&value, callee)) {
                let itself = crate::names::label(callee).is_some_and(|label| label == draft.name);
                if !itself && !callees.contains(callee) {
                    callees.push(callee.clone());
                }
            }
        }
        for (name, value) in environment(service) {
            if name == "PORT" {
                continue;
            }
            match self.translate(&name, &value, &used, &callees) {
                Translated::Usual => {}
                Translated::Value(text) => {
                    draft.environment.insert(name, text);
                }
                Translated::Secret => {
                    notes.say(format!(
                        "`{name}` of `{}` looks like a secret: set it with `stead secret set {name}`.",
                        draft.name
                    ));
                    draft.secrets.push(name);
                }
            }
        }
        draft.needs = self.needs(&used);
        for callee in &callees {
            if let Some(label) = crate::names::label(callee) {
                draft.needs.push(Need { name: label.clone(), kind: label, version: None, url: None });
            }
        }
    }

    fn needs(&self, servers: &[&Server]) -> Vec<Need> {
        let mut all: Vec<Need> = Vec::new();
        for server in servers {
            let Some(name) = crate::names::label(&server.name) else { continue };
            let again = all.iter().any(|need| need.kind == server.kind);
            let url = again.then(|| format!("{}_URL", name.to_uppercase().replace('-', "_")));
            all.push(Need { name, kind: server.kind.into(), version: server.version.clone(), url });
        }
        all
    }

    fn translate(&self, name: &str, value: &str, servers: &[&Server], callees: &[String]) -> Translated {
        for server in servers {
            let Some(need) = crate::names::label(&server.name) else { continue };
            if let Some(text) = server.translate(name, value, &need) {
                let usual =
                    matches!((name, server.kind), ("DATABASE_URL", "postgres") | ("REDIS_URL", "redis"));
                let first = servers
                    .iter()
                    .find(|other| other.kind == server.kind)
                    .is_some_and(|one| one.name == server.name);
                let plain = text == format!("${{needs.{need}.url}}");
                return if usual && first && plain { Translated::Usual } else { Translated::Value(text) };
            }
        }
        for callee in callees {
            let Some(need) = crate::names::label(callee) else { continue };
            if let Some((_, rest)) =
                value.split_once(&format!("://{callee}")).filter(|_| mentions(value, callee))
            {
                let path = rest.find('/').map_or("", |at| &rest[at..]);
                return Translated::Value(format!("${{needs.{need}.url}}{}", literal(path)));
            }
            if value == callee {
                return Translated::Value(format!("${{needs.{need}.host}}"));
            }
        }
        interpolated(name, value)
    }
}

enum Translated {
    Value(String),
    /// What the need sets by itself.
    Usual,
    Secret,
}

impl Server {
    /// A value that names this server, as a reference.
    fn translate(&self, name: &str, value: &str, need: &str) -> Option<String> {
        let whole = |output: &str| Some(format!("${{needs.{need}.{output}}}"));
        if let Some((scheme, rest)) = value.split_once("://")
            && mentions(rest, &self.name)
        {
            return match (scheme, self.kind) {
                ("postgres" | "postgresql", "postgres") | ("redis", "redis") => whole("url"),
                (other, "postgres") => Some(format!(
                    "{other}://${{needs.{need}.user}}:${{needs.{need}.password}}@${{needs.{need}.host}}:${{needs.{need}.port}}/${{needs.{need}.database}}"
                )),
                (other, _) => Some(format!("{other}://${{needs.{need}.host}}:${{needs.{need}.port}}")),
            };
        }
        if value == self.name {
            return whole("host");
        }
        let usual_port = if self.kind == "postgres" { "5432" } else { "6379" };
        if value == format!("{}:{usual_port}", self.name) {
            return Some(format!("${{needs.{need}.host}}:${{needs.{need}.port}}"));
        }
        if value == usual_port && name.ends_with("PORT") {
            return whole("port");
        }
        if self.kind != "postgres" {
            return None;
        }
        let given = |key: &str| self.environment.get(key).is_some_and(|given| given == value);
        let says = |words: &[&str]| words.iter().any(|word| name.to_uppercase().contains(word));
        if says(&["PASS"]) && given("POSTGRES_PASSWORD") {
            return whole("password");
        }
        if says(&["USER"]) && given("POSTGRES_USER") {
            return whole("user");
        }
        if says(&["DB", "DATABASE", "NAME"]) && given("POSTGRES_DB") {
            return whole("database");
        }
        None
    }
}

/// A value as compose fills it in: `${NAME:-default}` is its default, `${NAME}` nothing, `$$` a `$`.
fn interpolated(name: &str, value: &str) -> Translated {
    const SECRETIVE: &[&str] = &["SECRET", "PASSWORD", "TOKEN", "API_KEY", "PRIVATE_KEY", "ACCESS_KEY"];
    let upper = name.to_uppercase();
    if SECRETIVE.iter().any(|word| upper.contains(word)) {
        return Translated::Secret;
    }
    let mut out = String::new();
    let mut rest = value;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((inner, after)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            let default = inner.split_once(":-").or_else(|| inner.split_once('-'));
            out.push_str(default.map_or("", |(_, default)| default));
            rest = after;
        } else {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            if end == 0 {
                out.push('$');
            }
            rest = &rest[end..];
        }
    }
    out.push_str(rest);
    Translated::Value(literal(&out))
}

/// Which need an image stands for, with its major version.
fn server(image: &str) -> Option<(&'static str, Option<String>)> {
    let last = image.rsplit('/').next()?;
    let (name, tag) = last.split_once(':').unwrap_or((last, ""));
    let kind = match name {
        "postgres" | "postgresql" | "postgis" | "timescaledb" | "pgvector" => "postgres",
        "redis" | "valkey" | "redis-stack" | "redis-stack-server" => "redis",
        _ => return None,
    };
    // Images with extensions have versions of their own and name the server's as `pg16`.
    let server = match tag.find("pg") {
        Some(at) => &tag[at + 2..],
        None if name.starts_with("postgres") => tag,
        None => "",
    };
    let major: String = server.chars().take_while(char::is_ascii_digit).collect();
    // Redis' versions are not promised to match the machine's.
    Some((kind, Some(major).filter(|major| !major.is_empty() && kind == "postgres")))
}

fn command(service: &Node) -> Option<String> {
    let node = service.get("command")?;
    match node.list() {
        Some(words) => Some(shell_words::join(words.iter().filter_map(Node::text))),
        None => node.text().map(str::to_owned),
    }
    .filter(|command| !command.trim().is_empty())
}

fn environment(service: &Node) -> BTreeMap<String, String> {
    let Some(node) = service.get("environment") else { return BTreeMap::new() };
    let pairs: Vec<(String, String)> = match (node.map(), node.list()) {
        (Some(entries), _) => entries
            .iter()
            .map(|(key, value)| (key.text.to_string(), value.text().unwrap_or_default().to_owned()))
            .collect(),
        (None, Some(items)) => items
            .iter()
            .filter_map(Node::text)
            .map(|line| line.split_once('=').unwrap_or((line, "")))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        _ => Vec::new(),
    };
    pairs.into_iter().filter(|(name, _)| crate::names::is_variable(name)).collect()
}

fn depends_on(service: &Node) -> Vec<String> {
    let Some(node) = service.get("depends_on") else { return Vec::new() };
    match (node.map(), node.list()) {
        (Some(entries), _) => entries.iter().map(|(key, _)| key.text.to_string()).collect(),
        (None, Some(items)) => items.iter().filter_map(Node::text).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// Whether a value names a host: whole, not as a part of a longer word.
fn mentions(value: &str, host: &str) -> bool {
    let part_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    value.match_indices(host).any(|(at, _)| {
        let before = value[..at].chars().next_back();
        let after = value[at + host.len()..].chars().next();
        let starts = before.is_none_or(|c| matches!(c, '/' | '@'));
        starts
            && after.is_none_or(|c| !part_of_name(c))
            && (before.is_some() || after.is_none_or(|c| c == ':'))
    })
}

/// Says what is different when services share a server.
fn share(drafts: &[Draft], notes: &mut Notes) {
    let mut users: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for draft in drafts {
        for need in draft.needs.iter().filter(|need| matches!(need.kind.as_str(), "postgres" | "redis")) {
            users.entry(&need.name).or_default().push(&draft.name);
        }
    }
    for (need, names) in users.into_iter().filter(|(_, names)| names.len() > 1) {
        notes.say(format!("{} share `{need}` in compose; here each gets its own.", names.join(" and ")));
    }
}
