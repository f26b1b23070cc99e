//! The pages below `docs`, read as a user reads them: their commands are run where the page says.
//!
//! What a page shows and what a test runs are one text: [`Page`] takes the commands out of the
//! markdown, and a [`Reader`] follows them, section by section. What has to be known beside the page
//! (where a command is run, what its placeholders stand for, what it is to print, or why it cannot
//! be run here) stands in tables of the test. A command that is neither run nor named there fails
//! the test, and so does a line of a table that no command needs.
//!
//! ```text
//!     kubectl get vips            a block without prompts: every line is a command
//!
//!     $ kubectl get vips          a block with prompts: commands, and what they show
//!     NAME   ADDRESS   ...
//!
//!     interfaces: [eth0]          a block that begins with a key or a comment: a file
//!
//! An empty line ends a block.
//!
//! `kubectl get vips` in the text is a command, too: see `PROGRAMS`.
//! ```

mod block;
mod command;
mod links;
mod page;
mod places;
mod reader;
mod rule;
mod shape;
mod tools;

pub use command::Command;
pub use links::broken_links;
pub use page::{Page, pages};
pub use places::{OfCluster, OfLan, Place, Places};
pub use reader::Reader;
pub use rule::{Rule, rule};
pub use tools::Tools;
