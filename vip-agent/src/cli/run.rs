//! `vip-agent run`.

use std::{ffi::OsString, fs, io, path::Path};

use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

use super::flags::Flags;
use crate::{
    config::{self, Config, Invalid, LogFormat, LogLevel, Problem, Reading, Warning},
    driver::{self, Driver, StartError},
};

/// The agent did not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration has errors: exit code 2.
    #[error(transparent)]
    Config(#[from] Invalid),
    /// Something is missing on this host.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The cluster is none to run in.
    #[error(transparent)]
    Cluster(#[from] driver::RunError),
}

impl RunError {
    /// What the process exits with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => 2,
            Self::Start(_) | Self::Cluster(_) => 1,
        }
    }
}

/// Reads the configuration from all its sources.
pub fn read(flags: &Flags) -> Result<Reading, Invalid> {
    let text = flags
        .config
        .as_ref()
        .map(fs::read_to_string)
        .transpose()
        .map_err(|error| {
            let path = flags.config.as_deref().unwrap_or(Path::new("")).display();
            let message = format!("cannot be read: {error}");
            let problem = Problem::new("--config", path, message, "name a file that can be read");
            Invalid {
                errors: vec![problem],
                warnings: Vec::new(),
            }
        })?;
    let lossy = |text: OsString| text.to_string_lossy().into_owned();
    let environment = std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value)));
    let host_name = nix::unistd::gethostname().map(lossy).unwrap_or_default();
    Ok(config::read(
        &flags.given(),
        environment,
        text.as_deref(),
        &host_name,
    ))
}

/// Runs until SIGTERM.
pub async fn run(flags: Flags) -> Result<(), RunError> {
    let (config, warnings) = read(&flags)?.into_config()?;
    log_to_stderr(&config);
    warn(&warnings);
    let started = config.ownership.clone();
    let reload = move || {
        let (config, warnings) = read(&flags)?.into_config()?;
        if config.ownership != started {
            return Err(ownership_changed());
        }
        warn(&warnings);
        Ok(config)
    };
    let (driver, inputs) = Driver::start(config, Box::new(reload)).await?;
    Ok(driver.run(inputs).await?)
}

/// Leases, sessions and watches are made from it once.
fn ownership_changed() -> Invalid {
    let message = "`ownership` or a key of `ownership: kubernetes` differs from what the agent \
                   was started with";
    let fix = "restart the agent; the kernel goes on answering meanwhile";
    Invalid {
        errors: vec![Problem::new("ownership", "", message, fix)],
        warnings: Vec::new(),
    }
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
    // What a request came to is told by whoever made it.
    let quiet = "kube_client::client::builder=off";
    let filter = EnvFilter::new(format!("warn,{quiet},vip_agent={level},xvip={level}"));
    let lines = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_target(false);
    match config.log.format {
        LogFormat::Text => lines.with(layer.with_ansi(false)).init(),
        LogFormat::Json => lines.with(layer.json()).init(),
    }
}
