//! Holds answers against `openapi.json`: the path, the status, the content type, the headers, and the body's schema. It
//! knows the keywords of JSON Schema that the document uses, and takes no others, so none is passed over in silence.

use std::sync::LazyLock;

use serde_json::Value;

use crate::support::Reply;

/// The document as it stands beside the code.
pub(crate) static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../src/api/openapi.json")).unwrap());

/// The answer to a request must be as the document has it.
pub(crate) fn check(method: &str, target: &str, reply: &Reply) {
    let path = target.split('?').next().unwrap();
    let described = described(method, path, reply.status);
    let response = described.unwrap_or_else(|error| panic!("{method} {path}: {error}: {reply:?}"));
    for (name, header) in response["headers"].as_object().into_iter().flatten() {
        let value = reply.header(&name.to_ascii_lowercase()).map(|value| match header["schema"]["type"].as_str() {
            Some("integer") => value.parse::<u64>().unwrap().into(),
            _ => Value::from(value),
        });
        let value = value.unwrap_or_else(|| panic!("{method} {path}: no {name}: {reply:?}"));
        matches(&header["schema"], &value).unwrap_or_else(|error| panic!("{method} {path}: {name}: {error}"));
    }
    let content = response["content"].as_object().unwrap();
    let content_type = reply.header("content-type").unwrap_or_default().trim_end_matches("; charset=utf-8");
    let media = content.get(content_type).unwrap_or_else(|| panic!("{method} {path}: not described: {reply:?}"));
    if method == "HEAD" {
        assert_eq!(reply.body, "", "{reply:?}");
    } else if content_type.contains("json") {
        matches(&media["schema"], &reply.json()).unwrap_or_else(|error| panic!("{method} {path}: {error}: {reply:?}"));
    }
}

/// What the document says of a status of a path; of a path or a method that it doesn't have, what it says of those.
fn described(method: &str, path: &str, status: u16) -> Result<&'static Value, String> {
    let responses = &DOCUMENT["components"]["responses"];
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let Some((_, item)) = paths.iter().find(|(template, _)| fits(template, path)) else {
        return if status == 404 { Ok(&responses["NotFound"]) } else { Err("not 404".to_owned()) };
    };
    let method = if method == "HEAD" { "get".to_owned() } else { method.to_ascii_lowercase() };
    match (item.get(&method), status) {
        (None, 405) => Ok(&responses["MethodNotAllowed"]),
        (None, _) => Err("not 405".to_owned()),
        // The API may have a port of its own.
        (Some(_), 404) => Ok(&responses["NotFound"]),
        (Some(operation), _) => {
            let response = operation["responses"].get(status.to_string());
            response.map(resolved).ok_or_else(|| format!("status {status} is not described"))
        }
    }
}

/// Whether a path is one of this template.
fn fits(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len()
        && template.iter().zip(path).all(|(expected, segment)| expected.starts_with('{') || *expected == segment)
}

/// What a `$ref` stands for.
pub(crate) fn resolved(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        None => value,
        Some(to) => {
            let found = DOCUMENT.pointer(to.strip_prefix('#').unwrap());
            resolved(found.unwrap_or_else(|| panic!("{to} is nowhere")))
        }
    }
}

/// Whether a value is one of this schema (JSON Schema 2020-12), or why not.
pub(crate) fn matches(schema: &'static Value, value: &Value) -> Result<(), String> {
    let keywords = schema.as_object().unwrap_or_else(|| panic!("no schema: {schema}"));
    keywords.iter().try_for_each(|(keyword, argument)| keeps(keyword, argument, schema, value))
}

fn keeps(keyword: &str, argument: &'static Value, schema: &'static Value, value: &Value) -> Result<(), String> {
    let wrong = || Err(format!("{value} breaks {keyword} {argument}"));
    let holds = match keyword {
        "description" | "default" => true,
        "$ref" => return matches(resolved(schema), value),
        "allOf" => return argument.as_array().unwrap().iter().try_for_each(|schema| matches(schema, value)),
        "oneOf" => {
            let tried: Vec<_> = argument.as_array().unwrap().iter().map(|schema| matches(schema, value)).collect();
            let errors: Vec<_> = tried.iter().filter_map(|tried| tried.as_ref().err()).collect();
            return if tried.len() - errors.len() == 1 { Ok(()) } else { Err(format!("not one of: {errors:?}")) };
        }
        "not" => matches(argument, value).is_err(),
        "const" => value == argument,
        "enum" => argument.as_array().unwrap().contains(value),
        "type" => match argument {
            Value::Array(types) => types.iter().any(|of| is_type(of, value)),
            of => is_type(of, value),
        },
        "minimum" => value.as_i64().is_none_or(|number| number >= argument.as_i64().unwrap()),
        "maximum" => value.as_i64().is_none_or(|number| number <= argument.as_i64().unwrap()),
        "minLength" => value.as_str().is_none_or(|text| text.chars().count() as u64 >= argument.as_u64().unwrap()),
        "maxLength" => value.as_str().is_none_or(|text| text.chars().count() as u64 <= argument.as_u64().unwrap()),
        "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= argument.as_u64().unwrap()),
        "items" => {
            return value.as_array().into_iter().flatten().try_for_each(|item| matches(argument, item));
        }
        "required" => {
            let names = argument.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
            value.as_object().is_none_or(|object| names.into_iter().all(|name| object.contains_key(name)))
        }
        "properties" => {
            let named = argument.as_object().unwrap().iter();
            let there = named.filter_map(|(name, schema)| Some((name, schema, value.get(name)?)));
            return there.into_iter().try_for_each(|(name, schema, value)| {
                matches(schema, value).map_err(|error| format!("{name}: {error}"))
            });
        }
        "additionalProperties" => {
            let others = value.as_object().into_iter().flatten();
            let mut others = others.filter(|(name, _)| schema["properties"].get(name).is_none());
            match argument {
                Value::Bool(allowed) => *allowed || others.next().is_none(),
                schema => return others.try_for_each(|(_, value)| matches(schema, value)),
            }
        }
        other => panic!("what does {other} mean?"),
    };
    if holds { Ok(()) } else { wrong() }
}

fn is_type(of: &Value, value: &Value) -> bool {
    match of.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("what is a {other}?"),
    }
}
