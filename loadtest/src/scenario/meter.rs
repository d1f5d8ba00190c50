//! The line that is written to standard error each second while something runs.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::figures::{float, thousands, whole};
use crate::orders::Progress;

const EVERY: Duration = Duration::from_secs(1);

/// What was shown last, to tell what is new.
pub(crate) struct Meter {
    quiet: bool,
    started: Instant,
    last: Instant,
    received: u64,
    /// Events written by the publisher, once there is one.
    pub(crate) written: Option<Arc<AtomicU64>>,
}

impl Meter {
    pub(crate) fn new(quiet: bool) -> Self {
        let now = Instant::now();
        Self { quiet, started: now, last: now, received: 0, written: None }
    }

    pub(crate) fn say(&self, text: &str) {
        if !self.quiet {
            // Nobody may be listening, and the figures at the end matter more.
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    pub(crate) fn is_due(&self) -> bool {
        self.last.elapsed() >= EVERY
    }

    pub(crate) fn show(&mut self, progress: &Progress, latency_us_max: u64) {
        let events = self.written.as_ref().map_or(0, |written| written.load(Ordering::Relaxed));
        let rate = float(progress.received - self.received) / self.last.elapsed().as_secs_f64();
        let line = format!(
            "connected {}  events {}  deliveries {} ({}/s)  lag {:.1} ms  gaps {}  refused {}  dropped {}",
            thousands(progress.subscribed.max(progress.welcomed).saturating_sub(progress.dropped)),
            thousands(events),
            thousands(progress.received),
            thousands(whole(rate)),
            float(latency_us_max) / 1_000.0,
            thousands(progress.gaps),
            thousands(progress.refused),
            thousands(progress.dropped),
        );
        self.received = progress.received;
        self.line(&line);
    }

    /// A line of progress with the time before it.
    pub(crate) fn line(&mut self, text: &str) {
        self.say(&format!("{:6.1} s  {text}", self.started.elapsed().as_secs_f64()));
        self.last = Instant::now();
    }
}
