//! Each kind of violation, written by hand, is caught; and what the contract allows is not.

use std::time::Duration;

use fanfare_protocol::Position;

use crate::follower::{Follower, Recovery, Told};
use crate::model::{At, Kind, Log, NOTICE_PATIENCE, Number, Places, Rule, check};

/// The epoch of these stories, unless it changes.
const EPOCH: u64 = 7;

fn at(seq: u64) -> Position {
    Position { epoch: EPOCH, seq }
}

fn ms(ms: u64) -> At {
    Duration::from_millis(ms)
}

/// A story: events are published every 10 ms, and one client is told things.
#[derive(Default)]
struct Tale {
    log: Log,
    client: Follower,
    now: u64,
}

impl Tale {
    /// A client that is subscribed to a topic that stands at 7-0.
    fn begun() -> Tale {
        Tale::default().told(Told::Subscribed { position: at(0), recovery: None })
    }

    fn publish(mut self, kind: Kind, position: Option<Position>) -> Tale {
        self.now += 10;
        let number = self.log.start(kind, ms(self.now));
        self.log.acknowledge(number, position);
        self
    }

    /// The next durable event, at 7-`seq`.
    fn durable(self, seq: u64) -> Tale {
        self.publish(Kind::Durable, Some(at(seq)))
    }

    fn ephemeral(self) -> Tale {
        self.publish(Kind::Ephemeral, None)
    }

    /// Published, and nobody answered.
    fn unclear(mut self, kind: Kind) -> Tale {
        self.now += 10;
        self.log.start(kind, ms(self.now));
        self
    }

    fn told(mut self, told: Told) -> Tale {
        self.now += 1;
        self.client.take(ms(self.now), told);
        self
    }

    fn later(mut self, pause: Duration) -> Tale {
        self.now += u64::try_from(pause.as_millis()).unwrap();
        self
    }

    fn event(self, number: Number) -> Tale {
        self.told(Told::Event { number, position: None })
    }

    fn event_at(self, number: Number, position: Position) -> Tale {
        self.told(Told::Event { number, position: Some(position) })
    }

    fn gap_all(self, reason: &str, since: Option<Position>, position: Option<Position>) -> Tale {
        self.told(Told::Gap { all: true, reason: reason.to_owned(), since, position })
    }

    fn gap_ephemeral(self) -> Tale {
        self.told(Told::Gap { all: false, reason: "backplane".to_owned(), since: None, position: None })
    }

    fn recovered(self, since: u64, events: &[(u64, Number)], end: u64) -> Tale {
        self.answered(since, None, events, end, false)
    }

    fn answered(self, since: u64, reason: Option<&str>, events: &[(u64, Number)], end: u64, more: bool) -> Tale {
        let events = events.iter().map(|(seq, number)| (at(*seq), *number)).collect();
        let recovery = Recovery { since: at(since), reason: reason.map(ToOwned::to_owned), events, more };
        self.told(Told::Subscribed { position: at(end), recovery: Some(recovery) })
    }

    fn harmed(mut self) -> Tale {
        self.log.harm(ms(self.now));
        self
    }

    fn wrong(&self) -> Vec<(Rule, Option<Number>)> {
        let (places, _) = Places::of(&self.log);
        let violations = check(&self.log, &places, &self.client);
        violations.into_iter().map(|violation| (violation.rule, violation.number)).collect()
    }

    #[track_caller]
    fn holds(self) {
        assert_eq!(self.wrong(), []);
    }

    #[track_caller]
    fn breaks_all(self, rules: &[Rule]) {
        assert_eq!(self.wrong().into_iter().map(|(rule, _)| rule).collect::<Vec<_>>(), rules);
    }

    #[track_caller]
    fn breaks(self, rule: Rule, number: Number) {
        assert_eq!(self.wrong(), [(rule, Some(number))]);
    }
}

#[test]
fn everything_once_and_in_order_holds() {
    Tale::begun().durable(1).ephemeral().durable(2).event_at(1, at(1)).event(2).event_at(3, at(2)).holds();
}

#[test]
fn a_durable_event_that_is_missing_in_silence_is_caught() {
    let tale = || Tale::begun().durable(1).durable(2).durable(3).event_at(1, at(1));
    tale().event_at(3, at(3)).breaks(Rule::DurableComplete, 2);
    tale().gap_ephemeral().event_at(3, at(3)).breaks(Rule::DurableComplete, 2);
    tale().told(Told::Away).recovered(1, &[(3, 3)], 3).breaks(Rule::DurableComplete, 2);
    tale().harmed().gap_all("expired", Some(at(1)), Some(at(2))).event_at(3, at(3)).holds();
}

#[test]
fn a_gap_of_another_stretch_does_not_cover_a_durable_event() {
    let tale = || Tale::begun().durable(1).durable(2).durable(3).durable(4).harmed().event_at(1, at(1));
    tale().gap_all("expired", Some(at(2)), Some(at(3))).event_at(4, at(4)).breaks(Rule::DurableComplete, 2);
    tale().gap_all("expired", Some(at(1)), Some(at(2))).event_at(4, at(4)).breaks(Rule::DurableComplete, 3);
    tale().event_at(4, at(4)).gap_all("expired", Some(at(1)), Some(at(3))).wrong().iter().for_each(|(rule, _)| {
        assert_eq!(*rule, Rule::DurableComplete, "a gap stands before what follows it");
    });
    tale().gap_all("backplane", None, None).event_at(4, at(4)).holds();
}

#[test]
fn an_answer_that_is_not_recovered_covers_what_it_lacks_and_nothing_behind_it() {
    let tale = || Tale::begun().durable(1).durable(2).durable(3).durable(4).durable(5).harmed().event_at(1, at(1));
    let tale = || tale().told(Told::Away);
    tale().answered(1, Some("expired"), &[(3, 3), (5, 5)], 5, false).holds();
    let more = || tale().answered(1, Some("expired"), &[(3, 3)], 5, true);
    more().recovered(3, &[(5, 5)], 5).breaks(Rule::DurableComplete, 4);
    more().recovered(3, &[(4, 4), (5, 5)], 5).holds();
}

#[test]
fn an_ephemeral_event_that_is_missing_in_silence_is_caught() {
    let tale = || Tale::begun().ephemeral().ephemeral().ephemeral().event(1);
    tale().event(3).breaks(Rule::EphemeralComplete, 2);
    tale().event(3).gap_ephemeral().holds();
    tale().gap_ephemeral().event(3).holds();
    tale().event(3).told(Told::Away).told(Told::Subscribed { position: at(0), recovery: None }).holds();
    tale().event(3).later(2 * NOTICE_PATIENCE).gap_ephemeral().breaks(Rule::EphemeralComplete, 2);
}

#[test]
fn a_notice_does_not_cover_what_was_published_after_it() {
    let tale = Tale::begun().ephemeral().event(1).gap_ephemeral().ephemeral().ephemeral().event(3);
    tale.breaks(Rule::EphemeralComplete, 2);
    let tale = Tale::begun().durable(1).event_at(1, at(1)).harmed().gap_all("expired", None, None);
    tale.durable(2).durable(3).event_at(3, at(3)).breaks(Rule::DurableComplete, 2);
}

#[test]
fn a_notice_before_the_last_ephemeral_event_does_not_cover_the_next() {
    let tale = Tale::begun().ephemeral().ephemeral().ephemeral().gap_ephemeral().event(1).event(3);
    tale.breaks(Rule::EphemeralComplete, 2);
}

#[test]
fn what_was_published_before_the_subscription_is_not_asked_for() {
    let begin = Told::Subscribed { position: at(2), recovery: None };
    let tale = || Tale::default().durable(1).ephemeral().durable(2).told(begin.clone());
    tale().durable(3).event_at(4, at(3)).holds();
    tale().durable(3).durable(4).event_at(5, at(4)).breaks(Rule::DurableComplete, 4);
    tale().ephemeral().ephemeral().event(5).breaks(Rule::EphemeralComplete, 4);
}

#[test]
fn the_first_event_begins_what_is_promised_even_before_the_client_has_its_answer() {
    let begin = Told::Subscribed { position: at(0), recovery: None };
    let tale = Tale::default().ephemeral().ephemeral().ephemeral().ephemeral().told(begin);
    tale.event(2).event(4).breaks(Rule::EphemeralComplete, 3);
}

#[test]
fn events_twice_or_out_of_order_are_caught() {
    Tale::begun().ephemeral().ephemeral().event(1).event(1).event(2).breaks(Rule::Once, 1);
    Tale::begun().ephemeral().durable(1).event_at(2, at(1)).event(1).breaks(Rule::InOrder, 1);
    Tale::begun().durable(1).durable(2).event_at(2, at(2)).event_at(1, at(1)).breaks(Rule::InOrder, 1);
}

#[test]
fn an_ephemeral_event_may_come_again_in_another_subscription_and_a_durable_one_may_not() {
    let again = Told::Subscribed { position: at(0), recovery: None };
    let tale = Tale::begun().ephemeral().ephemeral().event(1).event(2).told(Told::Away).told(again);
    tale.event(1).event(2).holds();
    let tale = Tale::begun().durable(1).durable(2).harmed().gap_all("expired", None, Some(at(1))).event_at(2, at(2));
    tale.told(Told::Away).recovered(2, &[], 2).event_at(1, at(1)).breaks_all(&[Rule::Protocol, Rule::InOrder]);
}

#[test]
fn the_same_position_again_is_a_replay_that_counts_once() {
    Tale::begun().durable(1).durable(2).event_at(1, at(1)).event_at(1, at(1)).event_at(2, at(2)).holds();
}

#[test]
fn an_event_that_was_published_again_comes_twice_only_after_a_gap() {
    let again = Position { epoch: 9, seq: 1 };
    let tale = || {
        let mut tale = Tale::begun().durable(1);
        tale.log.retry(1);
        tale.log.acknowledge(1, Some(again));
        tale.harmed().event_at(1, at(1))
    };
    tale().gap_all("epoch", Some(at(1)), Some(Position { epoch: 9, seq: 0 })).event_at(1, again).holds();
    tale().event_at(1, again).breaks(Rule::Once, 1);
}

#[test]
fn a_position_that_means_two_events_is_caught() {
    let tale = Tale::begun().durable(1).durable(1);
    let (mut places, violations) = Places::of(&tale.log);
    assert_eq!(violations.len(), 1);
    assert_eq!(violations[0].rule, Rule::OnePositionOneEvent);
    assert!(places.learn(at(2), 3).is_none() && places.learn(at(2), 3).is_none());
    assert_eq!(places.learn(at(2), 4).unwrap().rule, Rule::OnePositionOneEvent);
}

#[test]
fn what_nobody_published_is_caught() {
    Tale::begun().ephemeral().event(1).event(2).breaks(Rule::NotPublished, 2);
    Tale::begun().ephemeral().event(0).breaks(Rule::NotPublished, 0);
    Tale::begun().durable(1).event_at(1, at(4)).breaks(Rule::NotPublished, 1);
    Tale::begun().ephemeral().event_at(1, at(1)).breaks(Rule::NotPublished, 1);
    Tale::begun().durable(1).event(1).breaks(Rule::NotPublished, 1);
    Tale::begun().publish(Kind::Invalid, Some(at(1))).event_at(1, at(1)).breaks(Rule::NotPublished, 1);
}

#[test]
fn an_event_that_is_not_valid_is_told_as_a_gap() {
    let tale = || Tale::begun().publish(Kind::Invalid, Some(at(1))).durable(2);
    tale().gap_all("invalid", Some(at(0)), Some(at(1))).event_at(2, at(2)).holds();
    tale().event_at(2, at(2)).breaks(Rule::DurableComplete, 1);
}

#[test]
fn a_gap_that_history_could_have_filled_is_caught() {
    let reasons = |tale: Tale| tale.wrong().into_iter().map(|(rule, _)| rule).collect::<Vec<_>>();
    let tale = || Tale::begun().durable(1);
    for reason in ["expired", "epoch", "invalid"] {
        assert_eq!(reasons(tale().gap_all(reason, None, Some(at(1)))), [Rule::GapWithoutReason]);
        let away = tale().told(Told::Away).answered(0, Some(reason), &[(1, 1)], 1, false);
        assert!(reasons(away).contains(&Rule::GapWithoutReason));
    }
    tale().harmed().gap_all("epoch", None, Some(at(1))).holds();
    tale().gap_all("backplane", None, Some(at(1))).holds();
}

#[test]
fn what_is_unclear_may_be_missing_and_may_come() {
    let tale = || Tale::begun().ephemeral().unclear(Kind::Ephemeral).unclear(Kind::Durable).ephemeral().event(1);
    tale().event(4).holds();
    tale().event(2).event_at(3, at(1)).event(4).holds();
    tale().event(4).event(2).breaks(Rule::InOrder, 2);
}

#[test]
fn events_without_a_subscription_or_at_its_position_are_caught() {
    let rules = |tale: Tale| tale.wrong().into_iter().map(|(rule, _)| rule).collect::<Vec<_>>();
    let away = || Tale::begun().ephemeral().told(Told::Away);
    assert_eq!(rules(away().event(1)), [Rule::Protocol]);
    assert_eq!(rules(away().gap_ephemeral()), [Rule::Protocol]);
    let late = Tale::default().durable(1).told(Told::Subscribed { position: at(1), recovery: None });
    assert_eq!(rules(late.event_at(1, at(1))), [Rule::Protocol]);
}

#[test]
fn what_comes_live_waits_while_the_client_asks_on() {
    let tale = || {
        let tale = Tale::begun().durable(1).durable(2).durable(3).ephemeral().durable(4).told(Told::Away);
        tale.answered(0, None, &[(1, 1)], 3, true)
    };
    assert!(tale().client.asks_on());
    assert_eq!(tale().client.cursor(), Some(at(1)));
    let tale = || tale().event(4).event_at(5, at(4));
    let done = tale().recovered(1, &[(2, 2), (3, 3), (4, 5)], 4);
    assert_eq!((done.client.asks_on(), done.client.cursor()), (false, Some(at(4))));
    done.holds();
    tale().recovered(1, &[(3, 3)], 4).breaks(Rule::DurableComplete, 2);
}
