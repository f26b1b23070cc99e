//! A client that fetches pages, each over a new connection.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::netns::{BedError, Peer};

/// A request that takes longer has failed. Linux repeats a lost SYN after a second.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why there is no page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPage {
    /// Nobody took the connection.
    #[error("no connection: {0}")]
    Unconnected(String),
    /// The connection was there, and ended before the page: an open one may, when its VIP moves to
    /// a node whose connection tracking does not know it.
    #[error("broken off: {0}")]
    Broken(String),
    /// Something else was served.
    #[error("not a page: {0}")]
    Other(String),
}

/// A request.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// Where it was fetched.
    pub from: SocketAddr,
    /// When it began, since the beginning.
    pub at: Duration,
    /// How long it took.
    pub took: Duration,
    /// The page's text.
    pub page: Result<String, NoPage>,
}

/// Fetches pages without a pause, until told to stop.
pub struct Fetching {
    began: Instant,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<Vec<Fetch>, BedError>>>,
}

/// Fetches a page once.
pub(super) fn fetch(
    client: &Peer,
    vip: IpAddr,
    port: u16,
) -> Result<Result<String, NoPage>, BedError> {
    client.enter(|| Ok(page(SocketAddr::new(vip, port))))
}

impl Fetching {
    /// Begins: from each address, port 80, a new connection every `pause`. One that is slow does
    /// not hold up the next.
    pub fn start(client: &Peer, vips: &[&str], pause: Duration) -> Result<Self, BedError> {
        const TURNS: u32 = 4;
        let stop = Arc::new(AtomicBool::new(false));
        let began = Instant::now();
        let mut threads = Vec::new();
        for vip in vips.iter().filter_map(|vip| vip.parse::<IpAddr>().ok()) {
            for turn in 0..TURNS {
                let namespace = client.namespace()?;
                let stop = Arc::clone(&stop);
                threads.push(thread::spawn(move || {
                    namespace.enter()?;
                    let mut fetches = Vec::new();
                    let mut next = pause * turn;
                    while !stop.load(Ordering::Relaxed) {
                        thread::sleep(next.saturating_sub(began.elapsed()));
                        let at = began.elapsed();
                        let from = SocketAddr::new(vip, 80);
                        let page = page(from);
                        let took = began.elapsed() - at;
                        fetches.push(Fetch {
                            from,
                            at,
                            took,
                            page,
                        });
                        while next <= began.elapsed() {
                            next += pause * TURNS;
                        }
                    }
                    Ok(fetches)
                }));
            }
        }
        Ok(Self {
            began,
            stop,
            threads,
        })
    }

    /// Now, on the clock of what it notes.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Stops and tells, in order.
    pub fn finish(self) -> Result<Vec<Fetch>, BedError> {
        self.stop.store(true, Ordering::Relaxed);
        let mut fetches = Vec::new();
        for thread in self.threads {
            match thread.join() {
                Ok(result) => fetches.extend(result?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        fetches.sort_by_key(|fetch| fetch.at);
        Ok(fetches)
    }
}

fn page(from: SocketAddr) -> Result<String, NoPage> {
    let stream = TcpStream::connect_timeout(&from, PATIENCE);
    let mut stream = stream.map_err(|error| NoPage::Unconnected(error.to_string()))?;
    let mut served = || {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    };
    let answer = served().map_err(|error| NoPage::Broken(error.to_string()))?;
    match answer.split_once("\r\n\r\n") {
        Some((head, page)) if head.contains(" 200 ") => Ok(page.trim().to_owned()),
        _ => Err(NoPage::Other(answer)),
    }
}
