//! When what has arrived may be handed to the shards: as soon as none is at work. Whoever gets events of the same topic all the
//! time would then keep the shards at work all the time, each event a write of its own for each client, since the next one has
//! always come meanwhile; so after long work that more has waited for, it waits a moment longer. An event that finds the
//! shards idle never waits.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

/// Shorter than this a timer can't wait.
const GATHER_MIN: Duration = Duration::from_millis(1);

/// The shards' turns: one each.
pub(crate) struct Turns {
    /// A shard at work has one.
    idle: Arc<Semaphore>,
    shards: u32,
    gather_max: Duration,
    handed_over_at: Instant,
    /// More waited when the shards were done: then they get it at this time.
    gathering_until: Option<Instant>,
}

impl Turns {
    /// All shards are idle. `gather_max` bounds the moment longer; zero: there is none.
    pub(crate) fn new(shards: usize, gather_max: Duration) -> Self {
        let idle = Arc::new(Semaphore::new(shards));
        let shards = u32::try_from(shards).expect("fewer shards than 65,536");
        Self { idle, shards, gather_max, handed_over_at: Instant::now(), gathering_until: None }
    }

    /// All turns, as soon as no shard is at work.
    pub(crate) async fn now(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.idle).acquire_many_owned(self.shards).await.expect("never closed")
    }

    /// All turns for what nobody waits for. A call that is dropped and made again goes on where it was.
    pub(crate) async fn next(&mut self) -> OwnedSemaphorePermit {
        if self.gathering_until.is_none() {
            if let Ok(turns) = Arc::clone(&self.idle).try_acquire_many_owned(self.shards) {
                return turns;
            }
            let turns = self.now().await;
            let now = Instant::now();
            let Some(moment) = self.moment(now - self.handed_over_at) else { return turns };
            self.gathering_until = Some(now + moment);
        }
        if let Some(until) = self.gathering_until {
            sleep_until(until).await;
        }
        self.now().await
    }

    /// How much longer to wait after work that took so long.
    fn moment(&self, worked: Duration) -> Option<Duration> {
        let moment = (worked / 2).min(self.gather_max);
        (moment >= GATHER_MIN).then_some(moment)
    }

    /// What had arrived is with the shards.
    pub(crate) fn handed_over(&mut self) {
        self.handed_over_at = Instant::now();
        self.gathering_until = None;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn after_long_work_more_is_waited_for_but_not_for_long() {
        let turns = Turns::new(4, ms(2));
        for (worked, moment) in [(0, None), (1, None), (2, Some(1)), (3, Some(1)), (4, Some(2)), (30, Some(2))] {
            let found = turns.moment(ms(worked)).map(|moment| moment.as_millis());
            assert_eq!(found, moment, "{worked} ms of work");
        }
        assert_eq!(Turns::new(4, Duration::ZERO).moment(ms(30)), None, "switched off");
    }

    #[tokio::test]
    async fn only_who_found_the_shards_at_work_waits_longer_than_they_work() {
        let mut turns = Turns::new(2, ms(50));
        let mut both = turns.next().now_or_never().expect("they are idle");
        turns.handed_over();
        let one = both.split(1).expect("there are two");
        let start = Instant::now();
        tokio::spawn(async move {
            sleep_until(start + ms(100)).await;
            drop(one);
        });
        drop(both);
        // Whatever else the hub does meanwhile.
        let found = loop {
            if let Ok(found) = tokio::time::timeout(ms(5), turns.next()).await {
                break found;
            }
        };
        assert!(start.elapsed() >= ms(150), "{:?}", start.elapsed());
        turns.handed_over();
        drop(found);
        assert!(turns.next().now_or_never().is_some(), "they are idle again");
    }
}
