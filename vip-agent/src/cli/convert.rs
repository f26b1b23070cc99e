//! `vip-agent convert kube-vip|metallb`: the settings of another load balancer as ours.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use clap::ValueEnum;

use super::output::{OutputError, OutputFormat};
use crate::convert::{Conversion, Peer, Source, convert};

/// Arguments of `vip-agent convert`.
#[derive(clap::Args, Clone, Debug)]
pub struct ConvertArgs {
    /// Whose settings
    #[arg(value_enum)]
    from: Whose,
    /// Manifests (YAML or JSON, also what `kubectl get -o yaml` prints) and files of NAME=VALUE
    /// lines; `-` is the standard input
    #[arg(
        short = 'f',
        long = "filename",
        value_name = "FILE",
        default_value = "-"
    )]
    files: Vec<PathBuf>,
    /// Print what can be converted also where something is refused; the exit code stays 2
    #[arg(long)]
    keep_going: bool,
    /// Form of the output: what `kubectl apply -f -` takes, or one document with all that was found
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
}

/// Whose settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Whose {
    /// kube-vip, its Services, and its cloud provider's pools
    KubeVip,
    /// MetalLB in layer 2 mode
    #[value(name = "metallb")]
    MetalLb,
}

/// Nothing can be converted.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// A file cannot be read.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The document cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// What goes where, and the exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// For the standard output.
    pub text: String,
    /// For the standard error: what was found, a line each.
    pub remarks: String,
    /// 2 where something is refused.
    pub code: u8,
}

/// Reads, converts, and writes.
pub fn run(args: &ConvertArgs) -> Result<Converted, ConvertError> {
    let sources: Result<Vec<_>, _> = args.files.iter().map(|path| read(path)).collect();
    let peer = match args.from {
        Whose::KubeVip => Peer::KubeVip,
        Whose::MetalLb => Peer::MetalLb,
    };
    let conversion = convert(peer, &sources?);
    let code = if conversion.ok { 0 } else { 2 };
    Ok(match args.output {
        OutputFormat::Table => Converted {
            text: match conversion.ok || args.keep_going {
                true => conversion.to_yaml().map_err(OutputError::from)?,
                false => String::new(),
            },
            remarks: remarks(&conversion),
            code,
        },
        form => Converted {
            text: form.print(&conversion, |_| String::new())?,
            remarks: String::new(),
            code,
        },
    })
}

fn read(path: &Path) -> Result<Source, ConvertError> {
    let failed = |source| ConvertError::File {
        path: path.to_owned(),
        source,
    };
    let text = match path == Path::new("-") {
        true => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).map_err(failed)?;
            text
        }
        false => fs::read_to_string(path).map_err(failed)?,
    };
    let name = path.display().to_string();
    Ok(Source { name, text })
}

fn remarks(conversion: &Conversion) -> String {
    let warnings = conversion
        .warnings
        .iter()
        .map(|it| format!("warning: {it}\n"));
    let errors = conversion
        .errors
        .iter()
        .map(|it| format!("refused: {it}\n"));
    warnings.chain(errors).collect()
}
