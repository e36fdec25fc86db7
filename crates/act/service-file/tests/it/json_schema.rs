//! The published schema: up to date, and true to what the parser accepts.

use std::path::Path;

use serde_json::Value;

use crate::{cases_folder, check, files};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.."))
}

#[test]
fn the_published_schema_is_this_one() {
    check(&root().join("docs/reference/stead.schema.json"), &format!("{:#}\n", service_file::schema()));
}

#[test]
fn good_files_and_examples_pass_and_wrong_shapes_do_not() {
    let schema = service_file::schema();
    let mut good = files(&cases_folder().join("good"), "yaml");
    good.extend(examples(&root().join("examples")));
    for path in good {
        let text = std::fs::read_to_string(&path).unwrap();
        for document in service_file::documents_as_json(&text) {
            let wrong = problems(&schema, &schema, &document, "");
            assert!(wrong.is_empty(), "{}: {wrong:#?}", path.display());
        }
    }
    for text in [
        "nme: a",
        "run: 3",
        "run: {replicas: 200}",
        "tier: high",
        "run: {limits: {memory: lots}}",
        "expose: [3]",
    ] {
        let document = service_file::documents_as_json(text).remove(0);
        assert!(!problems(&schema, &schema, &document, "").is_empty(), "{text}");
    }
}

fn examples(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.file_name().is_some_and(|name| name == "stead.yaml") {
            found.push(path);
        } else if path.is_dir() && path.file_name().is_some_and(|name| name != "node_modules") {
            found.extend(examples(&path));
        }
    }
    found
}

/// The part of JSON Schema that ours uses; an unknown keyword fails.
pub(crate) fn problems(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut say = |text: String| wrong.push(format!("{at}: {text}"));
    for (keyword, rule) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "$schema" | "$id" | "$defs" | "title" | "description" | "default" => {}
            "$ref" => {
                let name = rule.as_str().unwrap().trim_start_matches("#/$defs/");
                for problem in problems(root, &root["$defs"][name], value, at) {
                    say(problem);
                }
            }
            "type" => {
                let types: Vec<&str> = match rule {
                    Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
                    one => vec![one.as_str().unwrap()],
                };
                if !types.iter().any(|wanted| is_type(value, wanted)) {
                    say(format!("{value} is not {types:?}"));
                }
            }
            "enum" if !rule.as_array().unwrap().contains(value) => say(format!("{value} is not in {rule}")),
            "const" if rule != value => say(format!("{value} is not {rule}")),
            "enum" | "const" => {}
            "anyOf" => {
                let each: Vec<_> =
                    rule.as_array().unwrap().iter().map(|one| problems(root, one, value, at)).collect();
                if !each.iter().any(Vec::is_empty) {
                    say(format!("{value} fits none: {each:?}"));
                }
            }
            "properties" | "propertyNames" | "required" => {
                if let (Some(rules), Some(given)) = (rule.as_object(), value.as_object()) {
                    for (key, inner) in given {
                        if keyword == "propertyNames" {
                            problems(root, rule, &Value::from(key.as_str()), at)
                                .into_iter()
                                .for_each(&mut say);
                        } else if let Some(rule) = rules.get(key) {
                            problems(root, rule, inner, &format!("{at}/{key}"))
                                .into_iter()
                                .for_each(&mut say);
                        }
                    }
                }
                if let (Some(required), Some(given)) = (rule.as_array(), value.as_object()) {
                    for key in required.iter().filter(|key| !given.contains_key(key.as_str().unwrap())) {
                        say(format!("{key} is missing"));
                    }
                }
            }
            "additionalProperties" => {
                for (key, inner) in value.as_object().into_iter().flatten() {
                    if schema["properties"].get(key).is_some() {
                        continue;
                    }
                    match rule {
                        Value::Bool(false) => say(format!("unknown key {key}")),
                        rule => {
                            problems(root, rule, inner, &format!("{at}/{key}")).into_iter().for_each(&mut say)
                        }
                    }
                }
            }
            "items" => {
                for (index, inner) in value.as_array().into_iter().flatten().enumerate() {
                    problems(root, rule, inner, &format!("{at}/{index}")).into_iter().for_each(&mut say);
                }
            }
            "minimum" | "maximum" | "exclusiveMinimum" => {
                if let Some(number) = value.as_f64() {
                    let bound = rule.as_f64().unwrap();
                    let good = match keyword.as_str() {
                        "minimum" => number >= bound,
                        "maximum" => number <= bound,
                        _ => number > bound,
                    };
                    if !good {
                        say(format!("{number} breaks {keyword} {bound}"));
                    }
                }
            }
            "minLength" | "minItems" => {
                let length = value.as_str().map(str::len).or(value.as_array().map(Vec::len));
                if length.is_some_and(|length| (length as u64) < rule.as_u64().unwrap()) {
                    say("is empty".into());
                }
            }
            "pattern" => {
                if value.as_str().is_some_and(|text| !matches_pattern(text, rule.as_str().unwrap())) {
                    say(format!("{value} does not match {rule}"));
                }
            }
            other => panic!("the schema uses {other}, which this test does not know"),
        }
    }
    wrong
}

fn is_type(value: &Value, wanted: &str) -> bool {
    match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("{other}"),
    }
}

/// The patterns by hand: a regular expression engine for six of them would be the heavier half.
fn matches_pattern(text: &str, pattern: &str) -> bool {
    use base::units::{Bytes, Cpu, Span};
    match pattern {
        "^/" => text.starts_with('/'),
        "^https?://" => text.starts_with("http://") || text.starts_with("https://"),
        "^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$" => base::id::NameId::parse(text).is_ok(),
        "^[A-Za-z_][A-Za-z0-9_]*$" => text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'),
        duration if duration.contains("(ms|s|m|h|d)") => text.parse::<Span>().is_ok(),
        size if size.contains("iB") => text.parse::<Bytes>().is_ok(),
        cpu if cpu.ends_with("m?$") => text.parse::<Cpu>().is_ok(),
        other => panic!("{other}"),
    }
}
