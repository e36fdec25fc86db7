//! The sections of the schema.

use serde_json::{Value, json};

use super::{
    any_of, flag, int_default, list_of, map_of, object, reference, scalar, text,
    values::{
        command, cpu, duration, environment, limits, name, port, schedule, size, stop, template, variable,
    },
    with, words,
};
use crate::{
    decode::{jobs::WHENS, run::KINDS, run::POLICIES, service::API_VERSION},
    model::{Run, Tier},
};

/// The whole file.
pub(super) fn service() -> Value {
    object(
        "One service. Every section is optional. Several services may share a file as documents \
         separated by `---`.",
        top(true),
    )
}

pub(super) fn definitions() -> Vec<(&'static str, Value)> {
    vec![
        ("name", name()),
        ("variable", variable()),
        ("duration", duration()),
        ("size", size()),
        ("cpu", cpu()),
        ("template", template()),
        ("command", command()),
        ("environment", environment()),
        ("limits", limits()),
        ("stop", stop()),
        ("schedule", schedule()),
        ("port", port()),
        ("probe", probe()),
        ("run", run()),
        ("job", job()),
        ("need", need()),
        ("postgres", postgres()),
        ("redis", redis()),
        ("expose", expose()),
        ("config", config()),
        ("file", file()),
        ("secret", secret()),
        ("link", link()),
        ("overlay", overlay()),
    ]
}

/// The sections; an overlay has no name, version and overlays of its own.
fn top(whole: bool) -> Vec<(&'static str, &'static str, Value)> {
    let mut fields = Vec::new();
    if whole {
        fields.push((
            "apiVersion",
            "The version of this format.",
            json!({ "const": API_VERSION, "default": API_VERSION }),
        ));
        fields.push(("name", "The service's name. Without it, the folder's name.", reference("name")));
    }
    let nullable =
        |schema: Value| if whole { schema } else { any_of(vec![schema, json!({ "type": "null" })]) };
    fields.extend([
        ("description", "One sentence on what it is for.", nullable(scalar())),
        ("owner", "The team or person who answers for it.", nullable(scalar())),
        (
            "tier",
            "How much depends on it. Defaults of other sections follow from it.",
            nullable(with(words(Tier::WORDS.iter().map(|(word, _)| *word)), "default", json!("standard"))),
        ),
        (
            "links",
            "Pages that belong to it: repository, runbook, dashboard.",
            nullable(list_of(reference("link"))),
        ),
        ("run", "How its processes run.", nullable(reference("run"))),
        (
            "jobs",
            "Commands that run to their end with the service's content, bindings, configuration and secrets: \
             migrations, imports, clean-ups. By name.",
            nullable(map_of(any_of(vec![reference("job"), text(), json!({ "type": "null" })]))),
        ),
        (
            "needs",
            "What it needs from elsewhere, by a name of your choice. Stead provides it and tells the service \
             where it is.",
            nullable(map_of(any_of(vec![
                reference("need"),
                words(["postgres", "redis", "service"]),
                json!({ "type": "null" }),
            ]))),
        ),
        (
            "expose",
            "Ways in from outside, through the gateway: one path, one entry, or a list of them. Without it only \
             services that need this one reach it.",
            nullable(any_of(vec![
                text(),
                reference("expose"),
                list_of(any_of(vec![text(), reference("expose")])),
            ])),
        ),
        ("config", "Values and files that the service and its jobs get.", nullable(reference("config"))),
        (
            "secrets",
            "Secrets that the service and its jobs get, by name: a list of names, or a map when they come from \
             another name or arrive as files. Values never stand in this file: `stead secret set NAME`.",
            nullable(any_of(vec![
                list_of(reference("variable")),
                map_of(any_of(vec![reference("secret"), text(), json!({ "type": "null" })])),
            ])),
        ),
    ]);
    if whole {
        let about = "What is different in an environment, by its name. Maps merge key by key, lists and single \
                     values are replaced, `null` removes.";
        fields.push(("environments", about, map_of(reference("overlay"))));
        fields.push(("environment", "Another word for `environments`.", map_of(reference("overlay"))));
    }
    fields
}

/// Only its keys are checked: anything below may be a part, or `null` to remove it.
fn overlay() -> Value {
    let fields = top(false).into_iter().map(|(name, about, schema)| {
        let kept = matches!(name, "description" | "owner" | "tier" | "links" | "expose" | "secrets");
        (name, about, if kept { schema } else { json!({ "type": ["object", "null"] }) })
    });
    let mut overlay = object("Changes in one environment.", fields.collect());
    overlay["type"] = json!(["object", "null"]);
    overlay
}

fn probe() -> Value {
    let port = || json!({ "type": ["string", "integer"] });
    let http = object(
        "A GET request.",
        vec![
            ("path", "The path to ask for.", json!({ "type": "string", "pattern": "^/", "default": "/" })),
            ("port", "Which port, by name or number. Without it the main one.", port()),
            (
                "status",
                "The statuses that are good: one, a range such as `200-299`, or a class such as `2xx`.",
                json!({ "type": ["string", "integer"], "default": "200-399" }),
            ),
        ],
    );
    let tcp = object(
        "A connection.",
        vec![("port", "Which port, by name or number. Without it the main one.", port())],
    );
    let duration = |default: &str| with(reference("duration"), "default", json!(default));
    object(
        "A check, repeated as long as the replica runs. Exactly one of `http`, `tcp` and `exec`.",
        vec![
            (
                "http",
                "Good when a GET is answered with a good status. Short form: the path.",
                any_of(vec![text(), http]),
            ),
            (
                "tcp",
                "Good when a connection opens. Short form: the port.",
                any_of(vec![json!({ "type": ["null", "string", "integer"] }), tcp]),
            ),
            (
                "exec",
                "Good when the command exits with 0. It runs beside the replica, as its user.",
                reference("command"),
            ),
            ("interval", "Time between two checks.", duration("2s")),
            ("timeout", "A check that takes longer has failed.", duration("1s")),
            (
                "start_period",
                "Failures in this time after the start do not count, unless it has succeeded before.",
                duration("30s"),
            ),
            ("threshold", "Failures in a row that make it fail.", int_default(1, 1_000, 3)),
            ("success_threshold", "Successes in a row that make it good again.", int_default(1, 1_000, 1)),
        ],
    )
}

fn run() -> Value {
    let health = object(
        "Checks.",
        vec![
            (
                "readiness",
                "Decides whether a replica gets requests. Without it: whether its port can be connected to.",
                reference("probe"),
            ),
            ("liveness", "Decides whether a replica is replaced.", reference("probe")),
            ("startup", "Holds back the other two until it has succeeded once.", reference("probe")),
        ],
    );
    let duration = |default: &str| with(reference("duration"), "default", json!(default));
    let policy = || words(POLICIES.iter().map(|(word, _)| *word));
    let restart = object(
        "What happens when a replica ends.",
        vec![
            ("policy", "When it is started again.", with(policy(), "default", json!("always"))),
            (
                "backoff",
                "The wait before the second restart; it doubles with each. The first is at once.",
                duration("500ms"),
            ),
            ("backoff_max", "The longest wait.", duration("30s")),
            ("stable_after", "A run of this length starts the count anew.", duration("30s")),
            (
                "crash_loop_after",
                "Restarts in a row after which the service is reported as crash-looping.",
                int_default(1, 1_000, 5),
            ),
        ],
    );
    let line = || json!({ "type": "string", "minLength": 1 });
    object(
        "How the service's processes run.",
        vec![
            (
                "kind",
                "A service runs until it is stopped; a job runs once to its end.",
                with(words(KINDS.iter().map(|(word, _)| *word)), "default", json!("service")),
            ),
            (
                "build",
                "Commands that the command line runs in the folder before the content is pinned.",
                any_of(vec![line(), list_of(line())]),
            ),
            ("command", "What to run.", reference("command")),
            ("args", "More arguments for a command that needs no shell.", list_of(reference("template"))),
            (
                "environment",
                "Environment variables. They win over those of `config.values` and `needs`.",
                reference("environment"),
            ),
            (
                "working_directory",
                "Where the command runs, relative to the folder.",
                json!({ "type": "string", "default": "." }),
            ),
            (
                "user",
                "The user to run as, by name or number. Without it, one of the service's own. Never root; an account of the machine takes its owner's word.",
                json!({ "type": ["string", "integer"] }),
            ),
            ("replicas", "How many run at once.", int_default(0, i64::from(Run::REPLICAS_MAX), 1)),
            (
                "port",
                "The main port: a number, the name of a variable, or `none` for a service that listens on nothing. \
                 Without it each replica gets a free port in `PORT`.",
                reference("port"),
            ),
            (
                "ports",
                "Ports by name, instead of `port`. `http` is the main one, told in `PORT`; others in `NAME_PORT`.",
                map_of(reference("port")),
            ),
            ("limits", "Caps for each replica.", reference("limits")),
            ("health", "How it is known that a replica works.", health),
            ("stop", "How a replica is asked to stop.", reference("stop")),
            (
                "restart",
                "What happens when a replica ends. Short form: the policy.",
                any_of(vec![policy(), restart]),
            ),
            ("schedule", "Makes it a job that runs at these times.", reference("schedule")),
        ],
    )
}

fn job() -> Value {
    object(
        "A command that runs to its end. Short form: the command.",
        vec![
            ("command", "What to run.", reference("command")),
            ("args", "More arguments for a command that needs no shell.", list_of(reference("template"))),
            (
                "when",
                "`before_release`: each time a release is delivered, before it takes over, which it does only if \
                 the job succeeds. `manual`: when somebody asks.",
                with(words(WHENS.iter().map(|(word, _)| *word)), "default", json!("manual")),
            ),
            ("schedule", "The times to run at, instead of `when`.", reference("schedule")),
            (
                "environment",
                "Environment variables besides those of `config.values` and `needs`.",
                reference("environment"),
            ),
            ("working_directory", "Where the command runs, relative to the folder.", text()),
            ("user", "The user to run as. Never root.", json!({ "type": ["string", "integer"] })),
            ("limits", "Caps.", reference("limits")),
            ("stop", "How it is asked to stop.", reference("stop")),
            (
                "timeout",
                "After this it is stopped and has failed.",
                with(reference("duration"), "default", json!("10m")),
            ),
            ("retries", "How often it is tried again after a failure.", int_default(0, 100, 0)),
        ],
    )
}

fn need() -> Value {
    object(
        "Exactly one of `postgres`, `redis` and `service`, with the variables that tell the service. Short form: \
         the kind alone.",
        vec![
            (
                "postgres",
                "A PostgreSQL database of its own. Values: `url`, `host`, `port`, `user`, `password`, `database`.",
                any_of(vec![reference("postgres"), json!({ "type": "null" })]),
            ),
            (
                "redis",
                "A Redis of its own. Values: `url`, `host`, `port`, `password`.",
                any_of(vec![reference("redis"), json!({ "type": "null" })]),
            ),
            (
                "service",
                "Another service of the same environment, by name. Values: `url`, `host`, `port`.",
                reference("name"),
            ),
            (
                "environment",
                "Variable by value, such as `url: DATABASE_URL`; only these are set. Without it: `DATABASE_URL`, \
                 `PGHOST`, `PGPORT`, `PGUSER`, `PGPASSWORD` and `PGDATABASE` for postgres, `REDIS_URL` for redis, \
                 and `NEED_URL` for a service, NEED being the need's name in capitals.",
                map_of(reference("variable")),
            ),
        ],
    )
}

fn version() -> Value {
    json!({ "type": ["string", "number"] })
}

fn postgres() -> Value {
    object(
        "A PostgreSQL database.",
        vec![
            ("version", "Major version. Without it, what the machine has.", version()),
            ("database", "The database's name. Without it, the service's.", text()),
            ("extensions", "Extensions to create.", list_of(text())),
        ],
    )
}

fn redis() -> Value {
    object(
        "A Redis.",
        vec![
            ("version", "Major version. Without it, what the machine has.", version()),
            ("memory", "The most memory its data may take.", reference("size")),
        ],
    )
}

fn expose() -> Value {
    object(
        "A way in. Short form: the path.",
        vec![
            ("host", "Host name, or `*.example.com`. Without it, every host.", text()),
            (
                "path",
                "Path prefix: `/shop` takes `/shop` and everything below it.",
                json!({ "type": "string", "pattern": "^/", "default": "/" }),
            ),
            (
                "port",
                "Which port, by name or number. Without it the main one.",
                json!({ "type": ["string", "integer"] }),
            ),
            (
                "strip_prefix",
                "Whether the prefix is taken off before the service sees the path.",
                flag(false),
            ),
            (
                "timeout",
                "The longest wait for the response to begin, and between two of its parts.",
                with(reference("duration"), "default", json!("30s")),
            ),
            ("retries", "How often an idempotent request is tried again elsewhere.", int_default(0, 10, 1)),
            (
                "body_max",
                "A larger request body is refused.",
                with(reference("size"), "default", json!("64MiB")),
            ),
        ],
    )
}

fn config() -> Value {
    object(
        "Configuration.",
        vec![
            (
                "values",
                "Values by name, for `${config.NAME}`; also set in the environment of the service and its jobs.",
                reference("environment"),
            ),
            (
                "files",
                "Files by their path in the replica's folder. Short form: the content.",
                map_of(any_of(vec![scalar(), reference("file")])),
            ),
        ],
    )
}

fn file() -> Value {
    object(
        "A file, with either `content` or `from`. With a secret in it, it lives on memory-backed storage.",
        vec![
            ("content", "The text.", scalar()),
            ("from", "A file of the service's folder.", text()),
            (
                "mode",
                "Unix permissions in octal.",
                json!({ "type": ["string", "integer"], "default": "0644" }),
            ),
            (
                "template",
                "Whether references are filled in. Without it: yes for `content`, no for `from`.",
                json!({ "type": "boolean" }),
            ),
        ],
    )
}

fn secret() -> Value {
    object(
        "A secret. Short form: its name in the store.",
        vec![
            ("from", "Its name in the secret store. Without it, the same name.", text()),
            (
                "as",
                "How it arrives: in a variable of its name, in a file below `$STEAD_SECRETS_DIR`, or only through \
                 `${secrets.NAME}`.",
                with(words(["environment", "file", "template"]), "default", json!("environment")),
            ),
            ("path", "The file's path below `$STEAD_SECRETS_DIR`. Without it, the secret's name.", text()),
        ],
    )
}

fn link() -> Value {
    let url = || json!({ "type": "string", "pattern": "^https?://" });
    let mut map = object(
        "A page with its title.",
        vec![("title", "What to call it. Without it, its host.", text()), ("url", "Its address.", url())],
    );
    map["required"] = json!(["url"]);
    any_of(vec![url(), map])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::decode::{
        config as c, expose as e, health as h, jobs as j, needs as n, run as r, schedule as s, service as v,
    };

    #[track_caller]
    fn same(schema: &Value, keys: &crate::decode::Keys) {
        let said: BTreeSet<&str> =
            schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(said, keys.known.iter().copied().collect());
        let hinted = keys.instead.iter().map(|(other, _)| other).chain(keys.later);
        for other in hinted {
            assert!(!said.contains(other), "{other} is both known and not");
        }
    }

    #[test]
    fn the_schema_has_the_keys_that_the_parser_takes() {
        same(&service(), &v::SERVICE);
        same(&run(), &r::RUN);
        same(&limits(), &r::LIMITS);
        same(&stop(), &r::STOP);
        same(&port()["anyOf"][2], &r::PORT);
        same(&run()["properties"]["restart"]["anyOf"][1], &r::RESTART);
        same(&run()["properties"]["health"], &h::HEALTH);
        same(&probe(), &h::PROBE);
        same(&probe()["properties"]["http"]["anyOf"][1], &h::HTTP);
        same(&probe()["properties"]["tcp"]["anyOf"][1], &h::TCP);
        same(&schedule()["anyOf"][1], &s::SCHEDULE);
        same(&job(), &j::JOB);
        same(&need(), &n::NEED);
        same(&postgres(), &n::POSTGRES);
        same(&redis(), &n::REDIS);
        same(&expose(), &e::EXPOSE);
        same(&config(), &c::CONFIG);
        same(&file(), &c::FILE);
        same(&secret(), &c::SECRET);
        same(&link()["anyOf"][1], &v::LINK);
    }

    #[test]
    fn every_reference_is_defined_and_every_key_described() {
        fn walk(value: &Value, defined: &BTreeSet<&str>) {
            if let Some(name) = value["$ref"].as_str() {
                assert!(defined.contains(name.trim_start_matches("#/$defs/")), "{name}");
            }
            if let Some(properties) = value["properties"].as_object() {
                for (name, schema) in properties {
                    assert!(schema["description"].as_str().is_some_and(|text| text.ends_with('.')), "{name}");
                }
            }
            match value {
                Value::Object(fields) => fields.values().for_each(|inner| walk(inner, defined)),
                Value::Array(items) => items.iter().for_each(|inner| walk(inner, defined)),
                _ => {}
            }
        }
        let schema = crate::schema();
        let defined = schema["$defs"].as_object().unwrap().keys().map(String::as_str).collect();
        walk(&schema, &defined);
    }
}
