//! Children that end with this process, and not with the thread of the test that starts them.

use std::{
    io,
    process::{Child, Command},
    sync::{LazyLock, Mutex, PoisonError, mpsc},
    thread,
};

type Order = (Command, mpsc::Sender<io::Result<Child>>);

/// A thread that never ends: PR_SET_PDEATHSIG (prctl(2)) is sent when the thread ends that started
/// the child, and a bed that tests share outlives the thread of each of them.
static STARTER: LazyLock<Mutex<mpsc::Sender<Order>>> = LazyLock::new(|| {
    let (orders, inbox) = mpsc::channel::<Order>();
    thread::spawn(move || {
        for (mut command, started) in inbox {
            // Whoever ordered it waits for it.
            let _ = started.send(command.spawn());
        }
    });
    Mutex::new(orders)
});

/// Starts a command. It enters namespaces by itself ([`Peer::command`](crate::netns::Peer::command)).
pub fn spawn(command: Command) -> io::Result<Child> {
    let (started, child) = mpsc::channel();
    let orders = STARTER.lock().unwrap_or_else(PoisonError::into_inner);
    let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
    orders
        .send((command, started))
        .map_err(|_| gone(mpsc::RecvError))?;
    child.recv().map_err(gone)?
}

/// What this thread does from now on, and the threads that it starts, waits for everybody else: a
/// test that computes for minutes, beside those that count milliseconds.
pub fn give_way() {
    // SAFETY: no memory is involved. In Linux 0 names the calling thread (setpriority(2), Notes);
    // refusal leaves it as it was.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) };
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Of the calling thread (proc_pid_stat(5), field 19).
    fn niceness() -> i32 {
        let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
        let after_name = stat.rsplit_once(") ").unwrap().1;
        after_name.split(' ').nth(16).unwrap().parse().unwrap()
    }

    #[test]
    fn who_gives_way_does_so_with_its_threads_and_no_other() {
        let before = niceness();
        let given = thread::spawn(|| {
            give_way();
            [niceness(), thread::spawn(niceness).join().unwrap()]
        });
        assert_eq!(given.join().unwrap(), [19, 19]);
        assert_eq!(niceness(), before);
    }

    #[test]
    fn a_child_outlives_the_thread_that_started_it() {
        let started = thread::spawn(|| {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig=KILL", "sleep", "60"]);
            spawn(command).unwrap()
        });
        let mut child = started.join().unwrap();
        thread::sleep(std::time::Duration::from_millis(200));
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
