//! Follows pages.

use std::{
    collections::BTreeSet,
    fs,
    process::{Child, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{packages::repository, process};

use super::{Command, Page, Place, Places, Rule, Tools, rule::How, shape::fits};

/// For what takes seconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);

/// Somebody who does what pages say, and notes what was done.
#[derive(Debug)]
pub struct Reader {
    rules: Vec<Rule>,
    names: Vec<(String, String)>,
    done: BTreeSet<(String, String)>,
    spelt: BTreeSet<usize>,
    beside: Vec<Child>,
}

impl Reader {
    /// Who knows these rules.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self {
            rules,
            names: Vec::new(),
            done: BTreeSet::new(),
            spelt: BTreeSet::new(),
            beside: Vec::new(),
        }
    }

    /// What stands for something else here: a placeholder, or what a command says of the machine.
    /// What was named first is replaced first.
    pub fn name(&mut self, written: &str, here: &str) {
        match self.names.iter_mut().find(|(name, _)| name == written) {
            Some((_, meant)) => *meant = here.to_owned(),
            None => self.names.push((written.to_owned(), here.to_owned())),
        }
    }

    /// Runs the commands of a section, in order.
    ///
    /// # Panics
    /// When one fails, or does not print what it should.
    pub fn follow(&mut self, places: &impl Places, path: &str, section: &str) {
        self.follow_without(places, path, section, &[]);
    }

    /// The same, but for commands that belong to another way.
    ///
    /// # Panics
    /// As above, and when one of them is not there.
    pub fn follow_without(
        &mut self,
        places: &impl Places,
        path: &str,
        section: &str,
        without: &[&str],
    ) {
        let commands = section_of(path, section);
        for name in without {
            let is_there = commands.iter().any(|command| command.name() == *name);
            assert!(is_there, "{path}, {section}: no command {name:?}");
        }
        for command in commands {
            if !without.contains(&command.name()) {
                self.run(places, path, &command);
            }
        }
    }

    /// Runs these commands of a section, in the order of the page.
    ///
    /// # Panics
    /// As above.
    pub fn follow_only(&mut self, places: &impl Places, path: &str, section: &str, only: &[&str]) {
        let commands = section_of(path, section);
        let names = commands.iter().map(Command::name);
        let others: Vec<_> = names
            .filter(|name| !only.contains(name))
            .map(str::to_owned)
            .collect();
        let others: Vec<_> = others.iter().map(String::as_str).collect();
        self.follow_without(places, path, section, &others);
        for name in only {
            let is_there = commands.iter().any(|command| command.name() == *name);
            assert!(is_there, "{path}, {section}: no command {name:?}");
        }
    }

    fn run(&mut self, places: &impl Places, path: &str, command: &Command) {
        let place = format!("{path}:{}", command.line);
        let rule = self
            .rules
            .iter()
            .find(|rule| path.ends_with(rule.page) && rule.command == command.name());
        let (at, how, prints) = rule.map_or((Place::Anywhere, How::Run, Vec::new()), |rule| {
            (rule.place, rule.how, rule.prints.clone())
        });
        self.done
            .insert((path.to_owned(), command.name().to_owned()));
        let script = self.spelt_out(&command.text);
        let prints: Vec<_> = prints.iter().map(|text| self.spelt_out(text)).collect();
        if let How::NotHere(_) = how {
            return;
        }
        let began = Instant::now();
        let here = fs::canonicalize(repository("")).unwrap();
        let mut shell = places.shell(at);
        if how == How::Beside {
            let script = format!("cd {} && exec {script}", here.display());
            shell
                .args(["-c", &script])
                .stdin(Stdio::null())
                .stdout(Stdio::null());
            self.beside.push(process::spawn(shell).unwrap());
            println!("{place}: {} goes on", command.name());
            return;
        }
        let script = format!("cd {} && {script}", here.display());
        shell.args(["-c", &script]).stdin(Stdio::null());
        let looks_only = !prints.is_empty() || !command.shown.is_empty();
        loop {
            let output = shell.output().unwrap();
            let printed = String::from_utf8_lossy(&output.stdout).into_owned();
            let is_right = output.status.success()
                && prints.iter().all(|text| printed.contains(text))
                && fits(&command.shown, &printed);
            if is_right {
                break;
            }
            assert!(
                looks_only && began.elapsed() < PATIENCE,
                "{place}: `{script}` at {at:?} ended with {}\n{printed}{}\nexpected: {prints:?}, {:#?}",
                output.status,
                String::from_utf8_lossy(&output.stderr),
                command.shown,
            );
            sleep(PAUSE);
        }
        println!("{place}: {} ({:.1?})", command.name(), began.elapsed());
    }

    fn spelt_out(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (index, (written, here)) in self.names.iter().enumerate() {
            if text.contains(written) {
                text = text.replace(written, here);
                self.spelt.insert(index);
            }
        }
        text
    }

    /// Asks what goes on to end, and waits for it.
    ///
    /// # Panics
    /// When it ended before, or with an error.
    pub fn stop(&mut self) {
        for mut child in self.beside.drain(..) {
            assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
            kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
            let status = child.wait().unwrap();
            assert!(status.success(), "{status}");
        }
    }

    /// Every command of these pages was run, or cannot be; and nothing was known in vain.
    ///
    /// # Panics
    /// When not.
    pub fn finish(self, paths: &[&str]) {
        let mut complaints = Vec::new();
        for path in paths {
            for command in Page::read(path).commands {
                let name = command.name();
                let is_excused = self.rules.iter().any(|rule| {
                    let cannot = matches!(rule.how, How::NotHere(_));
                    cannot && path.ends_with(rule.page) && rule.command == name
                });
                let key = ((*path).to_owned(), name.to_owned());
                if !self.done.contains(&key) && !is_excused {
                    complaints.push(format!("{path}:{}: not run: {name}", command.line));
                }
            }
        }
        let all: Vec<_> = paths.iter().map(|path| (path, Page::read(path))).collect();
        for rule in &self.rules {
            let is_there = all.iter().any(|(path, page)| {
                path.ends_with(rule.page)
                    && page
                        .commands
                        .iter()
                        .any(|command| command.name() == rule.command)
            });
            if !is_there {
                let (page, command) = (rule.page, rule.command);
                complaints.push(format!("{page}: a rule of what is not there: {command}"));
            }
        }
        for (index, (written, _)) in self.names.iter().enumerate() {
            if !self.spelt.contains(&index) {
                complaints.push(format!("nothing says {written:?}"));
            }
        }
        assert!(complaints.is_empty(), "{complaints:#?}");
    }
}

fn section_of(path: &str, section: &str) -> Vec<Command> {
    let page = Page::read(path);
    let commands = page.commands.into_iter();
    let commands: Vec<_> = commands
        .filter(|command| command.section == section)
        .collect();
    assert!(!commands.is_empty(), "{path}: no command below {section:?}");
    commands
}

impl Drop for Reader {
    fn drop(&mut self) {
        for child in &mut self.beside {
            // It fails only when it is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
