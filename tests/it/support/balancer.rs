//! What stands between clients and replicas in a cluster: it hands each new connection to the next replica that is ready, and
//! learns of readiness a while after it changed, as nodes do. Connections that it has handed over stay where they are.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use super::authorization_server::http;
use super::{Valetkey, wait};

/// How often each replica is asked whether it is ready.
const LOOK: Duration = Duration::from_millis(50);

/// Which replicas get connections, and which connection is where.
#[derive(Default)]
struct Routes {
    ready: Vec<SocketAddr>,
    turn: usize,
    by_client: HashMap<SocketAddr, SocketAddr>,
    refused: usize,
}

impl Routes {
    fn next(&mut self) -> Option<SocketAddr> {
        self.turn += 1;
        self.ready.get(self.turn % self.ready.len().max(1)).copied()
    }
}

/// A running balancer.
pub(crate) struct Balancer {
    /// Where clients reach it.
    pub(crate) url: String,
    lag: Duration,
    routes: Arc<Mutex<Routes>>,
    accepting: AbortHandle,
    watching: Mutex<JoinSet<()>>,
}

impl Balancer {
    /// One that follows a change of readiness this much later.
    pub(crate) async fn start(lag: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let routes = Arc::<Mutex<Routes>>::default();
        let shared = Arc::clone(&routes);
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, from)) = listener.accept().await {
                connections.spawn(carry(client, from, Arc::clone(&shared)));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { url, lag, routes, accepting: accepting.abort_handle(), watching: Mutex::default() }
    }

    /// Follows the readiness of this replica from now on, and waits until it gets connections.
    pub(crate) async fn add(&self, valetkey: &Valetkey) {
        let address = address(valetkey);
        let watch = watch(address, format!("{}/readyz", valetkey.admin), self.lag, Arc::clone(&self.routes));
        self.watching.lock().expect("no panic in here").spawn(watch);
        wait::until("the replica gets connections", || async { self.sends_to(valetkey).then_some(()) }).await;
    }

    /// Whether new connections may go to this replica.
    pub(crate) fn sends_to(&self, valetkey: &Valetkey) -> bool {
        self.routes.lock().expect("no panic in here").ready.contains(&address(valetkey))
    }

    /// Whether the connection that this client made lies at that replica.
    pub(crate) fn gave(&self, client: SocketAddr, valetkey: &Valetkey) -> bool {
        self.routes.lock().expect("no panic in here").by_client.get(&client) == Some(&address(valetkey))
    }

    /// How many connections no replica took.
    pub(crate) fn refused(&self) -> usize {
        self.routes.lock().expect("no panic in here").refused
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn address(valetkey: &Valetkey) -> SocketAddr {
    valetkey.url.trim_start_matches("http://").parse().expect("an address")
}

async fn carry(mut client: TcpStream, from: SocketAddr, routes: Arc<Mutex<Routes>>) {
    let to = {
        let mut routes = routes.lock().expect("no panic in here");
        let to = routes.next();
        routes.by_client.extend(to.map(|to| (from, to)));
        to
    };
    let replica = match to {
        Some(to) => TcpStream::connect(to).await.ok(),
        None => None,
    };
    let Some(mut replica) = replica else {
        routes.lock().expect("no panic in here").refused += 1;
        return;
    };
    drop((client.set_nodelay(true), replica.set_nodelay(true)));
    drop(tokio::io::copy_bidirectional(&mut client, &mut replica).await);
}

async fn watch(replica: SocketAddr, readiness: String, lag: Duration, routes: Arc<Mutex<Routes>>) {
    let client = http();
    let mut known = false;
    loop {
        let ready = client.get(&readiness).send().await.is_ok_and(|answer| answer.status() == 200);
        if ready != known {
            tokio::time::sleep(lag).await;
            let mut routes = routes.lock().expect("no panic in here");
            routes.ready.retain(|other| *other != replica);
            routes.ready.extend(ready.then_some(replica));
            known = ready;
        }
        tokio::time::sleep(LOOK).await;
    }
}
