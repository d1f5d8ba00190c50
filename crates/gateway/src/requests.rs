//! Clients' requests to backends: each goes into its tenant's stream on Redis, and its answer comes over a channel that the
//! node has for the tenant. What is open stands in `table`, what comes over the channels in `replies`.
//!
//! It deliberately knows no connection and no encoding: whoever asks hands over JSON and is handed JSON.

mod error;
mod open;
mod outcome;
mod replies;
mod table;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fanfare_backplane::Backplane;
use fanfare_protocol::{ErrorCode, Method, Tenant};
use parking_lot::Mutex;

pub use self::error::AskError;
use self::error::refused;
use self::open::OpenRequest;
use self::replies::Replies;
use self::table::{Asker, Table};
use crate::auth::Principal;
use crate::metrics::Metrics;
use crate::own_channels::OwnChannels;
use crate::traces::Traces;

/// The settings of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestsConfig {
    /// How long a client waits that doesn't say.
    pub timeout: Duration,
    /// How long a client waits at most.
    pub timeout_max: Duration,
    /// Open requests of one connection.
    pub per_connection_max: usize,
    /// Open requests of one tenant on this node.
    pub per_tenant_max: usize,
    /// Entries that a tenant's stream keeps, at least about.
    pub maxlen: u64,
}

/// What requests stand on.
#[derive(Debug)]
pub struct Around {
    /// Where they go to.
    pub backplane: Backplane,
    /// Where their answers come from.
    pub own_channels: Arc<OwnChannels>,
    /// The node's id.
    pub node_id: Arc<str>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Which of them are traced.
    pub traces: Traces,
    /// The data of a request, or of an answer, in bytes.
    pub data_bytes_max: usize,
    /// How long a tenant's channel for answers outlives its last request.
    pub idle: Duration,
}

/// All requests of a node's clients.
#[derive(Debug)]
pub struct Requests {
    config: RequestsConfig,
    around: Around,
    table: Mutex<Table>,
}

/// One request, as it is asked for.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// The name of the connection over which it is asked. Without one, all that its user asks so counts as one connection.
    pub connection: Option<&'a str>,
    /// The method, as it was written.
    pub method: &'a str,
    /// JSON, as [`fanfare_protocol::request::data_json`] makes it.
    pub data: Bytes,
    /// How long to wait; longer than allowed is as long as allowed. None: the default.
    pub timeout_ms: Option<u64>,
    /// The caller's trace, as it was written; what is none is left out.
    pub traceparent: Option<&'a str>,
}

impl Requests {
    /// None yet.
    pub fn new(config: RequestsConfig, around: Around) -> Self {
        Self { config, around, table: Mutex::default() }
    }

    /// Asks a backend. What can be refused at once is; otherwise the request is open from now on, and ends with the future,
    /// which brings the answer's data, as JSON. Dropping that gives the request up.
    ///
    /// # Errors
    /// When the request isn't allowed, too large, or one too many.
    pub fn ask(
        self: &Arc<Self>,
        ask: &Ask<'_>,
    ) -> Result<impl Future<Output = Result<Bytes, AskError>> + Send + use<>, AskError> {
        let method =
            Method::parse(ask.method).map_err(|error| AskError::new(ErrorCode::BadFrame, error.to_string()))?;
        // The same words whether somebody answers to it or not.
        if !ask.principal.may_request(&method) {
            return Err(AskError::new(ErrorCode::Forbidden, "this token may not make this request"));
        }
        let (bytes, bytes_max) = (ask.data.len(), self.around.data_bytes_max);
        if bytes > bytes_max {
            let message = format!("`data` has {bytes} bytes; at most {bytes_max} are allowed");
            return Err(AskError::new(ErrorCode::TooLarge, message));
        }
        let open = self.open(ask, method)?;
        Ok(open.answered())
    }

    /// How many are open.
    pub fn open_count(&self) -> usize {
        self.table.lock().open_count()
    }

    fn open(self: &Arc<Self>, ask: &Ask<'_>, method: Method) -> Result<OpenRequest, AskError> {
        let tenant = &ask.principal.tenant;
        let asker = match ask.connection {
            Some(name) => Asker::Connection(name.into()),
            None => Asker::User((&*ask.principal.user).into()),
        };
        let mut table = self.table.lock();
        table.check_room(tenant, &asker, &self.config).map_err(|full| {
            self.around.metrics.limit_reached(full.setting, 1);
            refused(&full)
        })?;
        let standing = table.replies(tenant, || self.listen(tenant));
        let opened = table.open(tenant, asker);
        drop(table);
        Ok(OpenRequest::new(Arc::clone(self), ask, method, (opened, standing)))
    }

    /// Begins to listen for answers to the tenant's requests.
    fn listen(self: &Arc<Self>, tenant: &Tenant) -> Replies {
        replies::listen(Arc::clone(self), tenant)
    }

    /// For `ask`, within what is allowed.
    fn timeout(&self, ask: &Ask<'_>) -> Duration {
        let asked = ask.timeout_ms.map(Duration::from_millis);
        asked.unwrap_or(self.config.timeout).min(self.config.timeout_max)
    }
}
