//! One client that comes back: a connection to one of several nodes, its topics, and what it asks for after each reconnect.
//! It keeps no more than two `subscribe` frames unanswered, so that the answers fit into its outbox at the node.

use std::collections::VecDeque;

use serde_json::json;
use socket2::Socket;

use super::frame::Frame;
use super::notes::Notes;
use super::place::{Place, Scene};
use crate::client::send_whole;
use crate::connection::{Heard, each_frame};
use crate::handshake;
use crate::mark::MarkFinder;
use crate::orders::Topics;
use crate::reasons::count;
use crate::websocket::{PONG, TEXT, client_frame};

/// Topics in one `subscribe`; with names and positions of any length it stays below the 64 KiB that a node takes.
const TOPICS_A_FRAME: usize = 500;
const FRAME_BYTES_MAX: usize = 48 << 10;
const FRAMES_UNANSWERED_MAX: usize = 2;
/// What was refused is asked for again after this long.
const ASK_AGAIN_NS: u64 = 250_000_000;

pub(crate) struct Member {
    pub(crate) places: Vec<Place>,
    /// The topics' numbers are consecutive from here, and go round.
    pub(crate) first_topic: u32,
    pub(crate) link: Option<Link>,
    /// The node it is connected to, or will be.
    pub(crate) node: usize,
    /// When to connect; none while connected, or while it is kept away.
    pub(crate) connect_at_ns: Option<u64>,
    /// Attempts since it last was complete.
    pub(crate) attempts: u32,
    /// When it began to connect, and when it lost its connection before that.
    pub(crate) started_ns: Option<u64>,
    /// When it began its last attempt.
    pub(crate) attempt_ns: u64,
    pub(crate) lost_ns: Option<u64>,
    /// All topics are answered for on this connection.
    pub(crate) is_complete: bool,
    /// What the node said before it closed the connection.
    pub(crate) told_after_ms: Option<u64>,
    to_ask: VecDeque<usize>,
    refused: Vec<usize>,
    ask_again_at_ns: Option<u64>,
    asked: Vec<Asked>,
    next_id: u64,
    live: usize,
}

pub(crate) struct Link {
    pub(crate) socket: Socket,
    pub(crate) stage: Stage,
    /// The beginning of what has not come whole.
    pub(crate) carry: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Connecting,
    Upgrading,
    /// `101` has come, `welcome` not yet.
    Greeting,
    Welcome,
}

/// A `subscribe` that is not answered in full.
struct Asked {
    id: u64,
    places: Vec<usize>,
}

/// What all members have in common while one of them is busy.
pub(crate) struct Common<'a> {
    pub(crate) notes: &'a mut Notes,
    pub(crate) finder: &'a mut MarkFinder,
    pub(crate) topics: &'a Topics,
    pub(crate) run: u32,
    pub(crate) now_ns: u64,
    pub(crate) watched_from_ns: Option<u64>,
}

impl Member {
    pub(crate) fn new(node: usize, first_topic: u32, topics: usize) -> Member {
        Member {
            places: (0..topics).map(|_| Place::default()).collect(),
            first_topic,
            link: None,
            node,
            connect_at_ns: None,
            attempts: 0,
            started_ns: None,
            attempt_ns: 0,
            lost_ns: None,
            is_complete: false,
            told_after_ms: None,
            to_ask: VecDeque::new(),
            refused: Vec::new(),
            ask_again_at_ns: None,
            asked: Vec::new(),
            next_id: 1,
            live: 0,
        }
    }

    /// The number of the topic of this place.
    pub(crate) fn topic(&self, place: usize, topics: &Topics) -> u32 {
        (self.first_topic + u32::try_from(place).unwrap_or(u32::MAX)) % topics.channels
    }

    /// The connection is gone.
    pub(crate) fn lose(&mut self, now_ns: u64) {
        if self.link.take().is_none() {
            return;
        }
        self.lost_ns = self.lost_ns.or(Some(now_ns));
        self.is_complete = false;
        self.to_ask.clear();
        self.refused.clear();
        self.asked.clear();
        self.ask_again_at_ns = None;
        self.live = 0;
        self.places.iter_mut().for_each(Place::lose);
    }

    /// Takes as many whole frames as `bytes` hold and returns how many bytes that was. An error ends the connection and
    /// says why.
    pub(crate) fn consume(&mut self, bytes: &[u8], common: &mut Common<'_>) -> Result<usize, String> {
        let mut used = 0;
        if self.stage() == Some(Stage::Upgrading) {
            let Some(head_bytes) = handshake::accepted(bytes)? else { return Ok(0) };
            self.set_stage(Stage::Greeting);
            used = head_bytes;
        }
        used += each_frame(&bytes[used..], |heard| match heard {
            Heard::Text(text) => self.frame(text, common),
            Heard::Ping(payload) => self.send(PONG, payload),
        })?;
        Ok(used)
    }

    /// Asks again for what was refused, when it is time. Called now and then.
    pub(crate) fn tick(&mut self, common: &mut Common<'_>) -> Result<(), String> {
        if self.ask_again_at_ns.is_none_or(|at_ns| common.now_ns < at_ns) {
            return Ok(());
        }
        self.ask_again_at_ns = None;
        self.to_ask.extend(self.refused.drain(..));
        self.ask(common)
    }

    fn stage(&self) -> Option<Stage> {
        self.link.as_ref().map(|link| link.stage)
    }

    fn set_stage(&mut self, stage: Stage) {
        if let Some(link) = &mut self.link {
            link.stage = stage;
        }
    }

    fn send(&self, opcode: u8, payload: &[u8]) -> Result<(), String> {
        let Some(link) = &self.link else { return Ok(()) };
        send_whole(&link.socket, &client_frame(opcode, payload, rand::random()))
    }

    fn frame(&mut self, payload: &[u8], common: &mut Common<'_>) -> Result<(), String> {
        let frame: Frame<'_> =
            serde_json::from_slice(payload).map_err(|error| format!("protocol: a frame that is no JSON: {error}"))?;
        match frame.op.as_ref() {
            "event" => {
                let place = frame.topic.as_deref().and_then(|topic| self.place_of(topic, common.topics));
                match (place, frame.event) {
                    (Some(place), Some(event)) => {
                        let mut scene = self.scene(place, common);
                        self.places[place].event(event, frame.position.as_deref(), &mut scene);
                    }
                    _ => common.notes.strange += 1,
                }
            }
            "welcome" if self.stage() == Some(Stage::Greeting) => {
                self.set_stage(Stage::Welcome);
                self.told_after_ms = None;
                self.to_ask = (0..self.places.len()).collect();
                self.ask(common)?;
            }
            "subscribed" => self.subscribed(&frame, common)?,
            "error" => self.refused(&frame, common)?,
            // A gap of the connection's own topics, to which nothing is published, tells nothing.
            "gap" => {
                if let Some(place) = frame.topic.as_deref().and_then(|topic| self.place_of(topic, common.topics)) {
                    self.places[place].gap(&frame, common.notes);
                }
            }
            "disconnect" => self.told_after_ms = frame.after_ms,
            "ping" => self.send(TEXT, br#"{"op":"pong"}"#)?,
            _ => {}
        }
        Ok(())
    }

    fn subscribed(&mut self, frame: &Frame<'_>, common: &mut Common<'_>) -> Result<(), String> {
        let Some(place) = frame.topic.as_deref().and_then(|topic| self.place_of(topic, common.topics)) else {
            return Ok(());
        };
        let was_live = self.places[place].is_live();
        let mut scene = self.scene(place, common);
        if self.places[place].subscribed(frame, &mut scene) {
            self.to_ask.push_back(place);
        }
        self.live += usize::from(self.places[place].is_live() && !was_live);
        self.answered(frame.id, Some(place));
        self.ask(common)
    }

    /// One topic is refused, or a whole frame. It is asked for again in a moment.
    fn refused(&mut self, frame: &Frame<'_>, common: &mut Common<'_>) -> Result<(), String> {
        let code = frame.code.as_ref().and_then(|code| code.as_str()).unwrap_or_default();
        count(&mut common.notes.errors, format!("{code}: {}", frame.message.as_deref().unwrap_or_default()));
        let place = frame.topic.as_deref().and_then(|topic| self.place_of(topic, common.topics));
        let refused = self.answered(frame.id, place);
        if !refused.is_empty() {
            self.refused.extend(refused);
            self.ask_again_at_ns = Some(common.now_ns + ASK_AGAIN_NS);
        }
        self.ask(common)
    }

    /// Takes note of an answer for one place, or for all that the frame asked for. Returns the places.
    fn answered(&mut self, id: Option<u64>, place: Option<usize>) -> Vec<usize> {
        let Some(at) = self.asked.iter().position(|asked| Some(asked.id) == id) else { return Vec::new() };
        let places = &mut self.asked[at].places;
        let answered = match place {
            None => std::mem::take(places),
            Some(place) => {
                let Some(at) = places.iter().position(|asked| *asked == place) else { return Vec::new() };
                // Answers come in the order of the question, so this is mostly the first.
                vec![places.remove(at)]
            }
        };
        if places.is_empty() {
            self.asked.remove(at);
        }
        answered
    }

    /// Asks for what is to be asked for, as far as there is room; or all is answered.
    fn ask(&mut self, common: &mut Common<'_>) -> Result<(), String> {
        while self.asked.len() < FRAMES_UNANSWERED_MAX && !self.to_ask.is_empty() {
            let (mut places, mut topics, mut bytes) = (Vec::new(), Vec::new(), 0);
            while places.len() < TOPICS_A_FRAME && bytes < FRAME_BYTES_MAX {
                let Some(place) = self.to_ask.pop_front() else { break };
                let topic = common.topics.topic(self.topic(place, common.topics));
                let since = self.places[place].since();
                bytes += topic.len() + since.map_or(0, str::len) + r#"{"topic":"","since":""},"#.len();
                topics.push(match since {
                    Some(since) => json!({"topic": topic, "since": since}),
                    None => json!({"topic": topic}),
                });
                places.push(place);
            }
            let frame = json!({"op": "subscribe", "id": self.next_id, "topics": topics}).to_string();
            self.send(TEXT, frame.as_bytes())?;
            self.asked.push(Asked { id: self.next_id, places });
            self.next_id += 1;
        }
        if self.live == self.places.len() && !self.is_complete {
            self.complete(common);
        }
        Ok(())
    }

    fn complete(&mut self, common: &mut Common<'_>) {
        self.is_complete = true;
        self.attempts = 0;
        if let Some(lost_ns) = self.lost_ns.take() {
            common.notes.returns += 1;
            common.notes.away.record_ns(common.now_ns.saturating_sub(lost_ns));
            let started_ns = self.started_ns.unwrap_or(common.now_ns);
            common.notes.resume.record_ns(common.now_ns.saturating_sub(started_ns));
        }
        self.started_ns = None;
    }

    fn place_of(&self, topic: &str, topics: &Topics) -> Option<usize> {
        let number = topics.channel_named(topic)?;
        let place = (number + topics.channels - self.first_topic) % topics.channels;
        usize::try_from(place).ok().filter(|place| *place < self.places.len())
    }

    fn scene<'a>(&self, place: usize, common: &'a mut Common<'_>) -> Scene<'a> {
        Scene {
            topic: self.topic(place, common.topics),
            notes: common.notes,
            finder: common.finder,
            run: common.run,
            now_ns: common.now_ns,
            watched_from_ns: common.watched_from_ns,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use std::io::Read as _;
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use serde_json::Value;

    use super::*;
    use crate::websocket::{CLOSE, Header, put_server_frame, unmask};

    struct Node {
        member: Member,
        peer: TcpStream,
        notes: Notes,
        topics: Topics,
        now_ns: u64,
    }

    impl Node {
        /// A client of all these topics that has just been told `101`.
        fn with(channels: u32) -> Node {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (peer, _) = listener.accept().unwrap();
            peer.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            let mut member = Member::new(0, 1, usize::try_from(channels).unwrap());
            member.link = Some(Link { socket: socket.into(), stage: Stage::Greeting, carry: Vec::new() });
            member.started_ns = Some(0);
            let topics = Topics { name: "load".to_owned(), channels };
            Node { member, peer, notes: Notes::new(), topics, now_ns: 1_000_000 }
        }

        fn say(&mut self, frame: &Value) -> Result<usize, String> {
            let mut bytes = Vec::new();
            put_server_frame(&mut bytes, TEXT, &[frame.to_string().as_bytes()]);
            self.common(|member, common| member.consume(&bytes, common))
        }

        fn common<T>(&mut self, act: impl FnOnce(&mut Member, &mut Common<'_>) -> T) -> T {
            let mut common = Common {
                notes: &mut self.notes,
                finder: &mut MarkFinder::new(),
                topics: &self.topics,
                run: 1,
                now_ns: self.now_ns,
                watched_from_ns: None,
            };
            act(&mut self.member, &mut common)
        }

        /// The next frame from the client, if there is one.
        fn hear(&mut self) -> Option<Value> {
            let mut head = [0; 2];
            self.peer.read_exact(&mut head).ok()?;
            let more = match head[1] & 0x7f {
                126 => 2,
                _ => 0,
            };
            let mut rest = vec![0; more + 4];
            self.peer.read_exact(&mut rest).unwrap();
            let header = Header::read(&[head.as_slice(), &rest].concat()).unwrap().unwrap();
            let mut payload = vec![0; header.payload_bytes];
            self.peer.read_exact(&mut payload).unwrap();
            unmask(&mut payload, header.mask.unwrap());
            serde_json::from_slice(&payload).ok()
        }

        fn subscribed(&mut self, id: &Value, topic: &Value) {
            self.say(&json!({"op": "subscribed", "id": id, "topic": topic, "position": "7-0"})).unwrap();
        }
    }

    #[test]
    fn many_topics_are_asked_for_in_several_frames_two_at_a_time() {
        let mut node = Node::with(1_600);
        node.say(&json!({"op": "welcome"})).unwrap();
        let (first, second) = (node.hear().unwrap(), node.hear().unwrap());
        assert_eq!(node.hear(), None, "two at a time");
        for asked in [&first, &second] {
            for topic in asked["topics"].as_array().unwrap() {
                assert!(topic.get("since").is_none());
                node.subscribed(&asked["id"], &topic["topic"]);
            }
        }
        let (third, fourth) = (node.hear().unwrap(), node.hear().unwrap());
        assert_eq!(third["topics"].as_array().unwrap().len(), TOPICS_A_FRAME);
        assert!(!node.member.is_complete);
        for asked in [&fourth, &third] {
            for topic in asked["topics"].as_array().unwrap() {
                node.subscribed(&asked["id"], &topic["topic"]);
            }
        }
        assert!(node.member.is_complete);
        assert_eq!(node.notes.returns, 0, "the first time is no return");
    }

    #[test]
    fn it_comes_back_with_its_positions_and_asks_on_while_there_is_more() {
        let mut node = Node::with(2);
        node.say(&json!({"op": "welcome"})).unwrap();
        let asked = node.hear().unwrap();
        assert_eq!(asked["topics"], json!([{"topic": "channel:load-1"}, {"topic": "channel:load-0"}]));
        node.subscribed(&asked["id"], &"channel:load-1".into());
        node.subscribed(&asked["id"], &"channel:load-0".into());
        let spare = node.member.link.as_ref().unwrap().socket.try_clone().unwrap();
        node.member.lose(2_000_000);
        node.member.link = Some(Link { socket: spare, stage: Stage::Greeting, carry: Vec::new() });
        node.member.started_ns = Some(2_500_000);
        node.now_ns = 4_000_000;
        node.say(&json!({"op": "welcome"})).unwrap();
        let asked = node.hear().unwrap();
        assert_eq!(asked["topics"][0], json!({"topic": "channel:load-1", "since": "7-0"}));
        let more = json!({"op": "subscribed", "id": asked["id"], "topic": "channel:load-1", "position": "7-9",
            "recovered": true, "more": true, "events": [{"position": "7-4", "event": {"type": "x"}}]});
        node.say(&more).unwrap();
        node.subscribed(&asked["id"], &"channel:load-0".into());
        let again = node.hear().unwrap();
        assert_eq!(again["topics"], json!([{"topic": "channel:load-1", "since": "7-4"}]));
        assert!(!node.member.is_complete);
        node.subscribed(&again["id"], &"channel:load-1".into());
        assert!(node.member.is_complete);
        assert_eq!((node.notes.returns, node.notes.recovered), (1, 1));
        assert_eq!((node.notes.away.quantiles().max, node.notes.resume.quantiles().max), (2_000, 1_500));
    }

    #[test]
    fn what_is_refused_is_asked_for_again_after_a_moment() {
        let mut node = Node::with(2);
        node.say(&json!({"op": "welcome"})).unwrap();
        let asked = node.hear().unwrap();
        node.subscribed(&asked["id"], &"channel:load-1".into());
        let error =
            json!({"op": "error", "id": asked["id"], "topic": "channel:load-0", "code": "unavailable", "message": "x"});
        node.say(&error).unwrap();
        assert_eq!(node.notes.errors["unavailable: x"], 1);
        node.common(Member::tick).unwrap();
        assert_eq!(node.hear(), None, "not yet");
        node.now_ns += ASK_AGAIN_NS;
        node.common(Member::tick).unwrap();
        let again = node.hear().unwrap();
        assert_eq!(again["topics"], json!([{"topic": "channel:load-0"}]));
        node.say(&json!({"op": "error", "id": again["id"], "code": "rate_limited", "message": "y"})).unwrap();
        node.now_ns += ASK_AGAIN_NS;
        node.common(Member::tick).unwrap();
        assert_eq!(node.hear().unwrap()["topics"], json!([{"topic": "channel:load-0"}]), "a whole frame was refused");
    }

    #[test]
    fn what_a_node_says_before_it_closes_is_kept() {
        let mut node = Node::with(1);
        node.say(&json!({"op": "disconnect", "code": 1012, "reason": "x", "reconnect": true, "after_ms": 321}))
            .unwrap();
        assert_eq!(node.member.told_after_ms, Some(321));
        let mut bytes = Vec::new();
        put_server_frame(&mut bytes, CLOSE, &[&1012_u16.to_be_bytes(), b"draining"]);
        let ended = node.common(|member, common| member.consume(&bytes, common));
        assert_eq!(ended, Err("close 1012 draining".to_owned()));
    }
}
