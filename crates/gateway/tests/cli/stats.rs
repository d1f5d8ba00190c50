//! Stories about `fanfare stats`, on real nodes.

use serde_json::{Value, json};

use crate::fanfare::{Running, Said, fanfare, start, wait_until_ready};
use crate::redis_server::{RedisProcess, free_port};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const KEY: &str = "k3y";

/// A node on this Redis, where its clients connect, and its API.
fn node(redis: &RedisProcess, name: &str) -> (Running, String, String) {
    let [clients, admin] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
    let keys = format!("ops:{KEY}");
    let url = redis.url();
    let variables = [
        ("FANFARE_BACKPLANE", url.as_str()),
        ("FANFARE_JWT_HS256_SECRET", SECRET),
        ("FANFARE_LISTEN", clients.as_str()),
        ("FANFARE_ADMIN_LISTEN", admin.as_str()),
        ("FANFARE_API_KEYS", keys.as_str()),
        ("FANFARE_NODE_ID", name),
    ];
    let node = start(&["serve"], &variables);
    wait_until_ready(&admin);
    (node, format!("ws://{clients}"), format!("http://{admin}"))
}

/// A client of a tenant on a node, which is on its topics when this returns.
fn client(tenant: &str, user: &str, node: &str) -> Running {
    let topic = format!("user:{user}");
    let client = start(&["tail", tenant, &topic, "--node", node], &[("FANFARE_JWT_HS256_SECRET", SECRET)]);
    client.wait_for_error_line("subscribed to ");
    client
}

/// Runs `fanfare stats` until it prints what is wanted: nodes hear of each other after a while.
fn stats_until(arguments: &[&str], mut is_so: impl FnMut(&str) -> bool) -> String {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let Said { code, out, err } = fanfare(&[&["stats", "--api-key", KEY], arguments].concat(), &[]);
        if code == 0 && is_so(&out) {
            return out;
        }
        assert!(std::time::Instant::now() < deadline, "not in time: {out}{err}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn nodes_tenants_and_a_user_are_shown_as_tables() {
    let redis = RedisProcess::start();
    let (_one, clients_of_one, api) = node(&redis, "one");
    let (_two, clients_of_two, _) = node(&redis, "the-second");
    let _clients = [
        client("acme", "42", &clients_of_one),
        client("acme", "42", &clients_of_two),
        client("acme", "7", &clients_of_two),
        client("globex", "42", &clients_of_two),
    ];
    let all = ["2 nodes", "acme              3", "globex            1"];
    let out = stats_until(&["--node", &api], |out| all.iter().all(|part| out.contains(part)));
    // How long they run differs.
    let mut lines = out.lines();
    let mut columns = || lines.next().unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(columns(), ["NODE", "VERSION", "UPTIME", "CONNECTIONS"]);
    let one = columns();
    assert_eq!((&one[..3], one.last()), (&["one", "*", env!("CARGO_PKG_VERSION")][..], Some(&"1")));
    let two = columns();
    assert_eq!((&two[..2], two.last()), (&["the-second", env!("CARGO_PKG_VERSION")][..], Some(&"3")));
    assert_eq!(columns(), ["2", "nodes", "4"]);
    let rest: Vec<_> = lines.collect();
    assert_eq!(rest, ["", "TENANT  CONNECTIONS", "acme              3", "globex            1"]);

    let arguments = ["--node", &api, "--tenant", "acme", "--user", "42"];
    let out = stats_until(&arguments, |out| !out.contains("not all nodes"));
    let (_, user) = out.split_once("\n\nuser ").unwrap();
    assert_eq!(user, "42 of acme: 2 connections\n  one         1\n  the-second  1\n");

    let json = stats_until(&["--node", &api, "--json"], |_| true);
    let told: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(told["cluster"]["by_tenant"], json!({"acme": 3, "globex": 1}));
    assert_eq!(told["node"]["node"], "one");
}

#[test]
fn node_and_key_come_from_the_environment_or_the_nodes_own_settings() {
    let redis = RedisProcess::start();
    let (_node, _, api) = node(&redis, "one");
    let variables = [("FANFARE_NODE_URL", api.as_str()), ("FANFARE_API_KEY", KEY)];
    let said = fanfare(&["stats"], &variables);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert!(said.out.contains("\n1 node "), "{}", said.out);
    let listen = api.trim_start_matches("http://");
    let said = fanfare(&["stats"], &[("FANFARE_ADMIN_LISTEN", listen), ("FANFARE_API_KEYS", "ops:k3y")]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));

    let said = fanfare(&["stats", "--node", &api, "--key", "wrong"], &[]);
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    assert!(said.err.starts_with("fanfare: the node refused it: send `Authorization: Bearer`"), "{}", said.err);
    let said = fanfare(&["stats", "--tenant", "acme", "--user", "a b"], &variables);
    assert_eq!(said.code, 1);
    assert!(said.err.ends_with("(invalid_topic)\n"), "{}", said.err);
}

#[test]
fn what_can_not_be_asked_is_told() {
    let said = fanfare(&["stats"], &[]);
    let told = "fanfare: no API key: give --api-key or FANFARE_API_KEY; `fanfare serve --dev` prints one\n";
    assert_eq!((said.code, said.err.as_str()), (1, told));
    for alone in [["--tenant", "acme"], ["--user", "42"]] {
        let said = fanfare(&["stats", alone[0], alone[1]], &[]);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{alone:?}");
    }
    let said = fanfare(&["stats", "--tenant", "a:b", "--user", "42", "--api-key", KEY], &[]);
    assert!(said.err.starts_with("fanfare: \"a:b\" is no tenant: "), "{}", said.err);
    let url = format!("http://127.0.0.1:{}", free_port());
    let said = fanfare(&["stats", "--node", &url, "--api-key", KEY], &[]);
    assert!(said.err.starts_with(&format!("fanfare: can't reach the node at {url}/")), "{}", said.err);
}
