//! JSON schemas of arguments and answers, from the types that read and write them, without what only costs a model's
//! attention.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

/// The schema of a tool's arguments. What is inside an argument is explained by the argument, and its limits are checked by
/// the API server.
pub(crate) fn of_arguments<T: JsonSchema>() -> Map<String, Value> {
    object(generated::<T>(), Detail::Arguments)
}

/// The schema of a tool's answer: names and types.
pub(crate) fn of_answer<T: JsonSchema>() -> Map<String, Value> {
    object(generated::<T>(), Detail::Types)
}

/// How much of a schema is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    /// The arguments of a tool.
    Arguments,
    /// One of them.
    Argument,
    /// Only names and types.
    Types,
}

fn generated<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value()
}

fn object(mut schema: Value, detail: Detail) -> Map<String, Value> {
    tidy(&mut schema, detail);
    match schema {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Removes the parts for Kubernetes, titles, formats, and `null` as a type: an omitted field is the usual way.
fn tidy(schema: &mut Value, detail: Detail) {
    let Value::Object(map) = schema else { return };
    map.retain(|key, _| match key.as_str() {
        "$schema" | "title" | "format" | "default" => false,
        "description" => detail == Detail::Argument,
        "pattern"
        | "minLength"
        | "maxLength"
        | "minItems"
        | "maxItems"
        | "minimum"
        | "maximum"
        | "additionalProperties" => detail != Detail::Types,
        key => !key.starts_with("x-"),
    });
    if map.get("examples").is_some_and(|examples| examples == &Value::Array(Vec::new())) {
        map.remove("examples");
    }
    if let Some(Value::String(text)) = map.get_mut("description") {
        *text = text.replace('\n', " ").replace('`', "");
    }
    if let Some(Value::Array(types)) = map.get_mut("type") {
        types.retain(|one| one != "null");
        if let [one] = types.as_slice() {
            let one = one.clone();
            map.insert("type".to_owned(), one);
        }
    }
    one_of_constants(map);
    without_null(map);
    let below = if detail == Detail::Arguments { Detail::Argument } else { Detail::Types };
    for (_, property) in map.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        tidy(property, below);
    }
    for (_, definition) in map.get_mut("$defs").and_then(Value::as_object_mut).into_iter().flatten() {
        tidy(definition, Detail::Types);
    }
    if let Some(items) = map.get_mut("items") {
        tidy(items, Detail::Types);
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        for choice in map.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten() {
            tidy(choice, Detail::Types);
        }
    }
}

/// Constants with descriptions as a plain `enum`.
fn one_of_constants(map: &mut Map<String, Value>) {
    let Some(Value::Array(variants)) = map.get("oneOf") else { return };
    let constants: Option<Vec<Value>> = variants.iter().map(|variant| variant.get("const").cloned()).collect();
    if let Some(constants) = constants {
        map.remove("oneOf");
        map.insert("type".to_owned(), Value::from("string"));
        map.insert("enum".to_owned(), Value::Array(constants));
    }
}

/// A choice between a schema and `null` is the schema.
fn without_null(map: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = map.get("anyOf") else { return };
    let others: Vec<Value> = choices.iter().filter(|choice| choice["type"] != "null").cloned().collect();
    if let [Value::Object(only)] = others.as_slice() {
        let only = only.clone();
        map.remove("anyOf");
        map.extend(only);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    #[derive(Serialize, Deserialize, JsonSchema)]
    enum Word {
        /// The first.
        One,
        /// The second.
        Two,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        /// What it is.
        text: Option<String>,
        word: Option<Word>,
        number: u64,
    }

    #[test]
    fn a_schema_has_what_a_model_needs_and_no_more() {
        let arguments = Value::Object(of_arguments::<Sample>());
        assert_eq!(arguments["properties"]["text"], json!({"type": "string", "description": "What it is."}));
        assert_eq!(arguments["additionalProperties"], json!(false));
        assert_eq!(arguments["required"], json!(["number"]));
        assert_eq!(arguments["$defs"]["Word"]["enum"], json!(["One", "Two"]));
        assert_eq!(arguments["properties"]["word"]["$ref"], json!("#/$defs/Word"));
        let answer = Value::Object(of_answer::<Sample>());
        assert_eq!(answer["properties"]["number"], json!({"type": "integer"}));
        assert!(!answer.to_string().contains("description"), "{answer}");
    }
}
