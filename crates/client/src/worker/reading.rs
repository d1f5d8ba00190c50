//! Taking entries from the stream: new ones, and those that another worker has left. Deliberately never more than there are
//! free slots, so that what waits can be taken by others.

use std::time::Duration;

use redis::streams::StreamId;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep};

use super::{Worker, group};
use crate::backoff::Backoff;
use crate::link::CallError;

/// Entries in one reading.
const ENTRIES_MAX: usize = 64;
/// Looks for entries left by others, in the time after which they may be taken over.
const LOOKS: u32 = 2;
/// Pauses after a reading that failed.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Where the walk over what is pending stands.
struct Walk {
    from: String,
    due: Instant,
}

impl Worker {
    /// Reads until it is told to stop, whatever happens to Redis.
    pub(super) async fn read_until(&self, mut stopped: watch::Receiver<bool>) {
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        let mut walk = Walk { from: group::START.to_owned(), due: Instant::now() };
        let mut has_group = false;
        // One line for each reason, not one for each attempt.
        let mut logged = None;
        while let Some(slots) = self.free_slots(&mut stopped).await {
            let error = match self.take(has_group, slots, &mut walk).await {
                Ok(()) => {
                    if logged.take().is_some() {
                        tracing::info!(stream = self.group.stream, "requests are taken again");
                    }
                    backoff.reset();
                    has_group = true;
                    continue;
                }
                Err(error) => error.words(),
            };
            // Redis may have lost the group, or the stream with it.
            has_group = false;
            if logged.as_ref() != Some(&error) {
                tracing::warn!(stream = self.group.stream, error, "requests can't be taken; trying again");
                logged = Some(error);
            }
            tokio::select! {
                () = sleep(backoff.pause()) => {}
                _ = stopped.wait_for(|stopped| *stopped) => return,
            }
        }
    }

    /// At least one, as many as one reading may fill; none when it is told to stop.
    async fn free_slots(&self, stopped: &mut watch::Receiver<bool>) -> Option<OwnedSemaphorePermit> {
        let first = self.slots.clone().acquire_owned();
        let mut slots = tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => return None,
            first = first => first.ok()?,
        };
        let more = self.slots.available_permits().min(ENTRIES_MAX - 1);
        if let Ok(more) = self.slots.clone().try_acquire_many_owned(u32::try_from(more).unwrap_or(0)) {
            slots.merge(more);
        }
        Some(slots)
    }

    /// One reading.
    async fn take(&self, has_group: bool, mut slots: OwnedSemaphorePermit, walk: &mut Walk) -> Result<(), CallError> {
        if !has_group {
            self.group.make(&self.reading).await?;
        }
        if Instant::now() >= walk.due {
            let idle = self.settings.claim_after;
            let (next, entries) = self.group.claim(&self.reading, idle, &walk.from, slots.num_permits()).await?;
            if next == group::START {
                walk.due = Instant::now() + (idle / LOOKS).mul_f64(rand::random_range(0.5..=1.0));
            }
            walk.from = next;
            self.start_all(entries, &mut slots);
        }
        let count = slots.num_permits();
        if count > 0 {
            // New entries don't keep it from looking for old ones.
            let block = self.settings.block.min(walk.due.saturating_duration_since(Instant::now()));
            let entries = self.group.read(&self.reading, count, block).await?;
            self.start_all(entries, &mut slots);
        }
        Ok(())
    }

    fn start_all(&self, entries: Vec<StreamId>, slots: &mut OwnedSemaphorePermit) {
        for entry in entries {
            // No more come than were asked for.
            if let Some(slot) = slots.split(1) {
                self.start(entry, slot);
            }
        }
    }
}
