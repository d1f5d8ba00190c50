//! A TCP proxy before a Redis, which fails in ways that no real network does on demand. It tells the connection that
//! subscribes from the others by the word in what it sends.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Duration;

/// Listens until the process ends.
pub(crate) struct TcpProxy {
    port: u16,
    shared: Arc<Shared>,
}

/// What happens to what goes through. All of it may change at any time.
#[derive(Default)]
struct Shared {
    upstream: AtomicU16,
    /// New connections are closed at once.
    refuses: AtomicBool,
    /// Subscribers get answers and confirmations, but no message.
    drops_messages: AtomicBool,
    /// What the server sends to subscribers vanishes; both sockets live.
    deafens_subscribers: AtomicBool,
    /// What subscribers send vanishes; both sockets live.
    mutes_subscribers: AtomicBool,
    /// A connection that sends this word is answered only when it is another one.
    held_word: Mutex<Option<&'static str>>,
    is_holding: AtomicBool,
    connections: Mutex<Vec<Arc<Connection>>>,
}

struct Connection {
    client: TcpStream,
    server: TcpStream,
    subscribes: AtomicBool,
    /// The word of those that are held which it sent last.
    sent_word: Mutex<Option<&'static str>>,
}

impl TcpProxy {
    /// Before the server on this port of the loopback interface.
    pub(crate) fn before(port: u16) -> TcpProxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let proxy = TcpProxy { port: listener.local_addr().expect("a bound address").port(), shared: Arc::default() };
        proxy.lead_to(port);
        let shared = Arc::clone(&proxy.shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                shared.accept(client);
            }
        });
        proxy
    }

    /// `redis://127.0.0.1:port`.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// New connections lead to the server on this port.
    pub(crate) fn lead_to(&self, port: u16) {
        self.shared.upstream.store(port, Ordering::SeqCst);
    }

    /// Whether new connections are closed at once.
    pub(crate) fn refuse(&self, refuses: bool) {
        self.shared.refuses.store(refuses, Ordering::SeqCst);
    }

    /// Whether subscribers get no message, though all else works.
    pub(crate) fn drop_messages(&self, drops: bool) {
        self.shared.drops_messages.store(drops, Ordering::SeqCst);
    }

    /// Whether what the server sends to subscribers vanishes. For a connection where something did there is no way back.
    pub(crate) fn deafen_subscribers(&self, deafens: bool) {
        self.shared.deafens_subscribers.store(deafens, Ordering::SeqCst);
    }

    /// Whether what subscribers send vanishes. For a connection where something did there is no way back.
    pub(crate) fn mute_subscribers(&self, mutes: bool) {
        self.shared.mutes_subscribers.store(mutes, Ordering::SeqCst);
    }

    /// A connection that sends this word from now on gets no answer until that is taken back.
    pub(crate) fn hold_answers_to(&self, word: Option<&'static str>) {
        *self.shared.held_word.lock().expect("not poisoned") = word;
    }

    /// Whether an answer has been held back.
    pub(crate) fn is_holding(&self) -> bool {
        self.shared.is_holding.load(Ordering::SeqCst)
    }

    /// Closes the connections that don't subscribe.
    pub(crate) fn cut_others(&self) {
        for connection in self.shared.connections.lock().expect("not poisoned").iter() {
            if !connection.subscribes.load(Ordering::SeqCst) {
                connection.close();
            }
        }
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, client: TcpStream) {
        if self.refuses.load(Ordering::SeqCst) {
            return;
        }
        let Ok(server) = TcpStream::connect(("127.0.0.1", self.upstream.load(Ordering::SeqCst))) else { return };
        let connection =
            Arc::new(Connection { client, server, subscribes: AtomicBool::new(false), sent_word: Mutex::default() });
        self.connections.lock().expect("not poisoned").push(Arc::clone(&connection));
        for is_request in [true, false] {
            let (shared, connection) = (Arc::clone(self), Arc::clone(&connection));
            std::thread::spawn(move || {
                shared.carry(&connection, is_request);
                connection.close();
            });
        }
    }

    fn carry(&self, connection: &Connection, is_request: bool) -> Option<()> {
        let (mut from, mut to) = if is_request {
            (&connection.client, &connection.server)
        } else {
            (&connection.server, &connection.client)
        };
        let mut buffer = vec![0; 64 * 1024];
        // No network goes on after a hole.
        let mut is_dead = false;
        loop {
            let count = from.read(&mut buffer).ok().filter(|&count| count > 0)?;
            let mut bytes = buffer[..count].to_vec();
            if is_request && bytes.windows(9).any(|word| word == b"SUBSCRIBE") {
                connection.subscribes.store(true, Ordering::SeqCst);
            }
            self.hold(connection, is_request, &bytes);
            if connection.subscribes.load(Ordering::SeqCst) {
                let vanishes = if is_request { &self.mutes_subscribers } else { &self.deafens_subscribers };
                is_dead |= vanishes.load(Ordering::SeqCst);
                if is_dead {
                    continue;
                }
                if !is_request && self.drops_messages.load(Ordering::SeqCst) {
                    bytes = without_messages(&bytes);
                }
            }
            to.write_all(&bytes).ok()?;
        }
    }
}

impl Shared {
    /// Notes a word that is asked to be held, and holds back what answers it.
    fn hold(&self, connection: &Connection, is_request: bool, bytes: &[u8]) {
        let held = || *self.held_word.lock().expect("not poisoned");
        if is_request {
            if let Some(word) = held()
                && bytes.windows(word.len()).any(|window| window == word.as_bytes())
            {
                *connection.sent_word.lock().expect("not poisoned") = Some(word);
            }
            return;
        }
        let sent = *connection.sent_word.lock().expect("not poisoned");
        while sent.is_some() && sent == held() {
            self.is_holding.store(true, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Connection {
    fn close(&self) {
        // It may be closed already.
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }
}

/// Takes the messages out of what a server sent; each must be there as a whole.
fn without_messages(bytes: &[u8]) -> Vec<u8> {
    const MESSAGE: &[u8] = b">3\r\n$7\r\nmessage\r\n";
    let mut rest = bytes;
    let mut kept = Vec::new();
    while let Some(start) = rest.windows(MESSAGE.len()).position(|window| window == MESSAGE) {
        kept.extend_from_slice(&rest[..start]);
        rest = &rest[start + MESSAGE.len()..];
        for _ in 0..2 {
            let line = rest.iter().position(|&byte| byte == b'\n').expect("a length") + 1;
            let length = std::str::from_utf8(&rest[1..line]).expect("a length").trim_end();
            rest = &rest[line + length.parse::<usize>().expect("a length") + 2..];
        }
    }
    kept.extend_from_slice(rest);
    kept
}
