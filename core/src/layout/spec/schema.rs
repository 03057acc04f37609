//! The JSON Schema of the document, out of the types, and the forms that a type alone does not give.

use super::Spec;
use schemars::{Schema, SchemaGenerator, json_schema as json};
use serde_json::Value;

/// The JSON Schema of the document.
#[must_use]
pub fn json_schema() -> Value {
    let mut schema = schemars::schema_for!(Spec).to_value();
    without_null(&mut schema);
    disks_may_be_elsewhere(&mut schema);
    schema["$id"] = "cv.layout/v1".into();
    schema
}

/// A document that extends others may leave its sets to them.
fn disks_may_be_elsewhere(schema: &mut Value) {
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        required.retain(|key| key != "disks");
    }
    schema["anyOf"] = serde_json::json!([{"required": ["disks"]}, {"required": ["extends"]}]);
}

/// A text, or a list of texts.
pub(super) fn one_or_more_texts(_: &mut SchemaGenerator) -> Schema {
    json!({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})
}

/// A number of bytes of a sector.
pub(super) fn sector(_: &mut SchemaGenerator) -> Schema {
    json!({"enum": [512, 4096]})
}

/// `true`, `false` or a word.
pub(super) fn preserve(_: &mut SchemaGenerator) -> Schema {
    let words: Vec<&str> = super::Preserve::WORDS.iter().map(|(w, _)| *w).collect();
    json!({
        "description": "Whether what is there already is kept; `true` is `require`.",
        "anyOf": [{"type": "boolean"}, {"enum": words}]
    })
}

/// A key may be missing, but nothing is no value: `Option` stands for the first only.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|t| t != "null");
                if let [only] = &types[..] {
                    let only = only.clone();
                    map.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(choices)) = map.get_mut("anyOf") {
                choices.retain(|c| c["type"] != "null");
                if let [Value::Object(only)] = &choices[..] {
                    let only = only.clone();
                    map.remove("anyOf");
                    map.extend(only);
                }
            }
            map.values_mut().for_each(without_null);
        }
        Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The schema in the repository is what the types say; `LIBCV_BLESS=1` writes it anew.
    #[test]
    fn the_schema_in_the_repository_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/cv.layout.v1.json");
        let now = format!("{:#}\n", json_schema());
        if std::env::var_os("LIBCV_BLESS").is_some() {
            std::fs::create_dir_all(std::path::Path::new(path).parent().unwrap()).unwrap();
            std::fs::write(path, &now).unwrap();
        }
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(stored == now, "core/schemas/cv.layout.v1.json is out of date: run the tests with LIBCV_BLESS=1");
    }
}
