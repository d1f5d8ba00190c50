//! A node's admin port: whether a balancer should send clients there, and what the node counts. One request a connection.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two looks at a node's readiness: balancers look less often, and a node that leaves gives them time.
const LOOK: Duration = Duration::from_millis(200);

/// Whether it delivers and takes clients.
pub(crate) const READY: &str = "/readyz";
/// Whether balancers should send it clients.
const TAKES_CLIENTS: &str = "/readyz/node";

/// Whether a node takes clients, as a balancer knows it; looked at by a thread of its own, as long as this lives.
pub(crate) struct Health(Arc<AtomicBool>);

impl Health {
    /// Of the node with this admin port, which is taken to be up at first.
    pub(crate) fn watch(admin: SocketAddr) -> Health {
        let is_up = Arc::new(AtomicBool::new(true));
        let watched = Arc::downgrade(&is_up);
        std::thread::spawn(move || watch(admin, &watched));
        Health(is_up)
    }

    pub(crate) fn is_up(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(crate) fn fixed(is_up: bool) -> Health {
        Health(Arc::new(AtomicBool::new(is_up)))
    }
}

fn watch(admin: SocketAddr, watched: &Weak<AtomicBool>) {
    while watched.strong_count() > 0 {
        let is_up = is_yes(admin, TAKES_CLIENTS);
        if let Some(known) = watched.upgrade() {
            known.store(is_up, Ordering::Relaxed);
        }
        std::thread::sleep(LOOK);
    }
}

/// Whether the answer to a question of readiness is yes.
pub(crate) fn is_yes(admin: SocketAddr, path: &str) -> bool {
    get(admin, path).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// One value of `/metrics` that has no labels; none when the node doesn't tell it.
pub(crate) fn metric(admin: SocketAddr, name: &str) -> Option<f64> {
    let answer = get(admin, "/metrics").ok()?;
    let value = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok())
}

fn get(admin: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&admin, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use std::net::TcpListener;

    use super::*;

    /// Answers one request.
    fn answering(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            stream.write_all(answer.as_bytes()).unwrap();
        });
        address
    }

    #[test]
    fn a_metric_is_found_by_its_whole_name() {
        let answer = "HTTP/1.1 200 OK\r\n\r\n# HELP a_b c\na_b_total 3\na_b 7\n";
        assert_eq!(metric(answering(answer), "a_b"), Some(7.0));
        assert_eq!(metric(answering(answer), "a"), None);
    }

    #[test]
    fn only_a_yes_is_a_yes() {
        assert!(is_yes(answering("HTTP/1.1 200 OK\r\n\r\n{}"), READY));
        assert!(!is_yes(answering("HTTP/1.1 503 Service Unavailable\r\n\r\n{}"), READY));
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(!is_yes(gone, READY));
    }
}
