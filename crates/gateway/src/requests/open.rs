//! One open request, from the moment it is allowed to its end. It waits until answers can reach the node, goes to the
//! stream, and then waits for its answer or for its deadline, whichever comes first.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fanfare_backplane::{EntryId, PublishError, Request, State};
use fanfare_protocol::{ErrorCode, Method, RequestId, Tenant, TopicKey, Traceparent};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::error::UNSURE;
use super::outcome::Outcome;
use super::replies::{ChannelState, Standing};
use super::table::Opened;
use super::{Ask, AskError, Requests};
use crate::clock;
use crate::traces::{LogTrace, Span};

/// How long a request waits until the backplane delivers answers to this node. Like a subscribe.
const CONFIRMATION_TIMEOUT: Duration = Duration::from_secs(10);

/// A request that is open as long as this is there.
#[derive(Debug)]
pub(super) struct OpenRequest {
    requests: Arc<Requests>,
    opened: Opened,
    asked: Asked,
    start: Instant,
    deadline: Instant,
    standing: watch::Receiver<Standing>,
    /// The trace that it belongs to.
    trace: LogTrace,
    /// Of a request whose trace is recorded.
    span: Option<Span>,
    /// Whether it ended by itself.
    has_ended: bool,
}

/// What goes into the stream.
#[derive(Debug)]
struct Asked {
    tenant: Tenant,
    method: Method,
    data: Bytes,
    user: Box<str>,
    connection: Box<str>,
    deadline_ms: u64,
    traceparent: Option<Box<str>>,
}

/// How far a request has come.
#[derive(Clone, Copy)]
enum Stage {
    /// Answers can't reach the node yet.
    Unconfirmed,
    /// It is on its way into the stream.
    Sent,
    /// It stands there.
    Entered(EntryId),
}

impl OpenRequest {
    /// For what the table has opened.
    pub(super) fn new(
        requests: Arc<Requests>,
        ask: &Ask<'_>,
        method: Method,
        (opened, standing): (Opened, watch::Receiver<Standing>),
    ) -> Self {
        let timeout = requests.timeout(ask);
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let caller = ask.traceparent.and_then(Traceparent::parse);
        let span = requests.around.traces.request((&ask.principal.tenant, &method, opened.id), caller);
        let traceparent = match &span {
            Some(span) => Some(span.context().to_string().into()),
            None => caller.and(ask.traceparent).map(Into::into),
        };
        let asked = Asked {
            tenant: ask.principal.tenant.clone(),
            method,
            data: ask.data.clone(),
            user: ask.principal.user.clone(),
            connection: ask.connection.unwrap_or_default().into(),
            deadline_ms: clock::unix_ms().saturating_add(timeout_ms),
            traceparent,
        };
        let start = Instant::now();
        let trace = LogTrace::of(span.as_ref(), caller);
        Self { requests, opened, asked, start, deadline: start + timeout, standing, trace, span, has_ended: false }
    }

    /// Sees it through to its end.
    pub(super) async fn answered(mut self) -> Result<Bytes, AskError> {
        let outcome = self.outcome().await;
        self.has_ended = true;
        let took = outcome.is_answer().then(|| self.start.elapsed());
        self.requests.around.metrics.requests.ended(outcome.label(), took);
        if let Some(span) = &mut self.span {
            span.outcome(outcome.label());
        }
        if !outcome.is_answer() {
            let (tenant, method) = (&self.asked.tenant, &self.asked.method);
            self.requests.around.metrics.request_unanswered((tenant, method), outcome.label(), self.trace);
        }
        let result = outcome.into_result();
        if let (Some(span), Err(error)) = (&mut self.span, &result) {
            span.fail(error.code.as_str());
        }
        result
    }

    async fn outcome(&mut self) -> Outcome {
        let mut stage = Stage::Unconfirmed;
        let mut losses = 0;
        let waiting = timeout_at(self.deadline, self.ask(&mut stage, &mut losses)).await;
        match (waiting, stage) {
            (Ok(outcome), _) => outcome,
            (Err(_), Stage::Unconfirmed) => unconfirmed(),
            (Err(_), Stage::Sent) => Outcome::unanswered(ErrorCode::Timeout, UNSURE),
            (Err(_), Stage::Entered(entry)) => self.overdue(entry, losses).await,
        }
    }

    async fn ask(&mut self, stage: &mut Stage, losses: &mut u64) -> Outcome {
        let requests = Arc::clone(&self.requests);
        if let Some(previous) = self.opened.previous.take() {
            // Nothing is ever sent: it ends.
            let _ = previous.await;
        }
        match self.confirmed().await {
            Ok(until_now) => *losses = until_now,
            Err(outcome) => return outcome,
        }
        *stage = Stage::Sent;
        let reply_to = TopicKey::replies(&self.asked.tenant, &requests.around.node_id);
        let sent = {
            let request = self.asked.request(self.opened.id, &reply_to, requests.config.maxlen);
            // Who answers faster than the stream itself is heard too.
            let mut sending = pin!(requests.around.backplane.request(&request));
            tokio::select! {
                biased;
                Ok(outcome) = &mut self.opened.answer => return outcome,
                sent = &mut sending => sent,
            }
        };
        self.opened.turn = None;
        // It may be long until the answer comes, and the data is a part of a whole message.
        self.asked.data = Bytes::new();
        match sent {
            Ok(Some(entry)) => *stage = Stage::Entered(entry),
            Ok(None) => {
                let message = "the node's backplane is memory, where no backend can read requests: use Redis";
                return Outcome::unanswered(ErrorCode::NoBackend, message);
            }
            // It may stand in the stream all the same, and be answered.
            Err(PublishError::Timeout) => {}
            Err(PublishError::Unavailable) => {
                return Outcome::unanswered(ErrorCode::Unavailable, "the backplane is away: try again later");
            }
            Err(PublishError::Refused(words)) => {
                requests.around.metrics.request_refused(&self.asked.tenant, &words, self.trace);
                let message = "the backplane refused it; the node's log says why";
                return Outcome::unanswered(ErrorCode::Internal, message);
            }
        }
        match (&mut self.opened.answer).await {
            Ok(outcome) => outcome,
            // The table gives no request up while it is open.
            Err(_) => Outcome::unanswered(ErrorCode::Internal, "the node lost the request"),
        }
    }

    /// Waits until answers reach the node. Returns how often some may have been lost until now.
    async fn confirmed(&mut self) -> Result<u64, Outcome> {
        let mut state = self.requests.around.backplane.state();
        let mut give_up = pin!(sleep_until(self.start + CONFIRMATION_TIMEOUT));
        loop {
            let standing = *self.standing.borrow_and_update();
            match standing.state {
                ChannelState::Confirmed => return Ok(standing.losses),
                ChannelState::Refused => {
                    let message = "the backplane refuses the channel for answers; the node's log says why";
                    return Err(Outcome::unanswered(ErrorCode::Unavailable, message));
                }
                ChannelState::Waiting => {}
            }
            if !delivers(&state.borrow_and_update()) {
                return Err(unconfirmed());
            }
            tokio::select! {
                Ok(()) = self.standing.changed() => {}
                Ok(()) = state.changed() => {}
                () = &mut give_up => return Err(unconfirmed()),
            }
        }
    }

    /// The time is over: has a backend had it?
    async fn overdue(&mut self, entry: EntryId, losses: u64) -> Outcome {
        // From now on an answer is late, however long Redis thinks about the question.
        self.requests.table.lock().close(self.opened.id);
        if let Ok(outcome) = self.opened.answer.try_recv() {
            return outcome;
        }
        // What Redis has now may be less than what it had.
        if self.standing.borrow().losses != losses {
            return Outcome::unanswered(ErrorCode::Timeout, UNSURE);
        }
        match self.requests.around.backplane.is_taken(&self.asked.tenant, entry).await {
            Ok(true) => Outcome::unanswered(ErrorCode::Timeout, "a backend has the request and did not answer in time"),
            Ok(false) => Outcome::unanswered(ErrorCode::NoBackend, "no backend took the request in time"),
            Err(error) => {
                self.requests.around.metrics.request_unclear(&self.asked.tenant, &error, self.trace);
                Outcome::unanswered(ErrorCode::Timeout, UNSURE)
            }
        }
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.requests.table.lock().close(self.opened.id);
        if !self.has_ended {
            self.requests.around.metrics.requests.ended("gone", None);
            if let Some(span) = &mut self.span {
                // Nobody is told of an error.
                span.outcome("gone");
            }
        }
    }
}

impl Asked {
    fn request<'a>(&'a self, id: RequestId, reply_to: &'a TopicKey, maxlen: u64) -> Request<'a> {
        Request {
            tenant: &self.tenant,
            id,
            method: &self.method,
            data: &self.data,
            user: &self.user,
            connection: &self.connection,
            reply_to,
            deadline_ms: self.deadline_ms,
            traceparent: self.traceparent.as_deref(),
            maxlen,
        }
    }
}

/// Whether a channel that isn't confirmed yet can be expected to be.
fn delivers(state: &State) -> bool {
    matches!(state, State::Up | State::Unproven { .. })
}

fn unconfirmed() -> Outcome {
    Outcome::unanswered(ErrorCode::Unavailable, "the backplane does not deliver to this node: try again later")
}
