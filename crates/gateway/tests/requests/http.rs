//! Requests of clients without a WebSocket: `POST /client/v1/request`.

use serde_json::{Value, json};

use crate::support::{Node, RedisProcess, Reply, claims, request, sign, until};
use crate::{Backend, PATIENT, Stage, outcome, token};

async fn post(node: &Node, token: &str, fields: &Value) -> Reply {
    let authorization = format!("Bearer {token}");
    let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
    request(node.clients, "POST", "/client/v1/request", &headers, fields.to_string().as_bytes()).await
}

#[tokio::test]
async fn a_request_over_http_is_answered_with_the_backends_data() {
    let mut stage = Stage::set(&[]).await;
    let allowed = token("acme", "ana", &["dashboard.*"]);
    let fields = json!({ "method": "dashboard.refresh", "data": { "since": 7 } });
    let answering = async {
        let entry = stage.backend.take().await;
        assert_eq!((entry.field("user"), entry.field("connection")), ("ana", ""));
        assert_eq!(entry.field("data"), r#"{"since":7}"#);
        stage.backend.reply(&entry, r#"{"total": 1.10}"#).await;
    };
    let (reply, ()) = tokio::join!(post(&stage.node, &allowed, &fields), answering);
    assert_eq!((reply.status, reply.body.as_str()), (200, r#"{"op":"reply","data":{"total": 1.10}}"#));
    assert_eq!(stage.node.metric(&outcome("reply")).await, 1.0);
}

#[tokio::test]
async fn what_fails_has_the_status_of_its_code() {
    let redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[("FANFARE_REQUEST_TIMEOUT_MS", "2000")]).await;
    let allowed = token("acme", "ana", &["dashboard.*"]);
    let told = async |fields: Value| {
        let reply = post(&node, &allowed, &fields).await;
        (reply.status, reply.code())
    };
    assert_eq!(told(json!({ "method": "dashboard.refresh" })).await, (503, "no_backend".to_owned()));
    let mut backend = Backend::begin(&redis, "workers").await;
    let taking = async {
        backend.take().await;
    };
    let patient = json!({ "method": "dashboard.refresh", "timeout_ms": 3_000 });
    let (timeout, ()) = tokio::join!(told(patient), taking);
    assert_eq!(timeout, (504, "timeout".to_owned()));
    assert_eq!(told(json!({ "method": "admin.reset" })).await, (403, "forbidden".to_owned()));
    for wrong in [
        json!({}),
        json!({ "method": 7 }),
        json!({ "method": "a b" }),
        json!({ "method": "dashboard.refresh", "timeout_ms": 0 }),
        json!({ "method": "dashboard.refresh", "timeout_ms": "1" }),
    ] {
        assert_eq!(told(wrong.clone()).await, (400, "bad_frame".to_owned()), "{wrong}");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_gives_its_request_up() {
    let redis = RedisProcess::start();
    let mut backend = Backend::begin(&redis, "workers").await;
    let node = Node::start_on(&redis.url(), &[PATIENT]).await;
    let allowed = token("acme", "ana", &["**"]);
    let asking = {
        let (node, fields) = (node.clients, json!({ "method": "m" }).to_string());
        let authorization = format!("Bearer {allowed}");
        tokio::spawn(async move {
            request(node, "POST", "/client/v1/request", &[("Authorization", &authorization)], fields.as_bytes()).await
        })
    };
    backend.take().await;
    until("the request is open", async || node.metric("fanfare_requests_open").await == 1.0).await;
    asking.abort();
    until("the request is given up", async || node.metric("fanfare_requests_open").await == 0.0).await;
}

#[tokio::test]
async fn a_token_that_is_revoked_meanwhile_gets_no_answer() {
    let mut stage = Stage::set(&[]).await;
    let mut claims = claims("acme", "ana");
    (claims["methods"], claims["jti"]) = (json!(["**"]), json!("t-1"));
    let (allowed, fields) = (sign(&claims), json!({ "method": "m" }));
    let answering = async {
        let entry = stage.backend.take().await;
        stage.redis.command(&["SET", "fanfare:acme:revoked:t-1", "1", "PX", "60000"]);
        stage.backend.reply(&entry, r#""secret""#).await;
    };
    let (reply, ()) = tokio::join!(post(&stage.node, &allowed, &fields), answering);
    assert_eq!((reply.status, reply.json()), (403, json!({ "code": "forbidden", "message": "token revoked" })));
}
