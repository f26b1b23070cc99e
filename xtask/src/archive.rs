//! Packages from Debian's archive, of releases and processors that need not be the machine's,
//! without a change to the machine's own lists.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use crate::{command, error::Error, platform::Platform, setup, workspace};

/// Lists older than this are fetched again.
const FRESH: Duration = Duration::from_secs(24 * 3600);

/// A private view of the archive, and what was taken from it.
pub(crate) struct Archive {
    dir: PathBuf,
}

impl Archive {
    /// The view at `target/kernels`, made and brought up to date when that is due.
    pub(crate) fn open() -> Result<Self, Error> {
        let dir = workspace::made().join("kernels");
        let archive = Self { dir };
        let stamp = archive.dir.join("updated");
        let age = fs::metadata(&stamp)
            .and_then(|meta| meta.modified())
            .ok()
            .and_then(|at| at.elapsed().ok());
        if age.is_some_and(|age| age < FRESH) {
            return Ok(archive);
        }
        for part in ["lists/partial", "cache/archives/partial"] {
            let path = archive.dir.join(part);
            fs::create_dir_all(&path).map_err(Error::file(&path))?;
        }
        let sources = archive.dir.join("debian.sources");
        fs::write(&sources, sources_text()?).map_err(Error::file(&sources))?;
        println!("fetching the package lists of Debian 12 and of trixie-backports");
        let mut update = archive.private(setup::apt_get());
        match command::run(update.args(["-qq", "update"])) {
            Ok(()) => fs::write(&stamp, "").map_err(Error::file(&stamp))?,
            // Old lists are better than none.
            Err(error) if age.is_some() => println!("{error}; going on with older lists"),
            Err(error) => return Err(error),
        }
        Ok(archive)
    }

    /// With options that lead to this view.
    fn private(&self, mut apt: Command) -> Command {
        let at = |option: &str, path: &str| format!("{option}={}", self.dir.join(path).display());
        for option in [
            at("Dir::Etc::sourcelist", "debian.sources"),
            "Dir::Etc::sourceparts=-".into(),
            at("Dir::State::lists", "lists"),
            at("Dir::Cache", "cache"),
            "APT::Architectures::=amd64".into(),
            "APT::Architectures::=arm64".into(),
            // Root writes below target, where apt's own user may not.
            "APT::Sandbox::User=root".into(),
            "Acquire::Languages=none".into(),
        ] {
            apt.args(["-o", &option]);
        }
        apt
    }

    /// The packages whose names match the extended regular expression `pattern`.
    fn search(&self, pattern: &str) -> Result<Vec<String>, Error> {
        let mut search = self.private(Command::new("apt-cache"));
        let found = command::output(search.args(["search", "--names-only", pattern]))?;
        let names = found
            .lines()
            .filter_map(|line| line.split_whitespace().next());
        Ok(names.map(str::to_owned).collect())
    }

    /// The package of the highest version whose name matches `pattern`.
    pub(crate) fn newest(&self, pattern: &str) -> Result<String, Error> {
        let names = self.search(pattern)?.into_iter();
        names
            .max_by_key(|name| version(name))
            .ok_or_else(|| Error::NoKernel(pattern.to_owned()))
    }

    /// The directory with the content of a package, and of those that Debian has split off a
    /// kernel's since 7.0; downloaded once.
    pub(crate) fn unpacked(&self, package: &str, platform: Platform) -> Result<PathBuf, Error> {
        let name = format!("{package}:{}", platform.name());
        // No dots: the initramfs stands beside it with an extension.
        let done = self.dir.join(name.replace([':', '.'], "_"));
        if done.is_dir() {
            return Ok(done);
        }
        println!("downloading {name}");
        let work = self.dir.join("download");
        if work.exists() {
            fs::remove_dir_all(&work).map_err(Error::file(&work))?;
        }
        fs::create_dir_all(&work).map_err(Error::file(&work))?;
        let mut parts = vec![name];
        if let Some(release) = package.strip_prefix("linux-image-") {
            let release = release.replace('.', r"\.").replace('+', r"\+");
            let pattern = format!("^linux-(base|binary|modules)-{release}$");
            let split = self.search(&pattern)?.into_iter();
            parts.extend(split.map(|part| format!("{part}:{}", platform.name())));
        }
        let mut download = self.private(setup::apt_get());
        download.args(["-qq", "download"]).args(&parts);
        command::run(download.current_dir(&work))?;
        let tree = work.join("tree");
        for deb in fs::read_dir(&work).map_err(Error::file(&work))? {
            let deb = deb.map_err(Error::file(&work))?.path();
            command::run(Command::new("dpkg").arg("-x").arg(&deb).arg(&tree))?;
        }
        fs::rename(&tree, &done).map_err(Error::file(&done))?;
        fs::remove_dir_all(&work).map_err(Error::file(&work))?;
        Ok(done)
    }
}

/// The numbers in a package's name, which order it among its like.
fn version(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

/// The machine's mirrors with the suites that hold the kernels.
fn sources_text() -> Result<String, Error> {
    let release = fs::read_to_string("/etc/os-release").map_err(Error::file("/etc/os-release"))?;
    let codename = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .unwrap_or("bookworm");
    let targets = command::output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(RELEASE) $(COMPONENT) $(REPO_URI) $(ORIGIN)",
        "Created-By: Packages",
    ]))?;
    let mirror = |suite: &str| {
        let mut found: Vec<&str> = targets
            .lines()
            .filter(|line| line.starts_with(&format!("{suite} main ")))
            .collect();
        // The origin is known once the machine's lists were fetched; others may use the names too.
        found.sort_by_key(|line| !line.ends_with(" Debian"));
        found.first().and_then(|line| line.split(' ').nth(2))
    };
    let stanza = |uri: &str, suites: &str| {
        format!(
            "Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main\n\
             Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n"
        )
    };
    let main = mirror(codename).ok_or(Error::NoArchive)?;
    let mut text = stanza(main, "bookworm bookworm-updates trixie-backports");
    if let Some(security) = mirror(&format!("{codename}-security")) {
        text.push_str(&stanza(security, "bookworm-security"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_number() {
        assert!(version("linux-image-6.1.0-56-cloud") > version("linux-image-6.1.0-9-cloud"));
        assert!(version("linux-image-7.2.12+deb13") > version("linux-image-7.2.9+deb13"));
    }
}
