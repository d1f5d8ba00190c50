//! A way to Redis that can be shut: connections end, and new ones are refused and counted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::RedisProcess;

pub(crate) struct Door {
    address: SocketAddr,
    is_open: watch::Sender<bool>,
    refused: Arc<AtomicUsize>,
    /// Ends with the door.
    _keeper: JoinSet<()>,
}

impl Door {
    pub(crate) async fn before(redis: &RedisProcess) -> Door {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let (is_open, refused) = (watch::Sender::new(true), Arc::new(AtomicUsize::new(0)));
        let mut keeper = JoinSet::new();
        keeper.spawn(keep(listener, redis.port(), is_open.subscribe(), Arc::clone(&refused)));
        Door { address, is_open, refused, _keeper: keeper }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    pub(crate) fn shut(&self) {
        self.is_open.send_replace(false);
    }

    pub(crate) fn open(&self) {
        self.is_open.send_replace(true);
    }

    /// How many connections were refused.
    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }
}

async fn keep(listener: TcpListener, port: u16, is_open: watch::Receiver<bool>, refused: Arc<AtomicUsize>) {
    let mut connections = JoinSet::new();
    loop {
        let (mut client, _) = listener.accept().await.expect("a listening socket");
        if !*is_open.borrow() {
            refused.fetch_add(1, Ordering::SeqCst);
            continue;
        }
        let mut is_open = is_open.clone();
        connections.spawn(async move {
            let mut server = TcpStream::connect(("127.0.0.1", port)).await.expect("Redis runs");
            tokio::select! {
                _ = copy_bidirectional(&mut client, &mut server) => {}
                _ = is_open.wait_for(|is_open| !*is_open) => {}
            }
        });
    }
}
