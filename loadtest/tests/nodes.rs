//! The scenarios that ask more of a node than a floor server does, small, on real nodes and a real Redis.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![allow(missing_docs, reason = "a test's name says what it is")]

#[allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
mod support;

use serde_json::{Value, json};
use support::{Outcome, node_program, run};

/// Runs a scenario with nodes of its own, and reads its JSON.
fn on_nodes(arguments: &str) -> Outcome {
    let node = node_program();
    run(&format!("{arguments} --spawn --no-pin --quiet --json - --fanfare {}", node.display()))
}

#[test]
fn churn_is_answered_and_bystanders_miss_nothing() {
    let churn = "churn --clients 20 --topics 600 --rate 400 --away 0.2 --duration 1 --warmup 0.5";
    let outcome =
        on_nodes(&format!("{churn} --bystanders 20 --bystander-rate 100 --env FANFARE_UNSUBSCRIBE_DELAY_MS=0"));
    assert_eq!(outcome.code, 0, "{}", outcome.errors);
    let run = &outcome.document["runs"][0];
    assert_eq!(run["topics"], 600);
    assert_eq!(run["fill_subscribing"]["topics"], 600);
    for nothing in ["lost", "duplicated", "disordered", "errors", "unanswered"] {
        assert_eq!(run[nothing], 0, "{nothing}: {run:#}");
    }
    assert!(run["changes"].as_u64().unwrap() > 200, "{run:#}");
    assert!(run["deliveries"].as_u64().unwrap() >= 200, "one of each event, since each topic has one client");
    for figure in ["cpu_us_per_change", "rss_bytes_per_topic", "fill_s"] {
        assert!(run[figure].is_number(), "{figure}: {run:#}");
    }
    for latency in ["subscribe_us", "unsubscribe_us", "bystanders_us", "calm_us"] {
        assert!(run[latency]["count"].as_u64().unwrap() > 0, "{latency}: {run:#}");
    }
    let calls = &run["redis_calls"];
    assert!(calls["subscribe"].as_u64().unwrap() > 0 && calls["unsubscribe"].as_u64().unwrap() > 0, "{calls}");
}

#[test]
fn a_churn_that_the_node_refuses_is_a_failure() {
    let churn = "churn --clients 2 --topics 20 --rate 400 --away 0 --duration 0.5 --warmup 0.1 --bystanders 20";
    let outcome = on_nodes(&format!("{churn} --env FANFARE_FRAMES_PER_MINUTE=60 --env FANFARE_FRAMES_BURST=10"));
    assert_eq!(outcome.code, 1, "{}", outcome.errors);
    let failures = outcome.document["runs"][0]["failures"].to_string();
    assert!(failures.contains("rate_limited"), "{failures}");
}

#[test]
fn what_nobody_wants_any_more_is_sent_to_the_node_and_dropped() {
    let outcome = on_nodes("unheard --rate 20000 --duration 0.5 --channels 3 --bytes 128,1024");
    assert_eq!(outcome.code, 0, "{}", outcome.errors);
    let runs = outcome.document["runs"].as_array().unwrap();
    let sizes: Vec<&Value> = runs.iter().map(|run| &run["event_bytes"]).collect();
    assert_eq!(sizes, [128, 1024]);
    for run in runs {
        assert_eq!((&run["events"], &run["unheard_by_redis"]), (&10_000.into(), &0.into()), "{run:#}");
        assert!(run["cpu_us_per_message"].is_number());
    }
    let outcome = on_nodes("unheard --rate 20000 --duration 0.5 --env FANFARE_UNSUBSCRIBE_DELAY_MS=0");
    assert_eq!(outcome.code, 1, "it reads nothing, and that is no measurement: {}", outcome.errors);
}

#[test]
fn slow_clients_are_closed_and_learn_of_it_and_the_others_miss_nothing() {
    // More than the node's buffer and the kernel's for each client; the farewell waits until it is read.
    let load = "--rate 200 --bytes 16000 --duration 3 --warmup 0.2 --env FANFARE_CLOSE_TIMEOUT_MS=120000";
    let outcome = on_nodes(&format!("fanout --mode stream --clients 20 --slow 5 {load}"));
    assert_eq!(outcome.code, 0, "{}", outcome.errors);
    let run = &outcome.document["runs"][0];
    let (delivery, slow) = (&run["delivery"], &run["slow"]);
    assert_eq!((&delivery["deliveries"], &delivery["expected"]), (&9_000.into(), &9_000.into()), "600 events to 15");
    for nothing in ["lost", "duplicated", "disordered", "connections_dropped"] {
        assert_eq!(delivery[nothing], 0, "{nothing}: {delivery}");
    }
    assert_eq!((&run["load"]["clients"], &slow["clients"]), (&20.into(), &5.into()));
    assert_eq!((&slow["closed"], &slow["still_held"]), (&5.into(), &0.into()), "{slow}");
    assert_eq!(slow["reasons"], json!({"close 4413 outbox full": 5}));
    let received = slow["received"].as_u64().unwrap();
    assert!(received > 0 && received < 5 * 600, "they read what the kernel held, and not all: {slow}");
    assert_eq!(slow["calm_us"]["count"], 9_000, "the others alone, before");
    assert_eq!(run["aims"][0]["name"], "latency p99 ÷ without slow clients");
}

#[test]
fn a_run_in_which_no_slow_client_is_closed_shows_nothing() {
    let outcome = on_nodes("fanout --clients 20 --slow 5 --duration 0.2 --warmup 0 --settle 1");
    assert_eq!(outcome.code, 1, "{}", outcome.errors);
    let run = &outcome.document["runs"][0];
    assert!(run["failures"].to_string().contains("closed no slow client"), "{}", run["failures"]);
    assert_eq!((&run["slow"]["still_held"], &run["slow"]["received"]), (&5.into(), &20.into()), "4 events to 5");
}

#[test]
fn growth_takes_each_step_and_draws_it() {
    let plots = std::env::temp_dir().join(format!("fanfare-growth-{}", std::process::id()));
    let growth = "growth --subscribers 20,40 --nodes 1,3 --together 30 --deliveries 2000 --duration 0.5 --warmup 0.1";
    let outcome = on_nodes(&format!("{growth} --plots {}", plots.display()));
    assert_eq!(outcome.code, 0, "{}", outcome.errors);
    let steps = |of: &str| {
        let steps = outcome.document[of].as_array().unwrap().iter();
        steps.map(|step| json!([step["servers"], step["subscribers"], step["deliveries"]])).collect::<Vec<_>>()
    };
    assert_eq!(steps("subscribers"), [json!([1, 20, 1_000]), json!([1, 40, 1_000])]);
    assert_eq!(steps("nodes"), [json!([1, 30, 990]), json!([3, 30, 990])], "33 events to 30 clients");
    assert_eq!(outcome.document["floor"]["target"], "floor");
    assert_eq!(outcome.document["failures"], json!([]));
    for name in ["cost-by-subscribers.svg", "cost-by-nodes.svg"] {
        let svg = std::fs::read_to_string(plots.join(name)).unwrap();
        assert!(svg.contains("</svg>") && svg.contains("µs a delivery"), "{name}");
    }
    assert!(!plots.join("memory-by-connections.svg").exists(), "too few connections to tell");
    std::fs::remove_dir_all(plots).unwrap();
}
