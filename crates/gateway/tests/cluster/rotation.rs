//! Secrets and keys change in their files while a node serves: connections that stand go on and miss
//! nothing, and new ones need the new.

use std::fs;
use std::path::{Path, PathBuf};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{Client, Handshake, Node, RedisProcess, claims, request, token, until};
use crate::traffic::{Seen, Traffic};
use crate::{EVENT, frame, subscriber, until_status};

/// Files are looked at as often as can be set.
const OFTEN: (&str, &str) = ("FANFARE_RELOAD_INTERVAL_S", "1");

/// A directory with one file that is replaced as a careful operator does it: at once, never half.
struct Rotated {
    path: PathBuf,
    _directory: TempDir,
}

impl Rotated {
    fn new(content: &str) -> Rotated {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rotated");
        fs::write(&path, content).unwrap();
        Rotated { path, _directory: directory }
    }

    fn replace(&self, content: &str) {
        let new = self.path.with_extension("new");
        fs::write(&new, content).unwrap();
        fs::rename(new, &self.path).unwrap();
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

/// What an upgrade with this token is answered: 101, or a status and why.
async fn judged(node: &Node, token: &str) -> (u16, String) {
    let opened = Handshake::to(node).without("Sec-WebSocket-Protocol").bearer(token).try_open().await;
    match opened {
        Ok(_) => (101, String::new()),
        Err(reply) => (reply.status, reply.json()["message"].as_str().unwrap_or_default().to_owned()),
    }
}

async fn until_judged(node: &Node, token: &str, expected: (u16, &str)) {
    let expected = (expected.0, expected.1.to_owned());
    until(&format!("a token is answered {expected:?}"), async || judged(node, token).await == expected).await;
}

/// A token of user 42 by another issuer.
fn signed(algorithm: Algorithm, kid: Option<&str>, key: &EncodingKey) -> String {
    let header = Header { kid: kid.map(ToOwned::to_owned), ..Header::new(algorithm) };
    jsonwebtoken::encode(&header, &claims("acme", "42"), key).unwrap()
}

/// A client under traffic through one rotation after the other.
struct UnderTraffic {
    client: Client,
    seen: Seen,
    traffic: Traffic,
}

impl UnderTraffic {
    async fn start(redis: &RedisProcess, mut client: Client) -> UnderTraffic {
        let traffic = Traffic::start(redis, "acme:channel:orders", None);
        let seen = Seen::from_subscribed(&mut client, &traffic).await;
        UnderTraffic { client, seen, traffic }
    }

    /// Nothing but events came, and all of them.
    async fn finish(mut self) {
        let (topic, last) = (self.traffic.topic().to_owned(), self.traffic.stop());
        self.seen.take_until(&mut self.client, &topic, last).await;
        self.client.expect_nothing().await;
    }
}

#[tokio::test]
async fn secrets_of_tokens_are_rotated() {
    const OLD: &str = "the old secret of the tests, long enough for HS256";
    const NEW: &str = "the new secret of the tests, long enough for HS256";
    let redis = RedisProcess::start();
    let file = Rotated::new(&format!("kid:old:{OLD}\n"));
    let settings = [("FANFARE_JWT_HS256_SECRET", ""), ("FANFARE_JWT_HS256_SECRET_FILE", file.path()), OFTEN];
    let node = Node::start_on(&redis.url(), &settings).await;
    let old = signed(Algorithm::HS256, Some("old"), &EncodingKey::from_secret(OLD.as_bytes()));
    let new = signed(Algorithm::HS256, Some("new"), &EncodingKey::from_secret(NEW.as_bytes()));
    assert_eq!(judged(&node, &new).await, (401, "unknown key".to_owned()));
    let connected = UnderTraffic::start(&redis, Client::connect(&node, &old).await).await;

    file.replace(&format!("kid:old:{OLD}\nkid:new:{NEW}\n"));
    until_judged(&node, &new, (101, "")).await;
    assert_eq!(judged(&node, &old).await.0, 101, "both are good for a while");
    // A file that can't be used changes nothing.
    file.replace("\n");
    node.logged("file changed and can't be used, the old content stays").await;
    assert_eq!((judged(&node, &old).await.0, judged(&node, &new).await.0), (101, 101));
    file.replace(&format!("kid:new:{NEW}\n"));
    until_judged(&node, &old, (401, "unknown key")).await;
    assert_eq!(judged(&node, &new).await.0, 101);
    connected.finish().await;
    assert!(!node.log().contains("secret of the tests"), "{}", node.log());
}

#[tokio::test]
async fn public_keys_are_rotated() {
    let redis = RedisProcess::start();
    let [old, new] = [(); 2].map(|()| KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap());
    let token_of = |pair: &KeyPair| {
        signed(Algorithm::ES256, None, &EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap())
    };
    let (old_token, new_token) = (token_of(&old), token_of(&new));
    let file = Rotated::new(&old.public_key_pem());
    let settings = [("FANFARE_JWT_HS256_SECRET", ""), ("FANFARE_JWT_PUBLIC_KEY_FILE", file.path()), OFTEN];
    let node = Node::start_on(&redis.url(), &settings).await;
    // A secret that this node doesn't have is no way in, whatever it is.
    assert_eq!(judged(&node, &token("acme", "42")).await, (401, "algorithm not allowed".to_owned()));
    assert_eq!(judged(&node, &new_token).await, (401, "bad signature".to_owned()));
    let connected = UnderTraffic::start(&redis, Client::connect(&node, &old_token).await).await;

    file.replace(&format!("{}{}", old.public_key_pem(), new.public_key_pem()));
    until_judged(&node, &new_token, (101, "")).await;
    assert_eq!(judged(&node, &old_token).await.0, 101);
    file.replace(&new.public_key_pem());
    until_judged(&node, &old_token, (401, "bad signature")).await;
    assert_eq!(judged(&node, &new_token).await.0, 101);
    connected.finish().await;
}

#[tokio::test]
async fn keys_of_the_http_api_are_rotated() {
    let redis = RedisProcess::start();
    let entry = |key: &str, tenants: &str| {
        format!("[[key]]\nname = \"orders\"\nkey = \"{key}\"\ntenants = [\"{tenants}\"]\nverbs = [\"publish\"]\n")
    };
    let file = Rotated::new(&entry("old-key-of-orders", "*"));
    let node = Node::start_on(&redis.url(), &[("FANFARE_API_KEYS_FILE", file.path()), OFTEN]).await;
    let mut client = subscriber(&node, &token("acme", "1"), "channel:orders").await;
    let status = async |key: &str, tenant: &str| {
        let path = format!("/v1/tenants/{tenant}/topics/channel:orders/events");
        let bearer = format!("Bearer {key}");
        request(node.admin, "POST", &path, &[("Authorization", &bearer)], EVENT.as_bytes()).await.status
    };
    assert_eq!(status("new-key-of-orders", "acme").await, 401);
    assert_eq!(status("old-key-of-orders", "acme").await, 200);
    assert_eq!(client.text().await, frame("channel:orders", EVENT));

    // Two keys of one name, while whoever uses it changes over.
    file.replace(&(entry("old-key-of-orders", "*") + &entry("new-key-of-orders", "acme")));
    until("the new key is good", async || status("new-key-of-orders", "acme").await == 200).await;
    assert_eq!(client.text().await, frame("channel:orders", EVENT));
    assert_eq!(status("old-key-of-orders", "acme").await, 200);
    assert_eq!(client.text().await, frame("channel:orders", EVENT));
    assert_eq!(status("new-key-of-orders", "globex").await, 403);
    file.replace(&entry("new-key-of-orders", "acme"));
    until("the old key is no good", async || status("old-key-of-orders", "globex").await == 401).await;
    assert_eq!(status("new-key-of-orders", "acme").await, 200);
    assert_eq!(client.text().await, frame("channel:orders", EVENT));
    // Those of the settings are not the file's.
    assert_eq!(node.publish("acme", "channel:orders", EVENT).await.status, 200);
    assert!(!node.log().contains("-key-of-orders"), "{}", node.log());
}

#[tokio::test]
async fn the_password_of_redis_is_rotated() {
    let redis = RedisProcess::start_with(&["--requirepass", "old-password"]);
    let file = Rotated::new("old-password\n");
    let settings = [("FANFARE_REDIS_PASSWORD_FILE", file.path()), ("FANFARE_GAP_SPREAD_MS", "0")];
    let node = Node::start_on(&redis.url(), &settings).await;
    let mut client = Client::connect(&node, &token("acme", "1")).await;
    let traffic = Traffic::start(&redis, "acme:channel:orders", Some("old-password"));
    let mut seen = Seen::from_subscribed(&mut client, &traffic).await;

    redis.command_as(Some("old-password"), &["CONFIG", "SET", "requirepass", "new-password"]);
    file.replace("new-password\n");
    traffic.flows().await;
    assert_eq!(node.publish("globex", "tenant", EVENT).await.status, 200, "connections that stand go on");
    assert_eq!(node.get("/readyz").await.status, 200);
    // And the next ones use what the file says then.
    redis.command_as(Some("new-password"), &["CLIENT", "KILL", "TYPE", "pubsub"]);
    let mut gaps = 0;
    while gaps < 3 {
        let told = seen.take_events(&mut client).await;
        assert_eq!(
            (&told["op"], &told["lost"], &told["reason"]),
            (&"gap".into(), &"ephemeral".into(), &"backplane".into())
        );
        gaps += 1;
        // What the gap covers is over.
        seen = Seen::default();
    }
    until_status(&node, "/readyz", 200).await;
    traffic.flows().await;
    let (topic, last) = (traffic.topic().to_owned(), traffic.stop());
    seen.take_until(&mut client, &topic, last).await;
    client.expect_nothing().await;
    assert!(!node.log().contains("-password"), "{}", node.log());
}

/// Kubernetes mounts a secret as a link to a link, and changes it by swapping the inner one.
#[tokio::test]
async fn a_secret_is_rotated_by_swapping_a_link() {
    let redis = RedisProcess::start();
    let directory = tempfile::tempdir().unwrap();
    let volume = |name: &str, secret: &str| {
        let folder = directory.path().join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("secret"), secret).unwrap();
    };
    let link = |from: &str, to: &Path| {
        let new = directory.path().join("new");
        std::os::unix::fs::symlink(from, &new).unwrap();
        fs::rename(new, to).unwrap();
    };
    volume("v1", "the first secret of the tests, long enough for HS256");
    volume("v2", "the second secret of the tests, long enough for HS256");
    let (data, file) = (directory.path().join("data"), directory.path().join("secret"));
    link("v1", &data);
    link("data/secret", &file);
    let path = file.to_str().unwrap();
    let settings = [("FANFARE_JWT_HS256_SECRET", ""), ("FANFARE_JWT_HS256_SECRET_FILE", path), OFTEN];
    let node = Node::start_on(&redis.url(), &settings).await;
    let token = |secret: &str| signed(Algorithm::HS256, None, &EncodingKey::from_secret(secret.as_bytes()));
    let first = token("the first secret of the tests, long enough for HS256");
    let second = token("the second secret of the tests, long enough for HS256");
    assert_eq!(judged(&node, &first).await.0, 101);
    link("v2", &data);
    until_judged(&node, &second, (101, "")).await;
    assert_eq!(judged(&node, &first).await, (401, "bad signature".to_owned()));
    assert_eq!(json!(judged(&node, "no token").await), json!([401, "malformed token"]));
}
