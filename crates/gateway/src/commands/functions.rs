//! `fanfare functions`: the function library that durable events need, for a Redis where nodes may not load it themselves
//! (`redis_functions = check`).

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use fanfare_backplane::{FunctionLibrary, RedisScripting};

use super::block_on;
use crate::config::{BackplaneConfig, Config};
use crate::settings::Settings;

#[derive(Args)]
pub(crate) struct FunctionsArgs {
    #[command(flatten)]
    _settings: Settings,
}

/// Loads the library, unless the same or a newer one is there.
pub(crate) fn load(config: &Config) -> anyhow::Result<ExitCode> {
    let loaded = block_on(async { library(config)?.load().await.context("the function library is not loaded") })?;
    let own = FunctionLibrary::VERSION;
    if loaded > own {
        println!("version {loaded} is loaded, which is newer than version {own} of this build and stays");
    } else {
        println!("version {loaded} is loaded");
    }
    Ok(ExitCode::SUCCESS)
}

/// Tells what is loaded; fails when that is not enough for this build.
pub(crate) fn show(config: &Config) -> anyhow::Result<ExitCode> {
    let loaded = block_on(async { Ok(library(config)?.loaded_version().await?) })?;
    let own = FunctionLibrary::VERSION;
    match loaded {
        None => println!("none is loaded; this build has version {own}"),
        Some(loaded) => println!("version {loaded} is loaded; this build has version {own}"),
    }
    Ok(if loaded.is_some_and(|loaded| loaded >= own) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn library(config: &Config) -> anyhow::Result<FunctionLibrary> {
    let BackplaneConfig::Redis(redis) = &config.backplane else {
        bail!("functions are loaded into a Redis: give --backplane redis://host:port or FANFARE_BACKPLANE");
    };
    if redis.scripting == RedisScripting::Eval {
        bail!(
            "redis_scripting = eval uses no functions, and nodes load the script by themselves: there is nothing to do"
        );
    }
    Ok(FunctionLibrary::on((**redis).clone()))
}
