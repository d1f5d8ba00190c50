//! What Redis is told, and when.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::*;

fn topic(name: &str) -> TopicKey {
    TopicKey::parse(&format!("acme:channel:{name}")).unwrap()
}

fn names(topics: &[PresenceUsers]) -> Vec<String> {
    let name = |topic: &PresenceUsers, user: &PresenceUser| format!("{}:{}", topic.topic.topic(), user.user);
    topics.iter().flat_map(|topic| topic.users.iter().map(move |user| name(topic, user))).collect()
}

/// Takes a batch and has it done.
fn tell(table: &mut Table) -> (Vec<String>, Vec<String>) {
    let changes = table.take_changes(1_000);
    changes.joins.iter().for_each(|users| table.settle(users, Some(true)));
    changes.leaves.iter().for_each(|users| table.settle(users, Some(false)));
    (names(&changes.joins), names(&changes.leaves))
}

fn none() -> (Vec<String>, Vec<String>) {
    (Vec::new(), Vec::new())
}

#[test]
fn only_the_first_and_the_last_session_of_a_user_are_told() {
    let (mut table, a) = (Table::default(), topic("a"));
    assert!(table.enter(&a, "ana", SessionId(1), None));
    assert_eq!(tell(&mut table), (vec!["channel:a:ana".to_owned()], vec![]));
    assert!(!table.enter(&a, "ana", SessionId(2), None));
    assert_eq!((table.sessions(&a, "ana").len(), table.members()), (2, 1));
    assert!(!table.leave(&a, "ana", SessionId(1)) && !table.leave(&a, "ana", SessionId(7)));
    assert_eq!(tell(&mut table), none());
    assert!(table.leave(&a, "ana", SessionId(2)));
    assert_eq!(table.members(), 0);
    assert_eq!(tell(&mut table), (vec![], vec!["channel:a:ana".to_owned()]));
    assert!(table.is_empty());
}

#[test]
fn who_comes_and_goes_before_redis_is_told_is_not_told() {
    let (mut table, a) = (Table::default(), topic("a"));
    table.enter(&a, "ana", SessionId(1), None);
    table.leave(&a, "ana", SessionId(1));
    assert_eq!(tell(&mut table), none());
    assert!(table.is_empty());
    table.enter(&a, "ana", SessionId(1), None);
    tell(&mut table);
    table.leave(&a, "ana", SessionId(1));
    table.enter(&a, "ana", SessionId(2), None);
    assert_eq!(tell(&mut table), none());
    assert_eq!(table.members(), 1);
}

#[test]
fn what_changes_while_redis_is_told_is_told_after_it() {
    let (mut table, a) = (Table::default(), topic("a"));
    table.enter(&a, "ana", SessionId(1), None);
    let first = table.take_changes(1_000);
    table.leave(&a, "ana", SessionId(1));
    table.settle(&first.joins[0], Some(true));
    assert_eq!(tell(&mut table), (vec![], vec!["channel:a:ana".to_owned()]));
    assert!(table.is_empty());
}

#[test]
fn what_may_have_been_done_is_not_taken_for_undone() {
    let (mut table, a) = (Table::default(), topic("a"));
    table.enter(&a, "ana", SessionId(1), None);
    let join = table.take_changes(1_000).joins.remove(0);
    table.settle(&join, None);
    assert!(table.take_changes(1_000).is_empty(), "it rests");
    assert!(!table.leave(&a, "ana", SessionId(1)), "still");
    table.wake();
    assert_eq!(tell(&mut table), (vec![], vec!["channel:a:ana".to_owned()]));
    assert!(table.is_empty());
}

#[test]
fn a_batch_is_bounded_and_leaves_nobody_out() {
    let mut table = Table::default();
    for number in 0..700 {
        for name in ["ana", "bo", "cy"] {
            table.enter(&topic(&number.to_string()), name, SessionId(1), None);
        }
    }
    let mut told = BTreeSet::new();
    loop {
        let batch = table.take_changes(100);
        if batch.is_empty() {
            break;
        }
        let names = names(&batch.joins);
        assert!(names.len() <= 100 && batch.joins.len() <= BATCH_TOPICS_MAX);
        assert!(names.into_iter().all(|name| told.insert(name)), "nobody twice");
        batch.joins.iter().for_each(|users| table.settle(users, Some(true)));
    }
    assert_eq!(told.len(), 2_100);
}

#[test]
fn who_is_missing_comes_again_unless_gone() {
    let (mut table, a) = (Table::default(), topic("a"));
    for name in ["ana", "bo", "cy"] {
        table.enter(&a, name, SessionId(1), None);
    }
    assert_eq!(table.told_users(&a, None, 9).0.len(), 0, "nobody was told yet");
    tell(&mut table);
    let (users, more) = table.told_users(&a, None, 2);
    assert_eq!((users.len(), more), (2, true));
    let (rest, more) = table.told_users(&a, Some("bo"), 2);
    assert_eq!((rest.len(), more), (1, false));
    table.leave(&a, "bo", SessionId(1));
    table.miss(&a, users.iter().map(|user| &user.user));
    assert_eq!(tell(&mut table), (vec!["channel:a:ana".to_owned()], vec![]));
}

#[test]
fn who_has_gone_is_not_vouched_for_while_redis_does_not_know() {
    let (mut table, a) = (Table::default(), topic("a"));
    for name in ["ana", "bo"] {
        table.enter(&a, name, SessionId(1), None);
    }
    tell(&mut table);
    table.leave(&a, "ana", SessionId(1));
    let (told, more) = table.told_users(&a, None, 9);
    assert_eq!((told.len(), &*told[0].user, more), (1, "bo", false));
}

#[test]
fn at_the_end_all_leave_and_nobody_comes() {
    let (mut table, a) = (Table::default(), topic("a"));
    table.enter(&a, "ana", SessionId(1), None);
    tell(&mut table);
    table.enter(&a, "bo", SessionId(2), None);
    assert!(table.end() || table.members() == 0);
    assert!(!table.enter(&a, "cy", SessionId(3), None));
    assert!(!table.leave(&a, "ana", SessionId(1)));
    assert_eq!(tell(&mut table), (vec![], vec!["channel:a:ana".to_owned()]));
    assert!(table.is_empty());
}

#[test]
fn topics_with_nothing_to_tell_hold_nobody_up() {
    let mut table = Table::default();
    let many: Vec<_> = (0..2 * BATCH_TOPICS_MAX).map(|number| topic(&number.to_string())).collect();
    for a in &many {
        table.enter(a, "ana", SessionId(1), None);
    }
    while tell(&mut table) != none() {}
    for a in &many {
        table.leave(a, "ana", SessionId(1));
        table.enter(a, "ana", SessionId(2), None);
    }
    table.enter(&topic("last"), "bo", SessionId(3), None);
    let mut told = Vec::new();
    loop {
        let batch = table.take_changes(1_000);
        if batch.is_empty() {
            break;
        }
        told.extend(names(&batch.joins));
    }
    assert_eq!(told, ["channel:last:bo"]);
}

#[test]
fn who_comes_and_goes_while_redis_is_away_takes_no_room() {
    let (mut table, a) = (Table::default(), topic("a"));
    table.enter(&a, "ana", SessionId(1), None);
    let join = table.take_changes(1_000).joins.remove(0);
    table.settle(&join, None);
    for number in 0..1_000 {
        table.enter(&a, &format!("user-{number}"), SessionId(2), None);
        table.leave(&a, &format!("user-{number}"), SessionId(2));
        let other = topic("other");
        table.enter(&other, "bo", SessionId(2), None);
        table.leave(&other, "bo", SessionId(2));
    }
    assert_eq!((table.topics[&a].users.len(), table.topics[&a].changed.len()), (1, 1));
    assert!(table.queue.len() + table.resting.len() < 5, "{} {}", table.queue.len(), table.resting.len());
    table.wake();
    assert_eq!(tell(&mut table), (vec!["channel:a:ana".to_owned()], vec![]));
    table.leave(&a, "ana", SessionId(1));
    tell(&mut table);
    assert!(table.is_empty());
}

#[test]
fn who_goes_and_comes_again_brings_a_new_info() {
    let (mut table, a) = (Table::default(), topic("a"));
    let [old, new] = ["1", "2"].map(|info| Info::parse(info).unwrap());
    table.enter(&a, "ana", SessionId(1), Some(&old));
    let first = table.take_changes(1_000).joins.remove(0);
    table.leave(&a, "ana", SessionId(1));
    table.enter(&a, "ana", SessionId(2), Some(&new));
    table.settle(&first, Some(true));
    let second = table.take_changes(1_000).joins.remove(0);
    assert_eq!(second.users[0].info.as_deref(), Some("2"));
    table.settle(&second, Some(true));
    table.leave(&a, "ana", SessionId(2));
    table.enter(&a, "ana", SessionId(3), Some(&new));
    assert_eq!(tell(&mut table), none(), "it is known");
}
