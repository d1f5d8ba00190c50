//! As much of Redis's protocol as a backend needs that publishes. Written here so that the gateway's library and this can't
//! share a mistake, and so that it is known whether a command may have been carried out.

use std::fmt::Write as _;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_millis(700);

/// A connection.
pub(crate) struct Redis {
    stream: BufReader<TcpStream>,
}

/// What the server says. Lists are not needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// A text or a number.
    Text(String),
    /// Nothing.
    Nil,
    /// An error: the command was not carried out.
    Refused(String),
}

/// No answer came: the command may have been carried out.
#[derive(Debug)]
pub(crate) struct Unclear;

impl Redis {
    /// A connection on which the server answers. None when it doesn't.
    pub(crate) async fn connect(port: u16) -> Option<Redis> {
        let stream = timeout(PATIENCE, TcpStream::connect(("127.0.0.1", port))).await.ok()?.ok()?;
        stream.set_nodelay(true).ok()?;
        let mut redis = Redis { stream: BufReader::new(stream) };
        let answer = redis.call(&["PING"]).await.ok()?;
        (answer == Said::Text("PONG".to_owned())).then_some(redis)
    }

    /// Sends one command and waits for its answer. After [`Unclear`] the connection is of no use.
    pub(crate) async fn call(&mut self, words: &[&str]) -> Result<Said, Unclear> {
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            let _ = write!(command, "${}\r\n{word}\r\n", word.len());
        }
        let calling = async {
            self.stream.get_mut().write_all(command.as_bytes()).await?;
            self.answer().await
        };
        timeout(PATIENCE, calling).await.map_err(|_| Unclear)?.map_err(|_| Unclear)
    }

    async fn answer(&mut self) -> std::io::Result<Said> {
        let mut line = String::new();
        self.stream.read_line(&mut line).await?;
        let Some(line) = line.strip_suffix("\r\n") else { return Err(std::io::ErrorKind::UnexpectedEof.into()) };
        let (kind, rest) = line.split_at(1);
        Ok(match kind {
            "+" | ":" => Said::Text(rest.to_owned()),
            "-" => Said::Refused(rest.to_owned()),
            "$" if rest == "-1" => Said::Nil,
            "$" => {
                let length: usize = rest.parse().expect("a length");
                let mut bytes = vec![0; length + 2];
                self.stream.read_exact(&mut bytes).await?;
                bytes.truncate(length);
                Said::Text(String::from_utf8(bytes).expect("text"))
            }
            _ => panic!("an answer that nobody asked for: {line}"),
        })
    }
}
