//! A stream on its way: over TLS, through a proxy that speaks HTTP/1.0, through nginx as it comes.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::event_stream::Get;
use crate::support::{Node, free_port, in_time, token, until};
use crate::{ORDERS, numbered};

#[tokio::test]
async fn a_stream_comes_over_tls_too() {
    let directory = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let file = |name: &str, text: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let files = [file("certificate.pem", certificate.pem()), file("key.pem", key.serialize_pem())];
    let settings = [("FANFARE_TLS_CERTIFICATE_FILE", &*files[0]), ("FANFARE_TLS_KEY_FILE", &*files[1])];
    let node = Node::start(&settings).await;

    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let tcp = TcpStream::connect(node.clients).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let tls = in_time("a TLS handshake", TlsConnector::from(config).connect(name, tcp)).await.unwrap();
    let get = Get::sse(&node, "topics=channel:orders").bearer(&token("acme", "1"));
    let mut stream = get.over(Box::new(tls)).await.ok().unwrap();
    stream.expect("welcome").await;
    stream.expect("subscribed").await;
    for n in 0..20 {
        node.keep("acme", ORDERS, &json!({ "type": "n", "data": n, "filler": "x".repeat(50_000) }).to_string()).await;
        assert_eq!(stream.expect("event").await["event"]["data"], n);
    }
    drop(stream);
    until("its place is free", async || node.metric("fanfare_event_streams").await == 0.0).await;
}

#[tokio::test]
async fn who_knows_no_chunks_gets_none() {
    let node = Node::start(&[("FANFARE_TOKEN_EXPIRY_GRACE_S", "0")]).await;
    let get = Get::sse(&node, "topics=channel:orders").http_1_0().bearer(&token("acme", "1"));
    let mut stream = get.open().await;
    assert_eq!(stream.head.header("transfer-encoding"), None);
    stream.expect("welcome").await;
    stream.expect("subscribed").await;
    node.publish("acme", ORDERS, &numbered(1)).await;
    stream.expect("event").await;
    node.signal("-TERM");
    stream.expect_disconnect(1012).await;
}

/// nginx as it comes, but for where it writes and where it leads. Ends with the test.
struct Nginx(Child);

impl Nginx {
    fn start(directory: &Path, port: u16, node: &Node) -> Self {
        let configuration = format!(
            "daemon off; worker_processes 1; pid nginx.pid; error_log stderr;\n\
             events {{}}\n\
             http {{\n\
               access_log off;\n\
               client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;\n\
               server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://{}; }} }}\n\
             }}\n",
            node.clients
        );
        std::fs::write(directory.join("nginx.conf"), configuration).unwrap();
        // It is installed where an ordinary user's PATH doesn't lead.
        let path = format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap());
        let child = Command::new("/usr/bin/env")
            .args(["nginx", "-p", directory.to_str().unwrap(), "-c", "nginx.conf"])
            .env("PATH", path)
            .stdin(Stdio::null())
            .spawn()
            .expect("nginx runs (scripts/install-tools)");
        Self(child)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The main process ends its worker.
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn nginx_passes_a_stream_on_as_it_comes() {
    let node = Node::start(&[("FANFARE_TRUSTED_PROXIES", "127.0.0.1/32")]).await;
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let _nginx = Nginx::start(directory.path(), port, &node);
    let address = ([127, 0, 0, 1], port).into();
    until("nginx listens", async || TcpStream::connect(address).await.is_ok()).await;
    let get = Get::from(address, "topics=channel:orders").bearer(&token("acme", "1"));
    let mut stream = get.open().await;
    stream.expect("welcome").await;
    stream.expect("subscribed").await;
    for n in 0..5 {
        let body = json!({ "topic": ORDERS, "event": { "type": "n", "data": n } }).to_string();
        let bearer = format!("Bearer {}", token("acme", "2"));
        let headers = [("Authorization", bearer.as_str())];
        let reply = crate::support::request(address, "POST", "/client/v1/publish", &headers, body.as_bytes()).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(stream.expect("event").await["event"]["data"], n);
    }
    let refused = Get::from(address, "").try_open().await.err().unwrap();
    assert_eq!((refused.status, refused.code()), (401, "unauthenticated".to_owned()));
    drop(stream);
    until("nginx lets go", async || node.metric("fanfare_event_streams").await == 0.0).await;
}
