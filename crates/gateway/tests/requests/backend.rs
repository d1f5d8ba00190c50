//! A backend that has nothing but a connection to Redis: it reads its tenant's requests with a consumer group, and
//! publishes its answers.

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::STREAM;
use crate::support::{RedisProcess, in_time};

/// A consumer.
pub(crate) struct Backend {
    stream: BufReader<UnixStream>,
    group: &'static str,
    /// How answers are published: a command and its first arguments.
    publish: &'static [&'static str],
}

/// A request as it stands in the stream.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: String,
    /// In their order.
    pub(crate) fields: Vec<(String, String)>,
}

impl Entry {
    /// A field that must be there.
    pub(crate) fn field(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(field, _)| field == name);
        found.map_or_else(|| panic!("no {name}: {self:?}"), |(_, value)| value)
    }

    /// The answer with this JSON after the request's id.
    pub(crate) fn answer(&self, rest: &str) -> String {
        format!(r#"{{"request":"{}",{rest}}}"#, self.field("request"))
    }
}

impl Backend {
    /// The first consumer of a new group, which gets what comes from now on.
    pub(crate) async fn begin(redis: &RedisProcess, group: &'static str) -> Backend {
        let mut backend = Backend::of(redis, group).await;
        backend.command(&["XGROUP", "CREATE", STREAM, group, "$", "MKSTREAM"]).await;
        backend
    }

    /// One more consumer of a group.
    pub(crate) async fn of(redis: &RedisProcess, group: &'static str) -> Backend {
        let stream = UnixStream::connect(redis.socket_path()).await.unwrap();
        Backend { stream: BufReader::new(stream), group, publish: &["PUBLISH"] }
    }

    /// On a cluster it answers by function, as it would anywhere.
    pub(crate) fn by_function(self) -> Backend {
        Backend { publish: &["FCALL", "fanfare_send", "1"], ..self }
    }

    /// The next request that the group hasn't seen.
    pub(crate) async fn take(&mut self) -> Entry {
        let read = ["XREADGROUP", "GROUP", self.group, "me", "COUNT", "1", "BLOCK", "0", "STREAMS", STREAM, ">"];
        let answer = self.command(&read).await;
        entry(&answer[0][1][0])
    }

    /// There is no request that the group hasn't seen.
    pub(crate) async fn expect_none(&mut self) {
        let read = ["XREADGROUP", "GROUP", self.group, "me", "COUNT", "1", "STREAMS", STREAM, ">"];
        assert_eq!(self.command(&read).await, Value::Null);
    }

    /// Answers with this data, in JSON. Returns how many nodes have it.
    pub(crate) async fn reply(&mut self, entry: &Entry, data: &str) -> Value {
        self.say(entry.field("reply_to"), &entry.answer(&format!(r#""data":{data}"#))).await
    }

    /// Answers with an error.
    pub(crate) async fn refuse(&mut self, entry: &Entry, error: &Value) -> Value {
        self.say(entry.field("reply_to"), &entry.answer(&format!(r#""error":{error}"#))).await
    }

    /// Publishes anything anywhere.
    pub(crate) async fn say(&mut self, channel: &str, payload: &str) -> Value {
        self.command(&[self.publish, &[channel, payload]].concat()).await
    }

    /// Runs a command, which must not fail.
    pub(crate) async fn command(&mut self, words: &[&str]) -> Value {
        in_time("the answer of Redis", self.try_command(words))
            .await
            .unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Runs a command; an error of Redis is the error.
    pub(crate) async fn try_command(&mut self, words: &[&str]) -> Result<Value, String> {
        let mut sent = format!("*{}\r\n", words.len());
        sent.extend(words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())));
        self.stream.get_mut().write_all(sent.as_bytes()).await.unwrap();
        Box::pin(self.answer()).await
    }

    /// Reads one answer (<https://redis.io/docs/latest/develop/reference/protocol-spec/>, version 2).
    async fn answer(&mut self) -> Result<Value, String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.unwrap();
        let (kind, rest) = line.trim_end().split_at_checked(1).unwrap_or_default();
        let length = rest.parse::<i64>();
        match (kind, length) {
            ("+", _) => Ok(json!(rest)),
            ("-", _) => Err(rest.to_owned()),
            (":", Ok(number)) => Ok(json!(number)),
            ("$" | "*", Ok(-1)) => Ok(Value::Null),
            ("$", Ok(length)) => {
                let mut bytes = vec![0; usize::try_from(length).unwrap() + 2];
                self.stream.read_exact(&mut bytes).await.unwrap();
                bytes.truncate(bytes.len() - 2);
                Ok(json!(String::from_utf8(bytes).unwrap()))
            }
            ("*", Ok(length)) => {
                let mut items = Vec::new();
                for _ in 0..length {
                    items.push(Box::pin(self.answer()).await?);
                }
                Ok(json!(items))
            }
            _ => panic!("Redis answers {line:?}"),
        }
    }

    /// How many requests stand in the stream.
    pub(crate) async fn count(&mut self) -> u64 {
        self.command(&["XLEN", STREAM]).await.as_u64().unwrap()
    }
}

/// `[id, [field, value, …]]`
fn entry(answer: &Value) -> Entry {
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no text: {answer}")).to_owned();
    let fields = answer[1].as_array().unwrap().chunks(2).map(|pair| (text(&pair[0]), text(&pair[1])));
    Entry { id: text(&answer[0]), fields: fields.collect() }
}
