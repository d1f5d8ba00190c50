//! A client by RFC 6455, written without the gateway's WebSocket library, so that the two can't share a mistake. It takes
//! nothing amiss that it sends, and everything that it receives.

use std::net::SocketAddr;

use fanfare_protocol::Codec;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::{Node, Reply, in_time};

/// A connection of any kind: plain, TLS, from some source address.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The key and the accept value of the example in RFC 6455 §1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// An opening handshake, changed at will before it is made.
#[derive(Clone, Debug)]
pub(crate) struct Handshake {
    address: SocketAddr,
    target: String,
    headers: Vec<(String, String)>,
    codec: Codec,
}

/// An open connection; dropped, it is gone without a word.
pub(crate) struct Client {
    writer: WriteHalf<Box<dyn Stream>>,
    frames: mpsc::UnboundedReceiver<Frame>,
    reads: watch::Sender<bool>,
    /// Ends with the client.
    _reader: JoinSet<()>,
    codec: Codec,
    /// What the handshake was answered with.
    pub(crate) reply: Reply,
}

/// What came from the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// A ping of the WebSocket protocol.
    Ping(Vec<u8>),
    /// A pong of the WebSocket protocol.
    Pong(Vec<u8>),
    /// A close frame: code, when it has one, and reason.
    Close(Option<u16>, String),
    /// The connection ended.
    End,
}

impl Handshake {
    /// To the clients' port of a node, offering `fanfare.v1.json`.
    pub(crate) fn to(node: &Node) -> Self {
        Self::to_address(node.clients)
    }

    /// To any address.
    pub(crate) fn to_address(address: SocketAddr) -> Self {
        let headers = vec![("Sec-WebSocket-Protocol".to_owned(), "fanfare.v1.json".to_owned())];
        Self { address, target: "/ws".to_owned(), headers, codec: Codec::Json }
    }

    /// Speaks `fanfare.v1.msgpack` instead.
    pub(crate) fn msgpack(mut self) -> Self {
        self.codec = Codec::Msgpack;
        self.without("Sec-WebSocket-Protocol").header("Sec-WebSocket-Protocol", "fanfare.v1.msgpack")
    }

    /// Path and query: `/ws?token=…`.
    pub(crate) fn target(mut self, target: &str) -> Self {
        target.clone_into(&mut self.target);
        self
    }

    /// `Authorization: Bearer …`.
    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// One more header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without the headers of this name: `Sec-WebSocket-Protocol`, to be answered with a status when refused.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(header, _)| !header.eq_ignore_ascii_case(name));
        self
    }

    /// Makes it over TCP; the node must agree.
    pub(crate) async fn open(self) -> Client {
        self.try_open().await.unwrap_or_else(|reply| panic!("the handshake was refused: {reply:?}"))
    }

    /// Makes it over TCP; an answer other than 101 is the error.
    pub(crate) async fn try_open(self) -> Result<Client, Reply> {
        let stream = in_time("a connection", TcpStream::connect(self.address)).await.expect("a connection");
        stream.set_nodelay(true).expect("an open socket");
        self.over(Box::new(stream)).await
    }

    /// Makes it over a connection that stands: TLS, a socket with another source address.
    pub(crate) async fn over(self, mut stream: Box<dyn Stream>) -> Result<Client, Reply> {
        let mut head = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n",
            self.target, self.address
        );
        head.extend(self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")));
        stream.write_all((head + "\r\n").as_bytes()).await.expect("the handshake is sent");
        stream.flush().await.expect("the handshake is sent");
        let reply = in_time("the answer to the handshake", read_reply(&mut stream)).await;
        if reply.status != 101 {
            return Err(reply);
        }
        assert_eq!(reply.header("sec-websocket-accept"), Some(ACCEPT));
        let (reader, writer) = tokio::io::split(stream);
        let (frames_in, frames) = mpsc::unbounded_channel();
        let (reads, may_read) = watch::channel(true);
        let mut reading = JoinSet::new();
        reading.spawn(read_frames(reader, frames_in, may_read));
        Ok(Client { writer, frames, reads, _reader: reading, codec: self.codec, reply })
    }
}

impl Client {
    /// A client that was welcomed, its token given as a browser gives it.
    pub(crate) async fn connect(node: &Node, token: &str) -> Client {
        Self::welcomed(Handshake::to(node), token).await
    }

    /// The same over `MessagePack`.
    pub(crate) async fn connect_msgpack(node: &Node, token: &str) -> Client {
        Self::welcomed(Handshake::to(node).msgpack(), token).await
    }

    async fn welcomed(handshake: Handshake, token: &str) -> Client {
        let protocol = format!("fanfare.token.{token}");
        let mut client = handshake.header("Sec-WebSocket-Protocol", &protocol).open().await;
        client.expect("welcome").await;
        client
    }

    /// Sends one message in the connection's encoding.
    pub(crate) async fn send(&mut self, message: &Value) {
        match self.codec {
            Codec::Json => self.send_text(&message.to_string()).await,
            Codec::Msgpack => self.send_frame(0x82, &rmp_serde::to_vec(message).expect("JSON fits")).await,
        }
    }

    /// Sends a text message as it is.
    pub(crate) async fn send_text(&mut self, text: &str) {
        self.send_frame(0x81, text.as_bytes()).await;
    }

    /// Sends one masked frame; `first` is its first byte: FIN, reserved bits, opcode.
    pub(crate) async fn send_frame(&mut self, first: u8, payload: &[u8]) {
        self.send_raw(&frame(first, payload)).await;
    }

    /// Sends a close frame.
    pub(crate) async fn send_close(&mut self, code: u16) {
        self.send_frame(0x88, &code.to_be_bytes()).await;
    }

    /// Sends bytes as they are. The node may have closed already: that shows when its frames are read.
    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        let sending = async {
            self.writer.write_all(bytes).await?;
            // TLS keeps what the socket didn't take at once.
            self.writer.flush().await
        };
        let _ = in_time("the node takes what is sent", sending).await;
    }

    /// Subscribes and returns the answer, which must be `subscribed`.
    pub(crate) async fn subscribe(&mut self, topic: &str) -> Value {
        self.send(&json!({ "op": "subscribe", "id": 1, "topic": topic })).await;
        self.expect("subscribed").await
    }

    /// The next message, which must be this `op`. The node's pings are answered meanwhile.
    pub(crate) async fn expect(&mut self, op: &str) -> Value {
        let message = self.message().await;
        assert_eq!(message["op"], op, "{message}");
        message
    }

    /// The next event, whose `event` is returned, and which must be of this topic.
    pub(crate) async fn expect_event(&mut self, topic: &str) -> Value {
        let mut message = self.expect("event").await;
        assert_eq!(message["topic"], topic, "{message}");
        message["event"].take()
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

    /// The next message, decoded.
    pub(crate) async fn message(&mut self) -> Value {
        loop {
            let message = match (self.next().await, self.codec) {
                (Frame::Text(text), Codec::Json) => serde_json::from_str::<Value>(&text).expect("JSON"),
                (Frame::Binary(bytes), Codec::Msgpack) => rmp_serde::from_slice(&bytes).expect("MessagePack"),
                (other, _) => panic!("a message should have come, not {other:?}"),
            };
            if message["op"] != "ping" {
                return message;
            }
            self.send(&json!({ "op": "pong" })).await;
        }
    }

    /// The next message as it came, for what must be byte for byte.
    pub(crate) async fn text(&mut self) -> String {
        match self.next().await {
            Frame::Text(text) => text,
            other => panic!("a text message should have come, not {other:?}"),
        }
    }

    /// The next frame of any kind, the node's pings included.
    pub(crate) async fn next(&mut self) -> Frame {
        in_time("a frame from the node", self.frames.recv()).await.unwrap_or(Frame::End)
    }

    /// The node says `disconnect`, closes, and ends the connection; events on their way come first. Returns the
    /// `disconnect` message, whose code the close frame must have.
    pub(crate) async fn expect_disconnect(&mut self, code: u16) -> Value {
        let told = self.skip_to("disconnect").await;
        assert_eq!(told["code"], code, "{told}");
        assert_eq!(self.expect_close().await.0, Some(code));
        told
    }

    /// The next frame is a close frame, and nothing follows it. Returns its code and reason.
    pub(crate) async fn expect_close(&mut self) -> (Option<u16>, String) {
        let (code, reason) = match self.next().await {
            Frame::Close(code, reason) => (code, reason),
            other => panic!("a close frame should have come, not {other:?}"),
        };
        self.send_close(code.unwrap_or(1000)).await;
        assert_eq!(self.next().await, Frame::End);
        // The node may have closed its side for both.
        let _ = self.writer.shutdown().await;
        (code, reason)
    }

    /// Reads nothing from the socket after the next frame, until [`Client::read_on`].
    pub(crate) fn stop_reading(&self) {
        self.reads.send_replace(false);
    }

    /// Reads again.
    pub(crate) fn read_on(&self) {
        self.reads.send_replace(true);
    }

    /// Nothing waits but the answer to a ping. What the node was told before has been handled when this returns; what
    /// others publish may still be on its way.
    pub(crate) async fn expect_nothing(&mut self) {
        self.send(&json!({ "op": "ping" })).await;
        self.expect("pong").await;
    }
}

/// A masked frame (RFC 6455 §5.2); `first` is its first byte.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first];
    match payload.len() {
        0..=125 => frame.push(0x80 | u8::try_from(payload.len()).expect("fits")),
        126..=0xffff => {
            frame.push(0xfe);
            frame.extend(u16::try_from(payload.len()).expect("fits").to_be_bytes());
        }
        _ => {
            frame.push(0xff);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Reads to the end of the head and not a byte further: frames follow a 101. The body of a refusal is read whole.
async fn read_reply(stream: &mut Box<dyn Stream>) -> Reply {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.expect("a complete head"));
    }
    let head = Reply::parse(&bytes);
    if let Some(length) = head.header("content-length").and_then(|length| length.parse().ok()) {
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.expect("a complete body");
        bytes.extend(body);
    }
    Reply::parse(&bytes)
}

async fn read_frames(
    mut reader: ReadHalf<Box<dyn Stream>>,
    frames: mpsc::UnboundedSender<Frame>,
    mut may_read: watch::Receiver<bool>,
) {
    while may_read.wait_for(|may| *may).await.is_ok()
        && let Ok(frame) = read_frame(&mut reader).await
    {
        if frames.send(frame).is_err() {
            return;
        }
    }
    let _ = frames.send(Frame::End);
}

/// Reads one frame as a server sends it: unmasked, whole, no reserved bit.
async fn read_frame(reader: &mut ReadHalf<Box<dyn Stream>>) -> std::io::Result<Frame> {
    let (first, second) = (reader.read_u8().await?, reader.read_u8().await?);
    let length = match second {
        length @ 0..=125 => usize::from(length),
        126 => usize::from(reader.read_u16().await?),
        127 => usize::try_from(reader.read_u64().await?).expect("a length"),
        _ => panic!("a server's frame is not masked"),
    };
    let mut payload = vec![0; length];
    reader.read_exact(&mut payload).await?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    Ok(match first {
        0x81 => Frame::Text(text(&payload)),
        0x82 => Frame::Binary(payload),
        0x88 => match payload.split_first_chunk() {
            Some((code, reason)) => Frame::Close(Some(u16::from_be_bytes(*code)), text(reason)),
            None => Frame::Close(None, String::new()),
        },
        0x89 => Frame::Ping(payload),
        0x8a => Frame::Pong(payload),
        other => panic!("a frame that starts with {other:#x}"),
    })
}
