//! The real agent, started with what the judge has left: three capabilities.

use std::{
    error::Error,
    fs::{self, File},
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const CONFIG: &str = "/tmp/xvip.yaml";
const LOG: &str = "/tmp/log";
const HTTP: &str = "127.0.0.1:9470";
/// Ample for an emulated processor on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running agent, killed when dropped.
pub(crate) struct Agent(Child);

impl Agent {
    /// Starts it with a configuration, and waits until it is ready.
    pub(crate) fn start(config: &str) -> Outcome<Self> {
        fs::write(CONFIG, config)?;
        let log = File::create(LOG)?;
        let child = Command::new("/bin/vip-agent")
            .args(["run", "--config", CONFIG])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        let mut agent = Self(child);
        let began = Instant::now();
        while !get("/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.0 200")) {
            if let Some(status) = agent.0.try_wait()? {
                return Err(format!("it ended, {status}: {}", log_text()).into());
            }
            if began.elapsed() > PATIENCE {
                let why = get("/readyz").unwrap_or_default();
                return Err(format!("not ready: {why}: {}", log_text()).into());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(agent)
    }

    /// A line of its `/proc/PID/status`.
    pub(crate) fn status(&self, line: &str) -> Outcome<String> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let found = status.lines().find_map(|text| text.strip_prefix(line));
        Ok(found.unwrap_or_default().trim().to_owned())
    }

    /// Ends it as OOM and `kill -9` do.
    pub(crate) fn kill(mut self) -> Outcome {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }

    /// SIGTERM, and waits for its end.
    pub(crate) fn terminate(mut self) -> Outcome {
        kill(Pid::from_raw(self.0.id() as i32), Signal::SIGTERM)?;
        let status = self.0.wait()?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("{status}: {}", log_text()).into())
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Either fails only when it is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Everything that the last one wrote.
pub(crate) fn log_text() -> String {
    fs::read_to_string(Path::new(LOG)).unwrap_or_default()
}

/// Head and body of an answer of its HTTP server.
pub(crate) fn get(path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(HTTP)?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {HTTP}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
