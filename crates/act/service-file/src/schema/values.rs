//! The smaller parts of the schema that sections share.

use serde_json::{Value, json};

use super::{any_of, int, object, reference, text, with};
use crate::model::Stop;

pub(super) fn name() -> Value {
    json!({
        "type": "string",
        "description": "Lowercase letters, digits and `-`, starting with a letter, at most 63.",
        "pattern": "^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$",
    })
}

pub(super) fn variable() -> Value {
    json!({
        "type": "string",
        "description": "The name of an environment variable.",
        "pattern": "^[A-Za-z_][A-Za-z0-9_]*$",
    })
}

pub(super) fn duration() -> Value {
    json!({
        "type": "string",
        "description": "A duration: numbers with `ms`, `s`, `m`, `h` or `d`, such as `10s` or `1m30s`.",
        "pattern": "^([0-9]+(\\.[0-9]+)?(ms|s|m|h|d))+$",
    })
}

pub(super) fn size() -> Value {
    json!({
        "description": "A size: a number with `kB`, `MB`, `GB`, `KiB`, `MiB`, `GiB` or `TiB`, such as `512MiB`.",
        "anyOf": [
            { "type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?([kKMG]B?|[KMGT]iB?|B)?$" },
            { "type": "integer", "minimum": 0 },
        ],
    })
}

pub(super) fn cpu() -> Value {
    json!({
        "description": "Cores: `2`, `0.5`, or `500m` for thousandths.",
        "anyOf": [
            { "type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?m?$" },
            { "type": "number", "exclusiveMinimum": 0 },
        ],
    })
}

pub(super) fn template() -> Value {
    json!({
        "description": "Text in which `${needs.NEED.VALUE}`, `${config.NAME}`, `${secrets.NAME}`, \
            `${service.name}`, `${port}` and `${ports.NAME}` are filled in. `$${` stands for a plain `${`.",
        "type": ["string", "number", "boolean", "null"],
    })
}

pub(super) fn command() -> Value {
    json!({
        "description": "A line, run by `/bin/sh -c` when it uses a shell's syntax (`$PORT`, `|`, `&&`, `*` …), \
            or a list of words, in which references that are not secret are filled in.",
        "anyOf": [
            { "type": "string", "minLength": 1 },
            { "type": "array", "minItems": 1, "items": reference("template") },
        ],
    })
}

pub(super) fn environment() -> Value {
    json!({
        "type": "object",
        "description": "Environment variables, by name.",
        "propertyNames": reference("variable"),
        "additionalProperties": reference("template"),
    })
}

pub(super) fn limits() -> Value {
    object(
        "Caps for each replica. What is left out is not capped.",
        vec![
            ("memory", "Memory; going over it ends the replica.", reference("size")),
            ("cpu", "Processor time; going over it slows the replica down.", reference("cpu")),
            ("processes", "Processes and threads at once.", int(1, 1_000_000)),
            ("open_files", "Open files of one process.", int(16, 10_000_000)),
        ],
    )
}

pub(super) fn stop() -> Value {
    let signals = Stop::SIGNALS.iter().flat_map(|name| [(*name).to_owned(), format!("SIG{name}")]);
    object(
        "How a process is asked to stop.",
        vec![
            (
                "signal",
                "The signal that asks.",
                json!({ "enum": signals.collect::<Vec<_>>(), "default": "TERM" }),
            ),
            (
                "grace",
                "How long it may take; what is left then is killed.",
                with(reference("duration"), "default", json!("10s")),
            ),
        ],
    )
}

pub(super) fn schedule() -> Value {
    let cron = json!({ "type": "string" });
    let mut schedule = object(
        "When to run: five fields (minute, hour, day of month, month, day of week), or `@hourly`, `@daily`, \
         `@weekly`, `@monthly`, `@yearly`.",
        vec![
            ("cron", "The five fields.", cron.clone()),
            (
                "zone",
                "The time zone they are meant in, by its IANA name.",
                json!({ "type": "string", "default": "UTC" }),
            ),
        ],
    );
    schedule["required"] = json!(["cron"]);
    let description = schedule["description"].take();
    with(any_of(vec![cron, schedule]), "description", description)
}

pub(super) fn port() -> Value {
    let map = object(
        "A port with its number and its variable.",
        vec![
            ("number", "A fixed number. Without it each replica gets a free port.", int(1, 65_535)),
            ("environment", "The variable that tells the process.", reference("variable")),
        ],
    );
    with(
        any_of(vec![int(1, 65_535), text(), map, json!({ "type": "null" })]),
        "description",
        json!("A fixed number, the name of the variable that tells the process, or both."),
    )
}
