//! The connections that histories are read over.

use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use crate::support::node::{config, topic};
use crate::support::redis_server::{RedisProcess, free_port};
use crate::support::tcp_proxy::TcpProxy;
use crate::{eventually, node, orders, publish, published, read};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_read_holds_up_no_publish() {
    let server = RedisProcess::start();
    let proxy = TcpProxy::before(server.port());
    let mut patient = config(&proxy.url());
    patient.response_timeout = Duration::from_mins(2);
    let node = node(patient).await;
    published(&node, &orders()).await;
    // As if the answer were so long.
    proxy.hold_answers_to(Some("fanfare_read"));
    let mut reading = pin!(read(&node, None));
    let publishing = async {
        eventually(async || proxy.is_holding().then_some(())).await;
        for _ in 0..100 {
            publish(&node, &topic("acme:tenant")).await.unwrap();
        }
    };
    tokio::select! {
        biased;
        read = &mut reading => panic!("nothing was held up: {read:?}"),
        () = publishing => {}
    }
    proxy.hold_answers_to(None);
    assert_eq!(reading.await.unwrap().position.seq, 1);
}

#[tokio::test]
async fn a_rotated_password_counts_for_reads_too() {
    let server = RedisProcess::start_with(&["--requirepass", "first"]);
    let file = server.directory().join("password");
    std::fs::write(&file, "first\n").unwrap();
    let mut with_file = config(&server.url());
    with_file.password_file = Some(file.clone());
    let node = node(with_file).await;
    published(&node, &orders()).await;
    std::fs::write(&file, "second\n").unwrap();
    // The publishing connection stays logged in; a new one of the pool doesn't get in.
    server.command_as(Some("first"), &["CONFIG", "SET", "requirepass", "second"]);
    eventually(async || read(&node, None).await.ok()).await;
}

#[tokio::test]
async fn histories_are_read_over_tls_and_the_certificate_is_checked() {
    let port = free_port();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(path("cert.pem"), certified.cert.pem()).unwrap();
    std::fs::write(path("key.pem"), certified.signing_key.serialize_pem()).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (certificate, key) = (text(&path("cert.pem")), text(&path("key.pem")));
    let port_text = port.to_string();
    let tls = ["--tls-port", &port_text, "--tls-cert-file", &certificate, "--tls-key-file", &key];
    let client = ["--tls-ca-cert-file", &certificate, "--tls-auth-clients", "no"];
    let _server = RedisProcess::start_with(&[&tls[..], &client].concat());
    let mut trusting = config(&format!("rediss://localhost:{port}"));
    trusting.ca_file = Some(path("cert.pem"));
    let node = node(trusting).await;
    let position = published(&node, &orders()).await;
    assert_eq!(read(&node, None).await.unwrap().position, position);
}

#[tokio::test]
async fn a_unix_socket_is_read_as_well() {
    let server = RedisProcess::start();
    let node = node(config(&format!("unix://{}", server.socket_path().display()))).await;
    let position = published(&node, &orders()).await;
    assert_eq!(read(&node, None).await.unwrap().position, position);
}
