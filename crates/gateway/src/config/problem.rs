//! What is wrong with a configuration, all of it at once, in words for the person who wrote it.

use std::fmt;

use crate::settings::Source;

/// One thing that can't be used: what it is, where it was written, what is wrong and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    key: Option<String>,
    part: Option<String>,
    value: String,
    source: Option<Source>,
    text: String,
}

impl Problem {
    /// A setting with an unusable value. `value` is printed: it must not be a secret.
    pub fn setting(key: &str, value: &str, wrong: &str, fix: &str) -> Self {
        let text = format!("{wrong}; {fix}");
        Self { key: Some(key.to_owned()), part: None, value: value.to_owned(), source: None, text }
    }

    /// Says which part of the setting it is, where a setting has several: `rule 2, maxlen`.
    #[must_use]
    pub fn of_part(mut self, part: impl Into<String>) -> Self {
        self.part = Some(part.into());
        self
    }

    /// Something that belongs to no single setting.
    pub fn other(text: impl Into<String>) -> Self {
        Self { key: None, part: None, value: String::new(), source: None, text: text.into() }
    }

    /// Says where the value was found.
    #[must_use]
    pub fn found(mut self, source: Source) -> Self {
        self.source = Some(source);
        self
    }

    /// The setting, when it belongs to one.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(key) = &self.key else {
            return f.write_str(&self.text);
        };
        f.write_str(key)?;
        if let Some(part) = &self.part {
            write!(f, ", {part}")?;
        }
        match self.value.as_str() {
            "[hidden]" => f.write_str(" = [hidden]")?,
            value => write!(f, " = {value:?}")?,
        }
        match &self.source {
            None | Some(Source::Default) => {}
            Some(source) => write!(f, " ({source})")?,
        }
        write!(f, ": {}", self.text)
    }
}

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [problem] => write!(f, "the configuration can't be used: {problem}"),
            problems => {
                write!(f, "the configuration can't be used, {} problems:", problems.len())?;
                problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl std::error::Error for ConfigError {}
