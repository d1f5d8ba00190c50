//! What a publish leaves behind: the event, its id, its lifetime; and what it sends.

use crate::support::redis_server::{free_port, wait_until};
use crate::{DAY_MS, EVENT, HEAD, Library, Mode, ORDERS, position, replid};

pub(super) fn the_commands_of_the_contract_work_as_printed(mode: Mode) {
    let library = Library::start(mode, &[]);
    let (epoch, seq) = library.published(&[]);
    assert_eq!(seq, 1);
    let options = ["maxlen", "100", "ttl_ms", "60000", "id", "order-7"];
    assert_eq!(library.published(&options), (epoch, 2));
    assert_eq!(library.call("fanfare_send", &[ORDERS], &[EVENT]), "0");
    assert_eq!(library.call("fanfare_version", &[], &[]), "2");
    assert_eq!(library.command(&["XRANGE", ORDERS, "-", "+"]), format!("{epoch}-1\ne\n{EVENT}\n{epoch}-2\ne\n{EVENT}"));
    let replid = replid(&library.server);
    assert_eq!(library.command(&["GET", HEAD]), format!("{epoch} {replid}"));
}

pub(super) fn an_id_counts_for_five_minutes_whatever_the_options(mode: Mode) {
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

pub(super) fn lifetimes_are_never_shorter_than_promised(mode: Mode) {
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

pub(super) fn the_newest_events_are_kept(mode: Mode) {
    let library = Library::start(mode, &["--stream-node-max-entries", "10"]);
    for _ in 0..200 {
        library.published(&["maxlen", "50"]);
    }
    let kept = library.number(&["XLEN", ORDERS]);
    assert!((50..=60).contains(&kept), "{kept}");
    assert!(library.read("0-0")[0].ends_with("-200"));
}

pub(super) fn a_cluster_gets_sharded_messages(mode: Mode) {
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
