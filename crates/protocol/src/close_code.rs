//! Why a connection ended, as the number in its close frame (RFC 6455 section 7.4) and in the `disconnect` before it.
//! Deliberately only the codes that a node sends; 1001, 1005 and 1006 are made by others.

use serde::{Serialize, Serializer};

/// A close code that a node sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum CloseCode {
    /// The client said goodbye.
    Normal = 1000,
    /// The client broke RFC 6455.
    Protocol = 1002,
    /// A text frame where a binary one was agreed, or the reverse.
    Unsupported = 1003,
    /// A text message that is not UTF-8.
    InvalidUtf8 = 1007,
    /// A message over the size limit.
    TooLarge = 1009,
    /// The node failed.
    Internal = 1011,
    /// The node is shutting down.
    Draining = 1012,
    /// A limit on connections is reached.
    Overloaded = 1013,
    /// A message that can't be parsed.
    BadFrame = 4400,
    /// No token, or none that is believed.
    Unauthenticated = 4401,
    /// The token is revoked, or its owner may not connect.
    Forbidden = 4403,
    /// Two pings went unanswered.
    HeartbeatMissed = 4408,
    /// The token expired and was not renewed.
    TokenExpired = 4409,
    /// The client reads too slowly: its outbox overflowed.
    Slow = 4413,
    /// The client goes on sending after it was told to slow down.
    RateLimited = 4429,
}

impl CloseCode {
    /// Every code, for tables and metrics.
    pub const ALL: [CloseCode; 15] = [
        CloseCode::Normal,
        CloseCode::Protocol,
        CloseCode::Unsupported,
        CloseCode::InvalidUtf8,
        CloseCode::TooLarge,
        CloseCode::Internal,
        CloseCode::Draining,
        CloseCode::Overloaded,
        CloseCode::BadFrame,
        CloseCode::Unauthenticated,
        CloseCode::Forbidden,
        CloseCode::HeartbeatMissed,
        CloseCode::TokenExpired,
        CloseCode::Slow,
        CloseCode::RateLimited,
    ];

    /// The number on the wire.
    pub fn as_u16(self) -> u16 {
        self as u16
    }

    /// Whether the client should connect again by itself. After [`CloseCode::Unauthenticated`] it should not, unless it
    /// has a new token; after [`CloseCode::TokenExpired`] it should, with a new one.
    pub fn reconnect(self) -> bool {
        match self {
            CloseCode::Normal
            | CloseCode::Protocol
            | CloseCode::Unsupported
            | CloseCode::InvalidUtf8
            | CloseCode::TooLarge
            | CloseCode::BadFrame
            | CloseCode::Unauthenticated
            | CloseCode::Forbidden => false,
            CloseCode::Internal
            | CloseCode::Draining
            | CloseCode::Overloaded
            | CloseCode::HeartbeatMissed
            | CloseCode::TokenExpired
            | CloseCode::Slow
            | CloseCode::RateLimited => true,
        }
    }

    /// The reason in `snake_case`: for the close frame when there is nothing more exact to say, and for metrics.
    pub fn reason(self) -> &'static str {
        match self {
            CloseCode::Normal => "normal",
            CloseCode::Protocol => "protocol_error",
            CloseCode::Unsupported => "wrong_frame_kind",
            CloseCode::InvalidUtf8 => "invalid_utf8",
            CloseCode::TooLarge => "too_large",
            CloseCode::Internal => "internal",
            CloseCode::Draining => "draining",
            CloseCode::Overloaded => "overloaded",
            CloseCode::BadFrame => "bad_frame",
            CloseCode::Unauthenticated => "unauthenticated",
            CloseCode::Forbidden => "forbidden",
            CloseCode::HeartbeatMissed => "heartbeat_missed",
            CloseCode::TokenExpired => "token_expired",
            CloseCode::Slow => "slow",
            CloseCode::RateLimited => "rate_limited",
        }
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> u16 {
        code.as_u16()
    }
}

impl Serialize for CloseCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.as_u16())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_reconnects_are_those_of_the_contract() {
        let table: Vec<_> = CloseCode::ALL.map(|code| (code.as_u16(), code.reconnect())).into();
        let contract = [
            (1000, false),
            (1002, false),
            (1003, false),
            (1007, false),
            (1009, false),
            (1011, true),
            (1012, true),
            (1013, true),
            (4400, false),
            (4401, false),
            (4403, false),
            (4408, true),
            (4409, true),
            (4413, true),
            (4429, true),
        ];
        assert_eq!(table, contract);
    }

    #[test]
    fn a_reason_fits_a_close_frame() {
        // RFC 6455 section 5.5: a control frame carries at most 125 bytes, two of them the code.
        assert!(CloseCode::ALL.iter().all(|code| code.reason().len() <= 123));
    }
}
