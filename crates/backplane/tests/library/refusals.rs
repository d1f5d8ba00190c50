//! What the functions refuse, in which words, and that a refusal leaves nothing half done.

use crate::{DAY_MS, EVENT, HEAD, Library, Mode, ORDERS, position};

pub(super) fn keys_are_checked(mode: Mode) {
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

pub(super) fn options_and_envelopes_are_checked(mode: Mode) {
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

pub(super) fn a_right_that_is_missing_leaves_nothing_half_done(mode: Mode) {
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

pub(super) fn a_full_redis_takes_only_what_is_ephemeral(mode: Mode) {
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

pub(super) fn another_stream_or_type_in_the_way_is_told(mode: Mode) {
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
