//! `cargo xtask test`: everything, and what CI runs.
//!
//! A failing step does not stop the next, so that one run shows all that is wrong.

use std::{process::Command, time::Instant};

use crate::{
    arch, build, cluster, command,
    complaints::Complaints,
    envtest::{self, Set},
    error::Error,
    helm, kube_vip, lanes,
    setup::{self, Purpose},
    tally::Tally,
    test_kernels, workspace,
};

#[derive(clap::Args)]
pub(crate) struct Args {}

/// Crates whose tests need no privilege; `vip-ebpf` cannot be built for the host.
const UNPRIVILEGED: [&str; 5] = ["--workspace", "--exclude", "vip-ebpf", "--exclude", BEDS];
/// The package of those that need root.
const BEDS: &str = "tests";

pub(crate) fn run(Args {}: Args) -> Result<(), Error> {
    let mut report = Report::default();
    let purposes = [
        Purpose::Lints,
        Purpose::Peers,
        Purpose::Kernels,
        Purpose::Browser,
    ];
    report.step("setup", || setup::ensure(&purposes).map(|()| None));
    report.step("build", || build::run(build::Args {}).map(|()| None));
    report.step("fmt", || {
        command::run(command::cargo(None).args(["fmt", "--all", "--check"])).map(|()| None)
    });
    report.step("clippy", || {
        let mut clippy = command::cargo(None);
        clippy.args([
            "clippy",
            "--workspace",
            "--exclude",
            "vip-ebpf",
            "--all-targets",
        ]);
        command::run(clippy.args(["--", "-D", "warnings"])).map(|()| None)
    });
    report.step("arch", || arch::run(arch::Args {}).map(|()| None));
    report.tests("unit tests", |line| {
        let mut units = command::cargo(None);
        units.args(["test", "--no-fail-fast"]).args(UNPRIVILEGED);
        let mut docs = command::cargo(None);
        docs.args(["test", "--doc", "--package", BEDS]);
        let units = command::watch(&mut units, &mut *line);
        command::watch(&mut docs, line).and(units)
    });
    let mut assets = None;
    report.step("envtest", || {
        assets = Some(envtest::ensure(Set::Full)?);
        Ok(None)
    });
    let mut program = None;
    report.step("helm", || {
        program = Some(helm::ensure()?);
        Ok(None)
    });
    let mut parts = None;
    report.step("cluster parts", || {
        parts = Some(cluster::ensure()?);
        Ok(None)
    });
    let mut environment = vec![
        ("XVIP_AGENT", workspace::agent()),
        ("XVIP_OBJECT", workspace::object()),
    ];
    environment.extend(assets.map(|assets| (envtest::ASSETS, assets)));
    environment.extend(program.map(|program| (helm::HELM, program)));
    // The cluster's parts have said it where it cannot be built.
    environment.extend((kube_vip::ensure().ok()).map(|program| (kube_vip::KUBE_VIP, program)));
    environment.extend(parts.map(|parts| (cluster::PARTS, parts)));
    report.tests("root tests", |line| {
        let prepare = |program: &mut Command| {
            program
                .arg("--include-ignored")
                .current_dir(workspace::root().join(BEDS))
                .envs(environment.iter().cloned());
        };
        lanes::run(&lanes::programs(BEDS)?, prepare, line)
    });
    for kernel in test_kernels::names() {
        report.step(&format!("kernel {kernel}"), || {
            test_kernels::boot(kernel).map(Some)
        });
    }
    report.finish()
}

/// What became of a step.
struct Outcome {
    step: String,
    seconds: f64,
    /// None for a step that counts no tests.
    tally: Option<Tally>,
    failed: bool,
}

#[derive(Default)]
struct Report {
    outcomes: Vec<Outcome>,
    complaints: Complaints,
}

impl Report {
    fn step(&mut self, step: &str, work: impl FnOnce() -> Result<Option<Tally>, Error>) {
        println!("\n== {step}");
        let started = Instant::now();
        let result = work();
        if let Err(error) = &result {
            println!("{step}: {error}");
        }
        let tally = result.as_ref().ok().copied().flatten();
        self.note(step, started, tally, result.is_err());
    }

    /// Tests that show their lines, whose count stands although they fail.
    fn tests(&mut self, step: &str, work: impl FnOnce(&mut dyn FnMut(&str)) -> Result<(), Error>) {
        println!("\n== {step}");
        let started = Instant::now();
        let mut tally = Tally::default();
        let complaints = &mut self.complaints;
        let result = work(&mut |line| {
            complaints.hear(line);
            if let Some(counted) = Tally::of_cargo(line) {
                tally += counted;
            }
        });
        if let Err(error) = &result {
            println!("{step}: {error}");
        }
        self.note(step, started, Some(tally), result.is_err());
    }

    fn note(&mut self, step: &str, started: Instant, tally: Option<Tally>, failed: bool) {
        self.outcomes.push(Outcome {
            step: step.to_owned(),
            seconds: started.elapsed().as_secs_f64(),
            tally,
            failed: failed || tally.is_some_and(|tally| tally.failed > 0),
        });
    }

    /// The summary. A step that failed without a failed test counts as one.
    fn finish(self) -> Result<(), Error> {
        print!("\n{}", self.complaints);
        println!("\n== summary");
        let mut total = Tally::default();
        for outcome in &self.outcomes {
            let mut tally = outcome.tally.unwrap_or_default();
            if outcome.failed && tally.failed == 0 {
                tally.failed = 1;
            }
            total += tally;
            let word = if outcome.failed { "FAILED" } else { "ok" };
            let counted = outcome.tally.map_or_else(String::new, |tally| {
                format!("{} passed, {} failed", tally.passed, tally.failed)
            });
            let line = format!(
                "{:<22} {:>7.1} s  {word:<6}  {counted}",
                outcome.step, outcome.seconds
            );
            println!("{}", line.trim_end());
        }
        println!("{} passed, {} failed", total.passed, total.failed);
        if total.failed > 0 || total.passed == 0 {
            return Err(Error::Tests);
        }
        Ok(())
    }
}
