//! The floors of ARCHITECTURE.md, asserted over `cargo metadata`: dependencies point down only.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// Each crate of the workspace, and the crates of the workspace it may use.
const FLOORS: [(&str, &[&str]); 7] = [
    ("fanfare-protocol", &[]),
    ("fanfare-core", &["fanfare-protocol"]),
    ("fanfare-backplane", &["fanfare-protocol"]),
    ("fanfare-gateway", &["fanfare-backplane", "fanfare-core", "fanfare-protocol"]),
    ("fanfare-client", &["fanfare-protocol"]),
    ("fanfare-example-backend", &["fanfare-client"]),
    ("fanfare-loadtest", &["fanfare-protocol"]),
];

/// What a floor must not know at all, by crate.
const NEVER: [(&str, &[&str]); 5] = [
    ("fanfare-protocol", &["tokio", "hyper", "redis", "fastwebsockets", "tracing"]),
    ("fanfare-core", &["tokio", "hyper", "redis", "fastwebsockets", "tracing"]),
    ("fanfare-backplane", &["hyper", "fastwebsockets", "jsonwebtoken"]),
    ("fanfare-gateway", &["redis", "deadpool-redis"]),
    ("fanfare-client", &["hyper", "fastwebsockets", "clap", "anyhow"]),
];

fn metadata() -> Metadata {
    MetadataCommand::new().other_options(vec!["--locked".into(), "--offline".into()]).no_deps().exec().unwrap()
}

fn dependencies<'a>(metadata: &'a Metadata, name: &str) -> BTreeSet<&'a str> {
    let package = metadata.packages.iter().find(|package| package.name == name).unwrap();
    let normal = package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal);
    normal.map(|dependency| dependency.name.as_str()).collect()
}

#[test]
fn every_crate_of_the_workspace_has_a_floor() {
    let metadata = metadata();
    let crates: BTreeSet<_> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(crates, FLOORS.iter().map(|(name, _)| *name).collect());
}

#[test]
fn crates_depend_on_lower_floors_only() {
    let metadata = metadata();
    for (name, allowed) in FLOORS {
        let own = dependencies(&metadata, name).into_iter().filter(|dependency| dependency.starts_with("fanfare-"));
        for dependency in own {
            assert!(allowed.contains(&dependency), "{name} must not depend on {dependency}");
        }
    }
}

#[test]
fn a_floor_does_not_know_what_is_above_it() {
    let metadata = metadata();
    for (name, never) in NEVER {
        let known = dependencies(&metadata, name);
        for stranger in never {
            assert!(!known.contains(stranger), "{name} must not depend on {stranger}");
        }
    }
}
