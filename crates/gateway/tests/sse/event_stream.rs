//! A client of event streams, written from the standard alone: HTTP/1.1 with chunks or HTTP/1.0 without, and the format of
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html>.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::support::client::Stream;
use crate::support::{Node, Reply, in_time};

/// A request for a stream, changed at will before it is made.
#[derive(Clone, Debug)]
pub(crate) struct Get {
    address: SocketAddr,
    target: String,
    version: &'static str,
    headers: Vec<(String, String)>,
}

/// An open stream; dropped, its client is gone without a word.
pub(crate) struct EventStream {
    items: mpsc::UnboundedReceiver<Item>,
    reads: watch::Sender<bool>,
    /// Ends with the client.
    _reader: JoinSet<()>,
    /// The answer's head.
    pub(crate) head: Reply,
    /// The last id that came.
    pub(crate) last_id: String,
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// A message: its data, and its id when it has one.
    Message(String, Option<String>),
    /// A comment, without its colon.
    Comment(String),
    /// The end of the body; false when it was cut off.
    End(bool),
}

impl Get {
    /// `/sse` with this query on the clients' port.
    pub(crate) fn sse(node: &Node, query: &str) -> Self {
        Self::from(node.clients, query)
    }

    /// The same at any address.
    pub(crate) fn from(address: SocketAddr, query: &str) -> Self {
        Self { address, target: format!("/sse?{query}"), version: "HTTP/1.1", headers: Vec::new() }
    }

    /// As an old proxy asks.
    pub(crate) fn http_1_0(self) -> Self {
        Self { version: "HTTP/1.0", ..self }
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// Goes on from a message of an earlier stream.
    pub(crate) fn since(self, id: &str) -> Self {
        self.header("Last-Event-ID", id)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Makes it; the node must agree.
    pub(crate) async fn open(self) -> EventStream {
        self.try_open().await.unwrap_or_else(|reply| panic!("refused: {reply:?}"))
    }

    /// Makes it; an answer other than 200 is the error.
    pub(crate) async fn try_open(self) -> Result<EventStream, Reply> {
        let stream = in_time("a connection", TcpStream::connect(self.address)).await.expect("a connection");
        self.over(Box::new(stream)).await
    }

    /// Makes it over a connection that stands.
    pub(crate) async fn over(self, mut stream: Box<dyn Stream>) -> Result<EventStream, Reply> {
        let mut head = format!("GET {} {}\r\nHost: {}\r\n", self.target, self.version, self.address);
        head.extend(self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")));
        stream.write_all((head + "\r\n").as_bytes()).await.expect("the request is sent");
        stream.flush().await.expect("the request is sent");
        let mut bytes = Vec::new();
        in_time("the answer's head", async {
            while !bytes.ends_with(b"\r\n\r\n") {
                bytes.push(stream.read_u8().await.expect("a complete head"));
            }
        })
        .await;
        let head = Reply::parse(&bytes);
        if head.status != 200 {
            let length = head.header("content-length").map_or(0, |length| length.parse().expect("a number"));
            let mut body = vec![0; length];
            in_time("the answer's body", stream.read_exact(&mut body)).await.expect("a complete body");
            bytes.extend(body);
            return Err(Reply::parse(&bytes));
        }
        let is_chunked = head.header("transfer-encoding") == Some("chunked");
        let (sender, items) = mpsc::unbounded_channel();
        let (reads, may_read) = watch::channel(true);
        let mut reading = JoinSet::new();
        reading.spawn(read(stream, is_chunked, sender, may_read));
        Ok(EventStream { items, reads, _reader: reading, head, last_id: String::new() })
    }
}

impl EventStream {
    /// The next item of any kind.
    pub(crate) async fn next(&mut self) -> Item {
        let item = in_time("something on the stream", self.items.recv()).await.unwrap_or(Item::End(false));
        if let Item::Message(_, Some(id)) = &item {
            self.last_id.clone_from(id);
        }
        item
    }

    /// The next message as it came, comments passed over.
    pub(crate) async fn text(&mut self) -> (String, Option<String>) {
        loop {
            match self.next().await {
                Item::Message(data, id) => return (data, id),
                Item::Comment(_) => {}
                end @ Item::End(_) => panic!("a message should have come, not {end:?}"),
            }
        }
    }

    /// The next message, decoded.
    pub(crate) async fn message(&mut self) -> Value {
        let (data, _) = self.text().await;
        serde_json::from_str(&data).unwrap_or_else(|error| panic!("{error}: {data}"))
    }

    /// The next message, which must be this `op`.
    pub(crate) async fn expect(&mut self, op: &str) -> Value {
        let message = self.message().await;
        assert_eq!(message["op"], op, "{message}");
        message
    }

    /// Takes messages until one is this `op`.
    pub(crate) async fn skip_to(&mut self, op: &str) -> Value {
        loop {
            let message = self.message().await;
            if message["op"] == op {
                return message;
            }
        }
    }

    /// The node says `disconnect` and ends the stream properly.
    pub(crate) async fn expect_disconnect(&mut self, code: u16) -> Value {
        let told = self.skip_to("disconnect").await;
        assert_eq!(told["code"], code, "{told}");
        assert_eq!(self.next().await, Item::End(true));
        told
    }

    /// Nothing waits but an event that is published now, to all of acme.
    pub(crate) async fn expect_nothing(&mut self, node: &Node) {
        node.publish("acme", "tenant", r#"{"type":"nothing"}"#).await;
        let message = self.expect("event").await;
        assert_eq!(message["event"]["type"], "nothing", "{message}");
    }

    /// Reads nothing more from the socket, until [`EventStream::read_on`].
    pub(crate) fn stop_reading(&self) {
        self.reads.send_replace(false);
    }

    /// Reads again.
    pub(crate) fn read_on(&self) {
        self.reads.send_replace(true);
    }
}

async fn read(
    mut stream: Box<dyn Stream>,
    is_chunked: bool,
    items: mpsc::UnboundedSender<Item>,
    mut may_read: watch::Receiver<bool>,
) {
    let mut wire = Vec::new();
    let mut lines = Lines::default();
    let is_whole = loop {
        if may_read.wait_for(|may| *may).await.is_err() {
            return;
        }
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await;
        let Ok(count @ 1..) = read else { break !is_chunked && read.is_ok() };
        if !is_chunked {
            lines.take(&buffer[..count], &items);
            continue;
        }
        wire.extend_from_slice(&buffer[..count]);
        let mut is_last = false;
        while let Some(chunk) = next_chunk(&mut wire) {
            is_last = chunk.is_empty();
            lines.take(&chunk, &items);
        }
        if is_last {
            break true;
        }
    };
    let _ = items.send(Item::End(is_whole && lines.is_at_end()));
}

/// Takes a whole chunk (RFC 9112 §7.1) off the front.
fn next_chunk(wire: &mut Vec<u8>) -> Option<Vec<u8>> {
    let head = wire.windows(2).position(|pair| pair == b"\r\n")?;
    let length = usize::from_str_radix(std::str::from_utf8(&wire[..head]).expect("a length"), 16).expect("a length");
    let end = head + 2 + length;
    if wire.len() < end + 2 {
        return None;
    }
    let chunk = wire[head + 2..end].to_vec();
    wire.drain(..end + 2);
    Some(chunk)
}

/// Bytes become lines, and lines become messages.
#[derive(Default)]
struct Lines {
    rest: Vec<u8>,
    data: Vec<String>,
    id: Option<String>,
}

impl Lines {
    fn take(&mut self, bytes: &[u8], items: &mpsc::UnboundedSender<Item>) {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line = self.rest.drain(..=end).collect::<Vec<_>>();
            let line = String::from_utf8(line[..end].to_vec()).expect("UTF-8");
            assert!(!line.contains('\r'), "{line:?}");
            self.line(&line, items);
        }
    }

    fn line(&mut self, line: &str, items: &mpsc::UnboundedSender<Item>) {
        if line.is_empty() {
            let (data, id) = (std::mem::take(&mut self.data), self.id.take());
            if !data.is_empty() {
                let _ = items.send(Item::Message(data.join("\n"), id));
            }
            return;
        }
        match line.split_once(':').unwrap_or((line, "")) {
            ("", comment) => {
                let _ = items.send(Item::Comment(comment.to_owned()));
            }
            ("data", data) => self.data.push(data.strip_prefix(' ').unwrap_or(data).to_owned()),
            ("id", id) => self.id = Some(id.strip_prefix(' ').unwrap_or(id).to_owned()),
            other => panic!("a field that no client knows: {other:?}"),
        }
    }

    fn is_at_end(&self) -> bool {
        self.rest.is_empty() && self.data.is_empty()
    }
}
