//! When an epoch begins, and that no position is ever issued twice: failovers, snapshots, streams of somebody else.

use crate::support::redis_server::{RedisProcess, wait_until};
use crate::{DAY_MS, EVENT, HEAD, Library, Mode, ORDERS, position, replid};

pub(super) fn an_epoch_is_the_time_in_microseconds_and_its_events_count_from_1(mode: Mode) {
    let (one, two) = (Library::start(mode, &[]), Library::start(mode, &[]));
    let time = |library: &Library| {
        let time = library.command(&["TIME"]);
        let (seconds, micros) = time.split_once('\n').unwrap();
        seconds.parse::<u64>().unwrap() * 1_000_000 + micros.parse::<u64>().unwrap()
    };
    let before = time(&one);
    let ((first, seq), (second, _)) = (one.published(&[]), two.published(&[]));
    assert!((before..=time(&two)).contains(&first));
    assert_eq!(seq, 1);
    assert_ne!(first, second, "two fresh servers begin different epochs");
    for seq in 2..=12 {
        assert_eq!(one.published(&[]), (first, seq));
    }
}

fn replica_of(primary: &Library) -> Library {
    let port = primary.server.port().to_string();
    let replica =
        Library { server: RedisProcess::start_with(&["--replicaof", "127.0.0.1", &port]), mode: primary.mode };
    wait_until("the replica has everything", || {
        replica.command(&["INFO", "replication"]).contains("master_link_status:up")
    });
    replica
}

pub(super) fn a_position_is_never_issued_twice_after_a_failover(mode: Mode) {
    let primary = Library::start(mode, &[]);
    let replica = replica_of(&primary);
    let (epoch, _) = primary.published(&[]);
    primary.published(&[]);
    wait_until("the replica has two events", || replica.command(&["XLEN", ORDERS]) == "2");
    // From here on the replica misses what is acknowledged.
    assert_eq!(replica.command(&["REPLICAOF", "NO", "ONE"]), "OK");
    assert_eq!(primary.published(&[]), (epoch, 3));
    let (after, seq) = replica.published(&[]);
    assert!(after > epoch);
    assert_eq!((seq, replica.published(&[])), (1, (after, 2)));
    assert_eq!(replica.begun(), (after, 2));
    // What is left of the old epoch can still be read.
    let expected = [&format!("{after}-2"), "0", &format!("{epoch}-2"), EVENT, &format!("{after}-1"), EVENT];
    assert_eq!(replica.read(&format!("{epoch}-1"))[..6], expected);
}

pub(super) fn an_epoch_without_events_ends_with_a_failover_too(mode: Mode) {
    let primary = Library::start(mode, &[]);
    let replica = replica_of(&primary);
    let (epoch, _) = primary.begun();
    wait_until("the replica has the head", || replica.command(&["GET", HEAD]).ends_with(" empty"));
    replica.command(&["REPLICAOF", "NO", "ONE"]);
    assert_eq!(primary.published(&[]), (epoch, 1));
    assert_ne!(replica.published(&[]), (epoch, 1));
}

pub(super) fn a_replica_vouches_for_nothing_and_remembers_no_identity(mode: Mode) {
    let primary = Library::start(mode, &[]);
    let replica = replica_of(&primary);
    let (epoch, _) = primary.published(&[]);
    wait_until("the replica has the event", || replica.command(&["XLEN", ORDERS]) == "1");
    // Without a position, though with its events.
    assert_eq!(replica.read("0-0"), ["", "0", &format!("{epoch}-1"), EVENT]);
    assert!(replica.publish(&[]).starts_with("READONLY"), "{}", replica.publish(&[]));
    assert!(replica.call("fanfare_begin", &[ORDERS], &[]).starts_with("READONLY"));
    // Whoever writes to a writable replica writes what will be thrown away.
    replica.command(&["CONFIG", "SET", "replica-read-only", "no"]);
    assert!(replica.publish(&[]).starts_with("READONLY"), "{}", replica.publish(&[]));
    // Much faster than an identity may be remembered.
    replica.read("");
    replica.command(&["REPLICAOF", "NO", "ONE"]);
    assert_ne!(replica.published(&[]).0, epoch);
}

pub(super) fn a_position_is_never_issued_twice_after_a_restart_from_an_old_snapshot(mode: Mode) {
    let mut library = Library::start(mode, &[]);
    let first = library.published(&[]);
    assert_eq!(library.command(&["SAVE"]), "OK");
    let lost = library.published(&["id", "lost"]);
    assert_eq!(lost, (first.0, 2));
    library.server.kill();
    library.server.start_again();
    // Functions are part of the snapshot.
    assert_eq!(library.command(&["XLEN", ORDERS]), "1");
    assert_eq!(library.read("")[0], "", "the old epoch is not vouched for");
    let next = library.published(&["id", "lost"]);
    assert!(next.0 > first.0);
    assert_eq!(next.1, 1);
}

pub(super) fn an_epoch_in_the_future_is_followed_by_the_next_number(mode: Mode) {
    let library = Library::start(mode, &[]);
    for (last, next) in [
        ("9007199254740993", "9007199254740994"),
        ("9999999999999999", "10000000000000000"),
        ("1234567890123456789", "1234567890123456790"),
        ("17999999999999999999", "18000000000000000000"),
    ] {
        library.command(&["FLUSHALL"]);
        library.command(&["SET", HEAD, &format!("{last} elsewhere")]);
        library.command(&["SET", HEAD, &format!("{last} 0123456789abcdef0123456789abcdef01234567")]);
        assert_eq!(library.publish(&[]), format!("{next}-1"));
        assert_eq!(library.publish(&[]), format!("{next}-2"));
        assert_eq!(library.read("")[0], format!("{next}-2"));
        assert_eq!(library.command(&["GET", HEAD]), format!("{next} {}", replid(&library.server)));
        library.command(&["SET", HEAD, &format!("{next} 0123456789abcdef0123456789abcdef01234567")]);
        let begun = library.begun();
        assert_eq!(begun, (next.parse::<u64>().unwrap() + 1, 0));
        assert_eq!(library.published(&[]), (begun.0, 1));
    }
    library.command(&["FLUSHALL"]);
    library.command(&["SET", HEAD, &format!("{} 0123456789abcdef0123456789abcdef01234567", u64::MAX)]);
    let before = library.everything();
    assert!(library.publish(&[]).contains("Invalid stream ID"), "{}", library.publish(&[]));
    assert_eq!(library.everything(), before);
}

pub(super) fn entries_of_somebody_else_begin_an_epoch(mode: Mode) {
    let library = Library::start(mode, &[]);
    library.command(&["XADD", ORDERS, "99999999999999999-5", "e", EVENT]);
    assert_eq!(library.publish(&[]), "100000000000000000-1");
    library.command(&["XADD", ORDERS, "100000000000000001-0", "e", EVENT]);
    assert_eq!(library.read("")[0], "");
    assert_eq!(library.publish(&[]), "100000000000000002-1");
    library.command(&["XADD", ORDERS, "100000000000000007-0", "e", EVENT]);
    assert_eq!(library.begun(), (100_000_000_000_000_008, 0));
    library.command(&["XADD", ORDERS, "100000000000000009-0", "e", EVENT]);
    assert_eq!(library.publish(&[]), "100000000000000010-1");
    // Older ones in the stream's place.
    library.command(&["DEL", ORDERS]);
    library.command(&["XADD", ORDERS, "7-7", "e", EVENT]);
    assert_eq!(library.publish(&[]), "100000000000000011-1");
    let ids: Vec<_> = library.command(&["XRANGE", ORDERS, "-", "+"]).lines().step_by(3).map(str::to_owned).collect();
    assert_eq!(ids, ["7-7", "100000000000000011-1"]);
}

pub(super) fn a_stream_that_has_vanished_begins_an_epoch(mode: Mode) {
    let library = Library::start(mode, &[]);
    for gone in [&[ORDERS][..], &[HEAD], &[ORDERS, HEAD]] {
        let (epoch, _) = library.published(&[]);
        library.published(&[]);
        library.command(&[&["DEL"], gone].concat());
        assert_eq!(library.read("")[0], "", "{gone:?}");
        let (next, seq) = library.published(&[]);
        assert!(next > epoch, "{gone:?}");
        assert_eq!((seq, library.published(&[])), (1, (next, 2)), "{gone:?}");

        library.command(&[&["DEL"], gone].concat());
        let (begun, seq) = library.begun();
        assert!(begun > next, "{gone:?}");
        assert_eq!(seq, 0);
        assert_eq!(library.published(&[]), (begun, 1));
    }
    // An empty one has not vanished.
    let (epoch, seq) = library.published(&[]);
    library.command(&["XTRIM", ORDERS, "MAXLEN", "0"]);
    assert_eq!(library.read("0-0"), [&format!("{epoch}-{seq}"), "0"]);
    assert_eq!(library.published(&[]), (epoch, seq + 1));
}

pub(super) fn a_read_begins_an_epoch_that_the_next_event_goes_on(mode: Mode) {
    let library = Library::start(mode, &[]);
    let user = "fanfare:acme:user:42";
    assert_eq!(library.read("")[0], "");
    let begun = library.call("fanfare_begin", &[ORDERS, user, "{fanfare:acme:user:42}:head"], &[]);
    let begun: Vec<_> = begun.lines().map(position).collect();
    assert_eq!(begun.iter().map(|(_, seq)| *seq).collect::<Vec<_>>(), [0, 0]);
    let epoch = begun[0].0;
    assert_eq!(library.begun(), (epoch, 0));
    assert_eq!(library.read("")[0], format!("{epoch}-0"));
    assert_eq!(library.command(&["GET", HEAD]), format!("{epoch} {} empty", replid(&library.server)));
    assert!(library.number(&["PTTL", HEAD]) > DAY_MS - 60_000);
    assert_eq!(library.published(&["ttl_ms", "60000"]), (epoch, 1));
    assert_eq!(library.begun(), (epoch, 1));
    // Under a new identity the events of the old one stay, and the epoch is begun after them.
    library.command(&["SET", HEAD, &format!("{epoch} 0123456789abcdef0123456789abcdef01234567")]);
    let (next, _) = library.begun();
    assert!(next > epoch);
    assert_eq!(library.read("0-0"), [&format!("{next}-0"), "0", &format!("{epoch}-1"), EVENT]);
    assert_eq!(library.read(&format!("{}-0", next + 1)), [format!("{next}-0"), "0".to_owned()]);
    assert_eq!(library.published(&[]), (next, 1));
}

pub(super) fn an_identity_is_believed_for_a_moment_only(mode: Mode) {
    let library = Library::start(mode, &[]);
    let (epoch, _) = library.published(&[]);
    library.command(&["REPLICAOF", "127.0.0.1", "1"]);
    library.command(&["REPLICAOF", "NO", "ONE"]);
    // It keeps publishing, so a look that is put off with each call would never come.
    wait_until("another epoch has begun", || library.published(&[]).0 != epoch);
    assert_eq!(library.command(&["GET", HEAD]).split(' ').nth(1), Some(&*replid(&library.server)));
}
