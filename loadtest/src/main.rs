//! `fanfare-loadtest`: puts load on a Fanfare node and checks every event at every client.
//!
//! A coordinator ([`scenario`]) starts client processes ([`crew`], [`worker`]) and publishes to Redis ([`publisher`]).
//! A client process is one thread with thousands of clients ([`swarm`], [`client`]); each keeps one [`sequence`], from
//! which losses, duplicates and disorder are counted exactly. [`floor`] holds the two servers that everything is
//! measured against; [`target`] starts servers and [`process`] reads their CPU time and memory.
//!
//! What becomes of durable events when clients, nodes and Redis go and come is another matter, and has parts of its own: a
//! [`herd`] of clients that come back to any node with their positions, a [`feed`] that goes on publishing, and a [`fleet`]
//! of servers that may be killed and replaced. Each of the former two is a thread behind a [`desk`].
//!
//! Clients that change their topics all the time are [`nomads`], on connections that hand out every message
//! ([`connection`]). [`plot`] draws what [`scenario::growth`] finds out.
//!
//! It shares no code with the gateway: what checks it must not repeat its mistakes.

mod address;
mod admin_port;
mod aim;
mod cli;
mod client;
mod clock;
mod codec;
mod connection;
mod crew;
mod desk;
mod dialect;
mod directory;
mod feed;
mod figures;
mod fleet;
mod floor;
mod handshake;
mod herd;
mod histogram;
mod http_answer;
mod launch;
mod link;
mod machine;
mod mark;
mod mix;
mod nomads;
mod orders;
mod outlet;
mod peer;
mod plot;
mod process;
mod program;
mod publisher;
mod reasons;
mod redis_info;
mod redis_link;
mod report;
mod resp;
mod scenario;
mod sequence;
mod swarm;
mod table;
mod tally;
mod target;
mod token;
mod websocket;
mod worker;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command};
use crate::scenario::{Scenario, churn, growth, publish, recover, redis_restart, rolling_restart, scale_out, unheard};

const FAILED: u8 = 1;
const WRONG_SETUP: u8 = 2;

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Fanout(args) => scenario::run(&Scenario::Fanout(args)),
        Command::Channels(args) => scenario::run(&Scenario::Channels(args)),
        Command::Idle(args) => scenario::run(&Scenario::Idle(args)),
        Command::Storm(args) => scenario::run(&Scenario::Storm(args)),
        Command::Churn(mut args) => scenario::tell_story(churn::run(&mut args), &args.common.output),
        Command::Unheard(mut args) => scenario::tell_story(unheard::run(&mut args), &args.common.output),
        Command::Growth(mut args) => growth::run(&mut args),
        Command::Compare(args) => scenario::compare::run(&args),
        Command::Recover(args) => scenario::tell_story(recover::run(&args), &args.output),
        Command::RollingRestart(args) => scenario::tell_story(rolling_restart::run(&args), &args.output),
        Command::ScaleOut(args) => scenario::tell_story(scale_out::run(&args), &args.output),
        Command::RedisRestart(args) => scenario::tell_story(redis_restart::run(&args), &args.output),
        Command::Publish(args) => scenario::tell_story(publish::run(&args), &args.output),
        Command::Floor(args) => floor::serve(&args).map(|()| true),
        Command::Worker => worker::run().map(|()| true),
        Command::Launch(args) => launch::become_server(args.parent, &args.processors, &args.command).map(|()| true),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(error) => {
            eprintln!("fanfare-loadtest: {error:#}");
            ExitCode::from(WRONG_SETUP)
        }
    }
}
