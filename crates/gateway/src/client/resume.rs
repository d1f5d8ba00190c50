//! A client that comes back with its token and with all that it knows of its own topics, so that no frame has to bring them.

use std::sync::Arc;

use fanfare_core::Session;
use fanfare_core::admission::{Place, PrincipalPlace};
use fanfare_protocol::Position;

use super::{Busy, Client};
use crate::auth::Principal;
use crate::node::Node;

impl Client {
    /// A client whose token was accepted, and what it waits for first. `resumed`: where it stands in its own topics.
    pub(crate) fn resume(
        node: &Arc<Node>,
        session: &Arc<Session>,
        (principal, principal_place): (Arc<Principal>, PrincipalPlace),
        place: Place,
        resumed: &[(String, Position)],
    ) -> (Self, Busy) {
        let mut client = Self::unknown(node, session, place);
        let busy = client.settle(principal, principal_place, resumed);
        (client, busy)
    }
}
