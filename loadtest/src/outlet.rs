//! How a publisher's events go in: by Redis, or as the servers that Fanfare is compared with take them. Bytes only: when an
//! event is due, and what became of it, is the publisher's matter. The other side, what clients hear, is [`crate::dialect`].

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use serde_json::json;

use crate::address::RedisUrl;
use crate::http_answer::http_answer;
use crate::link::Link;
use crate::mark::Envelope;
use crate::redis_link::RedisLink;
use crate::resp::{Reply, reply};

/// What to say to [`Answer::Ping`].
pub(crate) const PONG: &[u8] = b"PONG\r\n";

/// A server may first deliver all that was written at once, and answer then.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub(crate) enum Outlet {
    /// `PUBLISH`.
    Redis(RedisUrl),
    /// `PUBLISH` of what @socket.io/redis-emitter makes of an event (its `lib/index.ts`).
    SocketIo(RedisUrl),
    /// `PUB` of NATS' client protocol over TCP; a `PING` after all that is written at once.
    Nats(SocketAddr),
    /// `POST` to a publisher's location, pipelined (<https://nchan.io/#publishing-messages>).
    Nchan(SocketAddr),
    /// All that is due at once in one batch request (<https://centrifugal.dev/docs/server/server_api#batch>).
    Centrifugo(SocketAddr),
}

/// What a server says to an event, or to all that were written at once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Taken,
    /// Taken, and nobody was subscribed.
    Unheard,
    Refused(String),
    /// It wants to be answered itself.
    Ping,
    /// It says something that is no answer.
    Aside,
}

/// What stands around an event of one channel.
pub(crate) struct Wrapper {
    pub(crate) before: Vec<u8>,
    pub(crate) after: Vec<u8>,
}

impl Outlet {
    /// Who takes the events, for people.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Outlet::Redis(_) | Outlet::SocketIo(_) => "Redis",
            Outlet::Nats(_) => "nats-server",
            Outlet::Nchan(_) => "nginx",
            Outlet::Centrifugo(_) => "centrifugo",
        }
    }

    pub(crate) fn connect(&self) -> anyhow::Result<Link> {
        match self {
            Outlet::Redis(url) | Outlet::SocketIo(url) => Ok(RedisLink::connect(url)?.into_link()),
            Outlet::Nats(address) => {
                let mut link = Link::connect(*address, PATIENCE).context("connecting to nats-server")?;
                link.write(b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n")?;
                Ok(link)
            }
            Outlet::Nchan(address) | Outlet::Centrifugo(address) => {
                Link::connect(*address, PATIENCE).with_context(|| format!("connecting to {}", self.name()))
            }
        }
    }

    /// An event of this many bytes as JSON, in the encoding that is published.
    pub(crate) fn envelope(&self, bytes: usize) -> anyhow::Result<Envelope> {
        match self {
            Outlet::SocketIo(_) => Envelope::msgpack(bytes),
            _ => Envelope::new(bytes),
        }
    }

    /// What stands around the events of a channel, all of which have this many bytes.
    pub(crate) fn wrapper(&self, channel: &str, event_bytes: usize) -> anyhow::Result<Wrapper> {
        let (before, after) = match self {
            Outlet::Redis(_) => return Ok(redis_publish(channel, &[], event_bytes, &[])),
            Outlet::SocketIo(_) => {
                let (before, after) = emitted(channel)?;
                return Ok(redis_publish(&format!("socket.io#/#{channel}#"), &before, event_bytes, &after));
            }
            Outlet::Nats(_) => (format!("PUB {channel} {event_bytes}\r\n"), "\r\n"),
            Outlet::Nchan(_) => {
                (format!("POST /pub/{channel} HTTP/1.1\r\nHost: loadtest\r\nContent-Length: {event_bytes}\r\n\r\n"), "")
            }
            Outlet::Centrifugo(_) => (format!(r#"{{"publish":{{"channel":{},"data":"#, json!(channel)), "}},"),
        };
        Ok(Wrapper { before: before.into_bytes(), after: after.as_bytes().to_vec() })
    }

    /// Completes what is written at once.
    pub(crate) fn seal(&self, out: &mut Vec<u8>) {
        match self {
            Outlet::Nats(_) => out.extend_from_slice(b"PING\r\n"),
            Outlet::Centrifugo(_) => {
                let (start, end) = (br#"{"commands":["#, b"]}");
                // The last comma goes.
                out.pop();
                let head = format!(
                    "POST /api/batch HTTP/1.1\r\nHost: loadtest\r\nContent-Type: application/json\r\n\
                     Content-Length: {}\r\n\r\n",
                    start.len() + out.len() + end.len()
                );
                out.splice(..0, head.bytes().chain(*start));
                out.extend_from_slice(end);
            }
            Outlet::Redis(_) | Outlet::SocketIo(_) | Outlet::Nchan(_) => {}
        }
    }

    /// Whether there is one answer to all that is written at once, not one to each event.
    pub(crate) fn answers_at_once(&self) -> bool {
        matches!(self, Outlet::Nats(_) | Outlet::Centrifugo(_))
    }

    /// Reads one answer and its length; `None` while bytes are missing.
    pub(crate) fn answer(&self, bytes: &[u8]) -> Result<Option<(Answer, usize)>, String> {
        match self {
            Outlet::Redis(_) | Outlet::SocketIo(_) => {
                Ok(reply(bytes)?.map(|(reply, used)| (redis_answer(&reply), used)))
            }
            Outlet::Nats(_) => nats_answer(bytes),
            Outlet::Nchan(_) | Outlet::Centrifugo(_) => Ok(http_answer(bytes)?.map(|(answer, used)| {
                let body = String::from_utf8_lossy(&answer.body);
                // nchan: 201 with subscribers, 202 without. Centrifugo: 200, and each command's own error in the body.
                let answer = match answer.status {
                    202 => Answer::Unheard,
                    200 | 201 if !body.contains(r#""error":"#) => Answer::Taken,
                    status => Answer::Refused(format!("HTTP {status} {body}")),
                };
                (answer, used)
            })),
        }
    }
}

/// The command around an event that itself stands between `before` and `after`.
fn redis_publish(channel: &str, before: &[u8], event_bytes: usize, after: &[u8]) -> Wrapper {
    let (name_bytes, payload_bytes) = (channel.len(), before.len() + event_bytes + after.len());
    let head = format!("*3\r\n$7\r\nPUBLISH\r\n${name_bytes}\r\n{channel}\r\n${payload_bytes}\r\n");
    Wrapper { before: [head.as_bytes(), before].concat(), after: [after, b"\r\n"].concat() }
}

/// `["emitter", {"type": 2, "data": ["event", …], "nsp": "/"}, {"rooms": […], "flags": {}, "except": []}]` in `MessagePack`, around
/// the event.
fn emitted(room: &str) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
    const MAP_OF_3: u8 = 0x83;
    const ARRAY_OF_2: u8 = 0x92;
    const ARRAY_OF_3: u8 = 0x93;
    let text = |text: &str| rmp_serde::to_vec(text);
    let mut before = vec![ARRAY_OF_3];
    before.extend(text("emitter")?);
    before.push(MAP_OF_3);
    before.extend([text("type")?, rmp_serde::to_vec(&2)?, text("data")?].concat());
    before.push(ARRAY_OF_2);
    before.extend(text("event")?);
    let mut after = [text("nsp")?, text("/")?].concat();
    let options = json!({"rooms": [room], "flags": {}, "except": []});
    options.serialize(&mut rmp_serde::Serializer::new(&mut after))?;
    Ok((before, after))
}

fn redis_answer(reply: &Reply<'_>) -> Answer {
    match reply {
        Reply::Integer(0) => Answer::Unheard,
        Reply::Error(error) => Answer::Refused((*error).to_owned()),
        Reply::Integer(_) | Reply::Status(_) | Reply::Text(_) => Answer::Taken,
    }
}

fn nats_answer(bytes: &[u8]) -> Result<Option<(Answer, usize)>, String> {
    let Some(end) = memchr::memchr(b'\n', bytes) else { return Ok(None) };
    let line = String::from_utf8_lossy(&bytes[..end]);
    let answer = match line.trim_end() {
        "PONG" => Answer::Taken,
        "PING" => Answer::Ping,
        "+OK" => Answer::Aside,
        line if line.starts_with("INFO ") => Answer::Aside,
        line if line.starts_with("-ERR ") => Answer::Refused(line.to_owned()),
        line => return Err(format!("nats-server says `{line}`")),
    };
    Ok(Some((answer, end + 1)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;
    use crate::mark::Mark;

    const MARK: Mark = Mark { run: 1, channel: 0, seq: 2, intended_ns: 3 };

    fn address() -> SocketAddr {
        ([127, 0, 0, 1], 1).into()
    }

    fn redis() -> RedisUrl {
        RedisUrl { address: address(), user: None, password: None }
    }

    /// Two events on the channel `load`, as they are written at once; and one event.
    fn written(outlet: &Outlet) -> (String, String) {
        let mut envelope = outlet.envelope(128).unwrap();
        let event = envelope.stamped(MARK).to_vec();
        let wrapper = outlet.wrapper("load", event.len()).unwrap();
        let mut out = [&wrapper.before[..], &event, &wrapper.after].concat().repeat(2);
        outlet.seal(&mut out);
        (String::from_utf8_lossy(&out).into_owned(), String::from_utf8_lossy(&event).into_owned())
    }

    #[test]
    fn events_are_written_as_each_server_takes_them() {
        let (nats, event) = written(&Outlet::Nats(address()));
        assert_eq!(nats, format!("PUB load 128\r\n{event}\r\nPUB load 128\r\n{event}\r\nPING\r\n"));
        let (nchan, event) = written(&Outlet::Nchan(address()));
        let post = format!("POST /pub/load HTTP/1.1\r\nHost: loadtest\r\nContent-Length: 128\r\n\r\n{event}");
        assert_eq!(nchan, post.repeat(2));
        let (redis, event) = written(&Outlet::Redis(redis()));
        assert_eq!(redis, format!("*3\r\n$7\r\nPUBLISH\r\n$4\r\nload\r\n$128\r\n{event}\r\n").repeat(2));
    }

    #[test]
    fn a_batch_for_centrifugo_is_one_request() {
        let (written, event) = written(&Outlet::Centrifugo(address()));
        let (head, body) = written.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /api/batch HTTP/1.1\r\n"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        let event: serde_json::Value = serde_json::from_str(&event).unwrap();
        let command = json!({"publish": {"channel": "load", "data": event}});
        assert_eq!(body, json!({"commands": [command, command]}));
    }

    #[test]
    fn an_event_for_socket_io_is_what_its_emitter_makes_of_it() {
        let outlet = Outlet::SocketIo(redis());
        let mut envelope = outlet.envelope(128).unwrap();
        let event = envelope.stamped(MARK).to_vec();
        let wrapper = outlet.wrapper("load", event.len()).unwrap();
        let command = [wrapper.before, event, wrapper.after].concat();
        let start = b"*3\r\n$7\r\nPUBLISH\r\n$17\r\nsocket.io#/#load#\r\n$";
        let rest = command.strip_prefix(start).unwrap();
        let line = memchr::memchr(b'\r', rest).unwrap();
        let length: usize = std::str::from_utf8(&rest[..line]).unwrap().parse().unwrap();
        let payload = &rest[line + 2..rest.len() - 2];
        assert_eq!(payload.len(), length);
        let packet: serde_json::Value = rmp_serde::from_slice(payload).unwrap();
        let event: serde_json::Value = serde_json::from_slice(Envelope::new(128).unwrap().stamped(MARK)).unwrap();
        let options = json!({"rooms": ["load"], "flags": {}, "except": []});
        assert_eq!(packet, json!(["emitter", {"type": 2, "data": ["event", event], "nsp": "/"}, options]));
    }

    #[test]
    fn answers_are_told_apart() {
        let nats = Outlet::Nats(address());
        assert_eq!(nats.answer(b"PONG\r\nPI"), Ok(Some((Answer::Taken, 6))));
        assert_eq!(nats.answer(b"PING\r\n"), Ok(Some((Answer::Ping, 6))));
        assert_eq!(nats.answer(b"INFO {\"a\":1} \r\n"), Ok(Some((Answer::Aside, 15))));
        assert_eq!(nats.answer(b"PON"), Ok(None));
        let nchan = Outlet::Nchan(address());
        let answer =
            |status: &str, body: &str| format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let first = |outlet: &Outlet, text: &str| outlet.answer(text.as_bytes()).unwrap().unwrap().0;
        assert_eq!(first(&nchan, &answer("201 Created", "queued messages: 1")), Answer::Taken);
        assert_eq!(first(&nchan, &answer("202 Accepted", "queued messages: 1")), Answer::Unheard);
        assert!(matches!(first(&nchan, &answer("507 Insufficient Storage", "")), Answer::Refused(_)));
        let centrifugo = Outlet::Centrifugo(address());
        assert_eq!(first(&centrifugo, &answer("200 OK", r#"{"replies":[{"publish":{}}]}"#)), Answer::Taken);
        let refused = r#"{"replies":[{"error":{"code":102,"message":"unknown channel"}}]}"#;
        assert!(matches!(first(&centrifugo, &answer("200 OK", refused)), Answer::Refused(_)));
    }
}
