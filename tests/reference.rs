//! `docs/reference/` is what the definitions say. `UPDATE_DOCS=1 cargo test --test reference` rewrites it.

#![expect(clippy::unwrap_used, reason = "a page that can't be made is a failed test")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use mailcow_operator::crd;
use serde_json::Value;

/// The file whose first manifest is the example of a kind.
const EXAMPLES: [(&str, &str); 4] = [
    ("EmailDomain", "examples/01-domain.yaml"),
    ("EmailMailbox", "examples/02-mailboxes.yaml"),
    ("EmailAlias", "examples/03-aliases.yaml"),
    ("EmailForwardingRule", "examples/04-rules.yaml"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One line of a table, and what the API server checks there.
struct Field {
    path: String,
    is_required: bool,
    schema: Value,
}

/// Every field below a schema, in the order of its definition.
fn walk(schema: &Value, path: &str, found: &mut Vec<Field>) {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        found.push(Field { path: path.clone(), is_required: required.contains(&name.as_str()), schema: below.clone() });
        if path == "status.conditions" {
            continue;
        }
        walk(below, &path, found);
        walk(&below["items"], &format!("{path}[]"), found);
        walk(&below["additionalProperties"], &format!("{path}.*"), found);
    }
}

fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', r"\|"))
}

/// The JSON text of a value, without quotes around a text.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

fn kind_of(schema: &Value) -> String {
    let one = |schema: &Value| match (schema["enum"].as_array(), schema["format"].as_str()) {
        (Some(words), _) => words.iter().filter_map(Value::as_str).map(code).collect::<Vec<_>>().join(", "),
        (None, Some("date-time")) => "time".to_owned(),
        _ => plain(&schema["type"]),
    };
    if schema["type"] == "array" {
        return format!("list of {}", one(&schema["items"]));
    }
    if schema["additionalProperties"].is_object() {
        return format!("map to {}", one(&schema["additionalProperties"]));
    }
    one(schema)
}

/// Bounds in words, those of a list's items after those of the list.
fn bounds(schema: &Value) -> Vec<String> {
    let mut said = Vec::new();
    let ranges = [
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " entries"),
        ("minProperties", "maxProperties", " entries"),
    ];
    for (least, most, unit) in ranges {
        match (schema[least].as_f64(), schema[most].as_f64()) {
            (Some(least), Some(most)) => said.push(format!("{least} to {most}{unit}")),
            (Some(least), None) => said.push(format!("at least {least}{unit}")),
            (None, Some(most)) => said.push(format!("at most {most}{unit}")),
            (None, None) => {}
        }
    }
    said.extend(schema["pattern"].as_str().map(code));
    if schema["items"].is_object() {
        let items = bounds(&schema["items"]);
        said.extend((!items.is_empty()).then(|| format!("each {}", items.join(", "))));
    }
    said
}

/// A line of the table; a status has no defaults.
fn row(field: &Field) -> String {
    let schema = &field.schema;
    let default = schema.get("default").map(|value| code(&plain(value)));
    let default = default.unwrap_or_else(|| if field.is_required { "required".to_owned() } else { String::new() });
    let description = plain(&schema["description"]).replace('\n', " ").replace('|', r"\|");
    let bounds = bounds(schema);
    let bounds = if bounds.is_empty() { String::new() } else { format!(" ({})", bounds.join("; ")) };
    let path = field.path.trim_start_matches('.');
    let default = if path.starts_with("status.") { String::new() } else { format!(" {default} |") };
    format!("| `{path}` | {}{bounds} |{default} {description} |\n", kind_of(schema))
}

/// What the API server refuses by rules over several values, or over a change.
fn messages(schema: &Value, path: &str, found: &mut Vec<String>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let path = if path.is_empty() { "the object" } else { path.trim_start_matches('.') };
        found.push(format!("| `{path}` | {} |\n", plain(&rule["message"]).replace('|', r"\|")));
    }
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        messages(below, &format!("{path}.{name}"), found);
    }
    for (key, mark) in [("items", "[]"), ("additionalProperties", ".*")] {
        if schema[key].is_object() {
            messages(&schema[key], &format!("{path}{mark}"), found);
        }
    }
}

/// The first manifest of a file, without what is said before it.
fn example(file: &str) -> String {
    let text = std::fs::read_to_string(root().join(file)).unwrap();
    let first = text.split("\n---\n").next().unwrap();
    let manifest: Vec<&str> = first.trim_end().lines().skip_while(|line| line.starts_with('#')).collect();
    manifest.join("\n")
}

/// The page of a definition.
fn page(definition: &Value) -> String {
    let (names, version) = (&definition["spec"]["names"], &definition["spec"]["versions"][0]);
    let (kind, schema) = (plain(&names["kind"]), &version["schema"]["openAPIV3Schema"]);
    let (_, file) = EXAMPLES.iter().find(|(known, _)| *known == kind).unwrap();
    let mut page = format!(
        "# {kind}\n\n<!-- Generated from src/crd: UPDATE_DOCS=1 cargo test --test reference -->\n\n{}\n\n\
         `{}/{}`, namespaced; short name `{}`.\n\n\
         ```yaml\n{}\n```\n\nMore: [{file}](../../{file}). Fields that are not *required* are optional.\n",
        plain(&schema["description"]),
        plain(&definition["spec"]["group"]),
        plain(&version["name"]),
        plain(&names["shortNames"][0]),
        example(file),
    );
    for (part, columns) in
        [("spec", "| field | type | default | |\n|---|---|---|---|"), ("status", "| field | type | |\n|---|---|---|")]
    {
        let mut fields = Vec::new();
        walk(&schema["properties"][part], part, &mut fields);
        let rows: String = fields.iter().map(row).collect();
        write!(page, "\n## {part}\n\n{columns}\n{rows}").unwrap();
    }
    page.push_str("\n[conditions.md](../conditions.md) explains conditions and reasons.\n");
    let mut found = Vec::new();
    messages(schema, "", &mut found);
    page.push_str("\n## Validation\n\nThe API server also refuses:\n\n| field | message |\n|---|---|\n");
    page.push_str(&found.concat());
    write!(page, "\n## Columns of kubectl get\n\n| column | value | |\n|---|---|---|\n").unwrap();
    for column in version["additionalPrinterColumns"].as_array().unwrap() {
        let wide = if column["priority"].as_i64() > Some(0) { "with `-o wide`" } else { "" };
        let line = format!("| {} | {} | {wide} |\n", plain(&column["name"]), code(&plain(&column["jsonPath"])));
        page.push_str(&line);
    }
    page
}

#[test]
fn every_kind_has_a_page_that_says_what_its_definition_says() {
    let folder = root().join("docs/reference");
    let is_update = std::env::vars().any(|(key, value)| key == "UPDATE_DOCS" && value == "1");
    let definitions = crd::definitions().unwrap();
    for definition in &definitions {
        let page = page(&serde_json::to_value(definition).unwrap());
        let path: PathBuf = folder.join(format!("{}.md", definition.spec.names.kind.to_lowercase()));
        if is_update {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &page).unwrap();
        }
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(there, page, "{} is stale: UPDATE_DOCS=1 cargo test --test reference", path.display());
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), definitions.len(), "a page too many");
}

#[test]
fn bounds_types_and_rules_are_said() {
    let schema = serde_json::json!({
        "required": ["a"],
        "properties": {
            "a": {"type": "string", "enum": ["X", "Y"], "default": "X", "description": "One|two."},
            "b": {"type": "array", "maxItems": 3, "items": {
                "type": "string", "minLength": 1, "maxLength": 9, "pattern": "^(a|b)$",
                "x-kubernetes-validations": [{"rule": "true", "message": "no"}],
            }},
        },
    });
    let (mut fields, mut found) = (Vec::new(), Vec::new());
    walk(&schema, "spec", &mut fields);
    messages(&schema, "spec", &mut found);
    assert_eq!(row(&fields[0]), "| `spec.a` | `X`, `Y` | `X` | One\\|two. |\n");
    let list = "list of string (at most 3 entries; each 1 to 9 characters, `^(a\\|b)$`)";
    assert_eq!(row(&fields[1]), format!("| `spec.b` | {list} |  | null |\n"));
    assert_eq!(found, ["| `spec.b[]` | no |\n"]);
}
