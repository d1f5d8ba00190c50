//! The counts of one client process, kept while frames arrive. Plain numbers: one thread writes them.

use crate::codec::Codec;
use crate::histogram::Micros;
use crate::mark::{Mark, MarkFinder};
use crate::orders::{Counts, Progress, SwarmReport};
use crate::reasons::{Reasons, count};
use crate::sequence::{Arrival, Sequence};

pub(crate) struct Tally {
    run: u32,
    json: MarkFinder,
    msgpack: MarkFinder,
    pub(crate) progress: Progress,
    pub(crate) latency: Micros,
    pub(crate) connect: Micros,
    /// What is missing only the clients know.
    counts: Counts,
    ends: Reasons,
}

impl Tally {
    pub(crate) fn new(run: u32) -> Self {
        Self {
            run,
            json: MarkFinder::new(),
            msgpack: MarkFinder::msgpack(),
            progress: Progress::default(),
            latency: Micros::new(),
            connect: Micros::new(),
            counts: Counts::default(),
            ends: Reasons::new(),
        }
    }

    /// The mark of an event in this frame.
    #[inline]
    pub(crate) fn mark(&mut self, codec: Codec, frame: &[u8]) -> Option<Mark> {
        match codec {
            Codec::Json => self.json.find(frame),
            Codec::Msgpack => self.msgpack.find(frame),
        }
    }

    /// An event with this mark has come to a client of `channel`.
    #[inline]
    pub(crate) fn event(&mut self, sequence: &mut Sequence, channel: u32, mark: Option<Mark>, now_ns: u64) {
        let Some(mark) = mark.filter(|mark| mark.run == self.run) else {
            self.counts.foreign += 1;
            return;
        };
        if mark.channel != channel {
            self.counts.misrouted += 1;
            return;
        }
        match sequence.take(mark.seq) {
            Arrival::InOrder => {}
            Arrival::Late => self.counts.disordered += 1,
            Arrival::Duplicate => {
                self.counts.duplicated += 1;
                return;
            }
        }
        self.received(mark, now_ns);
    }

    #[inline]
    fn received(&mut self, mark: Mark, now_ns: u64) {
        let latency_ns = now_ns.saturating_sub(mark.intended_ns);
        self.latency.record_ns(latency_ns);
        self.progress.received += 1;
        self.progress.last_delivery_ns = now_ns;
        self.progress.latency_us_max = self.progress.latency_us_max.max(latency_ns / 1_000);
    }

    /// A connection failed or ended.
    pub(crate) fn end(&mut self, reason: String) {
        count(&mut self.ends, reason);
    }

    /// A new round of connecting begins.
    pub(crate) fn start_round(&mut self) {
        self.progress.welcomed = 0;
        self.progress.subscribed = 0;
        self.progress.refused = 0;
        self.connect.clear();
        self.ends.clear();
    }

    /// All but what is missing, which only the clients know.
    pub(crate) fn report(&self) -> SwarmReport {
        SwarmReport {
            received: self.progress.received,
            counts: Counts { gap_frames: self.progress.gaps, ..self.counts },
            dropped: self.progress.dropped,
            latency: self.latency.counts(),
            connect: self.connect.counts(),
            ends: self.ends.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;
    use crate::mark::Envelope;

    #[test]
    fn a_mark_is_looked_for_in_the_encoding_of_its_frame() {
        let (mut tally, mark) = (Tally::new(7), Mark { run: 7, channel: 3, seq: 9, intended_ns: 1_000 });
        let mut envelope = Envelope::new(128).unwrap();
        let json = envelope.stamped(mark);
        let event: serde_json::Value = serde_json::from_slice(json).unwrap();
        let msgpack = rmp_serde::to_vec_named(&event).unwrap();
        for _ in 0..2 {
            assert_eq!(tally.mark(Codec::Json, json), Some(mark));
            assert_eq!(tally.mark(Codec::Msgpack, &msgpack), Some(mark));
        }
        assert_eq!(tally.mark(Codec::Msgpack, json), None);
    }

    #[test]
    fn each_kind_of_event_is_counted_as_what_it_is() {
        let (mut tally, mut sequence) = (Tally::new(7), Sequence::default());
        for (run, channel, seq) in [(7, 3, 0), (7, 3, 2), (7, 3, 1), (7, 3, 1), (7, 4, 0), (8, 3, 3)] {
            tally.event(&mut sequence, 3, Some(Mark { run, channel, seq, intended_ns: 1_000 }), 1_501_000);
        }
        tally.event(&mut sequence, 3, None, 1_501_000);
        let report = tally.report();
        assert_eq!(report.received, 3);
        assert_eq!(report.counts.disordered, 1);
        assert_eq!(report.counts.duplicated, 1);
        assert_eq!(report.counts.misrouted, 1);
        assert_eq!(report.counts.foreign, 2);
        assert_eq!(tally.latency.quantiles().p50, 1_500);
    }
}
