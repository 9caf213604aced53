//! The three kinds of Redis and how each is connected: to the master, and to nothing else. Keeps no connection.

use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, RedisFuture, RedisResult, Value, cmd};

use super::fault::Fault;
use super::layout::Layout;
use super::options::{OptionsError, Recipe, RedisOptions, Topology, host_and_port};

/// How often a cluster request is sent again inside the client, and the bounds of the waits between, in milliseconds.
const CLUSTER_RETRIES: u32 = 3;
const CLUSTER_WAIT_MS: (u64, u64) = (20, 200);

/// A connection to one server or a cluster; clones share it.
#[derive(Clone)]
pub(super) enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(one) => one.req_packed_command(cmd),
            Self::Cluster(cluster) => cluster.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(one) => one.req_packed_commands(pipeline, offset, count),
            Self::Cluster(cluster) => cluster.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(one) => one.get_db(),
            Self::Cluster(cluster) => cluster.get_db(),
        }
    }
}

/// What a successful connecting yields.
pub(super) struct Connected {
    pub(super) connection: Connection,
    /// Where a subscriber can hear the same Redis.
    pub(super) listen_at: Vec<Client>,
}

/// What is connected to.
pub(super) struct Targets {
    way: Way,
    /// A key that is read once after connecting: the answer tells a server that is loading or has lost its master.
    probe: String,
}

enum Way {
    Standalone(Client),
    Sentinel { master: String, sentinels: Vec<Client>, recipe: Recipe },
    Cluster { client: Box<ClusterClient>, nodes: Vec<Client> },
}

impl Targets {
    pub(super) fn new(options: &RedisOptions, layout: &Layout) -> Result<Self, OptionsError> {
        Ok(Self { way: Way::new(options)?, probe: layout.fence(0) })
    }

    /// Whether one connection is all there is, so that its state is the state of Redis.
    pub(super) fn is_single(&self) -> bool {
        !matches!(self.way, Way::Cluster { .. })
    }

    /// Finds the master, connects to it and makes sure that it is fit to serve.
    pub(super) async fn connect(&self, connect: Duration, response: Duration) -> Result<Connected, Fault> {
        match &self.way {
            Way::Standalone(client) => connect_to_master(client, &self.probe, connect, response).await,
            Way::Sentinel { master, sentinels, recipe } => {
                // All are asked at once: a dead or partitioned sentinel costs no time, and a stale answer is found out
                // by asking the server for its role.
                let mut answers: FuturesUnordered<_> = sentinels
                    .iter()
                    .map(|sentinel| async move {
                        let client = named_by(sentinel, master, recipe, connect, response).await?;
                        connect_to_master(&client, &self.probe, connect, response).await
                    })
                    .collect();
                let mut last = Fault::Dropped("no sentinel answers");
                while let Some(answer) = answers.next().await {
                    match answer {
                        Ok(connected) => return Ok(connected),
                        Err(fault) => last = fault,
                    }
                }
                Err(last)
            }
            Way::Cluster { client, nodes } => {
                let mut connection = within(connect + response, client.get_async_connection()).await?;
                within(response, cmd("GET").arg(&self.probe).exec_async(&mut connection)).await?;
                Ok(Connected { connection: Connection::Cluster(connection), listen_at: nodes.clone() })
            }
        }
    }
}

impl Way {
    fn new(options: &RedisOptions) -> Result<Self, OptionsError> {
        let recipe = Recipe::new(options)?;
        match &options.topology {
            Topology::Standalone => recipe.own_client().map(Self::Standalone),
            Topology::Sentinel { master, addresses, username, password } => {
                let sentinels = recipe.for_sentinels(username.as_deref(), password.as_ref());
                let sentinels = clients(&sentinels, addresses)?;
                Ok(Self::Sentinel { master: master.clone(), sentinels, recipe })
            }
            Topology::Cluster { addresses } => {
                if recipe.database() != 0 {
                    return Err(OptionsError::ClusterDatabase);
                }
                let nodes = clients(&recipe, addresses)?;
                let client = Box::new(cluster_client(&recipe, &nodes)?);
                Ok(Self::Cluster { client, nodes })
            }
        }
    }
}

fn clients(recipe: &Recipe, addresses: &[String]) -> Result<Vec<Client>, OptionsError> {
    if addresses.is_empty() {
        return Err(OptionsError::NoAddress);
    }
    addresses
        .iter()
        .map(|address| {
            let (host, port) = host_and_port(address)?;
            recipe.client_at(&host, port)
        })
        .collect()
}

fn cluster_client(recipe: &Recipe, nodes: &[Client]) -> Result<ClusterClient, OptionsError> {
    let limits = &recipe.limits;
    let mut builder = ClusterClient::builder(nodes.iter().map(|node| node.get_connection_info().clone()))
        .retries(CLUSTER_RETRIES)
        .min_retry_wait(CLUSTER_WAIT_MS.0)
        .max_retry_wait(CLUSTER_WAIT_MS.1)
        .connection_timeout(limits.connect)
        .response_timeout(limits.response)
        .overall_response_timeout(Some(limits.overall));
    if let Some(certificates) = recipe.certificates() {
        builder = builder.certs(certificates.clone());
    }
    builder.build().map_err(|_| OptionsError::Url)
}

/// The master's client, by the word of one sentinel.
async fn named_by(
    sentinel: &Client,
    master: &str,
    recipe: &Recipe,
    connect: Duration,
    response: Duration,
) -> Result<Client, Fault> {
    let mut connection = open(sentinel, connect, response).await?;
    let mut question = cmd("SENTINEL");
    question.arg("get-master-addr-by-name").arg(master);
    let address: Option<(String, u16)> = within(response, question.query_async(&mut connection)).await?;
    let (host, port) =
        address.ok_or(Fault::Refused { code: "the sentinel does not know that master", passing: false })?;
    recipe.client_at(&host, port).map_err(|_| Fault::Dropped("the sentinel's answer makes no sense"))
}

async fn connect_to_master(
    client: &Client,
    probe: &str,
    connect: Duration,
    response: Duration,
) -> Result<Connected, Fault> {
    let mut connection = open(client, connect, response).await?;
    // The read finds out a server that is loading or has lost its own master; its role, a replica.
    let mut fitness = redis::pipe();
    fitness.cmd("ROLE").cmd("GET").arg(probe);
    let (role, _): (Value, Value) = within(response, fitness.query_async(&mut connection)).await?;
    if !is_master(&role) {
        return Err(Fault::Unfit("connected to a replica"));
    }
    Ok(Connected { connection: Connection::One(connection), listen_at: vec![client.clone()] })
}

async fn open(client: &Client, connect: Duration, response: Duration) -> Result<MultiplexedConnection, Fault> {
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(connect)).set_response_timeout(Some(response));
    client.get_multiplexed_async_connection_with_config(&config).await.map_err(|error| Fault::of(&error))
}

/// Reads the answer to `ROLE`.
pub(super) fn is_master(role: &Value) -> bool {
    let Value::Array(parts) = role else { return false };
    match parts.first() {
        Some(Value::BulkString(name)) => name == b"master",
        Some(Value::SimpleString(name)) => name == "master",
        _ => false,
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = RedisResult<T>>) -> Result<T, Fault> {
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(Fault::of(&error)),
        Err(_) => Err(Fault::Timeout),
    }
}

/// A connection of its own that hears these channels.
pub(super) async fn subscribe(
    client: &Client,
    channels: &[String],
    connect: Duration,
    response: Duration,
) -> Result<redis::aio::PubSub, Fault> {
    let client = Recipe::subscriber(client)
        .map_err(|_| Fault::Refused { code: "the connection's settings are wrong", passing: false })?;
    let mut subscriber = within(connect, client.get_async_pubsub()).await?;
    within(response, async { subscriber.subscribe(channels).await }).await?;
    Ok(subscriber)
}
