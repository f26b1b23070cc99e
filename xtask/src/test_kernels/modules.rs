//! Kernel modules of a package, in an order in which they can be loaded.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use object::{Object, ObjectSection};

use crate::error::Error;

/// A module, decompressed.
pub(super) struct Module {
    pub(super) name: String,
    pub(super) content: Vec<u8>,
}

/// `wanted` and what they depend on, each after its dependencies; what is built into the kernel
/// is left out.
pub(super) fn with_dependencies(package: &Path, wanted: &[&str]) -> Result<Vec<Module>, Error> {
    let mut tree = Tree {
        package,
        files: HashMap::new(),
        builtin: String::new(),
        loaded: Vec::new(),
    };
    for modules in ["lib/modules", "usr/lib/modules"] {
        let dir = package.join(modules);
        if dir.is_dir() {
            tree.index(&dir)?;
        }
    }
    for name in wanted {
        tree.add(name)?;
    }
    Ok(tree.loaded)
}

struct Tree<'a> {
    package: &'a Path,
    files: HashMap<String, PathBuf>,
    /// Text of `modules.builtin`: paths, one a line.
    builtin: String,
    loaded: Vec<Module>,
}

impl Tree<'_> {
    fn index(&mut self, dir: &Path) -> Result<(), Error> {
        for entry in fs::read_dir(dir).map_err(Error::file(dir))? {
            let path = entry.map_err(Error::file(dir))?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_dir() && !path.is_symlink() {
                self.index(&path)?;
            } else if name == "modules.builtin" {
                self.builtin = fs::read_to_string(&path).map_err(Error::file(&path))?;
            } else if let Some((stem, "ko" | "ko.xz")) = name.split_once('.') {
                // The kernel does not tell `-` from `_`.
                self.files.insert(stem.replace('-', "_"), path);
            }
        }
        Ok(())
    }

    fn add(&mut self, name: &str) -> Result<(), Error> {
        let is_builtin = self.builtin.lines().any(|line| {
            line.rsplit('/')
                .next()
                .and_then(|file| file.strip_suffix(".ko"))
                .is_some_and(|stem| stem.replace('-', "_") == name)
        });
        if is_builtin || self.loaded.iter().any(|module| module.name == name) {
            return Ok(());
        }
        let path = self
            .files
            .get(name)
            .cloned()
            .ok_or_else(|| Error::IncompleteKernel {
                package: self.package.into(),
                what: format!("module {name}"),
            })?;
        let content = decompressed(&path)?;
        for dependency in dependencies(&path, &content)? {
            self.add(&dependency)?;
        }
        self.loaded.push(Module {
            name: name.to_owned(),
            content,
        });
        Ok(())
    }
}

fn decompressed(path: &Path) -> Result<Vec<u8>, Error> {
    if path.extension().is_some_and(|extension| extension == "ko") {
        return fs::read(path).map_err(Error::file(path));
    }
    let output = Command::new("xz").arg("-dc").arg(path).output();
    Ok(output.map_err(Error::file("xz"))?.stdout)
}

/// The entry `depends=a,b` of the section `.modinfo`.
fn dependencies(path: &Path, module: &[u8]) -> Result<Vec<String>, Error> {
    let wrong = |source| Error::Object {
        path: path.into(),
        source,
    };
    let file = object::File::parse(module).map_err(wrong)?;
    let info = match file.section_by_name(".modinfo") {
        Some(section) => section.data().map_err(wrong)?,
        None => &[],
    };
    Ok(info
        .split(|byte| *byte == 0)
        .filter_map(|entry| entry.strip_prefix(b"depends="))
        .flat_map(|list| list.split(|byte| *byte == b','))
        .filter(|name| !name.is_empty())
        .map(|name| String::from_utf8_lossy(name).replace('-', "_"))
        .collect())
}
