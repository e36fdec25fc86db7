//! The difference of two definitions, field by field.

use delivery_api::FieldChange;
use serde_json::Value;

/// Changes that are listed at most; a definition with more is not readable as a diff anyway.
pub const CHANGES_MAX: usize = 500;

/// Fields that differ, in the order of the definition. Objects are entered, lists are whole values.
#[must_use]
pub fn changes(before: &Value, after: &Value) -> Vec<FieldChange> {
    let mut found = Vec::new();
    collect("", before, after, &mut found);
    found.truncate(CHANGES_MAX);
    found
}

fn collect(path: &str, before: &Value, after: &Value, found: &mut Vec<FieldChange>) {
    if before == after {
        return;
    }
    let empty = serde_json::Map::new();
    let sides = match (before, after) {
        (Value::Object(before), Value::Object(after)) => Some((before, after)),
        (Value::Object(before), Value::Null) if path.is_empty() => Some((before, &empty)),
        (Value::Null, Value::Object(after)) if path.is_empty() => Some((&empty, after)),
        _ => None,
    };
    let Some((before_fields, after_fields)) = sides else {
        let side = |value: &Value| (!value.is_null()).then(|| value.clone());
        found.push(FieldChange { path: path.to_owned(), before: side(before), after: side(after) });
        return;
    };
    let names =
        after_fields.keys().chain(before_fields.keys().filter(|name| !after_fields.contains_key(*name)));
    for name in names {
        let inner = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        collect(
            &inner,
            before_fields.get(name).unwrap_or(&Value::Null),
            after_fields.get(name).unwrap_or(&Value::Null),
            found,
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_differs_is_named() {
        let found = changes(
            &json!({"run": {"replicas": 1, "command": ["a"]}, "owner": "x"}),
            &json!({"run": {"replicas": 3, "command": ["a"]}, "tier": "critical"}),
        );
        let paths: Vec<_> = found.iter().map(|change| change.path.as_str()).collect();
        assert_eq!(paths, ["run.replicas", "tier", "owner"]);
        assert_eq!((found[0].before.clone(), found[0].after.clone()), (Some(json!(1)), Some(json!(3))));
        assert_eq!(found[2].after, None);
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf =
            prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), (0..5).prop_map(Value::from)];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop::collection::btree_map("[a-c]", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect()))
        })
    }

    proptest! {
        #[test]
        fn equal_values_have_no_changes_and_different_ones_have_some(left in values(), right in values()) {
            prop_assert!(changes(&left, &left).is_empty());
            // Inside an object, a field that is null and one that is absent mean the same.
            fn tidy(value: &Value) -> Value {
                match value {
                    Value::Object(map) => Value::Object(map.iter().map(|(k, v)| (k.clone(), tidy(v)))
                        .filter(|(_, v)| !v.is_null()).collect()),
                    other => other.clone(),
                }
            }
            if changes(&left, &right).is_empty() {
                let (left, right) = (tidy(&left), tidy(&right));
                let nothing = |value: &Value| value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
                prop_assert!(left == right || (nothing(&left) && nothing(&right)));
            }
        }
    }
}
