//! The scenarios, and what they have in common: prepare the ground, run on each target, tell the figures.

mod bystanders;
mod channels;
pub(crate) mod churn;
pub(crate) mod compare;
mod compare_table;
mod delivery;
mod effort;
mod fanout;
pub(crate) mod growth;
mod idle;
mod meter;
pub(crate) mod publish;
pub(crate) mod recover;
pub(crate) mod redis_restart;
pub(crate) mod rolling_restart;
pub(crate) mod scale_out;
mod session;
mod site;
mod slow;
mod storm;
mod story;
mod trial;
pub(crate) mod unheard;
mod verdict;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde::Serialize;

use self::story::Story;
use crate::cli::{ChannelsArgs, CommonArgs, FanoutArgs, IdleArgs, Kind, OutputArgs, StormArgs};
use crate::report::{Document, Report};
use crate::table;
use crate::target::{Ground, Target};

/// A scenario as asked for.
pub(crate) enum Scenario {
    Fanout(FanoutArgs),
    Channels(ChannelsArgs),
    Idle(IdleArgs),
    Storm(StormArgs),
}

/// Where a scenario runs.
pub(crate) struct Stage<'a> {
    pub(crate) ground: &'a Ground,
    pub(crate) target: &'a Target,
    /// Further servers of its kind that share the clients with it.
    pub(crate) more: &'a [Target],
    pub(crate) common: &'a CommonArgs,
}

impl<'a> Stage<'a> {
    /// All servers that have clients.
    fn targets(&self) -> impl Iterator<Item = &'a Target> {
        std::iter::once(self.target).chain(self.more)
    }
}

/// Runs on every target that is asked for. `Ok(false)`: something was lost, doubled or out of order.
pub(crate) fn run(scenario: &Scenario) -> anyhow::Result<bool> {
    let common = scenario.common();
    let others = common.target.kinds().into_iter().any(|kind| kind != Kind::Fanfare);
    ensure!(
        !(others && common.mix.needs_fanfare()),
        "other servers speak no MessagePack and know one tenant: --codec and --tenants measure Fanfare alone"
    );
    if let Scenario::Fanout(args) = scenario {
        fanout::check(args)?;
    }
    let ground = Ground::prepare(&common.target)?;
    let mut runs = Vec::new();
    for kind in common.target.kinds() {
        runs.push(scenario.run_on(&ground, kind)?);
    }
    let document = Document::new(runs);
    tell(&document, &table::render(&document), common.output.json.as_deref())?;
    Ok(document.all_is_well())
}

/// Makes a target ready and works on it. The last words of a server that was started here and has ended meanwhile come with
/// the result, or with the error.
fn on_target<T>(
    ground: &Ground,
    common: &CommonArgs,
    kind: Kind,
    work: impl FnOnce(&Stage<'_>) -> anyhow::Result<T>,
) -> anyhow::Result<(T, Option<String>)> {
    let mut target = ground.target(&common.target, kind)?;
    let result = work(&Stage { ground, target: &target, more: &[], common });
    match (result, target.post_mortem()) {
        (Err(error), Some(post_mortem)) => Err(error.context(post_mortem)),
        (result, post_mortem) => Ok((result?, post_mortem)),
    }
}

impl Scenario {
    fn name(&self) -> &'static str {
        match self {
            Scenario::Fanout(_) => "fanout",
            Scenario::Channels(_) => "channels",
            Scenario::Idle(_) => "idle",
            Scenario::Storm(_) => "storm",
        }
    }

    fn common(&self) -> &CommonArgs {
        match self {
            Scenario::Fanout(args) => &args.common,
            Scenario::Channels(args) => &args.common,
            Scenario::Idle(args) => &args.common,
            Scenario::Storm(args) => &args.common,
        }
    }

    /// Starts what is to be measured, if it is to be started, and measures it.
    fn run_on(&self, ground: &Ground, kind: Kind) -> anyhow::Result<Report> {
        let (mut report, post_mortem) = on_target(ground, self.common(), kind, |stage| self.run(stage))
            .with_context(|| format!("{} on {}", self.name(), kind.name()))?;
        report.warnings.extend(post_mortem);
        Ok(report)
    }

    fn run(&self, stage: &Stage<'_>) -> anyhow::Result<Report> {
        match self {
            Scenario::Fanout(args) => fanout::run(stage, args),
            Scenario::Channels(args) => channels::run(stage, args),
            Scenario::Idle(args) => idle::run(stage, args),
            Scenario::Storm(args) => storm::run(stage, args),
        }
    }
}

/// Tells what a scenario with durable events found out. `Ok(false)`: something was lost in silence, doubled or out of order.
pub(crate) fn tell_story(story: anyhow::Result<Story>, output: &OutputArgs) -> anyhow::Result<bool> {
    let story = story?;
    tell(&story.document(), &story.render(), output.json.as_deref())?;
    Ok(story.all_is_well())
}

/// The table goes where the JSON doesn't.
fn tell(document: &impl Serialize, table: &str, json: Option<&Path>) -> anyhow::Result<()> {
    let Some(path) = json else {
        print!("{table}");
        return Ok(());
    };
    let text = serde_json::to_string_pretty(document)? + "\n";
    if path == Path::new("-") {
        eprint!("{table}");
        print!("{text}");
        return Ok(());
    }
    print!("{table}");
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
