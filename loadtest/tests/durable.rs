//! The scenarios with durable events, small, on real nodes and a real Redis: what is counted is what was published, and a
//! loss that somebody arranged is seen.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![allow(missing_docs, reason = "a test's name says what it is")]

#[allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
mod support;

use serde_json::Value;
use support::{Outcome, command, node_program, run};

/// Runs a scenario with nodes of its own, and reads its JSON.
fn durable(arguments: &str) -> Outcome {
    let node = node_program();
    run(&format!("{arguments} --spawn --no-pin --quiet --json - --fanfare {}", node.display()))
}

fn count(run: &Value, kind: &str, what: &str) -> u64 {
    run[kind][what].as_u64().unwrap_or_else(|| panic!("no {kind} {what} in {run:#}"))
}

fn assert_nothing_wrong(outcome: &Outcome) {
    assert_eq!(outcome.code, 0, "{}", outcome.errors);
    for run in outcome.document["runs"].as_array().unwrap() {
        assert_eq!(run["failures"], Value::Array(Vec::new()), "{run:#}");
        for kind in ["durable", "ephemeral"] {
            for nothing in ["lost", "duplicated", "disordered"] {
                assert_eq!(count(run, kind, nothing), 0, "{kind} {nothing}");
            }
        }
        assert_eq!(count(run, "durable", "missed_while_away"), 0);
    }
}

#[test]
fn whoever_comes_back_recovers_what_it_missed() {
    for (arguments, clients) in [("--clients 30", 30), ("--clients 30 --nodes 2", 30)] {
        let outcome = durable(&format!("recover {arguments} --events 20"));
        assert_nothing_wrong(&outcome);
        let run = &outcome.document["runs"][0];
        assert_eq!((&run["missed"], count(run, "durable", "recovered")), (&(clients * 20).into(), clients * 20));
        assert_eq!((&run["recovered_true"], &run["recovered_false"]), (&clients.into(), &serde_json::json!({})));
        assert_eq!(run["resume_us"]["count"], clients);
        let range_reads = run["redis_calls"]["xrange"].as_u64().unwrap();
        assert!(range_reads < clients, "{range_reads} for {clients} clients");
        assert!(outcome.errors.contains("reconnect to complete, p99"), "{}", outcome.errors);
    }
}

#[test]
fn one_client_resumes_many_topics_by_several_frames() {
    let outcome = durable("recover --topics 1200 --events 2");
    assert_nothing_wrong(&outcome);
    let run = &outcome.document["runs"][0];
    assert_eq!((&run["clients"], &run["topics"], &run["recovered_true"]), (&1.into(), &1_200.into(), &1_200.into()));
    assert_eq!(count(run, "durable", "recovered"), 2_400);
}

#[test]
fn what_was_withheld_is_lost_in_silence_and_fails() {
    let outcome = durable("recover --clients 10 --events 20 --settle 2 --withhold-every 7");
    assert_eq!(outcome.code, 1, "{}", outcome.errors);
    let run = &outcome.document["runs"][0];
    assert_eq!(count(run, "durable", "lost"), 10 * 3, "the 7th, 14th and 21st");
    let told = "FAILED: on the same node: 30 deliveries of durable events lost in silence";
    assert!(outcome.errors.contains(told), "{}", outcome.errors);
}

#[test]
fn nodes_are_replaced_one_by_one_and_clients_follow() {
    let outcome = durable(
        "rolling-restart --nodes 2 --clients 12 --topics 6 --topics-each 3 --pause 0.2 --env FANFARE_DRAIN_DELAY_S=0",
    );
    assert_nothing_wrong(&outcome);
    let run = &outcome.document["runs"][0];
    assert_eq!(run["drain_s"].as_array().unwrap().len(), 2);
    assert_eq!(
        run["returns"],
        6 + 12,
        "half of the clients have lost one node, and then all have lost the other: {run:#}"
    );
    assert_eq!((run["back_s"].as_array().unwrap().len(), &run["accept_budget_per_s"]), (2, &500.0.into()));
    let most: Vec<u64> = run["connects_max"].as_array().unwrap().iter().map(|most| most.as_u64().unwrap()).collect();
    assert!(most.iter().all(|most| (1..=12).contains(most)), "{most:?}");
    assert_eq!(run["recovered_false"], serde_json::json!({}));
    assert!(count(run, "durable", "recovered") > 0);
    // Every event is for three of six topics' clients: half of all.
    let (published, delivered) = (count(run, "durable", "published"), count(run, "durable", "delivered"));
    assert_eq!(delivered, published * 6);
    let ephemeral = ["delivered", "missed_while_away"].map(|what| count(run, "ephemeral", what));
    assert_eq!(ephemeral.iter().sum::<u64>(), count(run, "ephemeral", "published") * 6);
}

#[test]
fn a_node_that_gets_more_clients_in_a_second_than_it_announced_fails_the_run() {
    // A drain with no time cares about no budget.
    let outcome = durable(
        "rolling-restart --nodes 2 --clients 40 --topics 4 --topics-each 1 --pause 0.5 --env FANFARE_DRAIN_DELAY_S=0 \
         --env FANFARE_DRAIN_S=1 --env FANFARE_ACCEPT_BUDGET_PER_S=1",
    );
    assert_eq!(outcome.code, 1, "{}", outcome.errors);
    assert!(outcome.errors.contains("clients in a second and announced 1"), "{}", outcome.errors);
}

#[test]
fn a_node_that_is_added_gets_its_part_of_the_clients() {
    let outcome = durable("scale-out --nodes 1 --clients 80 --topics 6 --topics-each 3 --pause 0.2 --quiet-for 1");
    assert_nothing_wrong(&outcome);
    let run = &outcome.document["runs"][0];
    let connections: Vec<u64> = run["connections"].as_array().unwrap().iter().map(|of| of.as_u64().unwrap()).collect();
    assert!(connections.len() == 2 && connections.iter().sum::<u64>() == 80, "{run:#}");
    assert!(connections.iter().all(|connections| *connections <= 48), "more than 1.2 times the mean: {run:#}");
    assert_eq!(run["returns"].as_u64().unwrap(), 80 - connections[0], "only those moved that had to: {run:#}");
    assert!(count(run, "durable", "recovered") > 0);
}

#[test]
fn whatever_happens_to_redis_each_event_comes_or_a_gap_is_told() {
    let outcome = durable(
        "redis-restart --clients 8 --topics 8 --topics-each 4 --pause 0.3 --outage 0.3 --freeze 3 \
         --env FANFARE_GAP_SPREAD_MS=200",
    );
    assert_nothing_wrong(&outcome);
    let runs = outcome.document["runs"].as_array().unwrap();
    let names: Vec<&Value> = runs.iter().map(|run| &run["name"]).collect();
    assert_eq!(names, ["connections cut", "restarted empty", "restarted with data", "frozen"]);
    for run in runs {
        assert_eq!(run["silent"], 0, "{run:#}");
        assert!(count(run, "durable", "delivered") > 0);
        assert_eq!(run["again_us"]["count"], 8 * 4, "each topic of each client delivers again");
        assert_eq!(run["returns"], 0, "an outage of Redis costs no client its connection");
    }
    assert!(runs[1]["gaps"]["all, epoch"].as_u64().is_some(), "an empty Redis begins anew: {:#}", runs[1]);
}

#[test]
fn both_ways_to_publish_are_measured() {
    let outcome = durable("publish --calls 400 --rounds 2");
    assert_eq!(outcome.code, 0, "{}", outcome.errors);
    let runs = outcome.document["runs"].as_array().unwrap();
    let calls: Vec<_> = runs.iter().map(|run| (run["pipeline"].as_u64(), run["calls"].as_u64())).collect();
    assert_eq!(calls, [(Some(16), Some(800)), (Some(1), Some(200))]);
    assert!(runs.iter().all(|run| run["cpu_ratio"].as_f64().is_some_and(|ratio| ratio > 0.0)));
}

#[test]
fn what_is_stopped_must_be_its_own() {
    for (arguments, expected) in [
        ("rolling-restart", "add --spawn"),
        ("redis-restart", "add --spawn"),
        ("scale-out", "add --spawn"),
        ("redis-restart --spawn --topics 5 --topics-each 6", "--topics 6 or more"),
        ("rolling-restart --spawn --binary-before /nowhere/fanfare", "--binary-after"),
        ("recover --spawn --fanfare /nowhere/fanfare", "cargo build --release"),
        ("recover --url ws://10.0.0.1/ws", "load goes to this machine only"),
    ] {
        let output = command(arguments).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments}: {errors}");
        assert!(errors.contains(expected), "{arguments}: {errors}");
    }
}
