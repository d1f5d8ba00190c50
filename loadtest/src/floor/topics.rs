//! The floor servers' topics: who is subscribed, and what has arrived for them. One Redis channel each, subscribed with
//! the first client and kept.

use std::collections::HashMap;

use crate::redis_link::RedisLink;
use crate::resp::put_command;
use crate::websocket::{TEXT, put_server_frame};

use super::connections::{Asked, Place};

pub(super) struct Topics {
    prefix: String,
    by_channel: HashMap<Vec<u8>, usize>,
    all: Vec<Topic>,
    /// Subscriptions that Redis has not been told of.
    commands: Vec<u8>,
    /// Topics for which something has arrived.
    collected: Vec<usize>,
}

pub(super) struct Topic {
    name: String,
    /// What stands before the envelope in every event frame.
    head: Vec<u8>,
    pub(super) subscribers: Vec<u32>,
    confirmed: bool,
    /// Connections and the ids of their requests, until Redis confirms.
    waiting: Vec<(u32, i64)>,
    batch: Vec<u8>,
}

impl Topics {
    pub(super) fn new(prefix: &str, tenant: &str) -> Self {
        Self {
            prefix: format!("{prefix}:{tenant}:"),
            by_channel: HashMap::new(),
            all: Vec::new(),
            commands: Vec::new(),
            collected: Vec::new(),
        }
    }

    /// The index of the topic that is asked for. A new one is subscribed with [`Topics::subscribe_new`].
    pub(super) fn want(&mut self, asked: &Asked) -> usize {
        let channel = format!("{}{}", self.prefix, asked.topic).into_bytes();
        if let Some(index) = self.find(&channel) {
            return index;
        }
        put_command(&mut self.commands, &[b"SUBSCRIBE", &channel]);
        self.all.push(Topic::new(&asked.topic));
        self.by_channel.insert(channel, self.all.len() - 1);
        self.all.len() - 1
    }

    /// Tells Redis of all new topics in one write.
    pub(super) fn subscribe_new(&mut self, link: &mut RedisLink) -> std::io::Result<()> {
        if !self.commands.is_empty() {
            link.write(&self.commands)?;
            self.commands.clear();
        }
        Ok(())
    }

    pub(super) fn find(&self, channel: &[u8]) -> Option<usize> {
        self.by_channel.get(channel).copied()
    }

    pub(super) fn get_mut(&mut self, index: usize) -> &mut Topic {
        &mut self.all[index]
    }

    /// Keeps an event until [`Topics::drain`].
    pub(super) fn collect(&mut self, index: usize, payload: &[u8]) {
        let topic = &mut self.all[index];
        if topic.batch.is_empty() {
            self.collected.push(index);
        }
        put_server_frame(&mut topic.batch, TEXT, &[&topic.head, payload, b"}"]);
    }

    /// Hands out what has been collected, once for each topic.
    pub(super) fn drain(&mut self, mut send: impl FnMut(&Topic, &[u8])) {
        for index in self.collected.drain(..) {
            let topic = &mut self.all[index];
            let mut batch = std::mem::take(&mut topic.batch);
            send(topic, &batch);
            batch.clear();
            topic.batch = batch;
        }
    }

    /// A connection is gone. The last subscriber takes its place; who that is, is returned.
    pub(super) fn leave(&mut self, place: Place) -> Option<u32> {
        let subscribers = &mut self.all[place.topic].subscribers;
        subscribers.swap_remove(place.position);
        subscribers.get(place.position).copied()
    }
}

impl Topic {
    fn new(name: &str) -> Self {
        Self {
            head: format!(r#"{{"op":"event","topic":"{name}","event":"#).into_bytes(),
            name: name.to_owned(),
            subscribers: Vec::new(),
            confirmed: false,
            waiting: Vec::new(),
            batch: Vec::new(),
        }
    }

    /// Appends an event's frame.
    pub(super) fn frame(&self, out: &mut Vec<u8>, payload: &[u8]) {
        put_server_frame(out, TEXT, &[&self.head, payload, b"}"]);
    }

    /// Gives a connection and the id of its request back if it may join at once; otherwise both wait for Redis.
    pub(super) fn ready_or_wait(&mut self, waiting: (u32, i64)) -> Option<(u32, i64)> {
        if self.confirmed {
            return Some(waiting);
        }
        self.waiting.push(waiting);
        None
    }

    /// Redis has confirmed; who waited may join.
    pub(super) fn confirm(&mut self) -> Vec<(u32, i64)> {
        self.confirmed = true;
        std::mem::take(&mut self.waiting)
    }

    pub(super) fn subscribed(&self, id: i64) -> Vec<u8> {
        control(&format!(r#"{{"op":"subscribed","id":{id},"topic":"{}","position":"0-0"}}"#, self.name))
    }

    pub(super) fn gap(&self) -> Vec<u8> {
        control(&format!(r#"{{"op":"gap","topic":"{}","lost":"ephemeral","reason":"backplane"}}"#, self.name))
    }
}

fn control(payload: &str) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + 4);
    put_server_frame(&mut frame, TEXT, &[payload.as_bytes()]);
    frame
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    fn asked(topic: &str) -> Asked {
        Asked { id: 1, topic: topic.to_owned() }
    }

    #[test]
    fn a_topic_waits_for_redis_once() {
        let mut topics = Topics::new("fanfare", "acme");
        let index = topics.want(&asked("channel:load"));
        assert_eq!(topics.want(&asked("channel:load")), index);
        assert_eq!(topics.find(b"fanfare:acme:channel:load"), Some(index));
        let topic = topics.get_mut(index);
        assert_eq!(topic.ready_or_wait((7, 1)), None);
        assert_eq!(topic.ready_or_wait((8, 2)), None);
        assert_eq!(topic.confirm(), [(7, 1), (8, 2)]);
        assert_eq!(topic.ready_or_wait((9, 3)), Some((9, 3)));
        let commands = String::from_utf8(topics.commands).unwrap();
        assert_eq!(commands.matches("SUBSCRIBE").count(), 1, "{commands}");
    }

    #[test]
    fn who_takes_a_place_is_told() {
        let mut topics = Topics::new("fanfare", "acme");
        topics.want(&asked("channel:load"));
        topics.get_mut(0).subscribers = vec![10, 11, 12];
        assert_eq!(topics.leave(Place { topic: 0, position: 0 }), Some(12));
        assert_eq!(topics.leave(Place { topic: 0, position: 1 }), None, "the last one itself");
        assert_eq!(topics.get_mut(0).subscribers, [12]);
    }

    #[test]
    fn what_has_arrived_together_leaves_together() {
        let mut topics = Topics::new("fanfare", "acme");
        topics.want(&asked("channel:load"));
        topics.collect(0, b"{}");
        topics.collect(0, b"{}");
        let mut batches = Vec::new();
        topics.drain(|_, batch| batches.push(batch.to_vec()));
        assert_eq!(batches.len(), 1);
        assert_eq!(String::from_utf8_lossy(&batches[0]).matches(r#""event":{}}"#).count(), 2);
        topics.drain(|_, _| panic!("nothing is left"));
    }
}
