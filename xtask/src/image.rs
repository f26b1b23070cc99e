//! `cargo xtask image`: the agent as a container image, one static program on an empty base.

mod oci;
mod reference;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{build, command, error::Error, platform::Platform, setup, workspace};
use oci::{Entry, Image};

/// Where the program is in the image; the manifests start it there.
const PROGRAM: &str = "/vip-agent";
pub(crate) const NAME: &str = "vip-agent";
pub(crate) const TAG: &str = concat!("v", env!("CARGO_PKG_VERSION"));

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Name of the image, with its registry if that is not Docker's
    #[arg(long, default_value = NAME)]
    name: String,
    #[arg(long, default_value = TAG)]
    tag: String,
    /// For which processors [default: all]
    #[arg(long, value_enum)]
    platform: Vec<Platform>,
    /// The archive [default: target/image/vip-agent.tar]
    #[arg(long)]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: Args) -> Result<(), Error> {
    let output = args.output.unwrap_or_else(archive);
    agent(&args.name, &args.tag, &platforms(args.platform), &output)
}

/// Those that are named, each once; all when none is.
pub(crate) fn platforms(mut named: Vec<Platform>) -> Vec<Platform> {
    if named.is_empty() {
        named.extend(Platform::ALL);
    }
    named.sort_unstable();
    named.dedup();
    named
}

/// Where the archive comes to stand unless told otherwise.
pub(crate) fn archive() -> PathBuf {
    workspace::made().join("image/vip-agent.tar")
}

/// The image that the manifests name, for this machine.
pub(crate) fn for_this_machine() -> Result<(), Error> {
    agent(NAME, TAG, &[Platform::here()], &archive())
}

/// Builds the agent for each platform, and writes the image.
pub(crate) fn agent(
    name: &str,
    tag: &str,
    platforms: &[Platform],
    output: &Path,
) -> Result<(), Error> {
    let mut contents = Vec::new();
    for platform in platforms {
        setup::ensure(platform.purposes())?;
        let agent = build::agent(*platform)?;
        let bytes = fs::read(&agent).map_err(Error::file(&agent))?;
        // `deploy/Containerfile` takes it from here.
        place(*platform, &bytes)?;
        contents.push((*platform, vec![Entry::Program(relative(PROGRAM), bytes)]));
    }
    let commit = commit()?;
    let reference = reference::complete(name, tag);
    let image = Image {
        reference: &reference,
        entrypoint: &[PROGRAM],
        labels: &labels(&commit.id),
        created: &commit.date,
    };
    write(&image, contents, output)?;
    let names: Vec<_> = platforms.iter().map(|platform| platform.name()).collect();
    println!(
        "image: {} ({reference} for {}, commit {})",
        output.display(),
        names.join(" and "),
        commit.id
    );
    Ok(())
}

/// An image with busybox. Left alone it sleeps, and so holds a pod's namespaces.
pub(crate) fn busybox(reference: &str, busybox: &Path, output: &Path) -> Result<(), Error> {
    let bytes = fs::read(busybox).map_err(Error::file(busybox))?;
    let applets = ["sh", "httpd", "sleep", "mkdir", "wget", "cat"];
    let mut content = vec![Entry::Program("bin/busybox", bytes)];
    let paths = applets.map(|applet| format!("bin/{applet}"));
    content.extend(paths.iter().map(|path| Entry::Link(path, "busybox")));
    let image = Image {
        reference,
        entrypoint: &["/bin/sleep", "10000d"],
        labels: &[],
        created: "1970-01-01T00:00:00Z",
    };
    write(&image, vec![(Platform::here(), content)], output)
}

/// An image of one program, for tests.
pub(crate) fn of_program(
    reference: &str,
    entrypoint: &str,
    program: &Path,
    output: &Path,
) -> Result<(), Error> {
    let bytes = fs::read(program).map_err(Error::file(program))?;
    let content = vec![Entry::Program(relative(entrypoint), bytes)];
    let image = Image {
        reference,
        entrypoint: &[entrypoint],
        labels: &[],
        created: "1970-01-01T00:00:00Z",
    };
    write(&image, vec![(Platform::here(), content)], output)
}

fn write(
    image: &Image<'_>,
    contents: Vec<(Platform, Vec<Entry<'_>>)>,
    output: &Path,
) -> Result<(), Error> {
    let dir = output.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir).map_err(Error::file(dir))?;
    let partial = output.with_extension("partial");
    let file = fs::File::create(&partial).map_err(Error::file(&partial))?;
    let written = image.write(std::io::BufWriter::new(file), contents);
    written.map_err(Error::file(&partial))?;
    fs::rename(&partial, output).map_err(Error::file(output))
}

/// Where the program of an image lies beside it.
pub(crate) fn program(platform: Platform) -> PathBuf {
    let dir = workspace::made().join("image").join(platform.name());
    dir.join(relative(PROGRAM))
}

fn place(platform: Platform, bytes: &[u8]) -> Result<(), Error> {
    let program = program(platform);
    let dir = program.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir).map_err(Error::file(dir))?;
    fs::write(&program, bytes).map_err(Error::file(&program))?;
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&program, executable).map_err(Error::file(&program))
}

fn relative(path: &str) -> &str {
    path.trim_start_matches('/')
}

/// As the OCI image specification names them (`annotations.md`).
fn labels(commit: &str) -> [(&'static str, &str); 5] {
    [
        ("org.opencontainers.image.title", "xvip"),
        (
            "org.opencontainers.image.description",
            "Virtual IPs answered by XDP",
        ),
        ("org.opencontainers.image.licenses", "Apache-2.0"),
        (
            "org.opencontainers.image.version",
            env!("CARGO_PKG_VERSION"),
        ),
        ("org.opencontainers.image.revision", commit),
    ]
}

/// What was built.
struct Commit {
    /// Ends in `-dirty` when the work tree differs from it; `unknown` outside of a repository.
    id: String,
    /// RFC 3339.
    date: String,
}

fn commit() -> Result<Commit, Error> {
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.current_dir(workspace::root()).args(arguments);
        git
    };
    if !command::succeeds(&mut git(&["rev-parse", "HEAD"])) {
        return Ok(Commit {
            id: "unknown".into(),
            date: "1970-01-01T00:00:00Z".into(),
        });
    }
    let shown = command::output(&mut git(&["show", "--no-patch", "--format=%H %cI", "HEAD"]))?;
    let (id, date) = shown.trim().split_once(' ').unwrap_or((shown.trim(), ""));
    let changed = command::output(&mut git(&["status", "--porcelain"]))?;
    let dirty = if changed.is_empty() { "" } else { "-dirty" };
    Ok(Commit {
        id: format!("{id}{dirty}"),
        date: date.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_containerfile_says_the_same() {
        let file = workspace::root().join("deploy/Containerfile");
        let text = fs::read_to_string(file).unwrap();
        assert!(text.contains("\nFROM scratch\n"), "{text}");
        let copy = format!("\nCOPY target/image/${{TARGETARCH}}{PROGRAM} {PROGRAM}\n");
        assert!(text.contains(&copy), "{text}");
        assert!(text.contains(&format!("\nENTRYPOINT [\"{PROGRAM}\"]\n")));
        for (name, value) in labels("$COMMIT") {
            let value = match name.ends_with("version") {
                true => "$VERSION",
                false => value,
            };
            let label = format!("{name}=\"{value}\"");
            assert!(text.contains(&label), "{label}: {text}");
        }
        assert_eq!(text.matches("org.opencontainers").count(), labels("").len());
    }
}
