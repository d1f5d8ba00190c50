//! The channels of the node's own on the backplane: what comes over them is for a part of the node, not for clients'
//! subscriptions. The hub hands it over in the backplane's order.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use fanfare_backplane::Backplane;
use fanfare_protocol::TopicKey;
use parking_lot::Mutex;
use tokio::sync::mpsc;

/// Who listens to which channel.
#[derive(Debug)]
pub struct OwnChannels {
    backplane: Backplane,
    listeners: Mutex<HashMap<TopicKey, Listener>>,
}

/// Where a channel's news go. The hub waits for room in this queue, so whoever takes from it must never wait for the hub.
pub type Listener = mpsc::Sender<(TopicKey, Heard)>;

/// What happened on a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// No message from here on is missing.
    Confirmed,
    /// Messages from here on may be missing, until it is confirmed again.
    Lost,
    /// It can't be subscribed, in the server's words.
    Refused(String),
    /// A message.
    Message(Bytes),
}

/// One listener's channel; dropping it ends the subscription.
#[derive(Debug)]
pub struct Listening {
    channels: Arc<OwnChannels>,
    key: TopicKey,
}

impl OwnChannels {
    /// Nobody listens yet.
    pub fn new(backplane: Backplane) -> Self {
        Self { backplane, listeners: Mutex::default() }
    }

    /// Subscribes a channel that nobody listens to yet.
    pub fn listen(self: &Arc<Self>, key: TopicKey, listener: Listener) -> Listening {
        self.listeners.lock().insert(key.clone(), listener);
        self.backplane.want(std::slice::from_ref(&key));
        Listening { channels: Arc::clone(self), key }
    }

    /// The backplane delivers nothing from here on.
    pub async fn lose_all(&self) {
        let keys: Vec<_> = self.listeners.lock().keys().cloned().collect();
        for key in keys {
            self.tell(key.as_str(), Heard::Lost).await;
        }
    }

    /// This happened on a channel that is no client's topic.
    pub async fn tell(&self, key: &str, heard: Heard) {
        let listener = self.listeners.lock().get_key_value(key).map(|(key, listener)| (key.clone(), listener.clone()));
        if let Some((key, listener)) = listener {
            // Who has stopped listening is about to drop its channel.
            let _ = listener.send((key, heard)).await;
        }
    }
}

impl Listening {
    /// Asks again for a channel that was refused.
    pub fn retry(&self) {
        self.channels.backplane.want(std::slice::from_ref(&self.key));
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.channels.listeners.lock().remove(&self.key);
        self.channels.backplane.unwant(std::slice::from_ref(&self.key));
    }
}
