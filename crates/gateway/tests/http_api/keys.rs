//! What a key may do, and how often.

use crate::support::{API_KEY, Node, until};
use crate::{EVENT, EVENTS, bearer, get_with_key, key_file, post_with_key, problem, send};

#[tokio::test]
async fn without_a_known_key_nothing_is_said_about_the_request() {
    let node = Node::start(&[]).await;
    let basic = format!("Basic {API_KEY}");
    let wrong = [None, Some("Bearer wrong"), Some("Bearer"), Some("Bearer "), Some(basic.as_str())];
    for authorization in wrong {
        let headers: Vec<_> = authorization.map(|value| ("Authorization", value)).into_iter().collect();
        for target in [EVENTS, "/v1/tenants/node/topics/nonsense/events"] {
            let reply = send(node.admin, "POST", target, &headers, b"nonsense").await;
            let (status, code, _) = problem(&reply);
            assert_eq!((status, code.as_str()), (401, "unauthenticated"), "{authorization:?}");
            assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
        }
    }
    // The scheme's case doesn't matter (RFC 9110 §11.1).
    let reply = send(node.admin, "POST", EVENTS, &[("Authorization", &format!("bearer {API_KEY}"))], EVENT).await;
    assert_eq!(reply.status, 200);
    assert!(!node.log().contains(API_KEY));
}

#[tokio::test]
async fn a_key_does_what_its_scope_says_and_is_rotated_without_a_restart() {
    let keys = |publisher: &str| {
        format!(
            "[[key]]\nname = 'orders'\nkey = '{publisher}'\ntenants = ['acme', 'test-*']\nverbs = ['publish']\n\
             [[key]]\nname = 'reader'\nkey = 'reads'\ntenants = ['*']\nverbs = ['read']\n"
        )
    };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys.toml");
    std::fs::write(&file, keys("first")).unwrap();
    let settings = [("FANFARE_API_KEYS_FILE", file.to_str().unwrap()), ("FANFARE_RELOAD_INTERVAL_S", "1")];
    let node = Node::start(&settings).await;
    let publish = async |key: &str, tenant: &str| {
        let target = format!("/v1/tenants/{tenant}/topics/tenant/events");
        post_with_key(node.admin, &target, key, &[], EVENT).await
    };
    for (key, tenant, status) in
        [("first", "acme", 200), ("first", "test-7", 200), ("first", "globex", 403), ("reads", "acme", 403)]
    {
        assert_eq!(publish(key, tenant).await.status, status, "{key} {tenant}");
    }
    let (_, _, message) = problem(&publish("first", "globex").await);
    assert_eq!(message, "this API key may not publish in this tenant");
    // Which tenants there may be is nothing that a key without the verb learns.
    for tenant in ["acme", "no tenant", "node"] {
        let expected = (403, "forbidden".to_owned(), "this API key lacks the verb `publish`".to_owned());
        assert_eq!(problem(&publish("reads", &tenant.replace(' ', "%20")).await), expected);
    }

    std::fs::write(&file, keys("second")).unwrap();
    until("the new key counts", async || publish("second", "acme").await.status == 200).await;
    assert_eq!(publish("first", "acme").await.status, 401);
    assert_eq!(publish(API_KEY, "acme").await.status, 200);
}

#[tokio::test]
async fn each_verb_opens_its_paths_in_the_tenants_of_the_key_and_no_others() {
    let verbs = ["publish", "read", "disconnect", "revoke"];
    let quoted = verbs.map(|verb| format!("'{verb}'"));
    let keys: Vec<_> = verbs.iter().zip(&quoted).map(|(verb, quoted)| (*verb, "'acme', 'test-*'", &**quoted)).collect();
    let (_directory, file) = key_file(&keys);
    let node = Node::start(&[("FANFARE_API_KEYS_FILE", &file)]).await;
    let calls = |tenant: &str| {
        [
            (
                "publish",
                "POST",
                format!("/v1/tenants/{tenant}/topics/tenant/events"),
                r#"{"type":"t"}"#.to_owned(),
                200,
            ),
            ("publish", "POST", format!("/v1/tenants/{tenant}/events"), BATCH.to_owned(), 200),
            ("read", "GET", format!("/v1/tenants/{tenant}/topics/tenant/history"), String::new(), 200),
            ("read", "GET", format!("/v1/tenants/{tenant}/topics/tenant/presence"), String::new(), 200),
            ("read", "GET", format!("/v1/stats?tenant={tenant}&user=42"), String::new(), 200),
            ("disconnect", "POST", format!("/v1/tenants/{tenant}/users/42/disconnect"), String::new(), 202),
            ("revoke", "POST", "/v1/tokens/revoke".into(), format!(r#"{{"jti":"t-1","tenant":"{tenant}"}}"#), 202),
        ]
    };
    for tenant in ["acme", "test-7", "globex", "acme2"] {
        let is_theirs = ["acme", "test-7"].contains(&tenant);
        for (verb, method, target, body, status) in calls(tenant) {
            for key in verbs {
                let reply =
                    send(node.admin, method, &target, &[("Authorization", &bearer(key))], body.as_bytes()).await;
                if key == verb && is_theirs {
                    assert_eq!(reply.status, status, "{key}: {target}: {reply:?}");
                    continue;
                }
                let lacks = format!("this API key lacks the verb `{verb}`");
                let elsewhere = format!("this API key may not {verb} in this tenant");
                let expected = if key == verb { elsewhere } else { lacks };
                assert_eq!(problem(&reply), (403, "forbidden".to_owned(), expected), "{key}: {target}");
            }
        }
    }
}

const BATCH: &str = r#"{"events":[{"topic":"tenant","event":{"type":"t"}}]}"#;

#[tokio::test]
async fn a_key_that_asks_too_often_is_told_when_to_come_back_and_others_are_not() {
    let (_directory, file) = key_file(&[("busy", "'*'", "'publish', 'read'"), ("calm", "'*'", "'publish'")]);
    let settings = [
        ("FANFARE_API_KEYS_FILE", file.as_str()),
        ("FANFARE_API_REQUESTS_PER_MINUTE", "1"),
        ("FANFARE_API_REQUESTS_BURST", "3"),
    ];
    let node = Node::start(&settings).await;
    let publish = async |key: &str| post_with_key(node.admin, EVENTS, key, &[], EVENT).await;
    assert_eq!(publish("busy").await.status, 200);
    assert_eq!(get_with_key(&node, "/v1/openapi.json", "busy").await.status, 200);
    // What is refused for another reason counts, too.
    assert_eq!(post_with_key(node.admin, EVENTS, "busy", &[], b"nonsense").await.status, 400);
    let reply = publish("busy").await;
    let detail = "this API key has sent more than api_requests_per_minute = 1 requests";
    assert_eq!(problem(&reply), (429, "rate_limited".to_owned(), detail.to_owned()));
    assert_eq!(reply.header("retry-after"), Some("60"));
    assert_eq!(publish("calm").await.status, 200);
    assert_eq!(publish(API_KEY).await.status, 200);
    // Health and metrics have no key, and no limit.
    for _ in 0..5 {
        assert_eq!(send(node.admin, "GET", "/healthz", &[], b"").await.status, 200);
    }
    assert_eq!(node.metric(r#"fanfare_api_requests_total{status="429"}"#).await.to_string(), "1");
}

#[tokio::test]
async fn without_a_limit_a_key_may_ask_as_often_as_it_likes() {
    let settings = [("FANFARE_API_REQUESTS_PER_MINUTE", "0"), ("FANFARE_API_REQUESTS_BURST", "1")];
    let node = Node::start(&settings).await;
    for _ in 0..20 {
        assert_eq!(post_with_key(node.admin, EVENTS, API_KEY, &[], EVENT).await.status, 200);
    }
}
