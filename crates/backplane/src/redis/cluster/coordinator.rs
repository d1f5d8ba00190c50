//! The task that knows who serves which slot: asks the cluster's nodes, in an interval and whenever something hints at a
//! change, brings the topics where they belong, and says how the cluster is. Deliberately no messages and no commands.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Value};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::Shared;
use super::member::{Member, configured};
use super::slots::{self, SLOTS, SlotMap, View};
use crate::redis::backoff::Backoff;
use crate::redis::config::RedisConfig;
use crate::redis::connect;
use crate::redis::connect_error::{Cause, ConnectError, server_words};
use crate::redis::line::Line;
use crate::redis::publisher::Publisher;
use crate::redis::server::{Address, Endpoint};
use crate::state::State;

/// Nodes asked at the same time.
const ASKED_MAX: usize = 16;
/// When one node has answered, how long the others may take: one that is down must not hold up the way to its successor.
const GRACE: Duration = Duration::from_millis(200);
/// The longest pause while something is out of place: a failover takes seconds, and its end is to be found soon.
const UNREST_MAX: Duration = Duration::from_secs(1);

/// So many times in a row the nodes may say something older than what was known, because those that know better don't
/// answer now; then it is a change all the same: the cluster may have been made anew.
const CONTRADICTIONS_MAX: u32 = 10;

/// The task.
#[derive(Debug)]
pub(super) struct Coordinator {
    pub(super) shared: Arc<Shared>,
    pub(super) state: watch::Sender<State>,
}

impl Coordinator {
    /// Never ends.
    pub(super) async fn supervise(self) {
        let (config, common) = (&self.shared.config, &self.shared.common);
        let longest = config.retry_max.min(UNREST_MAX);
        let new_backoff = || Backoff::new(config.retry_min, longest);
        let mut backoff = new_backoff();
        let mut contradictions = 0;
        loop {
            let asked = self.ask().await;
            let error = match asked {
                Ok(views) => {
                    self.apply(&agreed(views, common.slots().as_deref(), &mut contradictions));
                    None
                }
                Err(error) => {
                    contradictions = CONTRADICTIONS_MAX;
                    let error = error.to_string();
                    common.down(&error);
                    Some(error)
                }
            };
            if error.is_none() && self.is_calm() {
                backoff = new_backoff();
            }
            // Doubts that came up while the answer was on its way need another one, but not more often than this.
            let soonest = Instant::now() + backoff.pause(rand::random());
            let latest = Instant::now() + config.slots_interval;
            let mut is_doubted = error.is_some();
            loop {
                self.tell(error.as_deref());
                let end = if is_doubted || !self.is_calm() { soonest } else { latest.max(soonest) };
                tokio::select! {
                    () = sleep_until(end) => break,
                    () = common.doubted.notified() => is_doubted = true,
                    () = common.judged.notified() => {}
                }
            }
        }
    }

    fn is_calm(&self) -> bool {
        let Some(slots) = self.shared.common.slots() else { return false };
        self.shared.table.lock().is_calm(&slots)
    }

    fn apply(&self, slots: &SlotMap) {
        let common = &self.shared.common;
        common.up();
        let mut table = self.shared.table.lock();
        let is_new = common.set_slots(slots);
        for primary in slots.primaries() {
            if !table.members.contains_key(&**primary) {
                let member = Member::start(&self.shared.config, &self.shared.probe, common, primary);
                table.members.insert((**primary).clone(), Arc::new(member));
            }
        }
        table.settle(slots, is_new);
        table.forget_idle(slots);
        drop(table);
        common.inbox.announce();
    }

    /// Asks the primaries that are known, or else the nodes of the configuration.
    async fn ask(&self) -> Result<Vec<View>, ConnectError> {
        let publishers: Vec<_> = {
            let table = self.shared.table.lock();
            let connected = table.members.values().filter(|member| member.publisher.is_connected());
            connected
                .take(ASKED_MAX)
                .map(|member| (Arc::clone(&member.endpoint), Arc::clone(&member.publisher)))
                .collect()
        };
        let asking = publishers.iter().map(|(endpoint, publisher)| self.ask_connected(endpoint, publisher)).collect();
        let (views, _) = first_answers(asking).await;
        if !views.is_empty() {
            return Ok(views);
        }
        let Address::Cluster(nodes) = &self.shared.config.server.address else { return Ok(Vec::new()) };
        // Those that were found later may be the only ones left.
        let mut nodes = nodes.clone();
        for known in self.shared.table.lock().members.keys() {
            if !nodes.contains(known) && nodes.len() < ASKED_MAX {
                nodes.push(known.clone());
            }
        }
        let (views, failures) =
            first_answers(nodes.iter().map(|node| ask_anew(&self.shared.config, node)).collect()).await;
        if !views.is_empty() {
            return Ok(views);
        }
        Err(nobody(&self.shared.config, failures))
    }

    async fn ask_connected(&self, endpoint: &Endpoint, publisher: &Publisher) -> Result<View, (String, Cause)> {
        let limit = self.shared.config.response_timeout;
        let asking = async {
            let mut connection = publisher.connection().ok_or(Cause::Closed)?;
            view(&mut connection, endpoint).await
        };
        let asked = timeout(limit, asking).await.unwrap_or(Err(Cause::AnswerTimeout { limit }));
        asked.map_err(|cause| (endpoint.authority(), cause))
    }

    /// How the cluster is, as far as the node's topics are concerned. `error` is why nobody could be asked.
    fn tell(&self, error: Option<&str>) {
        let next = self.judge(error);
        self.state.send_if_modified(|state| {
            let is_new = *state != next;
            if is_new {
                match &next {
                    State::Up => tracing::info!(server = %self.shared.config.server, "the cluster delivers"),
                    State::Connecting { error: Some(error) } | State::Down { error } => {
                        tracing::warn!(error, "the cluster does not deliver everything; trying again");
                    }
                    _ => {}
                }
                *state = next;
            }
            is_new
        });
    }

    fn judge(&self, error: Option<&str>) -> State {
        let was_ever_up = !matches!(*self.state.borrow(), State::Connecting { .. });
        let away = |error: Option<String>| match error {
            error if !was_ever_up => State::Connecting { error },
            error => State::Down { error: error.unwrap_or_else(|| "the primaries are connected to".to_owned()) },
        };
        let (true, Some(slots)) = (self.shared.common.is_up(), self.shared.common.slots()) else {
            return away(error.map(str::to_owned));
        };
        let (parts, strays) = {
            let table = self.shared.table.lock();
            (table.relevant(&slots), table.strays())
        };
        if strays > 0 {
            let server = &self.shared.config.server;
            return away(Some(format!("{server}: no primary serves the slots of {strays} topics")));
        }
        let states: Vec<_> = parts.iter().map(|part| part.state()).collect();
        let is_settled = parts.iter().all(|part| part.is_settled());
        if !is_settled {
            let server = &self.shared.config.server;
            return away(Some(format!("{server}: topics are on their way to another primary")));
        }
        worst(states).unwrap_or_else(away)
    }
}

/// The state of all primaries that matter; an error when some are away, or nothing is known of them yet.
fn worst(states: Vec<State>) -> Result<State, Option<String>> {
    let is_any = !states.is_empty();
    let mut doubt = None;
    for state in states {
        match state {
            State::Connecting { error } => return Err(error),
            State::Down { error } => return Err(Some(error)),
            State::Undelivered { .. } => doubt = Some(state),
            State::Unproven { .. } => doubt = Some(doubt.unwrap_or(state)),
            State::Up => {}
        }
    }
    match doubt {
        Some(doubt) => Ok(doubt),
        None if is_any => Ok(State::Up),
        None => Err(None),
    }
}

/// The primaries of a cluster, each as a server of its own, for whoever has something to do on all of them.
pub(in crate::redis) async fn primaries(
    config: &RedisConfig,
    nodes: &[Endpoint],
) -> Result<Vec<RedisConfig>, ConnectError> {
    let (views, failures) = first_answers(nodes.iter().map(|node| ask_anew(config, node)).collect()).await;
    if views.is_empty() {
        return Err(nobody(config, failures));
    }
    let slots = SlotMap::agreed(&views);
    Ok(slots.primaries().map(|primary| configured(config, Address::Primary((**primary).clone()))).collect())
}

fn nobody(config: &RedisConfig, mut failures: Vec<(String, Cause)>) -> ConnectError {
    failures.sort_by(|(a, _), (b, _)| a.cmp(b));
    ConnectError { server: config.server.to_string(), cause: Cause::NoMember(failures) }
}

async fn ask_anew(config: &RedisConfig, node: &Endpoint) -> Result<View, (String, Cause)> {
    let config = configured(config, Address::Member(node.clone()));
    let limit = config.response_timeout;
    let asking = async {
        let link = connect::open(&config, Line::new(), None, AsyncConnectionConfig::new()).await;
        let mut link = link.map_err(|error| error.cause)?;
        tokio::select! {
            view = timeout(limit, view(&mut link.connection, node)) => {
                view.unwrap_or(Err(Cause::AnswerTimeout { limit }))
            }
            () = link.driver => Err(Cause::Closed),
        }
    };
    asking.await.map_err(|cause: Cause| (node.authority(), cause))
}

/// What the nodes say, unless that is older than what was known.
fn agreed(mut views: Vec<View>, present: Option<&SlotMap>, contradictions: &mut u32) -> SlotMap {
    let said = SlotMap::agreed(&views);
    let Some(present) = present else { return said };
    views.push(present.view());
    let agreed = SlotMap::agreed(&views);
    let is_contradicted = (0..SLOTS).any(|slot| said.owner(slot) != agreed.owner(slot));
    *contradictions = if is_contradicted { *contradictions + 1 } else { 0 };
    if *contradictions > CONTRADICTIONS_MAX { said } else { agreed }
}

/// What was answered soon, and why the others have not.
async fn first_answers<F>(mut asking: FuturesUnordered<F>) -> (Vec<View>, Vec<(String, Cause)>)
where
    F: Future<Output = Result<View, (String, Cause)>>,
{
    let (mut views, mut failures, mut end) = (Vec::new(), Vec::new(), None);
    loop {
        let answer = tokio::select! {
            answer = asking.next() => answer,
            () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => None,
        };
        match answer {
            None => return (views, failures),
            Some(Err(failure)) => failures.push(failure),
            Some(Ok(view)) => {
                end.get_or_insert_with(|| Instant::now() + GRACE);
                views.push(view);
            }
        }
    }
}

async fn view(connection: &mut MultiplexedConnection, asked: &Endpoint) -> Result<View, Cause> {
    let ask = async |mut connection: MultiplexedConnection, what| {
        redis::cmd("CLUSTER").arg(what).query_async::<Value>(&mut connection).await
    };
    let (slots, nodes) = tokio::join!(ask(connection.clone(), "SLOTS"), ask(connection.clone(), "NODES"));
    let slots = slots.map_err(|error| Cause::Server(server_words(&error)))?;
    // A user who may not ask this does without epochs.
    let nodes: String = nodes.ok().and_then(|nodes| redis::from_redis_value(nodes).ok()).unwrap_or_default();
    match slots::view(slots, &nodes, asked) {
        Some(view) if view.is_empty() => Err(Cause::NoSlots),
        Some(view) => Ok(view),
        None => Err(Cause::NotRedis),
    }
}
