//! `vip-agent run`.

use std::{fs, io, path::PathBuf};

use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

use super::flags::Flags;
use crate::{
    config::{self, Config, Invalid, LogFormat, LogLevel, Reading, Warning},
    driver::{Driver, StartError},
};

/// The agent did not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration has errors: exit code 2.
    #[error(transparent)]
    Config(#[from] Invalid),
    /// Its file cannot be read: exit code 2.
    #[error("cannot read the configuration {}: {source}", path.display())]
    File {
        /// `--config`.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something is missing on this host.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl RunError {
    /// What the process exits with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::File { .. } => 2,
            Self::Start(_) => 1,
        }
    }
}

/// Reads the configuration from all its sources.
pub fn read(flags: &Flags) -> Result<Reading, RunError> {
    let text = match &flags.config {
        Some(path) => Some(
            fs::read_to_string(path)
                .map_err(|source| RunError::File { path: path.clone(), source })?,
        ),
        None => None,
    };
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let host_name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    Ok(config::read(
        &flags.given(),
        environment,
        text.as_deref(),
        &host_name.unwrap_or_default(),
    ))
}

/// Runs until SIGTERM.
pub async fn run(flags: Flags) -> Result<(), RunError> {
    let (config, warnings) = read(&flags)?.into_config()?;
    log_to_stderr(&config);
    warn(&warnings);
    let reload = move || {
        let reading = read(&flags).map_err(|error| Invalid::unreadable(error.to_string()))?;
        let (config, warnings) = reading.into_config()?;
        warn(&warnings);
        Ok(config)
    };
    let (driver, inputs) = Driver::start(config, Box::new(reload)).await?;
    driver.run(inputs).await;
    Ok(())
}

fn warn(warnings: &[Warning]) {
    for warning in warnings {
        tracing::warn!(field = warning.field, value = %warning.value, "{}", warning.message);
    }
}

fn log_to_stderr(config: &Config) {
    let level = match config.log.level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    // Libraries speak up at warnings.
    let filter = EnvFilter::new(format!("warn,vip_agent={level},xvip={level}"));
    let lines = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_target(false);
    match config.log.format {
        LogFormat::Text => lines.with(layer.with_ansi(false)).init(),
        LogFormat::Json => lines.with(layer.json()).init(),
    }
}
