//! `docs/http-api.md`: its commands work as they stand there.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{API_KEY, Client, Node, token};

const PAGE: &str = include_str!("../../../../docs/http-api.md");

#[tokio::test]
async fn every_command_of_the_page_works_when_it_is_pasted() {
    let node = Node::start(&[]).await;
    let mut client = Client::connect(&node, &token("acme", "42")).await;
    client.subscribe("channel:orders").await;
    let commands: Vec<_> = PAGE.split("```sh\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect();
    let mut answers = Vec::new();
    for command in &commands {
        let command = command.replace("127.0.0.1:9090", &node.admin.to_string()).replace("<API key>", API_KEY);
        let curl = format!("curl() {{ command curl --silent --show-error --fail-with-body \"$@\"; }}\n{command}");
        let output = Command::new("sh").args(["-c", &curl]).output().unwrap();
        let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{command}: {out}{err}");
        answers.push(serde_json::from_str::<Value>(&out).unwrap());
    }
    assert_eq!(answers.len(), 10);
    assert_eq!(answers[0], json!({"published": true}));
    let told = client.expect_disconnect(4403).await;
    assert_eq!(told["reason"], "disconnected by the backend");
}
