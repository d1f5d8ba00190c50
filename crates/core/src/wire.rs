//! The way out of an outbox: whatever takes bytes without waiting.

use std::io::{self, IoSlice};

/// A socket as the outbox sees it. Implemented by the gateway for plain TCP, and for transports that only their own task
/// can write to ([`Deferred`]).
pub trait Wire: Send + Sync {
    /// Takes as many bytes as it can at once, at least one.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when it can take none now; anything else means that the client is gone.
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;
}

/// A transport that only the connection's own task can write to (TLS keeps state between writes): nothing is taken here,
/// so a push wakes the task, unless it is at work already, and the task drains the outbox with [`crate::Outbox::drain`].
#[derive(Debug)]
pub struct Deferred;

impl Wire for Deferred {
    fn try_write(&self, _: &[IoSlice<'_>]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}
