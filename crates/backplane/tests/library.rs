//! The function library itself, called as anybody may call it: `redis-cli FCALL …`, and by EVALSHA of the same source.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use support::redis_server::{RedisProcess, free_port, wait_until};

const SOURCE: &str = include_str!("../src/redis/fanfare.lua");
const ORDERS: &str = "fanfare:acme:channel:orders";
const HEAD: &str = "{fanfare:acme:channel:orders}:head";
const EVENT: &str = r#"{"type":"order.updated","data":{"id":7}}"#;
const DAY_MS: u64 = 86_400_000;

/// How the functions are called.
#[derive(Clone, Copy)]
enum Mode {
    Functions,
    Eval,
}

/// A server with the library.
struct Library {
    server: RedisProcess,
    mode: Mode,
}

impl Library {
    fn start(mode: Mode, arguments: &[&str]) -> Library {
        let library = Library { server: RedisProcess::start_with(arguments), mode };
        library.load();
        library
    }

    fn load(&self) {
        if let Mode::Functions = self.mode {
            assert_eq!(self.server.command(&["FUNCTION", "LOAD", SOURCE]), "fanfare");
        }
    }

    /// Calls a function and returns what redis-cli prints.
    fn call(&self, function: &str, keys: &[&str], arguments: &[&str]) -> String {
        self.call_as(&[], function, keys, arguments)
    }

    fn call_as(&self, login: &[&str], function: &str, keys: &[&str], arguments: &[&str]) -> String {
        let count = keys.len().to_string();
        let words = match self.mode {
            Mode::Functions => [login, &["FCALL", function, &count], keys, arguments].concat(),
            Mode::Eval => {
                let (_, script) = SOURCE.split_once('\n').unwrap();
                let sha = self.server.command(&["SCRIPT", "LOAD", script]);
                let words = [login, &["EVALSHA", &sha, &count], keys, &[function], arguments].concat();
                return self.server.command(&words);
            }
        };
        self.server.command(&words)
    }

    fn publish(&self, options: &[&str]) -> String {
        self.call("fanfare_publish", &[ORDERS], &[&[EVENT], options].concat())
    }

    /// Publishes; returns epoch and seq.
    fn published(&self, options: &[&str]) -> (u64, u64) {
        position(&self.publish(options))
    }

    /// The position of a topic, begun when it must be.
    fn begun(&self) -> (u64, u64) {
        position(&self.call("fanfare_begin", &[ORDERS], &[]))
    }

    /// What the topic answers to a read: its position first.
    fn read(&self, after: &str) -> Vec<String> {
        self.call("fanfare_read", &[ORDERS], &["100", "100000", after]).lines().map(str::to_owned).collect()
    }

    fn command(&self, words: &[&str]) -> String {
        self.server.command(words)
    }

    fn number(&self, words: &[&str]) -> u64 {
        self.command(words).parse().unwrap()
    }

    /// All keys with what they hold and when they expire, to see that nothing has changed.
    fn everything(&self) -> String {
        const SCRIPT: &str = "local all = {}
            for _, key in ipairs(redis.call('KEYS', '*')) do
                local held = redis.sha1hex(redis.call('DUMP', key))
                all[#all + 1] = table.concat({ key, held, redis.call('PEXPIRETIME', key) }, ' ')
            end
            table.sort(all)
            return all";
        self.command(&["EVAL", SCRIPT, "0"])
    }
}

fn position(text: &str) -> (u64, u64) {
    let (epoch, seq) = text.split_once('-').unwrap_or_else(|| panic!("no position: {text}"));
    let number = |digits: &str| digits.parse().unwrap_or_else(|_| panic!("no position: {text}"));
    (number(epoch), number(seq))
}

/// Runs each story both ways.
macro_rules! stories {
    ($($story:ident),* $(,)?) => {
        mod functions {
            $(#[test] fn $story() { super::$story(super::Mode::Functions); })*
        }
        mod eval {
            $(#[test] fn $story() { super::$story(super::Mode::Eval); })*
        }
    };
}

stories! {
    the_commands_of_the_contract_work_as_printed,
    an_epoch_is_the_time_in_microseconds_and_its_events_count_from_1,
    a_position_is_never_issued_twice_after_a_failover,
    an_epoch_without_events_ends_with_a_failover_too,
    a_replica_vouches_for_nothing_and_remembers_no_identity,
    a_position_is_never_issued_twice_after_a_restart_from_an_old_snapshot,
    an_epoch_in_the_future_is_followed_by_the_next_number,
    entries_of_somebody_else_begin_an_epoch,
    a_stream_that_has_vanished_begins_an_epoch,
    a_read_begins_an_epoch_that_the_next_event_goes_on,
    an_id_counts_for_five_minutes_whatever_the_options,
    lifetimes_are_never_shorter_than_promised,
    the_newest_events_are_kept,
    keys_are_checked,
    options_and_envelopes_are_checked,
    a_right_that_is_missing_leaves_nothing_half_done,
    a_full_redis_takes_only_what_is_ephemeral,
    another_stream_or_type_in_the_way_is_told,
    a_cluster_gets_sharded_messages,
    an_identity_is_believed_for_a_moment_only,
}

fn the_commands_of_the_contract_work_as_printed(mode: Mode) {
    let library = Library::start(mode, &[]);
    let (epoch, seq) = library.published(&[]);
    assert_eq!(seq, 1);
    let options = ["maxlen", "100", "ttl_ms", "60000", "id", "order-7"];
    assert_eq!(library.published(&options), (epoch, 2));
    assert_eq!(library.call("fanfare_send", &[ORDERS], &[EVENT]), "0");
    assert_eq!(library.call("fanfare_version", &[], &[]), "1");
    assert_eq!(library.command(&["XRANGE", ORDERS, "-", "+"]), format!("{epoch}-1\ne\n{EVENT}\n{epoch}-2\ne\n{EVENT}"));
    let replid = replid(&library.server);
    assert_eq!(library.command(&["GET", HEAD]), format!("{epoch} {replid}"));
}

fn replid(server: &RedisProcess) -> String {
    let info = server.command(&["INFO", "replication"]);
    info.lines().find_map(|line| line.strip_prefix("master_replid:")).unwrap().trim().to_owned()
}

fn an_epoch_is_the_time_in_microseconds_and_its_events_count_from_1(mode: Mode) {
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

fn a_position_is_never_issued_twice_after_a_failover(mode: Mode) {
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

fn an_epoch_without_events_ends_with_a_failover_too(mode: Mode) {
    let primary = Library::start(mode, &[]);
    let replica = replica_of(&primary);
    let (epoch, _) = primary.begun();
    wait_until("the replica has the head", || replica.command(&["GET", HEAD]).ends_with(" empty"));
    replica.command(&["REPLICAOF", "NO", "ONE"]);
    assert_eq!(primary.published(&[]), (epoch, 1));
    assert_ne!(replica.published(&[]), (epoch, 1));
}

fn a_replica_vouches_for_nothing_and_remembers_no_identity(mode: Mode) {
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

fn a_position_is_never_issued_twice_after_a_restart_from_an_old_snapshot(mode: Mode) {
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

fn an_epoch_in_the_future_is_followed_by_the_next_number(mode: Mode) {
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

fn entries_of_somebody_else_begin_an_epoch(mode: Mode) {
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

fn a_stream_that_has_vanished_begins_an_epoch(mode: Mode) {
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

fn a_read_begins_an_epoch_that_the_next_event_goes_on(mode: Mode) {
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

fn an_id_counts_for_five_minutes_whatever_the_options(mode: Mode) {
    let library = Library::start(mode, &[]);
    let id_key = "{fanfare:acme:channel:orders}:id:order-7";
    let first = library.published(&["id", "order-7"]);
    assert_eq!(library.published(&["ttl_ms", "60000", "id", "order-7", "maxlen", "1"]), first);
    let declared = library.call("fanfare_publish", &[ORDERS, HEAD, id_key], &[EVENT, "id", "order-7"]);
    assert_eq!(position(&declared), first);
    assert_eq!(library.command(&["XLEN", ORDERS]), "1");
    let ttl = library.number(&["PTTL", id_key]);
    assert!((290_000..=300_000).contains(&ttl), "{ttl}");
    library.command(&["DEL", id_key]);
    assert_eq!(library.published(&["id", "order-7"]), (first.0, 2));
}

fn lifetimes_are_never_shorter_than_promised(mode: Mode) {
    let library = Library::start(mode, &[]);
    let rest = |key| library.number(&["PTTL", key]);
    // When it is about, a second more or less doesn't matter, but what is promised does.
    library.published(&[]);
    assert!(rest(ORDERS) > DAY_MS && rest(ORDERS) < DAY_MS * 3 / 2);
    assert!(rest(HEAD) >= rest(ORDERS));
    library.published(&["ttl_ms", "60000"]);
    assert!(rest(ORDERS) > DAY_MS, "an event may not shorten the life of those before it");
    library.published(&["ttl_ms", "172800000"]);
    assert!(rest(ORDERS) > 2 * DAY_MS);
    assert!(rest(HEAD) >= rest(ORDERS));
    // As if so much time had passed since.
    for key in [ORDERS, HEAD] {
        library.command(&["PEXPIRE", key, "3600000"]);
    }
    library.published(&[]);
    assert!(rest(ORDERS) > DAY_MS && rest(HEAD) >= rest(ORDERS));
    // A stream that lives longer than its head keeps its life.
    library.command(&["PEXPIRE", ORDERS, "999999999"]);
    library.command(&["PEXPIRE", HEAD, "3600000"]);
    library.published(&[]);
    assert!(rest(ORDERS) > 990_000_000 && rest(HEAD) > DAY_MS);
    // A new epoch with a short life in a stream with a long one.
    library.command(&["DEL", HEAD]);
    library.published(&["ttl_ms", "60000"]);
    assert!(rest(ORDERS) > DAY_MS && rest(HEAD) >= rest(ORDERS));
    library.command(&["DEL", HEAD]);
    library.command(&["PEXPIRE", ORDERS, "999999999"]);
    library.begun();
    assert!(rest(HEAD) >= rest(ORDERS));
    library.published(&["ttl_ms", "60000"]);
    assert!(rest(HEAD) >= rest(ORDERS));
    // A stream that is to live for ever does, and so does its head.
    library.command(&["DEL", HEAD]);
    library.command(&["PERSIST", ORDERS]);
    let (epoch, _) = library.published(&[]);
    assert_eq!(library.published(&[]), (epoch, 2));
    assert_eq!((library.command(&["PTTL", ORDERS]), library.command(&["PTTL", HEAD])), ("-1".into(), "-1".into()));
}

fn the_newest_events_are_kept(mode: Mode) {
    let library = Library::start(mode, &["--stream-node-max-entries", "10"]);
    for _ in 0..200 {
        library.published(&["maxlen", "50"]);
    }
    let kept = library.number(&["XLEN", ORDERS]);
    assert!((50..=60).contains(&kept), "{kept}");
    assert!(library.read("0-0")[0].ends_with("-200"));
}

fn keys_are_checked(mode: Mode) {
    let library = Library::start(mode, &[]);
    let publish =
        |keys: &[&str], options: &[&str]| library.call("fanfare_publish", keys, &[&[EVENT], options].concat());
    let id_key = "{fanfare:acme:channel:orders}:id:a";
    for (keys, options, expected) in [
        (&[][..], &[][..], "one key is needed"),
        (&["orders"], &[], "is no topic: write <prefix>:<tenant>:<topic>"),
        (&["fanfare:acme:orders"], &[], "is no topic"),
        (&["fanfare:acme:channel:"], &[], "is no topic"),
        (&["fanfare:acme:channel:{a}"], &[], "without any of { }"),
        (&["{fanfare:acme:channel:a}"], &[], "is no topic"),
        (&["fanfare:acme:channel:a b"], &[], "is no topic"),
        (&[ORDERS, "head"], &[], "the second key must be the topic's head, '{fanfare:acme:channel:orders}:head'"),
        (&[ORDERS, HEAD, id_key], &[], "there is no option id"),
        (
            &[ORDERS, HEAD, id_key],
            &["id", "b"],
            "the third key must be the topic's id key, '{fanfare:acme:channel:orders}:id:b'",
        ),
        (&[ORDERS, HEAD, id_key, "x"], &["id", "a"], "at most three keys"),
    ] {
        let answer = publish(keys, options);
        assert!(answer.starts_with("ERR ") && answer.contains(expected), "{keys:?}: {answer}");
    }
    assert_eq!(library.everything(), "");
    let (epoch, _) = position(&publish(&[ORDERS, HEAD], &[]));
    assert_eq!(publish(&[ORDERS, HEAD, id_key], &["id", "a"]), format!("{epoch}-2"));
    assert_eq!(publish(&[ORDERS, HEAD], &["id", "b"]), format!("{epoch}-3"));
    for topic in ["fanfare:acme:tenant", "a:b:acme:user:42", "fanfare:acme:channel:team:ünï/4.2"] {
        assert!(publish(&[topic], &[]).ends_with("-1"), "{topic}");
    }
}

fn options_and_envelopes_are_checked(mode: Mode) {
    let library = Library::start(mode, &[]);
    let long_id = "a".repeat(129);
    for (options, expected) in [
        (&["maxlen"][..], "maxlen must be a whole number"),
        (&["maxlen", "0"], "maxlen must be a whole number"),
        (&["maxlen", "-1"], "maxlen must be a whole number"),
        (&["maxlen", "1e3"], "maxlen must be a whole number"),
        (&["maxlen", "9999999999999999"], "maxlen must be a whole number"),
        (&["ttl_ms", "59999"], "at least 60000"),
        (&["ttl_ms", "60000.5"], "at least 60000"),
        (&["ttl_ms"], "at least 60000"),
        (&["id", ""], "id must have 1 to 128 bytes"),
        (&["id"], "id must have 1 to 128 bytes"),
        (&["id", &long_id], "id must have 1 to 128 bytes"),
        (&["MAXLEN", "5"], "there is no option 'MAXLEN': the options are maxlen N, ttl_ms N and id STRING"),
        (&["maxlen", "5", "maxlen", "6"], "the option 'maxlen' stands there twice"),
    ] {
        let answer = library.publish(options);
        assert!(answer.starts_with("ERR ") && answer.contains(expected), "{options:?}: {answer}");
    }
    let huge = format!("{{{}", " ".repeat(100_000));
    for (envelope, expected) in [
        ("", "is a JSON object"),
        ("[]", "is a JSON object"),
        (" {}", "is a JSON object"),
        ("@1-1 {}", "is a JSON object"),
    ] {
        let answer = library.call("fanfare_publish", &[ORDERS], &[envelope]);
        assert!(answer.starts_with("ERR ") && answer.contains(expected), "{envelope:?}: {answer}");
    }
    assert!(library.call("fanfare_publish", &[ORDERS], &[]).contains("is a JSON object"));
    assert!(library.call("fanfare_read", &[ORDERS], &["0", "1", ""]).contains("at least 1 each"));
    assert!(library.call("fanfare_read", &[ORDERS], &["1", "1"]).contains("one position"));
    assert!(library.call("fanfare_read", &[ORDERS], &["1", "1", "x"]).lines().next() == Some(""));
    assert!(library.call("fanfare_send", &[ORDERS], &[]).contains("one key and one argument"));
    assert_eq!(library.everything(), "");
    // Large, not parsed, and no option needed.
    assert_eq!(position(&library.call("fanfare_publish", &[ORDERS], &[&huge])).1, 1);
}

/// What a backend needs that publishes durable events.
const PUBLISH_RIGHTS: [&str; 13] = [
    "+publish",
    "+time",
    "+info|replication",
    "+get",
    "+set",
    "+pttl",
    "+pexpiretime",
    "+pexpireat",
    "+xadd",
    "+xinfo|stream",
    "+exists",
    "~fanfare:*",
    "~{fanfare:*",
];

fn a_right_that_is_missing_leaves_nothing_half_done(mode: Mode) {
    let library = Library::start(mode, &[]);
    let login = ["--no-auth-warning", "--user", "backend", "--pass", "secret"];
    let basic = ["reset", "on", ">secret", "-@all", "+fcall", "+evalsha", "&fanfare:*"];
    let grant = |rights: &[&str]| {
        assert_eq!(library.command(&[&["ACL", "SETUSER", "backend"], &basic[..], rights].concat()), "OK");
    };
    let publish = |topic: &str, options: &[&str]| {
        library.call_as(&login, "fanfare_publish", &[topic], &[&[EVENT], options].concat())
    };
    let kept = "fanfare:acme:channel:kept";
    // Every way that a publish can go: the first event, the next one, one that must prolong lives, one with an id,
    // and one that begins an epoch over an older one.
    let ways = |number: usize| {
        let new = format!("fanfare:acme:channel:new{number}");
        let ttl = (DAY_MS * 3 + number as u64 * DAY_MS).to_string();
        let headless = format!("fanfare:acme:channel:headless{number}");
        library.command(&["XADD", &headless, "5-5", "e", EVENT]);
        vec![
            (headless, vec![]),
            (new.clone(), vec![]),
            (new, vec!["id".to_owned(), "a".to_owned()]),
            (kept.to_owned(), vec![]),
            (kept.to_owned(), vec!["ttl_ms".to_owned(), ttl]),
            (kept.to_owned(), vec!["id".to_owned(), format!("{number}")]),
        ]
    };
    let denied: Vec<_> = PUBLISH_RIGHTS.iter().copied().chain(["&fanfare:*"]).collect();
    library.call("fanfare_publish", &[kept], &[EVENT]);
    for (number, denied) in denied.into_iter().enumerate() {
        let mut rights = PUBLISH_RIGHTS.to_vec();
        rights.retain(|right| *right != denied);
        if denied == "&fanfare:*" {
            rights.extend(["resetchannels", "&other:*"]);
        }
        grant(&rights);
        let mut refused = 0;
        for (topic, options) in ways(number) {
            let options: Vec<_> = options.iter().map(String::as_str).collect();
            let before = library.everything();
            let answer = publish(&topic, &options);
            // Not every way needs every right.
            if answer.split_once('-').is_none_or(|(epoch, _)| epoch.parse::<u64>().is_err()) {
                refused += 1;
                assert!(answer.starts_with("NOPERM "), "{denied}: {answer}");
                assert_eq!(
                    library.everything(),
                    before,
                    "without {denied}, publishing to {topic} {options:?}: {answer}"
                );
            }
        }
        // Without PTTL it only takes longer.
        assert_eq!(refused == 0, denied == "+pttl", "{denied}");
    }
    grant(&PUBLISH_RIGHTS);
    for (topic, options) in ways(99) {
        let options: Vec<_> = options.iter().map(String::as_str).collect();
        position(&publish(&topic, &options));
    }
    let send = |rights: &[&str]| {
        grant(rights);
        library.call_as(&login, "fanfare_send", &[kept], &[EVENT])
    };
    assert_eq!(send(&["+publish", "+info|replication", "+time", "~fanfare:*"]), "0");
}

fn a_full_redis_takes_only_what_is_ephemeral(mode: Mode) {
    let library = Library::start(mode, &[]);
    let (epoch, _) = library.published(&[]);
    library.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let before = library.everything();
    assert!(library.publish(&[]).starts_with("OOM "), "{}", library.publish(&[]));
    assert_eq!(library.everything(), before);
    assert_eq!(library.call("fanfare_send", &[ORDERS], &[EVENT]), "0");
    assert_eq!(library.read("0-0"), [&format!("{epoch}-1"), "0", &format!("{epoch}-1"), EVENT]);
    let begun = library.call("fanfare_begin", &["fanfare:acme:tenant"], &[]);
    match mode {
        Mode::Functions => assert!(begun.ends_with("-0"), "{begun}"),
        // A script can't say that it needs little.
        Mode::Eval => assert!(begun.starts_with("OOM "), "{begun}"),
    }
    library.command(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(library.published(&[]), (epoch, 2));
}

fn another_stream_or_type_in_the_way_is_told(mode: Mode) {
    let library = Library::start(mode, &[]);
    library.command(&["SET", ORDERS, "text"]);
    let before = library.everything();
    assert!(library.publish(&[]).contains("WRONGTYPE"), "{}", library.publish(&[]));
    assert_eq!(library.everything(), before);
    // One bad topic doesn't keep the others from being read.
    let tenant = "fanfare:acme:tenant";
    let answers = library.call("fanfare_read", &[ORDERS, tenant], &["1", "1", "", ""]);
    assert!(answers.starts_with("WRONGTYPE") && answers.ends_with("\n\n0"), "{answers:?}");
    let answers = library.call("fanfare_begin", &[ORDERS, tenant], &[]);
    assert!(answers.starts_with("WRONGTYPE") && answers.ends_with("-0"), "{answers:?}");
    library.command(&["XADD", "fanfare:acme:user:1", "*", "other", "field"]);
    let answer = library.call("fanfare_read", &["fanfare:acme:user:1"], &["10", "10", "0-0"]);
    assert!(answer.ends_with('\n') || answer.lines().count() == 3, "no envelope, so that it is told: {answer:?}");
}

fn a_cluster_gets_sharded_messages(mode: Mode) {
    // The default, 10,000 beyond the server's own, may be taken.
    let bus = free_port().to_string();
    let library = Library::start(mode, &["--cluster-enabled", "yes", "--cluster-port", &bus]);
    assert_eq!(library.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]), "OK");
    wait_until("the cluster is up", || library.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok"));
    assert_eq!(library.call("fanfare_send", &[ORDERS], &[EVENT]), "0");
    let (epoch, _) = library.published(&[]);
    let id_key = "{fanfare:acme:channel:orders}:id:a";
    let declared = library.call("fanfare_publish", &[ORDERS, HEAD, id_key], &[EVENT, "id", "a"]);
    assert_eq!(position(&declared), (epoch, 2));
    let begun = library.call("fanfare_begin", &[ORDERS, HEAD], &[]);
    assert_eq!(position(&begun), (epoch, 2));
    let stats = library.command(&["INFO", "commandstats"]);
    assert!(stats.contains("cmdstat_spublish:calls=3,") && !stats.contains("cmdstat_publish:"), "{stats}");
}

fn an_identity_is_believed_for_a_moment_only(mode: Mode) {
    let library = Library::start(mode, &[]);
    let (epoch, _) = library.published(&[]);
    library.command(&["REPLICAOF", "127.0.0.1", "1"]);
    library.command(&["REPLICAOF", "NO", "ONE"]);
    // It keeps publishing, so a look that is put off with each call would never come.
    wait_until("another epoch has begun", || library.published(&[]).0 != epoch);
    assert_eq!(library.command(&["GET", HEAD]).split(' ').nth(1), Some(&*replid(&library.server)));
}

#[test]
fn an_unknown_function_of_the_script_is_named() {
    let library = Library::start(Mode::Eval, &[]);
    let answer = library.call("fanfare_nothing", &[], &[]);
    assert!(answer.contains("must be the name of a function"), "{answer}");
}

#[test]
fn a_read_only_call_reads() {
    let library = Library::start(Mode::Functions, &[]);
    let (epoch, _) = library.published(&[]);
    let answer = library.command(&["FCALL_RO", "fanfare_read", "1", ORDERS, "10", "1000", "0-0"]);
    assert_eq!(answer, format!("{epoch}-1\n0\n{epoch}-1\n{EVENT}"));
    assert!(library.command(&["FCALL_RO", "fanfare_begin", "1", ORDERS]).starts_with("ERR "));
}
