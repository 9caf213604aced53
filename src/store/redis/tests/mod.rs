//! The contract on real servers of each kind, and what becomes of the store when they fail.

use tokio::runtime::Handle;

use super::testing::Server;
use super::*;
use crate::store::contract::suite;

mod faults;
mod sharing;
mod topologies;

async fn started() -> (RedisStore, Server) {
    let server = Server::start();
    (connect(server.options()), server)
}

fn connect(options: RedisOptions) -> RedisStore {
    RedisStore::connect(&options, &Handle::current(), &Handle::current()).expect("the settings are right")
}

suite!(started);
