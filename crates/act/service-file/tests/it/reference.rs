//! The reference page: its tables are the schema's, and its examples are good.

use std::path::PathBuf;

use serde_json::Value;
use service_file::{Diagnostics, Options, Workspace};

use crate::check;

fn page() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/reference/stead-yaml.md"))
}

#[test]
fn the_tables_are_those_of_the_schema() {
    let text = std::fs::read_to_string(page()).unwrap();
    let schema = service_file::schema();
    let mut out = String::new();
    let mut inside = false;
    for line in text.lines() {
        if line == "<!-- end -->" {
            inside = false;
        }
        if inside {
            continue;
        }
        out.push_str(line);
        out.push('\n');
        let marker = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->"));
        match marker.and_then(|marker| marker.split_once(' ').or(Some((marker, "")))) {
            Some(("keys", pointer)) => {
                inside = true;
                let found = schema.pointer(pointer.trim_end_matches('/'));
                out.push_str(&table(found.unwrap_or_else(|| panic!("{pointer}"))));
            }
            Some(("limits", _)) => {
                inside = true;
                out.push_str(&limits());
            }
            _ => {}
        }
    }
    check(&page(), &out);
}

#[test]
fn the_examples_are_good() {
    let text = std::fs::read_to_string(page()).unwrap();
    let mut examples = 0;
    for block in text.split("```yaml\n").skip(1) {
        let example = block.split("```").next().unwrap();
        examples += 1;
        let options = Options {
            known_services: [base::id::NameId::parse("payments").unwrap()].into(),
            ..Options::default()
        };
        let read = Workspace::from_documents([("x/stead.yaml".into(), example.to_owned())], &options);
        assert!(read.is_ok(), "{example}\n{}", read.unwrap_err());
        for document in service_file::documents_as_json(example) {
            let schema = service_file::schema();
            let wrong = crate::json_schema::problems(&schema, &schema, &document, "");
            assert!(wrong.is_empty(), "{example}\n{wrong:#?}");
        }
    }
    assert!(examples > 10);
}

fn table(schema: &Value) -> String {
    let mut out = "| Key | What it is | Form |\n|---|---|---|\n".to_owned();
    for (key, schema) in schema["properties"].as_object().unwrap() {
        let about = schema["description"].as_str().unwrap_or_default().replace('|', "\\|");
        let default = match &schema["default"] {
            Value::Null => String::new(),
            Value::String(text) => format!(" (`{text}`)"),
            other => format!(" (`{other}`)"),
        };
        out.push_str(&format!("| `{key}` | {about} | {}{default} |\n", form(schema).join(" or ")));
    }
    out
}

/// What a value may be, in a few words each.
fn form(schema: &Value) -> Vec<String> {
    let mut all = Vec::new();
    if let Some(name) = schema["$ref"].as_str() {
        all.push(name.trim_start_matches("#/$defs/").replace("overlay", "map of sections"));
    } else if let Some(one) = schema.get("const") {
        all.push(format!("`{}`", one.as_str().unwrap_or_default()));
    } else if let Some(words) = schema["enum"].as_array() {
        let words = words.iter().filter_map(Value::as_str).filter(|word| !word.starts_with("SIG"));
        all.push(words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "));
    } else if let Some(any) = schema["anyOf"].as_array() {
        all.extend(any.iter().flat_map(form));
    } else {
        let types = match &schema["type"] {
            Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
            Value::String(one) => vec![one.as_str()],
            _ => Vec::new(),
        };
        for one in types {
            let words = match one {
                "object" if schema["additionalProperties"].is_object() => {
                    format!("map of {}", form(&schema["additionalProperties"]).join(" or "))
                }
                "array" => format!("list of {}", form(&schema["items"]).join(" or ")),
                "integer" => match (&schema["minimum"], &schema["maximum"]) {
                    (Value::Null, _) | (_, Value::Null) => "number".to_owned(),
                    (from, to) => format!("{from} to {to}"),
                },
                "object" => "map".to_owned(),
                "string" => "text".to_owned(),
                "boolean" => "true or false".to_owned(),
                "null" => continue,
                other => other.to_owned(),
            };
            all.push(words);
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|one| !one.is_empty() && seen.insert(one.clone()));
    // Text that may look like a number or a truth value is text.
    if all.iter().any(|one| one == "text") {
        all.retain(|one| !matches!(one.as_str(), "number" | "true or false"));
    }
    all
}

fn limits() -> String {
    let rows = [
        ("Size of a file", format!("{} KiB", service_file::FILE_BYTES_MAX >> 10)),
        ("Levels of nesting", service_file::DEPTH_MAX.to_string()),
        ("Values in a file, aliases counted with what they bring", service_file::NODES_MAX.to_string()),
        ("Documents in a file", service_file::DOCUMENTS_MAX.to_string()),
        ("Services of one `PATH`", service_file::SERVICES_MAX.to_string()),
        ("Folders looked into, and levels down", {
            format!("{}, {}", service_file::FOLDERS_MAX, service_file::FOLDER_DEPTH_MAX)
        }),
        ("Mistakes shown; the rest is counted", Diagnostics::ITEMS_MAX.to_string()),
    ]
    .map(|(what, limit)| format!("| {what} | {limit} |\n"));
    format!("| What | At most |\n|---|---|\n{}", rows.concat())
}
