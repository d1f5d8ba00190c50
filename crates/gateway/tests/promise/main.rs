//! The promise of the contract under faults: each event published is delivered once and in order, or covered by a gap notice,
//! whatever fails. A world of real processes ([`world`]) lives through a schedule that a seed fixes ([`schedule`]), and then
//! everything that every client was told is held against everything that was published ([`model`], which says what is promised).
//!
//! `SEED=7 cargo test -p fanfare-gateway --test promise -- --nocapture` runs one seed; `SEEDS=100 FIRST=1` runs many, and
//! `KEEP=1` keeps logs and transcripts also where nothing is wrong. The times at which things happen are those of real
//! processes, so a seed fixes what happens, not every interleaving of it.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod follower;
mod judge;
mod listener;
mod model;
mod model_tests;
mod proxy;
mod publisher;
mod random;
mod resp;
mod schedule;
#[path = "../support/mod.rs"]
mod support;
mod wire;
mod world;

use std::path::Path;
use std::time::Instant;

use schedule::Plan;
use world::World;

/// Seeds of a run that names none.
const SEEDS: u64 = 8;

/// How much of what is wrong is printed for a seed; all of it is in its files.
const WRONG_SHOWN: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_promise_holds_whatever_fails() {
    let first = number("FIRST").unwrap_or(1);
    let many = first..first + number("SEEDS").unwrap_or(SEEDS);
    let seeds = number("SEED").map_or(many, |seed| seed..seed + 1);
    let mut failed = Vec::new();
    for seed in seeds {
        if !holds(seed).await {
            failed.push(seed);
        }
    }
    assert!(failed.is_empty(), "seeds {failed:?} failed: run one with SEED=n");
}

/// Runs one seed and prints a line about it, or everything.
async fn holds(seed: u64) -> bool {
    let plan = Plan::of(seed);
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("promise/seed-{seed}"));
    let began = Instant::now();
    let outcome = World::start(plan.clone()).await.run(&directory).await;
    let (gaps, ephemeral_gaps) = outcome.gaps;
    println!(
        "seed {seed:>4}: {:>5} events, {:>6} delivered, {:>5} recovered, {gaps:>3} gaps, {ephemeral_gaps:>3} ephemeral gaps, \
         {:>4.1} s{}",
        outcome.events,
        outcome.deliveries,
        outcome.recovered,
        began.elapsed().as_secs_f64(),
        if outcome.wrong.is_empty() { "" } else { ", WRONG" },
    );
    if outcome.wrong.is_empty() {
        return true;
    }
    println!("{plan}");
    for words in outcome.wrong.iter().take(WRONG_SHOWN) {
        println!("{words}\n");
    }
    println!("{} things are wrong; transcripts and logs are in {}", outcome.wrong.len(), directory.display());
    false
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok().filter(|value| !value.is_empty())?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} must be a number, not {value:?}")))
}
