//! What is wrong with a configuration: all of it, with field, value and fix.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

/// Something that must be changed before the configuration can be used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Problem {
    /// Where the value stands, as the user wrote it: `vips[0].address`, `XVIP_PREFIX`, `--prefix`.
    pub field: String,
    /// The value given.
    pub value: String,
    /// What is wrong with it.
    pub message: String,
    /// What to write instead.
    pub fix: String,
}

/// Something that works, and not as its author may believe.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Warning {
    /// Where the value stands, as the user wrote it.
    pub field: String,
    /// The value given.
    pub value: String,
    /// What becomes of it, and what to use instead.
    pub message: String,
}

/// A configuration that cannot be used, with every reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Invalid {
    /// Never empty.
    pub errors: Vec<Problem>,
    /// The warnings found beside.
    pub warnings: Vec<Warning>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            field,
            value,
            message,
            fix,
        } = self;
        write!(f, "{field}: {value:?}: {message}; {fix}")
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}: {}", self.field, self.value, self.message)
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration has {} error(s)", self.errors.len())?;
        self.errors
            .iter()
            .try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl Problem {
    /// A problem with a value as the user wrote it.
    pub fn new(
        field: impl Into<String>,
        value: impl fmt::Display,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            field: field.into(),
            value: value.to_string(),
            message: message.into(),
            fix: fix.into(),
        }
    }
}

impl Warning {
    /// A warning about a value as the user wrote it.
    pub fn new(
        field: impl Into<String>,
        value: impl fmt::Display,
        message: impl Into<String>,
    ) -> Self {
        Self {
            field: field.into(),
            value: value.to_string(),
            message: message.into(),
        }
    }
}
