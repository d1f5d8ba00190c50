//! Every scenario, small, on the floor servers with a real Redis: what is counted is what was sent.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![allow(missing_docs, reason = "a test's name says what it is")]

#[allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
mod support;

use serde_json::{Value, json};
use support::{Outcome, node_program, run};

const FLOORS: &str = "--spawn --no-pin --compare=floor,floor-coalescing --quiet --json -";

fn assert_complete(outcome: &Outcome, deliveries: u64) {
    assert_eq!(outcome.code, 0, "{}", outcome.errors);
    let runs = outcome.document["runs"].as_array().unwrap();
    let targets: Vec<&Value> = runs.iter().map(|run| &run["target"]).collect();
    assert_eq!(targets, ["floor", "floor-coalescing"]);
    for run in runs {
        let delivery = &run["delivery"];
        assert_eq!(delivery["deliveries"], deliveries, "{delivery}");
        assert_eq!(delivery["expected"], deliveries);
        assert_eq!(delivery["latency_us"]["count"], deliveries, "one latency for each delivery");
        for nothing in ["lost", "duplicated", "disordered", "misrouted", "foreign", "gap_frames", "connections_dropped"]
        {
            assert_eq!(delivery[nothing], 0, "{nothing}");
        }
        assert!(delivery["server_cpu_us_per_delivery"].is_number());
        assert_eq!(run["failures"], Value::Array(Vec::new()));
    }
    assert_eq!(outcome.document["ratios"][0]["of"], "floor");
    assert_eq!(outcome.document["ratios"][0]["to"], "floor-coalescing");
}

#[test]
fn fanout_paced_reaches_every_client_once_and_in_order() {
    let outcome = run(&format!("fanout --clients 200 --rate 50 --duration 1 --warmup 0.2 {FLOORS}"));
    assert_complete(&outcome, 200 * 50);
    let run = &outcome.document["runs"][0];
    assert_eq!(run["rounds"][0]["connected"], 200);
    assert_eq!(run["delivery"]["measured_events"], 50);
    assert_eq!(run["delivery"]["published"], 60, "with the warm-up");
    assert!(run["delivery"]["kept_up"].is_boolean(), "a busy machine may drain late");
    assert!(run["memory"]["end"]["rss_kb"].as_u64().unwrap() > 0);
}

#[test]
fn bursts_are_counted_by_the_burst() {
    let outcome = run(&format!("fanout --mode burst --clients 200 --events 50 --bursts 3 --pause 0.01 {FLOORS}"));
    assert_complete(&outcome, 200 * 50 * 3);
    assert_eq!(outcome.document["runs"][0]["load"]["events_per_burst"], 50);
}

#[test]
fn large_events_are_cut_by_the_socket_and_put_together_again() {
    let outcome = run(&format!(
        "fanout --mode burst --clients 20 --events 200 --bursts 2 --bytes 60000 --pause 0 --warmup 0 {FLOORS}"
    ));
    assert_complete(&outcome, 20 * 200 * 2);
}

#[test]
fn several_client_processes_add_up_to_one() {
    let outcome = run(&format!(
        "fanout --clients 201 --processes 3 --source-addresses 4 --rate 100 --duration 1 --warmup 0 {FLOORS}"
    ));
    assert_complete(&outcome, 201 * 100);
    let run = &outcome.document["runs"][0];
    assert_eq!((&run["load"]["processes"], &run["load"]["source_addresses"]), (&3.into(), &4.into()));
    assert_eq!(run["rounds"][0]["connect_us"]["count"], 201);
}

#[test]
fn each_channel_has_its_own_events() {
    let outcome = run(&format!("channels --channels 150 --rate 1000 --duration 1 --warmup 0.1 {FLOORS}"));
    assert_complete(&outcome, 1000);
    let run = &outcome.document["runs"][0];
    assert_eq!(run["load"]["channels"], 150);
    assert!(run["subscribe_s"].as_f64().unwrap() > 0.0);
}

#[test]
fn encodings_and_tenants_are_mixed_on_a_node_and_each_client_gets_its_own_tenants_events() {
    let node = format!("--spawn --no-pin --quiet --json - --fanfare {}", node_program().display());
    let mixed = "--tenants 3 --codec mixed --duration 1 --warmup 0.2";
    for (scenario, deliveries, channels) in [
        ("fanout --clients 120 --rate 50", 120 * 50, 3),
        ("fanout --mode burst --clients 120 --events 20 --bursts 2", 120 * 20 * 2, 3),
        ("channels --channels 60 --rate 600", 600, 60),
    ] {
        let outcome = run(&format!("{scenario} {mixed} {node}"));
        assert_eq!(outcome.code, 0, "{}", outcome.errors);
        let run = &outcome.document["runs"][0];
        let load = &run["load"];
        assert_eq!(
            (&load["channels"], &load["tenants"], &load["codec"]),
            (&channels.into(), &3.into(), &"mixed".into())
        );
        let delivery = &run["delivery"];
        assert_eq!((&delivery["deliveries"], &delivery["expected"]), (&deliveries.into(), &deliveries.into()));
        for nothing in ["lost", "duplicated", "disordered", "misrouted", "foreign"] {
            assert_eq!(delivery[nothing], 0, "{nothing}");
        }
    }
    let idle = run(&format!("storm --clients 60 --codec msgpack --tenants 64 --rounds 2 {node}"));
    assert_eq!((idle.code, &idle.document["runs"][0]["rounds"][1]["connected"]), (0, &60.into()), "{}", idle.errors);
}

#[test]
fn floors_know_one_tenant_and_one_encoding() {
    for arguments in ["--codec msgpack", "--tenants 2"] {
        let outcome = run(&format!("fanout --clients 2 {arguments} {FLOORS}"));
        assert_eq!(outcome.code, 2);
        assert!(outcome.errors.contains("measure Fanfare alone"), "{}", outcome.errors);
    }
}

#[test]
fn idle_tells_memory_per_connection() {
    let outcome = run("idle --clients 300 --duration 0.2 --target floor --spawn --no-pin --quiet --json -");
    assert_eq!(outcome.code, 0, "{}", outcome.errors);
    let memory = &outcome.document["runs"][0]["memory"];
    for moment in ["before", "connected", "end"] {
        assert!(memory[moment]["rss_kb"].as_u64().unwrap() > 500, "{memory}");
    }
    assert!(memory["rss_kb_per_connection"].is_number());
}

#[test]
fn a_storm_comes_again() {
    let storm = "storm --clients 300 --rounds 3 --bystanders 20 --own-channels";
    let outcome = run(&format!("{storm} --target floor --spawn --no-pin --quiet --json -"));
    assert_eq!(outcome.code, 0, "{}", outcome.errors);
    let run = &outcome.document["runs"][0];
    let rounds = run["rounds"].as_array().unwrap();
    assert_eq!(rounds.len(), 3);
    assert_eq!(rounds[0]["subscribing"], json!({"commands": 300, "topics": 300}), "a floor asks for each by itself");
    assert_eq!(rounds[1]["subscribing"]["topics"], 0, "and forgets none");
    assert_eq!(run["aims"].as_array().unwrap().len(), 3, "{}", run["aims"]);
    for round in rounds {
        for latency in ["calm_us", "bystanders_us"] {
            assert!(round[latency]["count"].as_u64().unwrap() >= 20, "{latency}: {round}");
        }
        assert_eq!((&round["connected"], &round["refused"]), (&300.into(), &0.into()), "{round}");
        assert!(round["cpu_us_per_connect"].is_number() && round["cpu_us_per_disconnect"].is_number());
        assert!(round["seconds"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn many_channels_are_set_against_the_paced_fan_out() {
    let channels = "channels --channels 100 --rate 50000 --duration 0.3 --warmup 0 --paced";
    let outcome = run(&format!("{channels} --target floor --spawn --no-pin --quiet --json -"));
    assert_eq!(outcome.code, 0, "{}", outcome.errors);
    let run = &outcome.document["runs"][0];
    assert_eq!((&run["delivery"]["deliveries"], &run["paced"]["deliveries"]), (&15_000.into(), &15_000.into()));
    let aims: Vec<&Value> = run["aims"].as_array().unwrap().iter().map(|aim| &aim["name"]).collect();
    assert_eq!(aims, ["subscribing all, s", "CPU per delivery ÷ paced"]);
}
