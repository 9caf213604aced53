//! Single flight: many ask for the same thing at the same time, one task does it, all get its answer. The task is its own:
//! no client that goes away cancels it. A flight that panics is freed, and its waiters are told that it brought nothing.

use std::{
    collections::HashMap,
    future::{Future, ready},
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use parking_lot::Mutex;
use tokio::{runtime::Handle, sync::oneshot, time::timeout};

type Flight<V> = Shared<BoxFuture<'static, Option<V>>>;

/// The flights under way, by what they fetch.
pub struct Flights<K, V> {
    handle: Handle,
    under_way: Arc<Mutex<HashMap<K, Flight<V>>>>,
    closed: AtomicBool,
}

/// Frees a flight's place, also when it panics.
struct Landing<K: Eq + Hash, V> {
    key: K,
    under_way: Arc<Mutex<HashMap<K, Flight<V>>>>,
}

impl<K: Eq + Hash, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        self.under_way.lock().remove(&self.key);
    }
}

impl<K, V> Flights<K, V>
where
    K: Eq + Hash + Copy + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Flights run on this runtime.
    pub fn new(handle: Handle) -> Self {
        Self { handle, under_way: Arc::default(), closed: AtomicBool::new(false) }
    }

    /// Joins the flight for `key`, or starts one. The future is the flight's answer; dropping it changes nothing for the
    /// flight. `None`: it broke off, or none starts any more.
    pub fn join<F>(&self, key: K, start: impl FnOnce() -> F) -> Flight<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut under_way = self.under_way.lock();
        if let Some(flight) = under_way.get(&key) {
            return flight.clone();
        }
        // Looked at under the lock: whoever closes and then finds no flight under way can rely on that.
        if self.is_closed() {
            return ready(None).boxed().shared();
        }
        let (landed, answer) = oneshot::channel();
        let flight = async move { answer.await.ok() }.boxed().shared();
        under_way.insert(key, flight.clone());
        // A runtime that shuts down drops the task at once, and with it the landing, which needs the lock.
        drop(under_way);
        let landing = Landing { key, under_way: Arc::clone(&self.under_way) };
        // The runtime moves a task's future three times, and this one is large.
        let work = Box::pin(start());
        self.handle.spawn(async move {
            let value = work.await;
            drop(landing);
            let _ = landed.send(value);
        });
        flight
    }

    /// From now on none starts; those under way go on, and can still be joined.
    pub fn close(&self) {
        let _under_way = self.under_way.lock();
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Whether none starts any more.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// How many are under way.
    pub fn len(&self) -> usize {
        self.under_way.lock().len()
    }

    /// Waits until none is under way, at most this long. Says whether that came about.
    pub async fn settle(&self, limit: Duration) -> bool {
        timeout(limit, async {
            loop {
                let next = self.under_way.lock().values().next().cloned();
                match next {
                    Some(flight) => drop(flight.await),
                    None => break,
                }
                tokio::task::yield_now().await;
            }
        })
        .await
        .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn many_askers_start_one_flight() {
        let flights = Flights::new(Handle::current());
        let (started, gate) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        let waiting: Vec<_> = (0..100)
            .map(|_| {
                flights.join(1, || {
                    let (started, gate) = (Arc::clone(&started), Arc::clone(&gate));
                    async move {
                        started.fetch_add(1, Ordering::SeqCst);
                        gate.notified().await;
                        "landed"
                    }
                })
            })
            .collect();
        tokio::task::yield_now().await;
        gate.notify_one();
        for flight in waiting {
            assert_eq!(flight.await, Some("landed"));
        }
        assert_eq!(started.load(Ordering::SeqCst), 1);
        assert!(flights.settle(Duration::from_secs(5)).await);
    }

    #[tokio::test]
    async fn a_flight_goes_on_when_its_waiter_is_gone() {
        let flights = Flights::new(Handle::current());
        let (gate, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let waiter = flights.join(1, || {
            let (gate, done) = (Arc::clone(&gate), Arc::clone(&done));
            async move {
                gate.notified().await;
                done.notify_one();
            }
        });
        drop(waiter);
        gate.notify_one();
        timeout(Duration::from_secs(5), done.notified()).await.expect("the flight ends without its waiter");
    }

    #[test]
    fn a_runtime_that_has_shut_down_takes_no_flight_and_blocks_nobody() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let flights = Flights::new(runtime.handle().clone());
        runtime.shutdown_timeout(Duration::from_secs(10));
        let (sender, joined) = std::sync::mpsc::channel();
        std::thread::spawn(move || sender.send((flights.join(1, || async { 7 }), flights.len())));
        let (flight, left) = joined.recv_timeout(Duration::from_secs(10)).expect("no deadlock");
        assert_eq!((flight.now_or_never(), left), (Some(None), 0));
    }

    #[tokio::test]
    async fn once_closed_no_flight_starts_and_the_last_ones_land() {
        let flights = Arc::new(Flights::new(Handle::current()));
        let gate = Arc::new(Notify::new());
        let waiting = flights.join(1, || {
            let gate = Arc::clone(&gate);
            async move { gate.notified().await }
        });
        // As a healer would, which finds more to do with each flight that lands.
        let restless = tokio::spawn({
            let flights = Arc::clone(&flights);
            async move {
                for key in 2_u32.. {
                    flights.join(key, || tokio::time::sleep(Duration::from_millis(5))).await;
                    tokio::task::yield_now().await;
                }
            }
        });
        flights.close();
        assert_eq!(flights.join(1_000_000_000, || async {}).await, None, "it doesn't start");
        gate.notify_one();
        assert!(flights.settle(Duration::from_secs(5)).await);
        assert_eq!((waiting.await, flights.len()), (Some(()), 0));
        restless.abort();
    }

    #[tokio::test]
    async fn a_flight_that_panics_is_freed() {
        let flights: Flights<u8, u8> = Flights::new(Handle::current());
        let broken = flights.join(1, || async { panic!("as tests do") });
        assert_eq!(broken.await, None);
        assert!(flights.settle(Duration::from_secs(5)).await);
        assert_eq!(flights.join(1, || async { 7 }).await, Some(7));
    }
}
