//! The programs' own lines, in the agent's log.

use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};
use tokio::io::unix::AsyncFd;

use super::Datapath;

/// Hands lines on to `tracing`.
struct ToTracing;

impl Log for ToTracing {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        // The programs themselves write only what the level of the map asks for.
        tracing::debug!(target: "xvip::kernel", program = record.target(), "{}", record.args());
    }

    fn flush(&self) {}
}

/// The reader of the programs' lines. It holds a map that a program loaded anew refers to, so
/// it is to live as long as the [`Datapath`].
pub struct KernelLog {
    lines: AsyncFd<EbpfLogger<ToTracing>>,
}

impl Datapath {
    /// The reader, within a tokio runtime; `None` where the object writes no lines.
    pub fn kernel_log(&mut self) -> Option<KernelLog> {
        let lines = EbpfLogger::init_with_logger(&mut self.ebpf, ToTracing).ok()?;
        // SAFETY: the descriptor is the map's own, open and the same for as long as `lines` lives.
        let lines = unsafe { AsyncFd::register(lines) }.ok()?;
        Some(KernelLog { lines })
    }
}

impl KernelLog {
    /// Logs what has come, then waits for more: never returns without an error.
    pub async fn run(&mut self) -> std::io::Result<()> {
        loop {
            let mut ready = self.lines.readable_mut().await?;
            ready.get_inner_mut().flush();
            ready.clear_ready();
        }
    }
}
