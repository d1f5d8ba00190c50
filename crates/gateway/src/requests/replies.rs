//! The channel over which a tenant's backends answer this node: subscribed with the tenant's first request, and left when
//! there was none for a while. What comes over it is handed to the request it is for; all else is counted and dropped.
//! Deliberately one channel for each tenant: who may publish on one tenant's channels answers to no other's requests.

use std::sync::Arc;

use bytes::Bytes;
use fanfare_protocol::{Answer, Tenant, TopicKey};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::Requests;
use super::outcome::Outcome;
use crate::critical;
use crate::own_channels::{Heard, Listening};

/// Answers that wait to be looked at. When there are more, the hub waits.
const QUEUE_MAX: usize = 256;

/// A tenant's channel. It is left when this is dropped.
#[derive(Debug)]
pub(super) struct Replies {
    listening: Listening,
    standing: watch::Sender<Standing>,
    idle: Arc<Notify>,
}

/// How a channel stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) state: ChannelState,
    /// How often answers may have been lost.
    pub(super) losses: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChannelState {
    /// Asked for. An answer that is published now may be lost.
    Waiting,
    /// No answer is missed.
    Confirmed,
    /// The backplane does not allow it.
    Refused,
}

impl Replies {
    /// How it stands, from now on. One that was refused is asked for again.
    pub(super) fn watch(&self) -> watch::Receiver<Standing> {
        if self.standing.borrow().state == ChannelState::Refused {
            self.standing.send_modify(|standing| standing.state = ChannelState::Waiting);
            self.listening.retry();
        }
        self.standing.subscribe()
    }

    /// The tenant's last request has ended.
    pub(super) fn fell_idle(&self) {
        self.idle.notify_one();
    }

    fn stands(&self, state: ChannelState) {
        self.standing.send_modify(|standing| {
            // Also where nothing was confirmed: what was on its way is lost.
            standing.losses += u64::from(state != ChannelState::Confirmed);
            standing.state = state;
        });
    }
}

/// Subscribes the channel of `tenant` and starts the task that listens to it.
pub(super) fn listen(requests: Arc<Requests>, tenant: &Tenant) -> Replies {
    let (sender, queue) = mpsc::channel(QUEUE_MAX);
    let around = &requests.around;
    let channel = TopicKey::replies(tenant, &around.node_id);
    let idle = Arc::new(Notify::new());
    let replies = Replies {
        listening: around.own_channels.listen(channel, sender),
        standing: watch::Sender::new(Standing { state: ChannelState::Waiting, losses: 0 }),
        idle: Arc::clone(&idle),
    };
    let listener = Listener { tenant: tenant.clone(), queue, idle, requests };
    critical::spawn("answers", listener.run());
    replies
}

/// Listens to one tenant's channel until that is left.
struct Listener {
    requests: Arc<Requests>,
    tenant: Tenant,
    queue: mpsc::Receiver<(TopicKey, Heard)>,
    idle: Arc<Notify>,
}

impl Listener {
    async fn run(mut self) {
        loop {
            let idle_since = self.requests.table.lock().idle_since(&self.tenant);
            tokio::select! {
                heard = self.queue.recv() => match heard {
                    Some((_, heard)) => self.heard(heard),
                    None => return,
                },
                () = self.idle.notified() => {}
                () = over(idle_since, &self.requests) => {
                    let mut table = self.requests.table.lock();
                    if idle_since.is_some_and(|since| table.stop_listening(&self.tenant, since)) {
                        return;
                    }
                }
            }
        }
    }

    fn heard(&self, heard: Heard) {
        match heard {
            Heard::Message(payload) => self.answer(payload),
            Heard::Confirmed => self.stands(ChannelState::Confirmed),
            Heard::Lost => self.stands(ChannelState::Waiting),
            Heard::Refused(error) => {
                self.requests.around.metrics.answers_refused(self.tenant.as_str(), &error);
                self.stands(ChannelState::Refused);
            }
        }
    }

    fn stands(&self, state: ChannelState) {
        if let Some(replies) = self.requests.table.lock().replies_of(&self.tenant) {
            replies.stands(state);
        }
    }

    fn answer(&self, payload: Bytes) {
        let around = &self.requests.around;
        let tenant = self.tenant.as_str();
        let answer = match Answer::decode(payload) {
            Ok(answer) => answer,
            Err(error) => return around.metrics.answer_dropped("unreadable", tenant, &error),
        };
        let bytes_max = around.data_bytes_max;
        let outcome = match answer.outcome {
            Ok(data) if data.len() > bytes_max => Outcome::TooLarge { bytes: data.len(), bytes_max },
            Ok(data) => Outcome::Reply(data),
            Err(error) => Outcome::Refused(error),
        };
        let handed = self.requests.table.lock().answer(&self.tenant, answer.request, outcome);
        if let Err(stray) = handed {
            around.metrics.answer_dropped(stray.reason(), tenant, &"no request that waits has this id");
        }
    }
}

/// Ends when the tenant has had no request for as long as its channel outlives the last one.
async fn over(idle_since: Option<Instant>, requests: &Requests) {
    match idle_since {
        Some(since) => sleep_until(since + requests.around.idle).await,
        None => std::future::pending().await,
    }
}
