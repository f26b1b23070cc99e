//! `cargo xtask arch`: the layering of the crates and modules, as ARCHITECTURE.md draws it.
//!
//! Every file is parsed, every path in it resolved to where it leads, and the rules asked.

mod paths;
mod rules;

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{error::Error, workspace};

#[derive(clap::Args)]
pub(crate) struct Args {}

/// Where the crates lie; some have another below them.
const CRATES: [&str; 5] = ["vip-common", "vip-ebpf", "vip-agent", "xtask", "tests"];
/// Lines from which a file deserves a second thought.
const LONG: usize = 500;

pub(crate) fn run(Args {}: Args) -> Result<(), Error> {
    let root = workspace::root();
    let mut files = Vec::new();
    for name in CRATES {
        collect(&root.join(name), &mut files)?;
    }
    files.sort();
    let mut breaches = 0;
    for file in &files {
        let text = fs::read_to_string(file).map_err(Error::file(file))?;
        let shown = file.strip_prefix(&root).unwrap_or(file);
        let found = check(shown, &text).unwrap_or_else(|error| {
            let line = error.span().start().line;
            vec![format!("{}:{line}: {error}", shown.display())]
        });
        for breach in &found {
            println!("{breach}");
        }
        breaches += found.len();
        let lines = text.lines().count();
        if lines > LONG {
            println!(
                "warning: {}: {lines} lines, think again past {LONG}",
                shown.display()
            );
        }
    }
    if breaches > 0 {
        return Err(Error::Layering(breaches));
    }
    println!("arch: {} files keep the layering", files.len());
    Ok(())
}

/// The Rust files below `dir`.
fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    for entry in fs::read_dir(dir).map_err(Error::file(dir))? {
        let path = entry.map_err(Error::file(dir))?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// All breaches of a file, given by its place in the repository, as `place:line: why`.
fn check(file: &Path, text: &str) -> syn::Result<Vec<String>> {
    let syntax = syn::parse_file(text)?;
    let place = rules::Place::of(file);
    let mut breaches: Vec<String> = place
        .refused_name()
        .map(|name| {
            format!(
                "{}: a file called `{name}` collects what has no home",
                file.display()
            )
        })
        .into_iter()
        .collect();
    for used in paths::used(&syntax, place.module()) {
        if let Some(why) = place.refuses(&used.what) {
            breaches.push(format!("{}:{}: {why}", file.display(), used.line));
        }
    }
    Ok(breaches)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches(file: &str, text: &str) -> Vec<String> {
        check(Path::new(file), text).unwrap()
    }

    #[track_caller]
    fn refused(file: &str, text: &str) {
        assert_eq!(
            breaches(file, text).len(),
            1,
            "{file}: {text}: {:?}",
            breaches(file, text)
        );
    }

    #[track_caller]
    fn accepted(file: &str, text: &str) {
        assert_eq!(breaches(file, text), Vec::<String>::new(), "{file}: {text}");
    }

    #[test]
    fn a_pure_module_imports_no_runtime_and_no_kernel() {
        let pure = "vip-agent/src/reconcile.rs";
        refused(pure, "use tokio::sync::mpsc;");
        refused(pure, "use {std::fmt, kube::Client};");
        refused(pure, "use rtnetlink as netlink;");
        refused(pure, "fn f() { aya::Btf::from_sys_fs(); }");
        refused(pure, "extern crate aya;");
        refused(pure, "fn f() { log!(\"{}\", tokio::task::id()) }");
        refused("vip-agent/src/config/file.rs", "use ::tokio::fs;");
        refused("vip-agent/ownership/src/session.rs", "use tokio::time;");
        refused(
            "vip-agent/ownership/src/lib.rs",
            "use std::time::SystemTime;",
        );
        accepted(
            pure,
            "use std::net::IpAddr; use crate::vip::Mac; mod tokio_free {}",
        );
    }

    #[test]
    fn only_the_api_types_know_kube_and_any_module_its_plain_data() {
        accepted("vip-agent/src/api/vip.rs", "use kube::CustomResource;");
        refused("vip-agent/src/api/vip.rs", "use tokio::sync::mpsc;");
        refused("vip-agent/src/cluster/vip.rs", "use kube::CustomResource;");
        accepted(
            "vip-agent/src/cluster/vip.rs",
            "use {crate::api::Vip, k8s_openapi::api::core::v1::Service};",
        );
    }

    #[test]
    fn a_pure_module_reads_no_clock() {
        let pure = "vip-agent/src/announce.rs";
        refused(pure, "fn f() { std::time::Instant::now(); }");
        refused(
            pure,
            "use std::time::Instant; fn f(now: Instant) -> Instant { Instant::now() }",
        );
        refused(pure, "use std::time::SystemTime;");
        refused(pure, "fn f() { jiff::Timestamp::now(); }");
        accepted(
            pure,
            "use std::time::{Duration, Instant}; fn f(now: Instant) {}",
        );
        accepted(
            "vip-agent/src/driver.rs",
            "fn f() { std::time::Instant::now(); }",
        );
    }

    #[test]
    fn a_pure_module_imports_neither_io_nor_the_shell() {
        refused("vip-agent/src/pool.rs", "use crate::io::netlink;");
        refused("vip-agent/src/pool.rs", "use super::driver::Driver;");
        refused("vip-agent/src/config/mod.rs", "use crate::cli;");
        accepted(
            "vip-agent/src/pool.rs",
            "use std::io; fn f() -> io::Result<()> { Ok(()) }",
        );
    }

    #[test]
    fn an_io_file_imports_pure_modules_and_itself_but_no_sibling() {
        let io = "vip-agent/src/io/netlink/monitor.rs";
        refused(io, "use crate::io::datapath;");
        refused(io, "use super::super::http;");
        refused(
            io,
            "use crate::{vip::Mac, io::{netlink::Reply, http::Server}};",
        );
        refused(
            "vip-agent/src/io/http.rs",
            "fn f() { super::lease::renew() }",
        );
        refused(
            "vip-agent/src/io/http.rs",
            "mod inner { use super::super::lease; }",
        );
        refused("vip-agent/src/io/http.rs", "use crate::driver;");
        accepted(
            io,
            "use super::Reply; use crate::io::netlink::Reply as R; use crate::host::Host; use tokio::net;",
        );
        accepted("vip-agent/src/io/mod.rs", "pub mod netlink; pub mod http;");
    }

    #[test]
    fn crates_import_only_those_below_them() {
        refused("vip-common/src/verdict.rs", "use vip_agent::vip;");
        refused("vip-ebpf/src/main.rs", "use vip_agent::vip;");
        refused("vip-agent/src/vip.rs", "use vip_ebpf::maps;");
        refused("xtask/src/bench.rs", "use vip_common::abi;");
        refused("vip-agent/ownership/src/session.rs", "use vip_agent::vip;");
        refused("tests/ownership-sim/src/world.rs", "use vip_agent::vip;");
        refused("vip-agent/src/vip.rs", "use ownership_sim::run;");
        accepted("vip-ebpf/src/main.rs", "use vip_common::abi;");
        accepted("vip-agent/src/vip.rs", "use vip_ownership::Machine;");
        accepted("tests/src/lib.rs", "use {vip_agent::vip, vip_common::abi};");
    }

    #[test]
    fn the_shared_crate_has_no_unsafe_outside_the_abi_and_no_allocation() {
        let unsafe_block = "fn f(p: *const u8) -> u8 { unsafe { *p } }";
        refused("vip-common/src/parse.rs", unsafe_block);
        refused("vip-common/src/parse.rs", "unsafe impl Send for A {}");
        refused("vip-common/src/parse.rs", "unsafe fn f() {}");
        refused("vip-common/src/parse.rs", "extern crate alloc;");
        refused("vip-common/src/parse.rs", "use std::vec::Vec;");
        accepted("vip-common/src/abi.rs", unsafe_block);
        accepted("vip-common/src/lib.rs", "#[cfg(test)] extern crate std;");
    }

    #[test]
    fn test_code_may_use_what_it_likes() {
        accepted("vip-common/src/verdict/tests.rs", "use std::vec::Vec;");
        accepted("vip-common/tests/golden.rs", "use std::vec::Vec;");
        accepted(
            "vip-agent/src/pool.rs",
            "#[cfg(test)] mod tests { use tokio::time; fn f() { std::time::Instant::now(); } }",
        );
    }

    #[test]
    fn names_that_say_nothing_are_refused() {
        refused("vip-agent/src/utils.rs", "");
        refused("vip-agent/src/helpers/mac.rs", "");
        refused("tests/tests/common/mod.rs", "");
        accepted("vip-common/src/checksum.rs", "");
    }
}
