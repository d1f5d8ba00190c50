//! A Redis behind TLS that wants to know who comes: certificates of a private CA on both sides.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::path::{Path, PathBuf};

use fanfare_backplane::{Backplane, ClientCertificate, Read, ReadLimits, RedisConfig, State};
use fanfare_protocol::Position;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
};
use tempfile::TempDir;

use support::node::{Node, Told, config, message, topic};
use support::redis_server::{RedisProcess, free_port, wait_until};
use support::sentinel::{NAME, SentinelProcess};

/// A certificate authority and what it has signed, as files.
struct Authority {
    directory: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, format!("Authority {:x}", rand::random::<u64>()));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Authority { directory: tempfile::tempdir().unwrap(), issuer };
        std::fs::write(authority.ca_file(), authority.issuer.pem()).unwrap();
        authority
    }

    fn ca_file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// Signs a certificate for a host name and writes it and its key.
    fn sign(&self, host: &str, change: impl FnOnce(&mut CertificateParams)) -> ClientCertificate {
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, host);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let [cert_file, key_file] = ["cert", "key"]
            .map(|kind| self.directory.path().join(format!("{host}-{:x}.{kind}", rand::random::<u64>())));
        std::fs::write(&cert_file, certificate.pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        ClientCertificate { cert_file, key_file }
    }

    /// A server with this certificate that wants one of clients, too.
    fn server(&self, certificate: &ClientCertificate) -> (RedisProcess, String) {
        let (server, port) = self.server_with(certificate, &[]);
        (server, format!("rediss://localhost:{port}"))
    }

    /// The same with more arguments, and its TLS port.
    fn server_with(&self, certificate: &ClientCertificate, arguments: &[&str]) -> (RedisProcess, u16) {
        let port = free_port();
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let own = [
            "--tls-port",
            &port.to_string(),
            "--tls-cert-file",
            &text(&certificate.cert_file),
            "--tls-key-file",
            &text(&certificate.key_file),
            "--tls-ca-cert-file",
            &text(&self.ca_file()),
            "--tls-auth-clients",
            "yes",
        ];
        (RedisProcess::start_with(&[&own[..], arguments].concat()), port)
    }

    fn trusting(&self, url: &str, certificate: Option<&ClientCertificate>) -> RedisConfig {
        RedisConfig { ca_file: Some(self.ca_file()), client_certificate: certificate.cloned(), ..config(url) }
    }
}

async fn error_of(config: RedisConfig) -> String {
    let node = Node::new(Backplane::redis(config));
    let state = node.until_state(|state| *state != State::Connecting { error: None }).await;
    let State::Connecting { error: Some(error) } = state else { panic!("not an error: {state:?}") };
    error
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_certificate_of_the_right_authority_is_let_in() {
    let authority = Authority::new();
    let (_server, url) = authority.server(&authority.sign("localhost", |_| {}));
    let client = authority.sign("node-1", |_| {});
    let mut node = Node::new(Backplane::redis(authority.trusting(&url, Some(&client))));
    let orders = topic("acme:channel:orders");
    node.want(std::slice::from_ref(&orders)).await;
    node.until_state(State::is_up).await;
    node.publish_when_possible(&orders, "in private").await;
    assert_eq!(node.next().await, message(&orders, "in private"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_speaks_tls_on_all_connections() {
    let authority = Authority::new();
    let bus = free_port().to_string();
    let arguments = ["--cluster-enabled", "yes", "--tls-cluster", "yes", "--cluster-port", &bus];
    // It doesn't know its own address, so it is the one that it was reached by.
    let (server, port) = authority.server_with(&authority.sign("localhost", |_| {}), &arguments);
    assert_eq!(server.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]), "OK");
    wait_until("it works", || server.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok"));
    let client = authority.sign("node-1", |_| {});
    let url = format!("rediss+cluster://localhost:{port}");
    let mut node = Node::new(Backplane::redis(authority.trusting(&url, Some(&client))));
    let orders = topic("acme:channel:orders");
    node.want(std::slice::from_ref(&orders)).await;
    node.until_state(State::is_up).await;
    node.publish_when_possible(&orders, "in private").await;
    assert_eq!(node.next().await, message(&orders, "in private"));
    let limits = ReadLimits { events_max: 1, bytes_max: 1 };
    let tail = node.backplane.read(&[Read { topic: orders, after: None }], limits).await.remove(0).unwrap();
    assert_ne!(tail.position, Position::NONE);
    let error = error_of(authority.trusting(&url, None)).await;
    assert!(error.contains("does it want a client certificate"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_or_foreign_client_certificate_is_told_as_such() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let (_server, url) = authority.server(&authority.sign("localhost", |_| {}));
    let wants = "does it want a client certificate, or another one?";
    let error = error_of(authority.trusting(&url, None)).await;
    assert!(error.contains("it ended the TLS connection during the handshake") && error.contains(wants), "{error}");
    let error = error_of(authority.trusting(&url, Some(&foreign.sign("node-1", |_| {})))).await;
    assert!(error.contains(wants), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_cant_be_used_are_named() {
    let authority = Authority::new();
    let (_server, url) = authority.server(&authority.sign("localhost", |_| {}));
    let (one, other) = (authority.sign("one", |_| {}), authority.sign("other", |_| {}));
    let missing = PathBuf::from("/nowhere/client.pem");
    for (cert_file, key_file, named, why) in [
        (&missing, &one.key_file, &missing, "No such file"),
        (&one.cert_file, &missing, &missing, "No such file"),
        (&one.key_file, &one.key_file, &one.key_file, "it holds no certificate"),
        (&one.cert_file, &one.cert_file, &one.cert_file, "no items found"),
        (&one.cert_file, &other.key_file, &other.key_file, "not the key of the certificate"),
    ] {
        let pair = ClientCertificate { cert_file: cert_file.clone(), key_file: key_file.clone() };
        let error = error_of(authority.trusting(&url, Some(&pair))).await;
        let start = format!("{url}: can't use the client certificate in {}: ", named.display());
        assert!(error.starts_with(&start) && error.contains(why), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_proves_nothing_is_not_trusted() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let client = authority.sign("node-1", |_| {});
    let (_server, url) = authority.server(&authority.sign("localhost", |_| {}));
    let error = error_of(foreign.trusting(&url, Some(&client))).await;
    assert!(error.contains("invalid peer certificate: UnknownIssuer: is the CA file the one of the CA"), "{error}");

    let (_server, url) = authority.server(&authority.sign("redis.example.com", |_| {}));
    let error = error_of(authority.trusting(&url, Some(&client))).await;
    let expected =
        ["not valid for name \"localhost\"", "use a name in the URL that stands in the server's certificate"];
    assert!(expected.iter().all(|words| error.contains(words)), "{error}");

    let expired = authority.sign("localhost", |params| params.not_after = date_time_ymd(2020, 1, 1));
    let (_server, url) = authority.server(&expired);
    let error = error_of(authority.trusting(&url, Some(&client))).await;
    assert!(error.contains("certificate expired") && error.contains("renew the server's certificate"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_certificate_is_used_at_the_next_connect() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let (server, url) = authority.server(&authority.sign("localhost", |_| {}));
    let (good, bad) = (authority.sign("node-1", |_| {}), foreign.sign("node-1", |_| {}));
    let used = foreign.sign("used", |_| {});
    let put = |certificate: &ClientCertificate| {
        std::fs::copy(&certificate.cert_file, &used.cert_file).unwrap();
        std::fs::copy(&certificate.key_file, &used.key_file).unwrap();
    };
    put(&good);
    let mut node = Node::new(Backplane::redis(authority.trusting(&url, Some(&used))));
    node.until_state(State::is_up).await;
    put(&bad);
    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    let is_told = |state: &State| matches!(state, State::Down { error } if error.contains("want a client certificate"));
    node.until_state(is_told).await;
    put(&good);
    node.until_state(State::is_up).await;
    node.until(&Told::Up(false)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_are_asked_over_tls_when_the_url_says_so() {
    let authority = Authority::new();
    let [certificate, client] = ["127.0.0.1", "node-1"].map(|host| authority.sign(host, |_| {}));
    let (_server, url) = authority.server(&certificate);
    let server_port = url.rsplit_once(':').unwrap().1.parse().unwrap();
    let port = free_port();
    let lines = [
        format!("tls-port {port}"),
        "tls-replication yes".to_owned(),
        format!("tls-cert-file {}", certificate.cert_file.display()),
        format!("tls-key-file {}", certificate.key_file.display()),
        format!("tls-ca-cert-file {}", authority.ca_file().display()),
    ];
    let _sentinel = SentinelProcess::start(server_port, &lines.each_ref().map(String::as_str));
    let url = format!("rediss+sentinel://127.0.0.1:{port}/{NAME}");
    let mut node = Node::new(Backplane::redis(authority.trusting(&url, Some(&client))));
    let orders = topic("acme:channel:orders");
    node.want(std::slice::from_ref(&orders)).await;
    node.publish_when_possible(&orders, "in private").await;
    assert_eq!(node.next().await, message(&orders, "in private"));
    let error = error_of(authority.trusting(&url, None)).await;
    assert!(error.contains("does it want a client certificate"), "{error}");
}
