//! Test programs of a package, some at a time: those of beds mostly wait. What counts milliseconds
//! in them keeps the others quiet (`tests/src/kubernetes/quiet.rs`).

use std::{
    collections::VecDeque,
    io::{self, Read},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::Instant,
};

use serde_json::Value;

use crate::{command, error::Error, workspace};

/// Programs at a time, each with as many tests as there are cores: with more of them beds would wait
/// for each other's starts.
const LANES: usize = 2;
/// Programs with a cluster of real nodes: one of them at a time, in the first lane.
const CLUSTERS: [&str; 6] = [
    "adoption", "cluster", "install", "kubeadm", "manual", "moving",
];

/// What `cargo test` would run, in its order, without the documentation's tests.
pub(crate) fn programs(package: &str) -> Result<Vec<PathBuf>, Error> {
    let build = [
        "test",
        "--no-run",
        "--message-format",
        "json-render-diagnostics",
    ];
    let mut build_all = command::cargo(None);
    let messages = command::output(build_all.args(build).args(["--package", package]))?;
    Ok(messages.lines().filter_map(executable).collect())
}

/// The test program that a line of cargo's messages tells of.
fn executable(message: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let is_test = message["profile"]["test"].as_bool()?;
    let executable = message["executable"].as_str()?;
    is_test.then(|| executable.into())
}

/// A program that has ended.
struct Ended<'a> {
    program: &'a Path,
    seconds: f64,
    /// What it printed, and how it ended.
    result: io::Result<(String, ExitStatus)>,
}

/// Runs all, each as `prepare` says, and shows every line of theirs to `line` when it is printed:
/// after a program's end, since two would be mixed.
pub(crate) fn run(
    programs: &[PathBuf],
    prepare: impl Fn(&mut Command) + Sync,
    mut line: impl FnMut(&str),
) -> Result<(), Error> {
    let waiting: Mutex<VecDeque<&Path>> =
        Mutex::new(programs.iter().map(PathBuf::as_path).collect());
    let next = |lane| {
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        take(&mut waiting, lane)
    };
    let mut failed = Ok(());
    thread::scope(|lanes| {
        let (sender, ended) = mpsc::channel();
        for lane in 0..LANES {
            let (sender, next, prepare) = (sender.clone(), &next, &prepare);
            lanes.spawn(move || {
                while let Some(program) = next(lane) {
                    let started = Instant::now();
                    let mut command = Command::new(program);
                    prepare(&mut command);
                    let result = all_output(command);
                    let seconds = started.elapsed().as_secs_f64();
                    let ended = Ended {
                        program,
                        seconds,
                        result,
                    };
                    if sender.send(ended).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        for Ended {
            program,
            seconds,
            result,
        } in ended
        {
            let shown = program.strip_prefix(workspace::root()).unwrap_or(program);
            println!("\n     Ran {} ({seconds:.1} s)", shown.display());
            let command = || program.display().to_string();
            match result {
                Ok((printed, status)) => {
                    for text in printed.lines() {
                        println!("{text}");
                        line(text);
                    }
                    if !status.success() {
                        failed = Err(Error::Failed {
                            command: command(),
                            status,
                        });
                    }
                }
                Err(source) => {
                    failed = Err(Error::Start {
                        command: command(),
                        source,
                    })
                }
            }
        }
    });
    failed
}

/// The next program for a lane.
fn take<'a>(waiting: &mut VecDeque<&'a Path>, lane: usize) -> Option<&'a Path> {
    let has_cluster = |program: &&Path| {
        let file = program.file_name().and_then(|name| name.to_str());
        // Cargo appends a hash.
        let name = file.and_then(|file| Some(file.rsplit_once('-')?.0));
        name.is_some_and(|name| CLUSTERS.contains(&name))
    };
    let at = match lane {
        0 => waiting.iter().position(has_cluster).unwrap_or(0),
        _ => waiting.iter().position(|program| !has_cluster(program))?,
    };
    waiting.remove(at)
}

/// Standard output and standard error, in the order in which they were written.
fn all_output(mut command: Command) -> io::Result<(String, ExitStatus)> {
    let (mut reader, writer) = io::pipe()?;
    command.stdin(Stdio::null());
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    // It holds the writing ends: with them open here, there would be no end.
    drop(command);
    let mut printed = Vec::new();
    reader.read_to_end(&mut printed)?;
    let status = child.wait()?;
    Ok((String::from_utf8_lossy(&printed).into_owned(), status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_program_is_told_from_what_else_cargo_builds() {
        let built =
            r#"{"reason":"compiler-artifact","profile":{"test":true},"executable":"/a/b-1"}"#;
        assert_eq!(executable(built), Some(PathBuf::from("/a/b-1")));
        let library = r#"{"reason":"compiler-artifact","profile":{"test":true},"executable":null}"#;
        let program =
            r#"{"reason":"compiler-artifact","profile":{"test":false},"executable":"/a/b"}"#;
        let finished = r#"{"reason":"build-finished","success":true}"#;
        for other in [library, program, finished, "warning: unused"] {
            assert_eq!(executable(other), None, "{other}");
        }
    }

    #[test]
    fn one_cluster_runs_at_a_time_and_nothing_is_left() {
        let programs = [
            "golden-0a",
            "moving-1b",
            "page-2c",
            "adoption-3d",
            "cluster_map-4e",
        ];
        let mut waiting: VecDeque<&Path> = programs.map(Path::new).into();
        let lanes = [0, 1, 2, 1, 1, 0, 0];
        let taken: Vec<_> = lanes.iter().map(|lane| take(&mut waiting, *lane)).collect();
        let expected = [
            Some("moving-1b"),
            Some("golden-0a"),
            Some("page-2c"),
            Some("cluster_map-4e"),
            None,
            Some("adoption-3d"),
            None,
        ];
        assert_eq!(taken, expected.map(|program| program.map(Path::new)));
    }

    #[test]
    fn all_lines_are_heard_and_a_failure_is_told_after_the_last() {
        let programs = ["false", "true", "true"].map(|end| PathBuf::from("/bin").join(end));
        let mut ran = 0;
        let result = run(
            &programs,
            |command| {
                let program = command.get_program().to_owned();
                *command = Command::new("sh");
                command
                    .args(["-c", "echo out; echo err >&2; exec \"$0\""])
                    .arg(program);
            },
            |line| ran += usize::from(line == "out" || line == "err"),
        );
        assert!(matches!(result, Err(Error::Failed { .. })), "{result:?}");
        assert_eq!(ran, 6);
    }
}
