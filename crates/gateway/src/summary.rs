//! One line every few seconds about all connections together, since a line for each would be the load at 100,000.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fanfare_protocol::CloseCode;

use crate::metrics::Metrics;
use crate::node::Node;

/// What was counted up to some moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Totals {
    opened: u64,
    closed: BTreeMap<u16, u64>,
    events: u64,
    deliveries: u64,
    received_bytes: u64,
    sent_bytes: u64,
    invalid: u64,
    gaps: u64,
}

/// Writes a line every `interval` in which something happened, until the task is dropped.
pub async fn run(node: Arc<Node>, interval: Duration) {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + interval, interval);
    let mut before = Totals::of(&node.metrics);
    loop {
        ticks.tick().await;
        let now = Totals::of(&node.metrics);
        let since = now.since(&before);
        if since != Totals::default() {
            since.write(node.admission.connections());
        }
        before = now;
    }
}

impl Totals {
    fn of(metrics: &Metrics) -> Self {
        Self {
            opened: metrics.connections_opened.get(),
            closed: metrics.connections_ended.read().into_iter().collect(),
            events: metrics.events_in.total(),
            deliveries: metrics.deliveries.get(),
            received_bytes: metrics.bytes_in.get(),
            sent_bytes: metrics.bytes_out.get(),
            invalid: metrics.events_invalid.total(),
            gaps: metrics.gaps.get(),
        }
    }

    fn since(&self, before: &Self) -> Self {
        let closed = self.closed.iter().map(|(code, count)| (*code, count - before.closed.get(code).unwrap_or(&0)));
        Self {
            opened: self.opened - before.opened,
            closed: closed.filter(|(_, count)| *count > 0).collect(),
            events: self.events - before.events,
            deliveries: self.deliveries - before.deliveries,
            received_bytes: self.received_bytes - before.received_bytes,
            sent_bytes: self.sent_bytes - before.sent_bytes,
            invalid: self.invalid - before.invalid,
            gaps: self.gaps - before.gaps,
        }
    }

    fn write(&self, connections: usize) {
        let Self { opened, events, deliveries, received_bytes, sent_bytes, invalid, gaps, .. } = self;
        let slow = self.closed.get(&CloseCode::Slow.as_u16()).unwrap_or(&0);
        tracing::info!(
            connections,
            opened,
            closed = %Closed(&self.closed),
            events,
            deliveries,
            received_bytes,
            sent_bytes,
            invalid,
            slow,
            gaps,
            "summary"
        );
    }
}

/// How many in all and by code: `3 (1000: 2, 4413: 1)`.
struct Closed<'a>(&'a BTreeMap<u16, u64>);

impl fmt::Display for Closed<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0.values().sum::<u64>())?;
        for (index, (code, count)) in self.0.iter().enumerate() {
            write!(formatter, "{}{code}: {count}", if index == 0 { " (" } else { ", " })?;
        }
        if self.0.is_empty() { Ok(()) } else { formatter.write_str(")") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_came_since_the_last_line_is_told() {
        let before = Totals { opened: 5, closed: BTreeMap::from([(1000, 2)]), events: 7, ..Totals::default() };
        let now = Totals { opened: 6, closed: BTreeMap::from([(1000, 2), (4413, 1)]), events: 7, ..Totals::default() };
        let since = Totals { opened: 1, closed: BTreeMap::from([(4413, 1)]), ..Totals::default() };
        assert_eq!(now.since(&before), since);
        assert_eq!(now.since(&now), Totals::default());
    }

    #[test]
    fn closes_are_told_by_code() {
        assert_eq!(Closed(&BTreeMap::new()).to_string(), "0");
        assert_eq!(Closed(&BTreeMap::from([(1000, 2), (4413, 1)])).to_string(), "3 (1000: 2, 4413: 1)");
    }
}
