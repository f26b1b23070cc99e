//! A client that fetches something from the API server by a VIP, again and again, each time over
//! a new connection.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::runtime;

use crate::netns::{BedError, Peer, system};

/// Between two fetches.
const PAUSE: Duration = Duration::from_millis(20);
/// A fetch that takes longer has failed.
const PATIENCE: Duration = Duration::from_millis(500);

/// One fetch.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// When it began, since the first.
    pub began: Duration,
    /// When it ended.
    pub ended: Duration,
    /// Why it failed.
    pub error: Option<String>,
}

/// The client.
pub struct Fetches {
    began: Instant,
    stop: Arc<AtomicBool>,
    fetched: Arc<Mutex<Vec<Fetch>>>,
    thread: JoinHandle<()>,
}

impl Fetches {
    /// Begins to fetch `/version` by the server that a kubeconfig names.
    pub fn start(client: &Peer, kubeconfig: &Path) -> Result<Self, BedError> {
        let unreadable = |error| system("kubeconfig")(std::io::Error::other(error));
        let read = Kubeconfig::read_from(kubeconfig).map_err(unreadable)?;
        let stop = Arc::new(AtomicBool::new(false));
        let fetched = Arc::new(Mutex::new(Vec::new()));
        let began = Instant::now();
        let asking = Asking {
            began,
            stop: Arc::clone(&stop),
            fetched: Arc::clone(&fetched),
        };
        let thread = client.enter(|| {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(system("runtime"))?;
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(read, &options);
            let mut config = runtime.block_on(config).map_err(unreadable)?;
            config.tls_server_name = Some("kubernetes".into());
            config.default_retry = false;
            // A thread is born into the namespace of the one that starts it.
            Ok(thread::spawn(move || runtime.block_on(asking.run(&config))))
        })?;
        Ok(Self {
            began,
            stop,
            fetched,
            thread,
        })
    }

    /// Now, on the clock of the fetches.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Fetches that ended up to now.
    pub fn so_far(&self) -> Vec<Fetch> {
        self.fetched
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Stops, and tells.
    pub fn finish(self) -> Vec<Fetch> {
        self.stop.store(true, Ordering::Relaxed);
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
        std::mem::take(&mut *self.fetched.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Asking {
    began: Instant,
    stop: Arc<AtomicBool>,
    fetched: Arc<Mutex<Vec<Fetch>>>,
}

impl Asking {
    async fn run(self, config: &Config) {
        while !self.stop.load(Ordering::Relaxed) {
            let began = self.began.elapsed();
            let fetch = async {
                let client = Client::try_from(config.clone())?;
                client.apiserver_version().await
            };
            let error = match tokio::time::timeout(PATIENCE, fetch).await {
                Ok(Ok(_)) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some("no answer".to_owned()),
            };
            let ended = self.began.elapsed();
            let fetch = Fetch {
                began,
                ended,
                error,
            };
            self.fetched
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(fetch);
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// The longest time from the beginning of a fetch that failed to the end of the next that did not,
/// of those that began in the given time.
pub fn longest_outage(fetches: &[Fetch], from: Duration, until: Duration) -> Duration {
    let within = fetches
        .iter()
        .filter(|it| it.began >= from && it.began < until);
    let (mut longest, mut since) = (Duration::ZERO, None);
    for fetch in within {
        match fetch.error {
            Some(_) => drop(since.get_or_insert(fetch.began)),
            None => {
                if let Some(since) = since.take() {
                    longest = longest.max(fetch.ended - since);
                }
            }
        }
    }
    // One that has not ended counts as long as it was seen.
    since.map_or(longest, |since| longest.max(until.saturating_sub(since)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetches(failed: &[bool]) -> Vec<Fetch> {
        let each = failed.iter().zip(0..);
        each.map(|(failed, place)| Fetch {
            began: Duration::from_millis(place * 10),
            ended: Duration::from_millis(place * 10 + 5),
            error: failed.then(String::new),
        })
        .collect()
    }

    #[test]
    fn an_outage_lasts_to_the_end_of_the_next_fetch_that_succeeds() {
        let ms = Duration::from_millis;
        let all = |failed: &[bool]| longest_outage(&fetches(failed), ms(0), ms(1000));
        assert_eq!(all(&[false, false]), ms(0));
        assert_eq!(all(&[false, true, true, false, true, false]), ms(25));
        assert_eq!(
            longest_outage(&fetches(&[false, true]), ms(0), ms(20)),
            ms(10)
        );
    }
}
