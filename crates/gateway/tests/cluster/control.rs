//! Orders that every node obeys: users that are disconnected, tokens that are revoked.

use serde_json::{Value, json};

use crate::support::{Client, Handshake, Node, RedisProcess, TcpProxy, claims, in_time, sign, token, until};
use crate::{EVENT, subscribers, two_nodes};

const REVOKED: &str = "the token is revoked";

fn order(redis: &RedisProcess, order: &Value) {
    redis.command(&["PUBLISH", "fanfare:control", &order.to_string()]);
}

/// A token of a user of a tenant with a `jti`.
fn token_with_id(tenant: &str, user: &str, id: &str) -> String {
    let mut claims = claims(tenant, user);
    claims["jti"] = id.into();
    sign(&claims)
}

/// Waits until the nodes hear what is said to all of them.
async fn until_listening(redis: &RedisProcess, nodes: u32) {
    until("every node listens", async || subscribers(redis, "fanfare:control") == nodes).await;
}

/// Still there, and on its topics.
async fn stays(client: &mut Client) {
    client.send(&json!({"op": "ping"})).await;
    client.expect("pong").await;
}

async fn is_sent_away(client: &mut Client, reason: &str) {
    let told = client.expect_disconnect(4403).await;
    assert_eq!((&told["reason"], &told["reconnect"]), (&reason.into(), &false.into()), "{told}");
}

#[tokio::test]
async fn a_user_is_disconnected_wherever_they_are_and_nobody_else() {
    let redis = RedisProcess::start();
    let nodes = two_nodes(&redis, &[]).await;
    until_listening(&redis, 2).await;
    let mut theirs = Vec::new();
    let mut others = Vec::new();
    for node in &nodes {
        theirs.push(Client::connect(node, &token("acme", "42")).await);
        others.push(Client::connect(node, &token("acme", "4")).await);
        others.push(Client::connect(node, &token("globex", "42")).await);
    }
    order(&redis, &json!({"op": "disconnect", "tenant": "acme", "user": "42"}));
    for client in &mut theirs {
        is_sent_away(client, "disconnected by the backend").await;
    }
    for client in &mut others {
        stays(client).await;
    }
    // They may come back.
    stays(&mut Client::connect(&nodes[0], &token("acme", "42")).await).await;
}

#[tokio::test]
async fn a_revoked_token_ends_its_connections_and_opens_no_more() {
    let redis = RedisProcess::start();
    let nodes = two_nodes(&redis, &[]).await;
    until_listening(&redis, 2).await;
    let revoked = token_with_id("acme", "42", "t-1");
    let mut theirs = [Client::connect(&nodes[0], &revoked).await, Client::connect(&nodes[1], &revoked).await];
    let mut another = Client::connect(&nodes[0], &token_with_id("acme", "42", "t-2")).await;
    redis.command(&["SET", "fanfare:revoked:t-1", "*", "PX", "60000"]);
    order(&redis, &json!({"op": "revoke", "jti": "t-1"}));
    for client in &mut theirs {
        is_sent_away(client, REVOKED).await;
    }
    stays(&mut another).await;

    // By each way to bring a token.
    is_sent_away(&mut Handshake::to(&nodes[0]).bearer(&revoked).open().await, REVOKED).await;
    let mut client = Handshake::to(&nodes[1]).open().await;
    client.send(&json!({"op": "auth", "token": revoked})).await;
    is_sent_away(&mut client, REVOKED).await;
    let refused = Handshake::to(&nodes[1]).without("Sec-WebSocket-Protocol").bearer(&revoked).try_open().await;
    let refused = refused.err().expect("refused");
    assert_eq!((refused.status, &refused.json()["code"]), (403, &"forbidden".into()));
    // Nor does it renew another.
    another.send(&json!({"op": "auth", "token": revoked})).await;
    let error = another.expect("error").await;
    assert_eq!(error["code"], "unauthenticated");
    stays(&mut another).await;
}

#[tokio::test]
async fn a_tenant_revokes_only_its_own_tokens() {
    let redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[]).await;
    until_listening(&redis, 1).await;
    let mut theirs = Client::connect(&node, &token_with_id("acme", "42", "t-1")).await;
    let mut others = Client::connect(&node, &token_with_id("globex", "42", "t-1")).await;
    redis.command(&["SET", "fanfare:acme:revoked:t-1", "1", "PX", "60000"]);
    order(&redis, &json!({"op": "revoke", "jti": "t-1", "tenant": "acme"}));
    is_sent_away(&mut theirs, REVOKED).await;
    stays(&mut others).await;
    stays(&mut Client::connect(&node, &token_with_id("globex", "42", "t-1")).await).await;
}

#[tokio::test]
async fn what_was_revoked_while_a_node_could_not_hear_it_is_found_out() {
    let redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[]).await;
    until_listening(&redis, 1).await;
    let mut theirs = Client::connect(&node, &token_with_id("acme", "42", "t-1")).await;
    let mut others = Client::connect(&node, &token_with_id("acme", "43", "t-2")).await;
    redis.command(&["SET", "fanfare:revoked:t-1", "*", "PX", "60000"]);
    redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    is_sent_away(&mut theirs, REVOKED).await;
    others.send(&json!({"op": "ping"})).await;
    others.skip_to("pong").await;
}

#[tokio::test]
async fn who_got_in_while_redis_could_not_be_asked_is_found_out() {
    let redis = RedisProcess::start();
    let proxy = TcpProxy::before(redis.port());
    let node = Node::start_on(&proxy.url(), &[]).await;
    until_listening(&redis, 1).await;
    // Whatever the node asks about by itself, it has asked.
    let mut first = Client::connect(&node, &token_with_id("acme", "42", "t-0")).await;
    redis.command(&["SET", "fanfare:revoked:t-0", "1", "PX", "60000"]);
    redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    is_sent_away(&mut first, REVOKED).await;
    // The same user, so that nothing but the token has to be asked about.
    let mut another = Client::connect(&node, &token_with_id("acme", "42", "t-2")).await;
    redis.command(&["SET", "fanfare:revoked:t-1", "1", "PX", "60000"]);
    // Orders reach the node all the time; only the connection for questions is away.
    proxy.refuse(true);
    proxy.cut_others();
    let revoked = token_with_id("acme", "42", "t-1");
    let mut theirs = None;
    until("nobody can be asked", async || {
        let mut client = Handshake::to(&node).bearer(&revoked).open().await;
        let is_in = client.message().await["op"] == "welcome";
        theirs = is_in.then_some(client);
        is_in
    })
    .await;
    proxy.refuse(false);
    in_time("it is found out", is_sent_away(&mut theirs.unwrap(), REVOKED)).await;
    another.send(&json!({"op": "ping"})).await;
    another.skip_to("pong").await;
}

#[tokio::test]
async fn an_order_that_nobody_can_read_harms_nobody() {
    let redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[]).await;
    until_listening(&redis, 1).await;
    let mut client = Client::connect(&node, &token("acme", "42")).await;
    for nonsense in ["", "{", r#"{"op":"explode"}"#, r#"{"op":"disconnect"}"#, r#"{"op":"revoke","jti":7}"#] {
        redis.command(&["PUBLISH", "fanfare:control", nonsense]);
    }
    redis.command(&["PUBLISH", "fanfare:acme:tenant", EVENT]);
    client.expect_event("tenant").await;
}
