//! Removing everything of ours, without loading anything.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use super::{
    attach::QDISC_MARK,
    clsact,
    links::{self, Hook},
    object::{Pins, SESSION, names},
};
use crate::vip::IfIndex;

/// Something that was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// A link, with its pin.
    Link(PathBuf),
    /// A tc filter.
    Filter(IfIndex, Hook),
    /// A clsact qdisc that we had created.
    Qdisc(IfIndex),
    /// The pin of a map.
    Map(PathBuf),
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(path) => write!(f, "link {}", path.display()),
            Self::Filter(ifindex, hook) => {
                write!(f, "tc filter {} of interface {ifindex}", hook.suffix())
            }
            Self::Qdisc(ifindex) => write!(f, "clsact qdisc of interface {ifindex}"),
            Self::Map(path) => write!(f, "map {}", path.display()),
        }
    }
}

/// Detaches every program of ours in this network namespace and removes every pin of ours below
/// `pin_dir`, of all layouts. Files that are not ours stay, and so does their directory.
pub fn cleanup(pin_dir: &Path) -> io::Result<Vec<Removed>> {
    // A layout that no directory has: all others are to go.
    let pins = Pins::new(pin_dir, "");
    let mut removed = Vec::new();

    links::sweep(&pins.links())?;
    for name in names(&pins.links())? {
        let path = pins.links().join(&name);
        if Hook::parse(&name).is_some() && links::remove(&path)? {
            removed.push(Removed::Link(path));
        }
    }
    for (ifindex, hook) in clsact::interfaces()? {
        if clsact::remove(ifindex, hook)? {
            removed.push(Removed::Filter(ifindex, hook));
        }
    }
    for name in names(&pins.links())? {
        let marked = name
            .strip_suffix(QDISC_MARK)
            .and_then(|name| name.parse().ok());
        if let Some(ifindex) = marked {
            if clsact::remove_qdisc_if_empty(ifindex)? {
                removed.push(Removed::Qdisc(ifindex));
            }
            fs::remove_dir(pins.links().join(name))?;
        }
    }
    let mut maps = vec![pins.map(SESSION.name)];
    let layouts = pins.other_layouts()?;
    for layout in &layouts {
        let directory = layout.maps();
        maps.extend(names(&directory)?.iter().map(|name| directory.join(name)));
    }
    for path in maps {
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => {
                result?;
                removed.push(Removed::Map(path));
            }
        }
    }
    let mut directories: Vec<PathBuf> = layouts.iter().map(Pins::maps).collect();
    directories.extend([pins.links(), pin_dir.to_owned()]);
    for directory in directories {
        match fs::remove_dir(&directory) {
            Ok(()) => {}
            // Not there; a foreign file is in it; or it is the mount point itself.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ENOENT | libc::ENOTEMPTY | libc::EBUSY)
                ) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(removed)
}
