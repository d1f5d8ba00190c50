//! Arguments that make clients differ from each other: encodings and tenants.

use clap::{Args, ValueEnum};

use crate::codec::Codec;
use crate::dialect::Dialect;
use crate::mix::Mix;

#[derive(Args)]
#[command(next_help_heading = "Clients")]
pub(crate) struct MixArgs {
    /// What the clients speak with a Fanfare node
    #[arg(long, value_enum, default_value_t = CodecChoice::Json)]
    pub(crate) codec: CodecChoice,
    /// Tenants, with channels of the same names; each event is published once to each of them. More than one are called
    /// as --tenant says with a number behind it
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) tenants: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CodecChoice {
    Json,
    Msgpack,
    #[value(help = "Every other client speaks MessagePack")]
    Mixed,
}

impl CodecChoice {
    pub(crate) fn name(self) -> &'static str {
        match self {
            CodecChoice::Json => "json",
            CodecChoice::Msgpack => "msgpack",
            CodecChoice::Mixed => "mixed",
        }
    }
}

impl MixArgs {
    /// The clients of a run on a Fanfare node, whose tenants are called `tenant`.
    pub(crate) fn mix(&self, tenant: &str) -> Mix {
        let codecs = match self.codec {
            CodecChoice::Json => vec![Codec::Json],
            CodecChoice::Msgpack => vec![Codec::Msgpack],
            CodecChoice::Mixed => vec![Codec::Json, Codec::Msgpack],
        };
        let tenants = match self.tenants {
            1 => vec![tenant.to_owned()],
            several => (0..several).map(|number| format!("{tenant}-{number}")).collect(),
        };
        Mix { dialects: codecs.into_iter().map(Dialect::Fanfare).collect(), tenants }
    }

    /// Whether only a Fanfare node can serve these clients.
    pub(crate) fn needs_fanfare(&self) -> bool {
        self.codec != CodecChoice::Json || self.tenants > 1
    }
}
