//! The JSON Schema of the document, out of the types, and the forms that a type alone does not give.

use super::Spec;
use crate::document::schema::without_null;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema as json};
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

/// One, or a list of them.
pub(super) fn one_or_more<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let one = generator.subschema_for::<T>();
    json!({"anyOf": [one.clone(), {"type": "array", "items": one}]})
}

/// A text, or a list of texts.
pub(super) fn one_or_more_texts(generator: &mut SchemaGenerator) -> Schema {
    one_or_more::<String>(generator)
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::test_runner::{Config, TestCaseError, TestRunner};

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

    /// The JSON form of any document fits the schema.
    #[test]
    fn what_is_written_fits() {
        let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
        compiler.add_resource("file:///schema.json", json_schema()).unwrap();
        let index = compiler.compile("file:///schema.json", &mut schemas).unwrap();
        let mut runner = TestRunner::new(Config::with_cases(64));
        let fits = |spec| {
            let value = serde_json::to_value(&spec).unwrap();
            schemas.validate(&value, index).map_err(|e| TestCaseError::fail(format!("{e}\n{value}")))
        };
        runner.run(&super::super::arbitrary::spec(), fits).unwrap();
    }
}
