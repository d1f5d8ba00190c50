//! One client that wanders from topic to topic: it always holds as many, and takes up again what it dropped longest ago.

use std::collections::VecDeque;

use serde_json::json;

use super::notes::Notes;
use crate::connection::Connection;
use crate::herd::frame::Frame;

/// Topics in one `subscribe`: below the 64 KiB that a node takes.
const TOPICS_A_FRAME: usize = 500;
/// Unanswered changes of one client; what is due beyond is left out and counted.
const UNANSWERED_MAX: usize = 1_000;

pub(crate) struct Nomad {
    pub(crate) link: Option<Connection>,
    pub(crate) ways: Ways,
}

/// Which topics a client holds, which it has dropped, and what it has asked for.
#[derive(Default)]
pub(crate) struct Ways {
    pub(crate) is_welcome: bool,
    /// Topics of its first stock that it has to ask for.
    to_fill: VecDeque<u32>,
    /// Oldest first.
    held: VecDeque<u32>,
    away: VecDeque<u32>,
    asked: VecDeque<Asked>,
    next_id: u64,
    owes_pong: bool,
}

struct Asked {
    id: u64,
    answers_left: usize,
    change: Option<Change>,
}

/// A change that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    is_subscribe: bool,
    due_ns: u64,
}

impl Nomad {
    /// The connection has ended, and nothing is answered any more.
    pub(crate) fn end(&mut self) {
        self.link = None;
        self.ways.asked.clear();
    }
}

impl Ways {
    /// Holds `held` topics once it has filled up, and drops up to `spare` of others that it comes back to.
    pub(crate) fn new(held: u32, spare: u32) -> Ways {
        Ways { to_fill: (0..held).collect(), away: (held..held + spare).collect(), ..Ways::default() }
    }

    pub(crate) fn is_filled(&self) -> bool {
        self.to_fill.is_empty() && self.asked.is_empty()
    }

    /// Whether some of the first stock is held, and some has still to be asked for.
    pub(crate) fn has_begun_to_fill(&self) -> bool {
        !self.held.is_empty() && !self.to_fill.is_empty()
    }

    pub(crate) fn unanswered(&self) -> u64 {
        self.asked.iter().map(|asked| asked.answers_left as u64).sum()
    }

    /// The next frame of the first stock, unless there is one on its way.
    pub(crate) fn fill(&mut self, name: impl Fn(u32) -> String) -> Option<String> {
        if self.to_fill.is_empty() || !self.asked.is_empty() {
            return None;
        }
        let some: Vec<u32> = self.to_fill.drain(..self.to_fill.len().min(TOPICS_A_FRAME)).collect();
        let topics: Vec<_> = some.iter().map(|topic| json!({"topic": name(*topic)})).collect();
        let id = self.ask(topics.len(), None);
        self.held.extend(some);
        Some(json!({"op": "subscribe", "id": id, "topics": topics}).to_string())
    }

    /// The next change: drops the topic it has held longest, and next time takes up the one that it dropped first. None when
    /// too much is unanswered.
    pub(crate) fn change(&mut self, due_ns: u64, held_max: usize, name: impl Fn(u32) -> String) -> Option<String> {
        if self.asked.len() >= UNANSWERED_MAX {
            return None;
        }
        let is_subscribe = self.held.len() < held_max;
        let (from, to) = if is_subscribe { (&mut self.away, &mut self.held) } else { (&mut self.held, &mut self.away) };
        let topic = from.pop_front()?;
        to.push_back(topic);
        let id = self.ask(1, Some(Change { is_subscribe, due_ns }));
        let op = if is_subscribe { "subscribe" } else { "unsubscribe" };
        Some(json!({"op": op, "id": id, "topic": name(topic)}).to_string())
    }

    /// A message from the node.
    pub(crate) fn hear(&mut self, message: &[u8], now_ns: u64, notes: &mut Notes) -> Result<(), String> {
        let frame: Frame<'_> =
            serde_json::from_slice(message).map_err(|error| format!("protocol: a frame that is no JSON: {error}"))?;
        match frame.op.as_ref() {
            "welcome" => self.is_welcome = true,
            "subscribed" | "unsubscribed" => self.answered(frame.id, now_ns, notes),
            "error" => {
                let code = frame.code.as_ref().and_then(|code| code.as_str()).unwrap_or_default();
                notes.refuse(code);
                self.answered(frame.id, now_ns, notes);
            }
            "ping" => self.owes_pong = true,
            // `disconnect` is followed by a close that says the same; what is unknown is ignored, as the contract asks.
            _ => {}
        }
        Ok(())
    }

    /// Whether a `pong` is due, which then is given.
    pub(crate) fn take_pong(&mut self) -> bool {
        std::mem::take(&mut self.owes_pong)
    }

    fn ask(&mut self, answers_left: usize, change: Option<Change>) -> u64 {
        self.next_id += 1;
        self.asked.push_back(Asked { id: self.next_id, answers_left, change });
        self.next_id
    }

    fn answered(&mut self, id: Option<u64>, now_ns: u64, notes: &mut Notes) {
        let Some(index) = self.asked.iter().position(|asked| Some(asked.id) == id) else {
            notes.refuse("an answer to nothing");
            return;
        };
        let asked = &mut self.asked[index];
        asked.answers_left -= 1;
        if asked.answers_left == 0
            && let Some(Asked { change: Some(change), .. }) = self.asked.remove(index)
        {
            notes.changed(change.is_subscribe, now_ns.saturating_sub(change.due_ns));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use serde_json::Value;

    use super::*;

    fn name(topic: u32) -> String {
        format!("channel:{topic}")
    }

    fn parse(frame: Option<String>) -> Value {
        serde_json::from_str(&frame.unwrap()).unwrap()
    }

    #[test]
    fn it_fills_up_in_frames_and_then_wanders() {
        let (mut ways, mut notes) = (Ways::new(501, 1), Notes::default());
        let hear = |ways: &mut Ways, notes: &mut Notes, op: &str, id: u64| {
            ways.hear(json!({"op": op, "id": id}).to_string().as_bytes(), 5_000, notes).unwrap();
        };
        assert_eq!(parse(ways.fill(name))["topics"].as_array().unwrap().len(), 500);
        assert_eq!(ways.fill(name), None, "one at a time");
        (0..500).for_each(|_| hear(&mut ways, &mut notes, "subscribed", 1));
        assert!(!ways.is_filled());
        assert_eq!(parse(ways.fill(name))["topics"], json!([{"topic": "channel:500"}]));
        hear(&mut ways, &mut notes, "subscribed", 2);
        assert!(ways.is_filled());
        assert_eq!(notes.changes(), 0, "the first stock is no change");

        let changes = [("unsubscribe", 0), ("subscribe", 501), ("unsubscribe", 1), ("subscribe", 0)];
        for ((op, topic), id) in changes.into_iter().zip(3..) {
            let expected = json!({"op": op, "id": id, "topic": name(topic)});
            assert_eq!(parse(ways.change(1_000, 501, name)), expected);
        }
        assert_eq!(ways.unanswered(), 4);
        hear(&mut ways, &mut notes, "subscribed", 4);
        hear(&mut ways, &mut notes, "unsubscribed", 3);
        hear(&mut ways, &mut notes, "error", 5);
        assert_eq!((notes.subscribe.quantiles().count, notes.unsubscribe.quantiles().count), (1, 2));
        assert_eq!(notes.errors.values().sum::<u64>(), 1);
        hear(&mut ways, &mut notes, "subscribed", 99);
        assert_eq!(notes.errors["an answer to nothing"], 1);
    }

    #[test]
    fn a_server_that_does_not_answer_is_not_asked_for_ever() {
        let mut ways = Ways::new(0, 5_000);
        assert_eq!((0..2_000).filter_map(|due| ways.change(due, 5_000, name)).count(), UNANSWERED_MAX);
    }
}
