//! A load generator that can't see a fault is worth nothing: floors that drop, repeat and die, and what is told of it.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![allow(missing_docs, reason = "a test's name says what it is")]

#[allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
mod support;

use std::io::{BufRead as _, BufReader};

use serde_json::Value;
use support::{Outcome, Server, command, run, wait_until};

const CLIENTS: u64 = 200;
const EVENTS: u64 = 50;

/// 200 clients, 50 events: 10,000 deliveries through a floor with these faults.
fn fanout_through(floor_flags: &str) -> Outcome {
    let redis = Server::redis();
    let floor = Server::floor(&redis, floor_flags);
    run(&format!(
        "fanout --target floor --url ws://{}/ws --redis redis://{} --clients {CLIENTS} --rate {EVENTS} --duration 1 \
         --warmup 0 --settle 2 --quiet --json -",
        floor.address, redis.address
    ))
}

fn delivery(outcome: &Outcome) -> &Value {
    &outcome.document["runs"][0]["delivery"]
}

#[test]
fn a_floor_without_faults_passes() {
    let outcome = fanout_through("");
    assert_eq!(outcome.code, 0, "{}", outcome.errors);
    assert_eq!(delivery(&outcome)["deliveries"], CLIENTS * EVENTS);
    assert!(delivery(&outcome)["server_cpu_us_per_delivery"].is_number(), "its process is found by its port");
}

#[test]
fn every_dropped_delivery_is_a_loss() {
    let outcome = fanout_through("--drop-every 7");
    assert_eq!(outcome.code, 1, "{}", outcome.errors);
    let dropped = CLIENTS * EVENTS / 7;
    assert_eq!(delivery(&outcome)["lost"], dropped);
    assert_eq!(delivery(&outcome)["deliveries"], CLIENTS * EVENTS - dropped);
    let failures = outcome.document["runs"][0]["failures"].as_array().unwrap();
    assert_eq!(failures, &[Value::from("1,428 deliveries lost that no gap notice covers")]);
    assert!(outcome.errors.contains("FAILED: floor: 1,428 deliveries lost"), "{}", outcome.errors);
}

#[test]
fn a_loss_that_a_gap_notice_tells_is_none() {
    let outcome = fanout_through("--drop-every 7 --admit-drops");
    assert_eq!(outcome.code, 0, "{}", outcome.errors);
    let dropped = CLIENTS * EVENTS / 7;
    assert_eq!(delivery(&outcome)["lost"], 0);
    assert_eq!(delivery(&outcome)["covered_by_gap"], dropped);
    assert_eq!(delivery(&outcome)["gap_frames"], dropped);
}

#[test]
fn every_repeated_delivery_is_a_duplicate() {
    let outcome = fanout_through("--repeat-every 9");
    assert_eq!(outcome.code, 1, "{}", outcome.errors);
    assert_eq!(delivery(&outcome)["duplicated"], CLIENTS * EVENTS / 9);
    assert_eq!((&delivery(&outcome)["lost"], &delivery(&outcome)["disordered"]), (&0.into(), &0.into()));
    assert_eq!(delivery(&outcome)["deliveries"], CLIENTS * EVENTS);
}

#[test]
fn what_bystanders_of_a_storm_lose_is_seen() {
    let redis = Server::redis();
    let floor = Server::floor(&redis, "--drop-every 5");
    let outcome = run(&format!(
        "storm --target floor --url ws://{}/ws --redis redis://{} --clients 20 --rounds 1 --bystanders 10 --quiet --json -",
        floor.address, redis.address
    ));
    assert_eq!(outcome.code, 1, "{}", outcome.errors);
    let failures = outcome.document["runs"][0]["failures"].to_string();
    assert!(failures.contains("bystanders: ") && failures.contains("deliveries lost"), "{failures}");
}

#[test]
fn a_server_that_dies_is_a_failure_with_figures() {
    let redis = Server::redis();
    let mut floor = Server::floor(&redis, "");
    let mut child = command(&format!(
        "fanout --target floor --url ws://{}/ws --redis redis://{} --clients 50 --rate 100 --duration 3 --settle 0.5 \
         --warmup 0 --json -",
        floor.address, redis.address
    ))
    .spawn()
    .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    wait_until("deliveries are under way", || lines.next().is_some_and(|line| line.contains(" deliveries ")));
    floor.kill();
    let said: Vec<String> = lines.collect();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{said:#?}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let run = &document["runs"][0];
    assert_eq!(run["delivery"]["connections_dropped"], 50);
    assert!(run["delivery"]["lost"].as_u64().unwrap() > 0);
    let failures = run["failures"].to_string();
    assert!(failures.contains("the server's process ended during the run"), "{failures}");
}
