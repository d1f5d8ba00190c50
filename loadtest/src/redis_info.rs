//! What Redis tells about its own work: how often each command was called, and the CPU time of it all.

use anyhow::Context as _;

use crate::redis_link::RedisLink;

/// How often Redis was asked for something, by itself or inside of functions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Calls {
    pub(crate) fcall: u64,
    pub(crate) fcall_ro: u64,
    /// EVALSHA, where functions are not allowed.
    pub(crate) evalsha: u64,
    pub(crate) xrange: u64,
    pub(crate) xrevrange: u64,
    pub(crate) subscribe: u64,
    pub(crate) unsubscribe: u64,
}

impl Calls {
    /// `INFO commandstats`.
    pub(crate) fn read(link: &mut RedisLink) -> anyhow::Result<Calls> {
        Ok(Self::parse(&link.call(&[b"INFO", b"commandstats"])?))
    }

    pub(crate) fn since(&self, before: &Calls) -> Calls {
        Calls {
            fcall: self.fcall.saturating_sub(before.fcall),
            fcall_ro: self.fcall_ro.saturating_sub(before.fcall_ro),
            evalsha: self.evalsha.saturating_sub(before.evalsha),
            xrange: self.xrange.saturating_sub(before.xrange),
            xrevrange: self.xrevrange.saturating_sub(before.xrevrange),
            subscribe: self.subscribe.saturating_sub(before.subscribe),
            unsubscribe: self.unsubscribe.saturating_sub(before.unsubscribe),
        }
    }

    fn parse(info: &str) -> Calls {
        let line = |command: &str| {
            let start = format!("cmdstat_{command}:calls=");
            let calls = info.lines().find_map(|line| line.strip_prefix(&start)?.split(',').next()?.parse().ok());
            calls.unwrap_or_default()
        };
        Calls {
            fcall: line("fcall"),
            fcall_ro: line("fcall_ro"),
            evalsha: line("evalsha"),
            xrange: line("xrange"),
            xrevrange: line("xrevrange"),
            subscribe: line("subscribe"),
            unsubscribe: line("unsubscribe"),
        }
    }
}

/// What subscriptions were to Redis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Subscribing {
    /// `SUBSCRIBE` commands, each for one topic or for many.
    pub(crate) commands: u64,
    /// Channels that have a subscriber.
    pub(crate) topics: u64,
}

impl Subscribing {
    /// `INFO commandstats` and `INFO stats`.
    pub(crate) fn read(link: &mut RedisLink) -> anyhow::Result<Subscribing> {
        let commands = Calls::read(link)?.subscribe;
        let topics = parse_channels(&link.call(&[b"INFO", b"stats"])?).context("INFO stats has an unknown form")?;
        Ok(Subscribing { commands, topics })
    }

    /// What came since; topics that went count as none.
    pub(crate) fn since(&self, before: &Subscribing) -> Subscribing {
        Subscribing {
            commands: self.commands.saturating_sub(before.commands),
            topics: self.topics.saturating_sub(before.topics),
        }
    }
}

fn parse_channels(info: &str) -> Option<u64> {
    info.lines().find_map(|line| line.strip_prefix("pubsub_channels:")?.trim().parse().ok())
}

/// CPU time of the server, user and system together, in microseconds: `INFO cpu`.
pub(crate) fn cpu_us(link: &mut RedisLink) -> anyhow::Result<f64> {
    parse_cpu_us(&link.call(&[b"INFO", b"cpu"])?).context("INFO cpu has an unknown form")
}

fn parse_cpu_us(info: &str) -> Option<f64> {
    let of = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
    Some((of("used_cpu_user:")? + of("used_cpu_sys:")?) * 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_found_by_their_whole_name() {
        let info = "# Commandstats\r\ncmdstat_fcall_ro:calls=7,usec=1\r\ncmdstat_fcall:calls=3,usec=9\r\n\
            cmdstat_xrange:calls=12,usec=4\r\ncmdstat_xrevrange:calls=5,usec=1\r\n";
        let calls = Calls::parse(info);
        assert_eq!(calls, Calls { fcall: 3, fcall_ro: 7, xrange: 12, xrevrange: 5, ..Calls::default() });
        let since = calls.since(&Calls { fcall: 1, xrange: 20, ..Calls::default() });
        assert_eq!((since.fcall, since.fcall_ro, since.xrange), (2, 7, 0));
    }

    #[test]
    fn channels_are_not_patterns() {
        assert_eq!(parse_channels("# Stats\r\npubsub_patterns:3\r\npubsub_channels:12\r\n"), Some(12));
        let (before, after) = (Subscribing { commands: 1, topics: 9 }, Subscribing { commands: 4, topics: 7 });
        assert_eq!(after.since(&before), Subscribing { commands: 3, topics: 0 });
    }

    #[test]
    fn user_and_system_time_are_added_up_and_those_of_children_left_out() {
        let info = "# CPU\r\nused_cpu_sys:1.5\r\nused_cpu_user:2.25\r\nused_cpu_sys_children:9\r\n";
        assert_eq!(parse_cpu_us(info).map(f64::round), Some(3_750_000.0));
        assert_eq!(parse_cpu_us("used_cpu_sys:1"), None);
    }
}
