//! Logs and metrics.

use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::checker::Checker;
use crate::settings::Settings;

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// For people or for programs.
    pub format: LogFormat,
    /// A level, or a filter by module.
    pub filter: Box<str>,
    /// How often connections are summed up; `None` is never.
    pub summary_interval: Option<Duration>,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For a terminal.
    Human,
    /// One JSON object a line.
    Json,
}

/// Beyond these, metrics are counted together as `other`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricsConfig {
    /// Tenants with metrics of their own.
    pub tenants_max: usize,
    /// Event types with metrics of their own.
    pub types_max: usize,
}

pub(super) fn check_log(settings: &Settings, check: &mut Checker) -> LogConfig {
    let format = match settings.log_format.as_str() {
        "human" => LogFormat::Human,
        "json" => LogFormat::Json,
        other => {
            check.problem("log_format", other, "not a log format", "give human or json");
            LogFormat::Human
        }
    };
    // A single word that is no level would be taken for the name of a module, and hide everything.
    let level = &settings.log_level;
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    let word = level.chars().all(|c| c.is_ascii_alphabetic());
    if (word && !levels.contains(&level.to_ascii_lowercase().as_str())) || EnvFilter::try_new(level).is_err() {
        let fix = "give error, warn, info, debug or trace, or a filter such as info,fanfare_gateway=debug";
        check.problem("log_level", level, "not a log level", fix);
    }
    let summary_s = check.number("log_summary_s", settings.log_summary_s, 0..=86_400);
    LogConfig {
        format,
        filter: level.as_str().into(),
        summary_interval: Some(Duration::from_secs(summary_s)).filter(|interval| !interval.is_zero()),
    }
}

pub(super) fn check_metrics(settings: &Settings, check: &mut Checker) -> MetricsConfig {
    MetricsConfig {
        tenants_max: check.bytes("metrics_tenants_max", settings.metrics_tenants_max, 0..=100_000),
        types_max: check.bytes("metrics_types_max", settings.metrics_types_max, 0..=100_000),
    }
}
