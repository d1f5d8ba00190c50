//! The hub's side of a delivery: what has arrived goes to the shards, and after it what must not overtake it. When that may be is
//! decided in [`super::turns`].

use std::sync::Arc;

use fanfare_core::TopicId;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::Hub;
use super::arrived::Taken;
use crate::shard;

impl Hub {
    /// Hands what has arrived to the shards, if anything has: waits until none is at work. For what must not overtake it.
    pub(super) async fn hand_over(&mut self) {
        if !self.arrived.is_empty() {
            let turns = self.turns.all().await;
            self.hand_over_with(turns).await;
        }
    }

    /// Hands over what has arrived if it is enough for one batch.
    pub(super) async fn hand_over_much(&mut self) {
        if self.arrived.bytes() > self.config.batch_bytes_max {
            self.hand_over().await;
        }
    }

    /// Hands what has arrived to the shards that have subscribers of it, and its turn to each of them.
    pub(super) async fn hand_over_with(&mut self, mut turns: OwnedSemaphorePermit) {
        self.turns.handed_over();
        let Some(taken) = self.arrived.take(&self.topics, self.around.shards.len()) else { return };
        let Taken { by_shard, received, deliveries } = taken;
        for (shard, batches) in self.around.shards.iter().zip(by_shard) {
            if !batches.is_empty() {
                let deliveries = deliveries.clone();
                let turn = turns.split(1).expect("there is one for each shard");
                send(shard, shard::Command::Deliver { batches, received, deliveries, turn }).await;
            }
        }
    }

    /// Ephemeral events of these topics may have been missed.
    pub(super) async fn tell_gap(&mut self, topics: Vec<TopicId>) {
        // What came before the gap is delivered before it.
        self.hand_over().await;
        let topics = Arc::new(topics);
        for shard in &self.around.shards {
            send(shard, shard::Command::Gap(Arc::clone(&topics))).await;
        }
    }
}

/// Waits while the shard's queue is full.
pub(super) async fn send(shard: &mpsc::Sender<shard::Command>, command: shard::Command) {
    // A shard ends only with the process.
    let _ = shard.send(command).await;
}
