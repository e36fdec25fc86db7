//! The published JSON Schema (draft 2020-12) of the service file.
//!
//! It is built here, key by key, with the descriptions that editors show and that the reference
//! page is made of. A test holds its keys against those the decoder takes. It says what can be
//! said of one value; what ties values together (references, ports, cycles) the parser checks.

use serde_json::{Map, Value, json};

mod sections;
mod values;

/// What the schema is called; it is no address.
pub const ID: &str = "urn:stead:schema:service-file:v1";

/// The schema as JSON.
#[must_use]
pub fn schema() -> Value {
    let mut definitions = Map::new();
    for (name, schema) in sections::definitions() {
        definitions.insert(name.to_owned(), schema);
    }
    let mut root = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": ID,
        "title": "stead.yaml",
    });
    if let (Value::Object(root), Value::Object(service)) = (&mut root, sections::service()) {
        root.extend(service);
        root.insert("$defs".into(), Value::Object(definitions));
    }
    root
}

/// One key of a map: name, what it means, what it may be.
type Field = (&'static str, &'static str, Value);

/// A map with exactly these keys; each may also be empty, which is as good as absent.
fn object(description: &str, fields: Vec<Field>) -> Value {
    let properties: Map<String, Value> =
        fields.into_iter().map(|(name, about, schema)| (name.to_owned(), described(about, schema))).collect();
    json!({
        "type": "object",
        "description": description,
        "properties": properties,
        "additionalProperties": false,
    })
}

fn described(about: &str, schema: Value) -> Value {
    let mut out = Map::new();
    out.insert("description".into(), json!(about));
    match schema {
        // A reference keeps its own description in its definition.
        Value::Object(fields) => out.extend(fields.into_iter().filter(|(key, _)| key != "description")),
        _ => return schema,
    }
    Value::Object(out)
}

fn any_of(schemas: Vec<Value>) -> Value {
    json!({ "anyOf": schemas })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

/// A map with keys that the user chooses.
fn map_of(values: Value) -> Value {
    json!({ "type": "object", "additionalProperties": values })
}

fn list_of(items: Value) -> Value {
    json!({ "type": "array", "items": items })
}

/// Text; YAML writes some of it as numbers or truth values.
fn scalar() -> Value {
    json!({ "type": ["string", "number", "boolean"] })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn flag(default: bool) -> Value {
    json!({ "type": "boolean", "default": default })
}

fn int(from: i64, to: i64) -> Value {
    json!({ "type": "integer", "minimum": from, "maximum": to })
}

fn int_default(from: i64, to: i64, default: i64) -> Value {
    json!({ "type": "integer", "minimum": from, "maximum": to, "default": default })
}

fn words<'w>(words: impl IntoIterator<Item = &'w str>) -> Value {
    json!({ "enum": words.into_iter().collect::<Vec<_>>() })
}

fn with(mut schema: Value, key: &str, value: Value) -> Value {
    if let Value::Object(fields) = &mut schema {
        fields.insert(key.to_owned(), value);
    }
    schema
}
