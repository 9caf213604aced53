//! The contract on real servers of each kind.

use tokio::runtime::Handle;

use super::testing::Server;
use super::*;
use crate::store::contract::suite;

async fn started() -> (RedisStore, Server) {
    let server = Server::start();
    let store = RedisStore::connect(&server.options(), &Handle::current()).expect("the settings are right");
    (store, server)
}

suite!(started);
