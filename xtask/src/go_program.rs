//! A program that some Go module brings, built once into `target/NAME/VERSION`.

use std::{fs, path::PathBuf, process::Command};

use crate::{command, error::Error, workspace};

pub(crate) struct GoProgram {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// The package of its `main`.
    pub(crate) package: &'static str,
    /// Names a program that is there already, which then is taken.
    pub(crate) variable: &'static str,
}

impl GoProgram {
    /// Where it is built.
    pub(crate) fn home(&self) -> PathBuf {
        workspace::made().join(self.name).join(self.version)
    }

    /// The program. `ldflags` may ask Go in the module.
    pub(crate) fn ensure(
        &self,
        ldflags: impl FnOnce(&dyn Fn() -> Command) -> Result<String, Error>,
    ) -> Result<PathBuf, Error> {
        if let Some(given) = std::env::var_os(self.variable).filter(|given| !given.is_empty()) {
            return Ok(workspace::root().join(given));
        }
        let (name, version, package) = (self.name, self.version, self.package);
        let home = self.home();
        let program = home.join(name);
        if program.is_file() {
            return Ok(program);
        }
        if !command::succeeds(Command::new("go").arg("version")) {
            return Err(Error::NoGo);
        }
        println!("building {name} {version}, once: two minutes");
        let module = home.join("module");
        fs::create_dir_all(&module).map_err(Error::file(&module))?;
        let file = module.join("go.mod");
        let text = format!("module xvip.test/{name}\n\ngo 1.26\n");
        fs::write(&file, text).map_err(Error::file(&file))?;
        let go = || {
            let mut go = Command::new("go");
            go.current_dir(&module).env("CGO_ENABLED", "0");
            go
        };
        // A tool of the module: so its own requirements count, and are written down with their sums.
        command::run(go().args(["get", "-tool", &format!("{package}@v{version}")]))?;
        let ldflags = ldflags(&go)?;
        let partial = home.join(format!("{name}.partial"));
        let mut build = go();
        build.args(["build", "-trimpath", "-ldflags", &ldflags, "-o"]);
        command::run(build.arg(&partial).arg(package))?;
        fs::rename(&partial, &program).map_err(Error::file(&program))?;
        Ok(program)
    }
}
