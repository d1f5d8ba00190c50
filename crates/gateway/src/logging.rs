//! Where log lines go, for people or as JSON: a node's to standard output, from which containers' logs are collected. A
//! development node prints there what it made up, so its lines go to standard error.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::config::{LogConfig, LogFormat};

/// Starts logging for the whole process. Only the first call counts.
pub fn init(config: &LogConfig, is_dev: bool) {
    let (writer, is_terminal) = if is_dev {
        (BoxMakeWriter::new(io::stderr), io::stderr().is_terminal())
    } else {
        (BoxMakeWriter::new(io::stdout), io::stdout().is_terminal())
    };
    // `Config::check` has parsed the same text, so there is nothing left to go wrong.
    let filter = EnvFilter::try_new(&*config.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let started = match config.format {
        LogFormat::Human => lines.with_ansi(is_terminal).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
    };
    // An error means that a test, or an earlier call, has started it already.
    drop(started);
}
