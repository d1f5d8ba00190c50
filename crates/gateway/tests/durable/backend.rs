//! A backend that has nothing but a connection to Redis, and speaks RESP by hand: what it sends together, Redis does
//! together.

use fanfare_protocol::Position;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::support::{RedisProcess, in_time, until};
use crate::{STREAM, numbered};

/// A connection.
pub(crate) struct Backend {
    stream: BufReader<UnixStream>,
}

impl Backend {
    /// To a Redis with a node, which loads the function library.
    pub(crate) async fn of(redis: &RedisProcess) -> Backend {
        until("the functions are loaded", async || redis.command(&["FUNCTION", "LIST"]).contains("fanfare")).await;
        let stream = UnixStream::connect(redis.socket_path()).await.unwrap();
        Backend { stream: BufReader::new(stream) }
    }

    /// Sends commands in one go, and returns what they are answered with. None may fail.
    pub(crate) async fn all(&mut self, commands: &[&[&str]]) -> Vec<String> {
        let mut sent = String::new();
        for words in commands {
            sent.extend([format!("*{}\r\n", words.len())]);
            sent.extend(words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())));
        }
        self.stream.get_mut().write_all(sent.as_bytes()).await.unwrap();
        let mut answers = Vec::new();
        for _ in commands {
            answers.push(in_time("the answer of Redis", self.answer()).await);
        }
        answers
    }

    async fn answer(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.unwrap();
        let line = line.trim_end();
        match line.split_at_checked(1) {
            Some(("+" | ":", answer)) => answer.to_owned(),
            Some(("$", length)) => {
                let mut bytes = vec![0; length.parse::<usize>().unwrap() + 2];
                self.stream.read_exact(&mut bytes).await.unwrap();
                bytes.truncate(bytes.len() - 2);
                String::from_utf8(bytes).unwrap()
            }
            _ => panic!("Redis answers {line:?}"),
        }
    }

    /// One command.
    pub(crate) async fn command(&mut self, words: &[&str]) -> String {
        self.all(&[words]).await.remove(0)
    }

    /// Keeps an envelope on the stream of [`crate::ORDERS`].
    pub(crate) async fn keep(&mut self, envelope: &str) -> Position {
        self.command(&["FCALL", "fanfare_publish", "1", STREAM, envelope]).await.parse().unwrap()
    }

    /// Keeps a numbered event there.
    pub(crate) async fn keep_number(&mut self, number: u64) -> Position {
        self.keep(&numbered(number)).await
    }

    /// Puts a numbered event into the stream without a word to anybody.
    pub(crate) async fn hide_number(&mut self, position: Position, number: u64) {
        self.command(&["XADD", STREAM, &position.to_string(), "e", &numbered(number)]).await;
    }

    /// Publishes a payload on the topic's channel.
    pub(crate) async fn publish(&mut self, payload: &str) {
        self.command(&["PUBLISH", STREAM, payload]).await;
    }

    /// An event with nothing but a type, for whoever is there.
    pub(crate) async fn ephemeral(&mut self, event_type: &str) {
        self.publish(&format!(r#"{{"type":"{event_type}"}}"#)).await;
    }
}
