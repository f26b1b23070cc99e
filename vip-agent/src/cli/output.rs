//! Forms in which listings are printed.

use clap::ValueEnum;
use serde::Serialize;

/// What `-o` takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    #[default]
    Table,
    /// For programs: the documents have a published schema.
    Json,
    /// The same documents as YAML.
    Yaml,
}

/// A document that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// As JSON.
    #[error("writing JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// As YAML.
    #[error("writing YAML: {0}")]
    Yaml(#[from] serde_saphyr::ser::Error),
}

impl OutputFormat {
    /// The document in this form, with a final newline; `table` makes the one for people.
    pub fn print<D: Serialize>(
        self,
        document: &D,
        table: impl FnOnce(&D) -> String,
    ) -> Result<String, OutputError> {
        let mut text = match self {
            Self::Table => table(document),
            Self::Json => serde_json::to_string_pretty(document)?,
            Self::Yaml => serde_saphyr::to_string(document)?,
        };
        if !text.ends_with('\n') {
            text.push('\n');
        }
        Ok(text)
    }
}
