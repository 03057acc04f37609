//! The JSON Schema of the document, out of the types, and the forms that a type alone does not give.

use super::Spec;
use schemars::{Schema, SchemaGenerator, json_schema as json};
use serde_json::Value;

/// The JSON Schema of the document.
#[must_use]
pub fn json_schema() -> Value {
    let mut schema = schemars::schema_for!(Spec).to_value();
    crate::document::schema::without_null(&mut schema);
    schema["$id"] = "cv.role/v1".into();
    // The keys of a part stand at the top as well as below `for`, so that neither type can say that there are no others.
    schema["additionalProperties"] = false.into();
    schema["$defs"]["Part"]["additionalProperties"] = false.into();
    if let Some(special) = schema["properties"].get_mut("for") {
        special["propertyNames"] = serde_json::json!({"pattern": crate::role::selector::PATTERN});
        special["additionalProperties"] = serde_json::json!({"$ref": "#/$defs/Part"});
        if let Value::Object(map) = special {
            map.remove("patternProperties");
        }
    }
    schema
}

/// A text, or a list of texts.
pub(super) fn one_or_more_texts(generator: &mut SchemaGenerator) -> Schema {
    let one = generator.subschema_for::<String>();
    json!({"anyOf": [one.clone(), {"type": "array", "items": one}]})
}

/// Seconds, or a time.
pub(super) fn epoch(_: &mut SchemaGenerator) -> Schema {
    json!({
        "description": "No file is younger than this: seconds since 1970, or a time such as 2025-01-31T00:00:00Z. \
                        Without it the newest package says it.",
        "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9]{4}-"}]
    })
}
