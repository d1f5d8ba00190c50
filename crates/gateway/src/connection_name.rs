//! What a connection is called outside the node: `welcome.connection`, and `except` in an envelope.

use fanfare_core::SessionId;

/// Names of one node's connections: a random tag of the process, and the session's number.
#[derive(Debug)]
pub struct ConnectionNames {
    tag: String,
}

impl ConnectionNames {
    /// Names that no other process gives.
    pub fn new() -> Self {
        Self { tag: format!("{:016x}", rand::random::<u64>()) }
    }

    /// The name of a session.
    pub fn name(&self, session: SessionId) -> String {
        format!("{}-{:x}", self.tag, session.0)
    }

    /// The session of a name, if it is this node's.
    pub fn session(&self, name: &str) -> Option<SessionId> {
        let number = name.strip_prefix(&self.tag)?.strip_prefix('-')?;
        u64::from_str_radix(number, 16).ok().map(SessionId)
    }
}

impl Default for ConnectionNames {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_back_to_its_session_on_its_own_node_only() {
        let (here, there) = (ConnectionNames::new(), ConnectionNames::new());
        let name = here.name(SessionId(300));
        assert_eq!(here.session(&name), Some(SessionId(300)));
        assert_eq!(there.session(&name), None);
        assert_eq!(here.session("nonsense"), None);
    }
}
