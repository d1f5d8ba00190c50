//! A client asks a backend. The answer is awaited in a task of its own, so that the connection's other frames go on
//! meanwhile; the tasks end with the connection.

use std::sync::Arc;

use bytes::Bytes;
use fanfare_core::{Farewell, frame};
use fanfare_protocol::{ErrorCode, ServerFrame, reply_frame, request};
use tokio::task::JoinSet;

use super::{Busy, Client};
use crate::requests::Ask;

/// A request, as the client wrote it.
pub(super) struct Asked {
    pub(super) id: Option<i64>,
    pub(super) method: String,
    /// In the connection's encoding.
    pub(super) data: Option<Bytes>,
    pub(super) timeout_ms: Option<u64>,
    pub(super) traceparent: Option<String>,
}

/// The tasks of a client's open requests; none for a client that never asked.
#[derive(Default)]
pub(super) struct OpenRequests(Option<Box<JoinSet<()>>>);

impl OpenRequests {
    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        let tasks = self.0.get_or_insert_default();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }
}

impl Client {
    pub(super) fn request(&mut self, asked: Asked) -> Result<Option<Busy>, Farewell> {
        let id = asked.id;
        let refuse = |client: &Client, code, message: &str| client.refuse(id, None, code, message);
        let codec = self.session.codec();
        let data = match request::data_json(codec, asked.data) {
            Ok(data) => data,
            Err(error) => return refuse(self, ErrorCode::BadFrame, &error.to_string()),
        };
        let Some(principal) = self.principal() else { return Ok(None) };
        let connection = self.node.names.name(self.session.id());
        let ask = Ask {
            principal,
            connection: Some(&connection),
            method: &asked.method,
            data,
            timeout_ms: asked.timeout_ms,
            traceparent: asked.traceparent.as_deref(),
        };
        let answer = match self.node.requests.ask(&ask) {
            Ok(answer) => answer,
            Err(error) => return refuse(self, error.code, &error.message),
        };
        let (node, session) = (Arc::clone(&self.node), Arc::clone(&self.session));
        self.requests.spawn(async move {
            let told = match answer.await {
                Ok(data) => reply_frame(codec, id, &data),
                Err(error) => {
                    let message = &error.message;
                    ServerFrame::Error { id, topic: None, code: error.code, message }.encode(codec)
                }
            };
            node.metrics.answered(session.send_bytes(frame::message(codec, &told), node.clock.now()));
        });
        Ok(None)
    }
}
