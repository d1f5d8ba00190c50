//! `fanfare-loadtest`: puts load on a Fanfare node and checks every event at every client.
//!
//! A coordinator ([`scenario`]) starts client processes ([`crew`], [`worker`]) and publishes to Redis ([`publisher`]).
//! A client process is one thread with thousands of clients ([`swarm`], [`client`]); each keeps one [`sequence`], from
//! which losses, duplicates and disorder are counted exactly. [`floor`] holds the two servers that everything is
//! measured against; [`target`] starts servers and [`process`] reads their CPU time and memory.
//!
//! It shares no code with the gateway: what checks it must not repeat its mistakes.

mod address;
mod cli;
mod client;
mod clock;
mod crew;
mod figures;
mod floor;
mod handshake;
mod histogram;
mod launch;
mod mark;
mod orders;
mod process;
mod publisher;
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
use crate::scenario::Scenario;

const FAILED: u8 = 1;
const WRONG_SETUP: u8 = 2;

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Fanout(args) => scenario::run(&Scenario::Fanout(args)),
        Command::Channels(args) => scenario::run(&Scenario::Channels(args)),
        Command::Idle(args) => scenario::run(&Scenario::Idle(args)),
        Command::Storm(args) => scenario::run(&Scenario::Storm(args)),
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
