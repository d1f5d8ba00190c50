//! The function library itself, called as anybody may call it: `redis-cli FCALL …`, and by EVALSHA of the same source.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod epochs;
mod publishing;
mod refusals;
#[path = "../support/mod.rs"]
mod support;

use support::redis_server::RedisProcess;

const SOURCE: &str = include_str!("../../src/redis/fanfare.lua");
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
    ($($file:ident: $($story:ident),*;)*) => {
        mod functions {
            $($(#[test] fn $story() { super::$file::$story(super::Mode::Functions); })*)*
        }
        mod eval {
            $($(#[test] fn $story() { super::$file::$story(super::Mode::Eval); })*)*
        }
    };
}

stories! {
    publishing:
        the_commands_of_the_contract_work_as_printed,
        an_id_counts_for_five_minutes_whatever_the_options,
        lifetimes_are_never_shorter_than_promised,
        the_newest_events_are_kept,
        a_cluster_gets_sharded_messages;
    epochs:
        an_epoch_is_the_time_in_microseconds_and_its_events_count_from_1,
        a_position_is_never_issued_twice_after_a_failover,
        an_epoch_without_events_ends_with_a_failover_too,
        a_replica_vouches_for_nothing_and_remembers_no_identity,
        a_position_is_never_issued_twice_after_a_restart_from_an_old_snapshot,
        an_epoch_in_the_future_is_followed_by_the_next_number,
        entries_of_somebody_else_begin_an_epoch,
        a_stream_that_has_vanished_begins_an_epoch,
        a_read_begins_an_epoch_that_the_next_event_goes_on,
        an_identity_is_believed_for_a_moment_only;
    refusals:
        keys_are_checked,
        options_and_envelopes_are_checked,
        a_right_that_is_missing_leaves_nothing_half_done,
        a_full_redis_takes_only_what_is_ephemeral,
        another_stream_or_type_in_the_way_is_told;
}

fn replid(server: &RedisProcess) -> String {
    let info = server.command(&["INFO", "replication"]);
    info.lines().find_map(|line| line.strip_prefix("master_replid:")).unwrap().trim().to_owned()
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
