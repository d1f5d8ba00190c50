//! How fast clients are sent to other nodes, and when they come there: so that none of those gets more clients a second than
//! it says it is ready for. Plain functions of what nodes report; deliberately no clock and no client.

use std::time::Duration;

use fanfare_core::time::spread_ms;
use fanfare_core::{Farewell, Session};
use fanfare_protocol::CloseCode;

use crate::peers::Peer;

/// How much of the budgets is used. Balancers spread by chance, and clients come of their own accord too: a node may get
/// 1.4 times what it was meant to get.
const USED: f64 = 0.7;

/// Nodes that differ by less than what one takes in a part of a second are equally empty.
const REACH: u64 = 5;

/// A client comes back within this many milliseconds after it was sent away.
const RETURN_WITHIN_MS: u64 = 1_000;

/// How fast a node's clients go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pace {
    /// Between two clients.
    pub(crate) gap: Duration,
    /// Whether there is no time to heed the others' budgets.
    pub(crate) is_forced: bool,
}

/// The pace of a node that ends: `waiting` clients are to go in the time `left`, to those `peers` that serve.
///
/// As slow as is good for the emptiest nodes, to which a balancer may send everybody who comes; with too little time for
/// that, as fast as all together can take; and with too little time for that too, faster. Nodes that leave at the same time
/// share, each by what it holds. If no other node serves, the pace is that of one node as ready as this one, which comes in
/// its place.
pub(crate) fn of_drain(waiting: usize, own_budget_per_s: u32, peers: &[Peer], left: Duration) -> Pace {
    let waiting = float(waiting as u64);
    // One that leaves may drain any moment: those that were told to together do everything together.
    let leaving = peers.iter().filter(|peer| !peer.serves());
    let all_waiting = waiting + float(leaving.map(|peer| peer.connections).sum());
    let share = if all_waiting > 0.0 { waiting / all_waiting } else { 1.0 };
    let serving: Vec<&Peer> = peers.iter().filter(|peer| peer.serves()).collect();
    let (emptiest, all) = if serving.is_empty() {
        let like_this = USED * f64::from(own_budget_per_s);
        (like_this, like_this)
    } else {
        (takes_per_s(&emptiest(&serving)), takes_per_s(&serving))
    };
    let needed = waiting / left.as_secs_f64();
    // A client and a second more: what is rounded at the end is no reason for a warning.
    let is_forced = waiting > 1.0 + all * share * (left.as_secs_f64() + 1.0);
    Pace { gap: gap((emptiest * share).max(needed)), is_forced }
}

/// The time between two clients of a node that gives up some of them to `takers`, of which its part is `share`.
pub(crate) fn of_shedding(takers: &[&Peer], share: f64) -> Duration {
    gap(takes_per_s(&emptiest(takers)) * share)
}

/// What a client is told that has to go to another node.
pub(crate) fn farewell(session: &Session, reason: &str) -> Farewell {
    Farewell {
        code: CloseCode::Draining,
        reason: reason.to_owned(),
        // 0 would leave it to the client.
        after_ms: 1 + spread_ms(session.id().0, RETURN_WITHIN_MS - 1),
    }
}

/// A count, for rates.
pub(crate) fn float(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Clients a second that may be sent to these nodes together.
fn takes_per_s(peers: &[&Peer]) -> f64 {
    let takes = |peer: &&Peer| float(peer.room.min(peer.accept_budget_per_s.into()));
    USED * peers.iter().map(takes).sum::<f64>()
}

/// Those with the fewest connections of all that have room: balancers that count connections send everybody to them.
fn emptiest<'a>(peers: &[&'a Peer]) -> Vec<&'a Peer> {
    let with_room = || peers.iter().copied().filter(|peer| peer.room > 0);
    let fewest = with_room().map(|peer| peer.connections).min().unwrap_or_default();
    with_room().filter(|peer| peer.connections - fewest <= u64::from(peer.accept_budget_per_s) / REACH).collect()
}

fn gap(per_s: f64) -> Duration {
    // At no rate at all, never; at any rate, at once.
    Duration::try_from_secs_f64(1.0 / per_s).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lifecycle::Phase;

    const LONG: Duration = Duration::from_hours(1);

    fn peer(phase: Phase, connections: u64, accept_budget_per_s: u32) -> Peer {
        let node = format!("{connections}");
        Peer { node, uptime_s: 1, phase: Some(phase), connections, room: 1_000_000, accept_budget_per_s }
    }

    fn serving(connections: u64, accept_budget_per_s: u32) -> Peer {
        peer(Phase::Serving, connections, accept_budget_per_s)
    }

    fn per_s(pace: Pace) -> f64 {
        1.0 / pace.gap.as_secs_f64()
    }

    fn is_about(actual: f64, expected: f64) -> bool {
        (actual - expected).abs() < expected / 1_000.0
    }

    #[test]
    fn the_pace_follows_what_the_others_announce() {
        for (budget, nodes) in [(500, 1), (500, 2), (20, 3)] {
            let peers = vec![serving(700, budget); nodes];
            let pace = of_drain(2_000, 500, &peers, LONG);
            let all = f64::from(budget) * float(nodes as u64);
            assert!(is_about(per_s(pace), 0.7 * all), "{budget} × {nodes}: {pace:?}");
            assert!(!pace.is_forced);
        }
    }

    #[test]
    fn a_node_that_is_much_emptier_than_the_others_may_get_all_and_so_decides() {
        let peers = [serving(0, 500), serving(3_000, 500)];
        assert!(is_about(per_s(of_drain(3_000, 500, &peers, LONG)), 350.0));
        // When they are about equal again, they share.
        let peers = [serving(2_950, 500), serving(3_000, 500)];
        assert!(is_about(per_s(of_drain(3_000, 500, &peers, LONG)), 700.0));
        // With less time than that all of them have to do.
        let peers = [serving(0, 500), serving(3_000, 500)];
        let pace = of_drain(3_000, 500, &peers, Duration::from_secs(5));
        assert!(is_about(per_s(pace), 600.0) && !pace.is_forced, "{pace:?}");
    }

    #[test]
    fn with_too_little_time_it_is_faster_than_the_budgets_and_says_so() {
        let pace = of_drain(10_000, 500, &[serving(0, 500)], Duration::from_secs(10));
        assert!(is_about(per_s(pace), 1_000.0) && pace.is_forced, "{pace:?}");
        let pace = of_drain(10, 500, &[serving(0, 500)], Duration::ZERO);
        assert_eq!((pace.gap, pace.is_forced), (Duration::ZERO, false));
    }

    #[test]
    fn who_has_no_room_takes_nobody_and_who_has_little_takes_that() {
        let full = Peer { room: 0, ..serving(10, 500) };
        let pace = of_drain(100, 500, std::slice::from_ref(&full), Duration::from_secs(10));
        assert!(is_about(per_s(pace), 10.0) && pace.is_forced, "{pace:?}");
        let nearly_full = Peer { room: 10, ..serving(990, 500) };
        assert!(is_about(per_s(of_drain(100, 500, &[full, nearly_full], LONG)), 7.0));
    }

    #[test]
    fn nodes_that_drain_together_share_by_what_they_hold() {
        let others = [serving(0, 500), peer(Phase::Draining, 3_000, 500), peer(Phase::Leaving, 4_000, 500)];
        assert!(is_about(per_s(of_drain(1_000, 500, &others, LONG)), 350.0 / 8.0));
    }

    #[test]
    fn a_node_alone_goes_as_if_one_like_it_took_its_place() {
        assert!(is_about(per_s(of_drain(1_000, 200, &[], LONG)), 140.0));
        assert!(is_about(per_s(of_drain(1_000, 200, &[peer(Phase::Leaving, 0, 500)], LONG)), 140.0));
    }

    #[test]
    fn nobody_is_given_up_to_nodes_that_take_nobody() {
        assert_eq!(of_shedding(&[], 1.0), Duration::MAX);
        let full = Peer { room: 0, ..serving(10, 500) };
        assert_eq!(of_shedding(&[&full], 1.0), Duration::MAX);
        assert!(is_about(1.0 / of_shedding(&[&serving(10, 500)], 0.5).as_secs_f64(), 175.0));
    }

    fn any_peer() -> impl Strategy<Value = Peer> {
        let phase = prop_oneof![
            Just(None),
            Just(Some(Phase::Serving)),
            Just(Some(Phase::Leaving)),
            Just(Some(Phase::Draining))
        ];
        (phase, 0_u64..5_000, 0_u64..5_000, 1_u32..1_000).prop_map(|(phase, connections, room, accept_budget_per_s)| {
            Peer { node: "a".to_owned(), uptime_s: 1, phase, connections, room, accept_budget_per_s }
        })
    }

    proptest! {
        #[test]
        fn unless_it_is_forced_it_keeps_to_the_budgets_and_it_is_always_in_time(
            peers in proptest::collection::vec(any_peer(), 0..6),
            waiting in 1_usize..20_000,
            left_ms in 0_u64..60_000,
        ) {
            let left = Duration::from_millis(left_ms);
            let pace = of_drain(waiting, 500, &peers, left);
            let takers: Vec<&Peer> = peers.iter().filter(|peer| peer.serves()).collect();
            let all = if takers.is_empty() { USED * 500.0 } else { takes_per_s(&takers) };
            let took = pace.gap.as_secs_f64() * float(waiting as u64);
            prop_assert!(took <= left.as_secs_f64() * 1.001 + 0.001, "{took} s of {left:?}");
            if !pace.is_forced && left_ms > 10_000 {
                prop_assert!(1.0 / pace.gap.as_secs_f64() <= all * 1.1 + 0.001, "{pace:?} for {all}");
            }
        }

        #[test]
        fn nodes_that_drain_together_send_no_more_than_one_alone_would(
            held in proptest::collection::vec(1_u64..5_000, 2..5),
            budget in 1_u32..1_000,
        ) {
            let mut sum = 0.0;
            for (own, waiting) in held.iter().enumerate() {
                let others = held.iter().enumerate().filter(|(other, _)| *other != own);
                let mut peers: Vec<Peer> = others.map(|(_, held)| peer(Phase::Draining, *held, 500)).collect();
                peers.push(serving(0, budget));
                sum += per_s(of_drain(usize::try_from(*waiting).unwrap_or_default(), 500, &peers, LONG.saturating_mul(1_000)));
            }
            prop_assert!(is_about(sum, USED * f64::from(budget)), "{sum}");
        }
    }
}
