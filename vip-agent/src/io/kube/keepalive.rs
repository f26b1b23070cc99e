//! Keeps connections open for what somebody waits for.
//!
//! Who creates a Service waits for its address and its answer. The writer has had nothing to do for
//! an hour then, and both ends close what is idle for 90 s (`net/http` in the API server, hyper-util
//! here): to connect anew would take longer than all the rest.

use std::time::Duration;

use kube::Client;
use tokio::{
    join,
    sync::watch,
    time::{sleep, timeout},
};

/// Before anybody closes them.
const EVERY: Duration = Duration::from_secs(30);
/// What does not answer for so long, connects in vain.
const PATIENCE: Duration = Duration::from_secs(5);

/// Keeps two of `client`'s connections open while they are `wanted`: a Service may get an address of
/// each family, and both are written at once. Ends with whoever wants them.
pub async fn run(client: Client, mut wanted: watch::Receiver<bool>) {
    while wanted.wait_for(|wanted| *wanted).await.is_ok() {
        let ask = || timeout(PATIENCE, client.apiserver_version());
        // Writes tell what is wrong, if anything is.
        let _ = join!(ask(), ask());
        sleep(EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        future::{Ready, ready},
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::Relaxed},
        },
        task::{Context, Poll},
    };

    use kube::client::Body;
    use tower_service::Service;

    use super::*;

    /// An API server that counts who asks.
    #[derive(Clone, Default)]
    struct Counting(Arc<AtomicUsize>);

    impl Service<http::Request<Body>> for Counting {
        type Response = http::Response<Body>;
        type Error = Infallible;
        type Future = Ready<Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: http::Request<Body>) -> Self::Future {
            self.0.fetch_add(1, Relaxed);
            ready(Ok(http::Response::new(Body::empty())))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn two_are_used_twice_a_minute_while_they_are_wanted_and_none_else() {
        let server = Counting::default();
        let asked = || server.0.load(Relaxed);
        let (wants, wanted) = watch::channel(false);
        let client = Client::new(server.clone(), "default");
        let keeper = tokio::spawn(run(client, wanted));
        sleep(Duration::from_secs(600)).await;
        assert_eq!(asked(), 0);
        wants.send_replace(true);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(asked(), 2, "at once");
        sleep(Duration::from_secs(600)).await;
        assert_eq!(asked(), 2 + 2 * 20);
        wants.send_replace(false);
        sleep(Duration::from_secs(600)).await;
        assert_eq!(asked(), 42);
        drop(wants);
        keeper.await.unwrap();
    }
}
