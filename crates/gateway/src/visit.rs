//! One HTTP connection of a client, as what answers its request may see it: hyper owns the socket. Deliberately nothing of
//! what is asked.

use std::sync::Arc;
use std::time::Duration;

use fanfare_core::admission::Place;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, watch};

/// A connection until it is over or has become a WebSocket.
#[derive(Debug)]
pub struct Visit {
    /// Among those that have not said yet what they want.
    handshake: Mutex<Option<OwnedSemaphorePermit>>,
    /// Among the node's connections, until the socket is closed.
    place: Mutex<Option<Place>>,
    stage: watch::Sender<Stage>,
}

/// Ends the visit when it is dropped.
#[derive(Debug)]
pub struct Host(Arc<Visit>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// As long as the answer takes.
    Open,
    /// The answer ends, and the client has little time to take the rest of it.
    Ending,
    /// The socket is closed.
    Over,
}

impl Visit {
    /// A visit that begins.
    pub fn begin(handshake: OwnedSemaphorePermit) -> (Arc<Self>, Host) {
        let visit = Arc::new(Self {
            handshake: Mutex::new(Some(handshake)),
            place: Mutex::new(None),
            stage: watch::Sender::new(Stage::Open),
        });
        (Arc::clone(&visit), Host(visit))
    }

    /// The client has said what it wants and may have it: from now on it counts among those who stay.
    pub fn settle(&self) {
        self.handshake.lock().take();
    }

    /// Keeps the client's place among the node's connections until its socket is closed.
    pub fn keep(&self, place: Place) {
        *self.place.lock() = Some(place);
    }

    /// The answer ends: a client that doesn't take the rest of it in time is cut off.
    pub fn end(&self) {
        self.advance(Stage::Ending);
    }

    /// Resolves when the answer's end has been given `grace`.
    pub async fn overdue(&self, grace: Duration) {
        self.reached(Stage::Ending).await;
        tokio::time::sleep(grace).await;
    }

    /// Resolves when the socket is closed.
    pub async fn over(&self) {
        self.reached(Stage::Over).await;
    }

    fn advance(&self, stage: Stage) {
        self.stage.send_if_modified(|current| {
            let is_later = stage > *current;
            *current = stage.max(*current);
            is_later
        });
    }

    async fn reached(&self, stage: Stage) {
        // The sender lives as long as `self`.
        let _ = self.stage.subscribe().wait_for(|current| *current >= stage).await;
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.0.advance(Stage::Over);
        self.0.place.lock().take();
    }
}
