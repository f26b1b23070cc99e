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

use super::{
    Command, Page, Places, Rule,
    rule::{How, rule},
    shape::fits,
};

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
        are_there(path, section, &commands, without);
        for command in commands {
            if !without.contains(&&*command.name()) {
                self.run(places, path, &command);
            }
        }
    }

    /// Runs these commands of a section alone, in the order of the page.
    ///
    /// # Panics
    /// As above.
    pub fn follow_only(&mut self, places: &impl Places, path: &str, section: &str, only: &[&str]) {
        let commands = section_of(path, section);
        are_there(path, section, &commands, only);
        for command in commands {
            if only.contains(&&*command.name()) {
                self.run(places, path, &command);
            }
        }
    }

    fn run(&mut self, places: &impl Places, path: &str, command: &Command) {
        let (at, name) = (format!("{path}:{}", command.line), command.name());
        self.done.insert((path.to_owned(), name.clone()));
        let known = self.rules.iter().find(|rule| rule.is_of(path, &name));
        let rule = known.cloned().unwrap_or_else(|| rule("", ""));
        if let How::NotHere(_) = rule.how {
            return;
        }
        let here = fs::canonicalize(repository("")).unwrap();
        let script = self.spelt_out(&command.text);
        let prints: Vec<_> = rule
            .prints
            .iter()
            .map(|text| self.spelt_out(text))
            .collect();
        let says: Vec<_> = rule.says.iter().map(|text| self.spelt_out(text)).collect();
        let mut shell = places.shell(rule.place);
        shell.stdin(Stdio::null());
        if rule.how == How::Beside {
            let script = format!("cd {} && exec {script}", here.display());
            shell.args(["-c", &script]).stdout(Stdio::null());
            self.beside.push(process::spawn(shell).unwrap());
            println!("{at}: {name} goes on");
            return;
        }
        let script = format!("cd {} && {script}", here.display());
        shell.args(["-c", &script]);
        let looks_only = !prints.is_empty() || !command.shown.is_empty();
        let began = Instant::now();
        loop {
            let output = shell.output().unwrap();
            let printed = String::from_utf8_lossy(&output.stdout).into_owned();
            let has_all = |texts: &[String]| texts.iter().all(|text| printed.contains(text));
            let is_right = output.status.success() && has_all(&prints) && has_all(&says);
            if is_right && fits(&command.shown, &printed) {
                break;
            }
            assert!(
                looks_only && began.elapsed() < PATIENCE,
                "{at}: `{script}` ended with {}\n{printed}{}\nexpected: {prints:?} {says:?} {:#?}",
                output.status,
                String::from_utf8_lossy(&output.stderr),
                command.shown,
            );
            sleep(PAUSE);
        }
        println!("{at}: {name} ({:.1?})", began.elapsed());
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
        let pages: Vec<_> = paths.iter().map(|path| Page::read(path)).collect();
        for page in &pages {
            for command in &page.commands {
                let (path, name) = (&page.path, command.name());
                let cannot = self
                    .rules
                    .iter()
                    .any(|rule| matches!(rule.how, How::NotHere(_)) && rule.is_of(path, &name));
                if !cannot && !self.done.contains(&(path.clone(), name.clone())) {
                    complaints.push(format!("{path}:{}: it was not run: {name}", command.line));
                }
            }
        }
        let named: Vec<_> = pages
            .iter()
            .flat_map(|page| page.commands.iter().map(|it| (&page.path, it.name())))
            .collect();
        for rule in &self.rules {
            if !named.iter().any(|(path, name)| rule.is_of(path, name)) {
                let (page, command) = (rule.page, rule.command);
                complaints.push(format!("{page}: a rule for what is not there: {command}"));
            }
        }
        for (index, (written, _)) in self.names.iter().enumerate() {
            if !self.spelt.contains(&index) {
                complaints.push(format!("a name for what no page says: {written}"));
            }
        }
        assert!(complaints.is_empty(), "{complaints:#?}");
    }
}

fn are_there(path: &str, section: &str, commands: &[Command], names: &[&str]) {
    for name in names {
        let is_there = commands.iter().any(|command| command.name() == *name);
        assert!(is_there, "{path}, {section}: no command {name:?}");
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
