//! What a world has come to: every client's transcript against every topic's log, in figures and in words for people. What is
//! wrong is [`crate::model`]'s to say.

use std::fmt::Write as _;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::follower::{Follower, Told};
use crate::listener::{self, Views};
use crate::model::{Log, Places, Rule, Violation, check};
use crate::publisher;

/// A topic and its publisher.
pub(crate) struct Topic {
    pub(crate) key: String,
    pub(crate) log: Arc<Mutex<Log>>,
    pub(crate) requests: mpsc::Sender<publisher::Request>,
}

/// A client.
pub(crate) struct Client {
    pub(crate) name: String,
    pub(crate) tenant: &'static str,
    pub(crate) views: Views,
    pub(crate) requests: mpsc::Sender<listener::Request>,
}

/// What a world has come to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Acknowledged events.
    pub(crate) events: usize,
    /// Events that were applied by clients.
    pub(crate) deliveries: usize,
    /// Of them, those that came as the answer to a `since`.
    pub(crate) recovered: usize,
    /// Notices that durable, and that only ephemeral events may be missing.
    pub(crate) gaps: (usize, usize),
    /// A notice of an ephemeral loss is missing, and may still come.
    pub(crate) is_waiting: bool,
    /// What is wrong, for people; empty when nothing is.
    pub(crate) wrong: Vec<String>,
}

impl Client {
    fn view(&self, key: &str) -> Option<Follower> {
        let (tenant, topic) = key.split_once(':')?;
        self.views.lock().get(topic).filter(|_| tenant == self.tenant).cloned()
    }
}

/// Every position that a client was told, and the event that it stood for.
fn told(view: &Follower) -> impl Iterator<Item = (fanfare_protocol::Position, u64)> {
    view.told().iter().flat_map(|(_, told)| match told {
        Told::Event { number, position: Some(position) } => vec![(*position, *number)],
        Told::Subscribed { recovery: Some(recovery), .. } => recovery.events.clone(),
        _ => Vec::new(),
    })
}

impl Outcome {
    /// Holds what every client was told against what was published.
    pub(crate) fn of(topics: &[Topic], clients: &[Client], faults: &[String]) -> Outcome {
        let mut outcome = Outcome { wrong: faults.to_vec(), ..Outcome::default() };
        for Topic { key, log, .. } in topics {
            let log = log.lock();
            outcome.events += log.iter().filter(|(_, event)| event.is_acknowledged).count();
            let (mut places, twice) = Places::of(&log);
            outcome.wrong.extend(twice.iter().map(|violation| format!("{key}: {violation}")));
            let views: Vec<_> = clients.iter().filter_map(|client| Some((client, client.view(key)?))).collect();
            for (client, view) in &views {
                let violations: Vec<_> = told(view).filter_map(|(at, number)| places.learn(at, number)).collect();
                outcome.report(client, key, view, &log, &violations);
            }
            for (client, view) in &views {
                outcome.count(view);
                outcome.report(client, key, view, &log, &check(&log, &places, view));
            }
        }
        for client in clients {
            for (topic, view) in client.views.lock().iter() {
                let is_known = topics.iter().any(|known| known.key == format!("{}:{topic}", client.tenant));
                for fault in view.faults().iter().filter(|_| !is_known) {
                    outcome.wrong.push(format!("{}, {topic}: {fault}", client.name));
                }
            }
        }
        outcome
    }

    fn count(&mut self, view: &Follower) {
        for (_, told) in view.told() {
            match told {
                Told::Subscribed { recovery: Some(recovery), .. } => {
                    self.recovered += recovery.events.len();
                    self.gaps.0 += usize::from(recovery.reason.is_some());
                }
                Told::Event { .. } => self.deliveries += 1,
                Told::Gap { all: true, .. } => self.gaps.0 += 1,
                Told::Gap { all: false, .. } => self.gaps.1 += 1,
                Told::Subscribed { .. } | Told::Away => {}
            }
        }
    }

    /// What is wrong, with what the client was told around it.
    fn report(&mut self, client: &Client, key: &str, view: &Follower, log: &Log, violations: &[Violation]) {
        const AROUND: usize = 6;
        self.is_waiting |= violations.iter().any(|violation| violation.rule == Rule::EphemeralComplete);
        for violation in violations {
            let mut words = format!("{}, {key}: {violation}", client.name);
            if let Some(number) = violation.number {
                let is_near = |told: &Told| match told {
                    Told::Event { number: of, .. } => *of >= number,
                    Told::Subscribed { recovery: Some(recovery), .. } => {
                        recovery.events.iter().any(|(_, of)| *of >= number)
                    }
                    _ => false,
                };
                let _ = write!(words, "\n  published: {:?}", log.get(number));
                let near = view.told().iter().position(|(_, told)| is_near(told)).unwrap_or(view.told().len());
                let range = near.saturating_sub(AROUND)..(near + AROUND).min(view.told().len());
                for (at, told) in &view.told()[range] {
                    let _ = write!(words, "\n  {at:?}: {}", short(told));
                }
            }
            self.wrong.push(words);
        }
    }
}

/// A transcript's line; of many events the first and the last.
fn short(told: &Told) -> String {
    let Told::Subscribed { position, recovery: Some(recovery) } = told else { return format!("{told:?}") };
    let (first, last) = (recovery.events.first(), recovery.events.last());
    format!(
        "Subscribed {{ position: {position}, since: {}, reason: {:?}, more: {}, {} events, {first:?} to {last:?} }}",
        recovery.since,
        recovery.reason,
        recovery.more,
        recovery.events.len()
    )
}
