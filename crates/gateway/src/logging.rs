//! Where log lines go: to standard error, for people or as JSON. Standard output belongs to what a command answers.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};

/// Starts logging for the whole process. Only the first call counts.
pub fn init(config: &LogConfig) {
    // `Config::check` has parsed the same text, so there is nothing left to go wrong.
    let filter = EnvFilter::try_new(&*config.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match config.format {
        LogFormat::Human => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
    };
    // An error means that a test, or an earlier call, has started it already.
    drop(started);
}
