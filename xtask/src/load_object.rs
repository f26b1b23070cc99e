//! Loads an object as the product will: with exactly three capabilities. A process of its own,
//! since what is dropped does not come back.

use std::{fs, path::PathBuf};

use aya::{Btf, EbpfLoader, programs::Program};
use caps::{CapSet, Capability, CapsHashSet, errors::CapsError};

use crate::error::Error;

#[derive(clap::Args)]
pub(crate) struct Args {
    object: PathBuf,
}

/// What the agent runs with.
pub(crate) const CAPABILITIES: [Capability; 3] = [
    Capability::CAP_BPF,
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_RAW,
];

pub(crate) fn run(args: Args) -> Result<(), Error> {
    let bytes = fs::read(&args.object).map_err(Error::file(&args.object))?;
    confine().map_err(|error| Error::Load(error.to_string()))?;
    load(&bytes).map_err(|error| Error::Load(chain(error.as_ref())))
}

/// Drops everything but [`CAPABILITIES`], from the bounding set too.
fn confine() -> Result<(), CapsError> {
    let kept = CapsHashSet::from(CAPABILITIES);
    for capability in caps::runtime::thread_all_supported().difference(&kept) {
        caps::drop(None, CapSet::Bounding, *capability)?;
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    // The effective set may never exceed the permitted one.
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)
}

fn load(bytes: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
    let btf = Btf::from_sys_fs()?;
    let mut ebpf = EbpfLoader::new().btf(Some(&btf)).load(bytes)?;
    for (name, program) in ebpf.programs_mut() {
        match program {
            Program::Xdp(xdp) => xdp.load()?,
            Program::SchedClassifier(classifier) => classifier.load()?,
            other => {
                return Err(format!("{name}: {:?} is no kind of ours", other.prog_type()).into());
            }
        }
        let verified = program.info()?.verified_instruction_count();
        println!("verified {name} {}", verified.unwrap_or_default());
    }
    Ok(())
}

/// Lines of a verifier's log that say why: the last ones.
const LOG_END: usize = 20;

/// The error with its causes; of a verifier's log only the end.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    let lines: Vec<&str> = text.lines().collect();
    match lines.len().checked_sub(LOG_END) {
        None | Some(0) => text,
        Some(skipped) => format!("{}\n  ...\n{}", lines[0], lines[skipped..].join("\n")),
    }
}
