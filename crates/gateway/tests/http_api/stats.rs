//! Who is connected where: of this node, of the cluster, of one user.

use serde_json::{Value, json};

use crate::support::{Client, Handshake, Node, RedisProcess, token, until};
use crate::{assert_problem, get, get_with_key, key_file, problem, two_nodes};

const STATS: &str = "/v1/stats";

async fn stats(node: &Node) -> Value {
    let reply = get(node, STATS).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

/// Connections by tenant.
fn tenants(view: &Value) -> &Value {
    &view["by_tenant"]
}

/// The ids of the cluster's nodes.
fn ids(stats: &Value) -> Vec<&str> {
    stats["cluster"]["nodes"].as_array().unwrap().iter().map(|node| node["node"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_node_alone_tells_of_itself() {
    let node = Node::start(&[("FANFARE_NODE_ID", "alone")]).await;
    let empty = stats(&node).await;
    assert_eq!((&empty["node"]["connections"], tenants(&empty["node"])), (&json!(0), &json!({})));
    assert_eq!(
        (&empty["node"]["node"], &empty["node"]["version"]),
        (&json!("alone"), &json!(env!("CARGO_PKG_VERSION")))
    );
    let mut clients = vec![Client::connect(&node, &token("acme", "1")).await];
    clients.push(Client::connect(&node, &token("acme", "2")).await);
    clients.push(Client::connect(&node, &token("globex", "1")).await);
    // One that hasn't said who it is.
    clients.push(Handshake::to(&node).open().await);
    let full = stats(&node).await;
    for view in [&full["node"], &full["cluster"], &full["cluster"]["nodes"][0]] {
        assert_eq!((&view["connections"], tenants(view)), (&json!(4), &json!({"acme": 2, "globex": 1})), "{full}");
    }
    assert_eq!(ids(&full), ["alone"]);
    assert_eq!(full.get("user"), None);
    drop(clients);
    until("they are gone", async || stats(&node).await["node"]["connections"] == 0).await;
}

#[tokio::test]
async fn nodes_of_a_cluster_are_added_up_and_one_that_dies_is_forgotten() {
    let redis = RedisProcess::start();
    let [one, mut two] = two_nodes(&redis, &[]).await;
    let _clients = [
        Client::connect(&one, &token("acme", "1")).await,
        Client::connect(&two, &token("acme", "1")).await,
        Client::connect(&two, &token("globex", "1")).await,
    ];
    for node in [&one, &two] {
        until("both are known", async || {
            let stats = stats(node).await;
            ids(&stats) == ["one", "two"] && stats["cluster"]["connections"] == 3
        })
        .await;
    }
    let told = stats(&one).await;
    assert_eq!(tenants(&told["cluster"]), &json!({"acme": 2, "globex": 1}));
    assert_eq!((tenants(&told["node"]), &told["node"]["node"]), (&json!({"acme": 1}), &json!("one")));
    assert_eq!(tenants(&told["cluster"]["nodes"][1]), &json!({"acme": 1, "globex": 1}));
    // Nothing about a user is kept on Redis.
    assert!(!redis.command(&["GET", "fanfare:node:two"]).contains("user"));
    two.kill();
    until("the dead one is forgotten", async || ids(&stats(&one).await) == ["one"]).await;
    assert_eq!(stats(&one).await["cluster"]["connections"], 1);
}

#[tokio::test]
async fn a_user_is_counted_on_demand_on_every_node() {
    let redis = RedisProcess::start();
    let [one, mut two] = two_nodes(&redis, &[]).await;
    let _clients = [
        Client::connect(&one, &token("acme", "a/b")).await,
        Client::connect(&two, &token("acme", "a/b")).await,
        Client::connect(&two, &token("acme", "a/b")).await,
        Client::connect(&two, &token("globex", "a/b")).await,
    ];
    until("both are known", async || ids(&stats(&one).await).len() == 2).await;
    let asked = "/v1/stats?tenant=acme&user=a%2Fb";
    for node in [&one, &two] {
        let expected = json!({
            "tenant": "acme", "user": "a/b", "connections": 3, "by_node": {"one": 1, "two": 2}, "complete": true,
        });
        // On a busy machine a node may answer too late; that is told.
        until("both have answered", async || get(node, asked).await.json()["user"] == expected).await;
    }
    let nobody = get(&one, "/v1/stats?tenant=globex&user=nobody").await.json();
    assert_eq!((&nobody["user"]["connections"], &nobody["user"]["tenant"]), (&json!(0), &json!("globex")));
    // A node that doesn't answer is missing, and that is said.
    two.kill();
    until("one has answered", async || {
        let told = get(&one, asked).await.json();
        assert_eq!(told["user"]["by_node"].get("two"), None);
        let has_answered = told["user"]["by_node"] == json!({"one": 1});
        assert_eq!(told["user"]["complete"], json!(has_answered && ids(&told) == ["one"]));
        has_answered
    })
    .await;
}

#[tokio::test]
async fn a_key_for_some_tenants_sees_only_those() {
    let (_directory, file) = key_file(&[
        ("some", "'acme', 'test-*'", "'read'"),
        ("all", "'*'", "'read'"),
        ("publishes", "'*'", "'publish'"),
    ]);
    let redis = RedisProcess::start();
    let [one, two] = two_nodes(&redis, &[("FANFARE_API_KEYS_FILE", &file)]).await;
    let _clients = [
        Client::connect(&one, &token("acme", "1")).await,
        Client::connect(&one, &token("globex", "1")).await,
        Client::connect(&two, &token("test-7", "1")).await,
        Client::connect(&two, &token("globex", "1")).await,
        Handshake::to(&two).open().await,
    ];
    until("all are known", async || stats(&one).await["cluster"]["connections"] == 5).await;
    let some = get_with_key(&one, STATS, "some").await;
    assert!(!some.body.contains("globex"), "{some:?}");
    let told = some.json();
    assert_eq!(
        (&told["cluster"]["connections"], tenants(&told["cluster"])),
        (&json!(2), &json!({"acme": 1, "test-7": 1}))
    );
    assert_eq!((&told["node"]["connections"], ids(&told)), (&json!(1), vec!["one", "two"]));
    let all = get_with_key(&one, STATS, "all").await.json();
    assert_eq!(all["cluster"]["connections"], 5);
    assert_eq!(tenants(&all["cluster"]), &json!({"acme": 1, "globex": 2, "test-7": 1}));
    let reply = get_with_key(&one, STATS, "publishes").await;
    assert_eq!(problem(&reply), (403, "forbidden".into(), "this API key lacks the verb `read`".into()));
    for tenant in ["globex", "nobody"] {
        let reply = get_with_key(&one, &format!("/v1/stats?tenant={tenant}&user=1"), "some").await;
        assert_eq!(problem(&reply), (403, "forbidden".into(), "this API key may not read in this tenant".into()));
    }
}

#[tokio::test]
async fn a_question_that_makes_no_sense_is_refused() {
    let node = Node::start(&[]).await;
    for query in ["tenant=acme", "user=42", "user="] {
        let reply = get(&node, &format!("/v1/stats?{query}")).await;
        assert_eq!(problem(&reply), (400, "bad_frame".into(), "give `tenant` and `user` together".into()), "{query}");
    }
    let long = format!("tenant=acme&user={}", "x".repeat(201));
    for query in ["tenant=&user=42", "tenant=node&user=42", "tenant=acme&user=", "tenant=acme&user=a+b", &long] {
        assert_problem(&get(&node, &format!("/v1/stats?{query}")).await, 400, "invalid_topic");
    }
    assert_eq!(get(&node, "/v1/stats?other=1").await.status, 200);
}

#[tokio::test]
async fn without_redis_there_are_no_figures_of_the_cluster() {
    let mut redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[]).await;
    redis.kill();
    until("the outage is noticed", async || get(&node, STATS).await.status == 503).await;
    assert_problem(&get(&node, STATS).await, 503, "unavailable");
    redis.start_again();
    until("they are back", async || get(&node, STATS).await.status == 200).await;
}
