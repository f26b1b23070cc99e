//! A real browser inside a namespace, driven by WebDriver (W3C): JSON over HTTP, which curl sends
//! from inside.

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::{
    agent::until_within,
    kubernetes::Daemon,
    netns::{BedError, Peer, system},
};

/// Where the driver listens, in the namespace.
const DRIVER: &str = "127.0.0.1:9515";
/// A browser's first start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Nothing of it stays when it is dropped, or when the test is killed.
pub struct Browser {
    host: Arc<Peer>,
    driver: Daemon,
    session: String,
    folder: PathBuf,
}

impl Browser {
    /// Starts one with an empty profile and a window of so many pixels.
    pub fn open(host: &Arc<Peer>, (width, height): (u32, u32)) -> Result<Self, BedError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("xvip-browser-{}-{number}", std::process::id()));
        fs::create_dir(&folder).map_err(system("mkdir"))?;
        // The driver's end does not end the browser; that of their first process ends both.
        let port = DRIVER.rsplit(':').next().unwrap_or_default();
        let arguments = format!(
            "--pid --fork --kill-child --mount-proc env HOME={0} TMPDIR={0} \
             chromedriver --port={port}",
            folder.display()
        );
        let arguments = arguments.split_whitespace().map(str::to_owned).collect();
        let program = Path::new("/usr/bin/unshare");
        let log = folder.join("log");
        let mut browser = Self {
            host: Arc::clone(host),
            driver: Daemon::start(host, program, arguments, log)?,
            session: String::new(),
            folder,
        };
        let listens = || browser.ask("GET", "/status", None).is_ok();
        until_within(
            PATIENCE,
            "chromedriver (package chromium-driver)",
            || Ok(listens()),
            || browser.driver.last_words(),
        )?;
        let profile = browser.folder.join("profile");
        let options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            "--hide-scrollbars",
            &format!("--window-size={width},{height}"),
            &format!("--user-data-dir={}", profile.display()),
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": {"args": options},
        }}});
        let session = browser.ask("POST", "/session", Some(&wanted))?;
        let id = session["sessionId"].as_str().unwrap_or_default();
        browser.session = format!("/session/{id}");
        Ok(browser)
    }

    /// Opens a page, and waits until it is loaded.
    pub fn visit(&self, url: &str) -> Result<(), BedError> {
        self.tell("/url", &json!({"url": url})).map(drop)
    }

    /// What a script returns; it runs beside those of the page.
    pub fn evaluate(&self, script: &str) -> Result<Value, BedError> {
        self.tell("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// The page as PNG: the window becomes as high as it, at most `highest` pixels.
    pub fn screenshot(&self, highest: u32) -> Result<Vec<u8>, BedError> {
        let size = self.evaluate(&format!(
            "const height = Math.min({highest}, document.documentElement.scrollHeight);
            return {{width: outerWidth, height: height + outerHeight - innerHeight}}"
        ))?;
        self.tell("/window/rect", &size)?;
        self.evaluate("scrollTo(0, 0)")?;
        let shown = self.ask("GET", &format!("{}/screenshot", self.session), None)?;
        let shown = BASE64_STANDARD.decode(shown.as_str().unwrap_or_default());
        shown.map_err(|error| BedError::Browser(error.to_string()))
    }

    fn tell(&self, command: &str, what: &Value) -> Result<Value, BedError> {
        self.ask("POST", &format!("{}{command}", self.session), Some(what))
    }

    /// One command of the protocol; gives the `value` of the answer.
    fn ask(&self, method: &str, path: &str, what: Option<&Value>) -> Result<Value, BedError> {
        let mut curl = self.host.command("curl");
        curl.args(["--silent", "--show-error", "--request", method])
            .args(["--max-time", &PATIENCE.as_secs().to_string()])
            .arg(format!("http://{DRIVER}{path}"));
        if what.is_some() {
            let kind = "Content-Type: application/json";
            curl.args(["--header", kind, "--data-binary", "@-"]);
        }
        let mut curl = curl
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(system("spawn curl"))?;
        if let (Some(mut input), Some(what)) = (curl.stdin.take(), what) {
            let sent = input.write_all(what.to_string().as_bytes());
            sent.map_err(system("write"))?;
        }
        let answer = curl.wait_with_output().map_err(system("wait for curl"))?;
        let mut body: Value = serde_json::from_slice(&answer.stdout).map_err(|error| {
            let said = String::from_utf8_lossy(&answer.stderr);
            BedError::Browser(format!("{method} {path}: {error}: {said}"))
        })?;
        let value = body["value"].take();
        match value.get("error") {
            Some(_) => Err(BedError::Browser(format!("{method} {path}: {value}"))),
            None => Ok(value),
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Either fails only when it is gone already.
        let _ = self.driver.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
