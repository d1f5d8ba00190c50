//! A TCP proxy between a node and Redis that delays, refuses, cuts, and half-opens.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::schedule::Mode;

/// Forwards until it is dropped.
pub(crate) struct ChaosProxy {
    address: SocketAddr,
    rule: watch::Sender<Rule>,
    _accepting: JoinSet<()>,
}

/// What holds now.
#[derive(Clone, Copy, Debug)]
struct Rule {
    mode: Mode,
    /// Connections made under a lower number end.
    generation: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToNode,
    ToRedis,
}

impl ChaosProxy {
    /// A proxy to a port of this machine.
    pub(crate) async fn to(port: u16) -> ChaosProxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let (rule, ruled) = watch::channel(Rule { mode: Mode::Pass, generation: 0 });
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, port, ruled));
        ChaosProxy { address, rule, _accepting: accepting }
    }

    /// `redis://127.0.0.1:port`.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// From now on it does this.
    pub(crate) fn set(&self, mode: Mode) {
        self.rule.send_modify(|rule| {
            rule.mode = mode;
            rule.generation += u64::from(mode == Mode::Refuse);
        });
    }

    /// Ends all connections.
    pub(crate) fn cut(&self) {
        self.rule.send_modify(|rule| rule.generation += 1);
    }
}

async fn accept(listener: TcpListener, port: u16, rule: watch::Receiver<Rule>) {
    let mut connections = JoinSet::new();
    let mut number = 0;
    while let Ok((node, _)) = listener.accept().await {
        let rule = rule.clone();
        if rule.borrow().mode != Mode::Refuse {
            connections.spawn(connect(node, port, number % 3, rule));
            number += 1;
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Connections are not equally slow, so that what is read overtakes what is published, and the other way round.
async fn connect(node: TcpStream, port: u16, slowness: u32, mut rule: watch::Receiver<Rule>) {
    let born = rule.borrow().generation;
    let Ok(redis) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let _ = (node.set_nodelay(true), redis.set_nodelay(true));
    let ((from_node, to_node), (from_redis, to_redis)) = (node.into_split(), redis.into_split());
    // The first to end ends both.
    tokio::select! {
        () = forward(from_node, to_redis, (Direction::ToRedis, slowness), rule.clone()) => {}
        () = forward(from_redis, to_node, (Direction::ToNode, slowness), rule.clone()) => {}
        _ = rule.wait_for(|rule| rule.generation > born) => {}
    }
}

async fn forward(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    (direction, slowness): (Direction, u32),
    rule: watch::Receiver<Rule>,
) {
    let mut buffer = [0; 16 * 1024];
    // A stream that has lost bytes is never whole again.
    let mut is_broken = false;
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let mode = rule.borrow().mode;
        is_broken |= mode == Mode::SwallowToNode && direction == Direction::ToNode;
        is_broken |= mode == Mode::SwallowToRedis && direction == Direction::ToRedis;
        if is_broken {
            continue;
        }
        if let Mode::Delay(milliseconds) = mode {
            tokio::time::sleep(slowness * Duration::from_millis(milliseconds)).await;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
    if is_broken {
        // Nor does its end arrive.
        std::future::pending::<()>().await;
    }
}
