//! kube-vip, whose place xvip takes in the tests.

use std::path::PathBuf;

use crate::{error::Error, go_program::GoProgram};

/// Names the program for the tests; where it is set, that one is taken.
pub(crate) const KUBE_VIP: &str = "XVIP_KUBE_VIP";
/// The newest that Go's module proxy gave; 1.2.3, of which the figures of docs/comparison.md are,
/// was refused there.
const PROGRAM: GoProgram = GoProgram {
    name: "kube-vip",
    version: "1.2.2",
    package: "github.com/kube-vip/kube-vip",
    variable: KUBE_VIP,
};

/// The program.
pub(crate) fn ensure() -> Result<PathBuf, Error> {
    PROGRAM.ensure(|_| Ok("-s -w".to_owned()))
}
