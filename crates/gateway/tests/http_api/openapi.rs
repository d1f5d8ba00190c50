//! The description of the API, as it is served, and as it must be to be used.

use std::collections::HashSet;

use serde_json::Value;

use crate::document::{DOCUMENT, matches, resolved};
use crate::support::{API_KEY, Node, request};
use crate::{bearer, get, get_with_key, key_file, send};

/// The operations of the document.
fn operations() -> impl Iterator<Item = (&'static str, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object().unwrap().iter();
    paths.flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters");
        methods.map(move |(_, operation)| (path.as_str(), operation))
    })
}

#[tokio::test]
async fn the_description_is_served_to_whoever_has_a_key() {
    let (_directory, file) = key_file(&[("useless", "'acme'", "")]);
    let node = Node::start(&[("FANFARE_API_KEYS_FILE", &file)]).await;
    for key in [API_KEY, "useless"] {
        let reply = get_with_key(&node, "/v1/openapi.json", key).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
        assert_eq!(reply.json(), *DOCUMENT);
    }
    let reply = send(node.admin, "GET", "/v1/openapi.json", &[], b"").await;
    assert_eq!((reply.status, reply.code().as_str()), (401, "unauthenticated"));
    let head = send(node.admin, "HEAD", "/v1/openapi.json", &[("Authorization", &bearer(API_KEY))], b"").await;
    let length = get(&node, "/v1/openapi.json").await.body.len().to_string();
    assert_eq!((head.status, head.header("content-length")), (200, Some(length.as_str())));
}

#[tokio::test]
async fn health_and_metrics_are_as_they_are_described() {
    let node = Node::start(&[]).await;
    for path in ["/healthz", "/readyz", "/readyz/node", "/metrics"] {
        assert_eq!(send(node.admin, "GET", path, &[], b"").await.status, 200);
        assert_eq!(send(node.admin, "HEAD", path, &[], b"").await.status, 200);
        assert_eq!(send(node.admin, "POST", path, &[], b"").await.status, 405);
    }
    let unused = format!("redis://127.0.0.1:{}", crate::support::free_port());
    let node = Node::start_unready_on(&unused, &[]).await;
    for path in ["/readyz", "/readyz/node"] {
        assert_eq!(send(node.admin, "GET", path, &[], b"").await.status, 503);
    }
    assert_eq!(request(node.admin, "GET", "/healthz", &[], b"").await.status, 200);
}

#[test]
fn every_example_is_one_of_its_schema() {
    let mut count = 0;
    let mut check = |content: &'static Value| {
        for media in content.as_object().unwrap().values() {
            for example in media["examples"].as_object().into_iter().flatten().map(|(_, example)| &example["value"]) {
                matches(&media["schema"], example).unwrap_or_else(|error| panic!("{error}: {example}"));
                count += 1;
            }
        }
    };
    for (_, operation) in operations() {
        if let Some(body) = operation.get("requestBody") {
            check(&body["content"]);
        }
        for response in operation["responses"].as_object().unwrap().values() {
            check(&resolved(response)["content"]);
        }
    }
    assert!(count > 50, "{count}");
}

#[test]
fn every_operation_has_a_name_of_its_own_and_every_reference_stands_for_something() {
    let mut names = HashSet::new();
    for (path, operation) in operations() {
        assert!(names.insert(operation["operationId"].as_str().unwrap()), "{path}");
        let is_open = operation["security"] == Value::Array(vec![]);
        assert_eq!(is_open, !path.starts_with("/v1/"), "{path}");
        assert_eq!(operation["responses"].get("401").is_some(), !is_open, "{path}");
        let tags = DOCUMENT["tags"].as_array().unwrap();
        assert!(tags.iter().any(|tag| tag["name"] == operation["tags"][0]), "{path}");
    }
    references(&DOCUMENT);
}

fn references(value: &'static Value) {
    match value {
        Value::Object(fields) => {
            resolved(value);
            fields.values().for_each(references);
        }
        Value::Array(items) => items.iter().for_each(references),
        _ => {}
    }
}
