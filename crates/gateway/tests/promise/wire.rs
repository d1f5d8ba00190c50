//! A WebSocket that may fail at any moment, which is no failure of the test.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use socket2::SockRef;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::client::frame;

/// How long the node may take to agree; it may be frozen.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the kernel keeps for a client that doesn't read, in bytes: little, so that the node notices.
const RECEIVE_BYTES: u32 = 64 * 1024;

/// An open WebSocket; dropped, it is gone without a word.
pub(crate) struct Wire {
    writer: OwnedWriteHalf,
    messages: mpsc::Receiver<Value>,
    /// Ends with the wire.
    _reader: JoinSet<()>,
}

impl Wire {
    /// Connects. None when that fails.
    pub(crate) async fn open(address: SocketAddr) -> Option<Wire> {
        timeout(PATIENCE, Self::handshake(address)).await.ok()?.ok()
    }

    async fn handshake(address: SocketAddr) -> std::io::Result<Wire> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(RECEIVE_BYTES)?;
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        let (reader, mut writer) = stream.into_split();
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: fanfare.v1.json\r\n\r\n"
        );
        writer.write_all(request.as_bytes()).await?;
        let mut reader = BufReader::new(reader);
        let mut line = String::new();
        reader.read_line(&mut line).await?;
        if !line.starts_with("HTTP/1.1 101 ") {
            return Err(std::io::Error::other(line));
        }
        while line.trim_end() != "" {
            line.clear();
            reader.read_line(&mut line).await?;
        }
        // One message waits; what comes after it stays with the kernel until this one is taken.
        let (sender, messages) = mpsc::channel(1);
        let mut reading = JoinSet::new();
        reading.spawn(async move {
            while let Ok(message) = read_message(&mut reader).await
                && sender.send(message).await.is_ok()
            {}
        });
        Ok(Wire { writer, messages, _reader: reading })
    }

    /// The next message; none when the connection has ended. Nothing is lost when the wait is given up.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        self.messages.recv().await
    }

    /// Sends one message. If it can't be sent, then the connection's end will show.
    pub(crate) async fn send(&mut self, message: &Value) {
        let _ = timeout(PATIENCE, self.writer.write_all(&frame(0x81, message.to_string().as_bytes()))).await;
    }

    /// Says goodbye.
    pub(crate) async fn close(mut self) {
        let _ = timeout(PATIENCE, self.writer.write_all(&frame(0x88, &1000_u16.to_be_bytes()))).await;
    }

    /// Is gone at once, with a RST.
    pub(crate) fn reset(self) {
        let stream: &TcpStream = self.writer.as_ref();
        let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        // Dropped, it would send a FIN first.
        self.writer.forget();
    }
}

/// Reads one message: unmasked, unfragmented, as the node sends them. A close frame is the end.
async fn read_message(reader: &mut BufReader<OwnedReadHalf>) -> std::io::Result<Value> {
    let (first, second) = (reader.read_u8().await?, reader.read_u8().await?);
    let length = match second {
        length @ 0..=125 => usize::from(length),
        126 => usize::from(reader.read_u16().await?),
        _ => usize::try_from(reader.read_u64().await?).expect("a length"),
    };
    let mut payload = vec![0; length];
    reader.read_exact(&mut payload).await?;
    match first {
        0x81 => Ok(serde_json::from_slice(&payload).unwrap_or_else(|error| json!({ "not_json": error.to_string() }))),
        0x88 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        other => Ok(json!({ "not_text": other })),
    }
}
