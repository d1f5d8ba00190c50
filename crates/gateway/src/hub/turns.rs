//! When what has arrived may be handed to the shards: as soon as none is at work, but for two cases in which a moment more
//! saves each client a write. A stream of events would keep the shards at work all the time, since the next one has always come
//! meanwhile; so after long work that several events of a topic have waited for, they wait a little longer. And of a burst
//! Redis sends what it has read of it so far, so the rest is about to come. A single event never waits for others.
//!
//! CPU of the node a delivery, without and with it: `fanfare-loadtest fanout --mode stream` 0.99 and 0.74 µs, `--mode burst` 0.12
//! and 0.08 µs.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use super::arrived::Density;

/// Shorter than this a timer can't wait.
const GATHER_MIN: Duration = Duration::from_millis(1);

/// The shards' turns: one each.
pub(crate) struct Turns {
    /// A shard at work has one.
    idle: Arc<Semaphore>,
    shards: u32,
    gather_max: Duration,
    handed_over_at: Instant,
    /// What has arrived since came while they were at work.
    found_at_work: bool,
    /// It goes to the shards at this time.
    gathering_until: Option<Instant>,
}

impl Turns {
    /// All shards are idle. `gather_max` bounds the moment longer; zero: there is none.
    pub(crate) fn new(shards: usize, gather_max: Duration) -> Self {
        let idle = Arc::new(Semaphore::new(shards));
        let shards = u32::try_from(shards).expect("fewer shards than 65,536");
        Self { idle, shards, gather_max, handed_over_at: Instant::now(), found_at_work: false, gathering_until: None }
    }

    /// All turns, as soon as no shard is at work.
    pub(crate) async fn all(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.idle).acquire_many_owned(self.shards).await.expect("never closed")
    }

    /// All turns for what nobody waits for. A call that is dropped and made again goes on where it was.
    pub(crate) async fn next(&mut self, density: Density) -> OwnedSemaphorePermit {
        if self.gathering_until.is_none() {
            let turns = if let Ok(turns) = Arc::clone(&self.idle).try_acquire_many_owned(self.shards) {
                turns
            } else {
                self.found_at_work = true;
                self.all().await
            };
            let after_work = if self.found_at_work { self.handed_over_at.elapsed() / 2 } else { Duration::ZERO };
            let gather = match density {
                Density::Single => Duration::ZERO,
                Density::Several => after_work,
                Density::Burst => after_work.max(GATHER_MIN),
            };
            let Some(moment) = self.moment(gather) else { return turns };
            self.gathering_until = Some(Instant::now() + moment);
        }
        if let Some(until) = self.gathering_until {
            sleep_until(until).await;
        }
        self.all().await
    }

    /// What may be waited for, of so much.
    fn moment(&self, gather: Duration) -> Option<Duration> {
        let moment = gather.min(self.gather_max);
        (moment >= GATHER_MIN).then_some(moment)
    }

    /// What had arrived is with the shards.
    pub(crate) fn handed_over(&mut self) {
        self.handed_over_at = Instant::now();
        self.found_at_work = false;
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
    fn what_is_waited_for_is_bounded() {
        let moments = |gather_max| [0, 1, 2, 30].map(|gather| Turns::new(4, ms(gather_max)).moment(ms(gather)));
        assert_eq!(moments(2), [None, Some(ms(1)), Some(ms(2)), Some(ms(2))]);
        assert_eq!(moments(0), [None; 4], "switched off");
    }

    #[tokio::test]
    async fn who_found_the_shards_at_work_waits_longer_than_they_work() {
        let mut turns = Turns::new(2, ms(50));
        let mut both = turns.next(Density::Several).now_or_never().expect("they are idle");
        turns.handed_over();
        let one = both.split(1).expect("there are two");
        let start = Instant::now();
        tokio::spawn(async move {
            sleep_until(start + ms(100)).await;
            drop(one);
        });
        drop(both);
        let found = next_in_parts(&mut turns, Density::Several).await;
        assert!(start.elapsed() >= ms(150), "{:?}", start.elapsed());
        turns.handed_over();
        drop(found);
        assert!(turns.next(Density::Several).now_or_never().is_some(), "they are idle again");
    }

    #[tokio::test]
    async fn what_came_while_they_worked_is_gathered_even_if_they_are_done_when_it_is_asked_again() {
        let mut turns = Turns::new(1, ms(50));
        let turn = turns.next(Density::Several).now_or_never().expect("it is idle");
        turns.handed_over();
        assert!(turns.next(Density::Several).now_or_never().is_none(), "it is at work");
        sleep_until(Instant::now() + ms(10)).await;
        drop(turn);
        drop(turns.next(Density::Single).now_or_never().expect("nothing is saved by waiting"));
        drop(turns.next(Density::Several).now_or_never());
        assert!(turns.gathering_until.is_some(), "more is waited for");
        drop(next_in_parts(&mut turns, Density::Several).await);
    }

    #[tokio::test]
    async fn the_rest_of_a_burst_is_waited_for() {
        let mut turns = Turns::new(2, ms(50));
        drop(turns.next(Density::Burst).now_or_never());
        assert!(turns.gathering_until.is_some());
        drop(next_in_parts(&mut turns, Density::Burst).await);
        turns.handed_over();
        assert!(turns.next(Density::Several).now_or_never().is_some(), "a single event after it does not wait");
    }

    /// Whatever else the hub does meanwhile.
    async fn next_in_parts(turns: &mut Turns, density: Density) -> OwnedSemaphorePermit {
        loop {
            if let Ok(found) = tokio::time::timeout(ms(5), turns.next(density)).await {
                return found;
            }
        }
    }
}
