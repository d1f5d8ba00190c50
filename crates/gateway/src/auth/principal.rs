//! Who a connection is: what is left of a token once it has been checked. What follows from it for a topic is
//! [`crate::access`]'s.

use fanfare_protocol::{Info, Method, Patterns, Tenant, Topic};

/// An authenticated user of a tenant.
#[derive(Clone, Debug)]
pub struct Principal {
    /// Everything the user sees is inside it.
    pub tenant: Tenant,
    /// The user's id.
    pub user: Box<str>,
    /// The user's own topic, `user:<id>`.
    pub user_topic: Topic,
    /// Patterns of channel names the user may subscribe to.
    pub channels: Patterns,
    /// Patterns of topics the user may publish to.
    pub publish: Patterns,
    /// Patterns of methods the user may ask backends for.
    pub methods: Patterns,
    /// Topics the node subscribes for the user, as the issuer wishes.
    pub subscribe: Vec<Topic>,
    /// When the token expires, in Unix milliseconds; at most what a JavaScript number holds exactly.
    pub expires_at_ms: u64,
    /// `jti`: by it a token can be revoked.
    pub token_id: Option<Box<str>>,
    /// What others see of the user in presence.
    pub info: Option<Info>,
}

impl Principal {
    /// Whether the user may ask a backend for this.
    pub fn may_request(&self, method: &Method) -> bool {
        self.methods.matches(method.as_str())
    }
}
