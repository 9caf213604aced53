//! What is sent to Redis: a command, several at once, or one of our scripts.

use redis::aio::ConnectionLike;
use redis::{Cmd, Pipeline, RedisError, RedisResult, Script, Value, cmd};

use super::fault::Fault;

/// Whether a request may be sent once more when nobody knows if the server did it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Repeat {
    /// Doing it twice is doing it once. Worth another try even after a whole time limit.
    Write,
    /// It changes nothing. Not worth another wait.
    Read,
    /// Only where the server certainly did nothing.
    Never,
}

/// A request that can be sent again.
pub(super) enum Request {
    Command(Cmd),
    Commands(Pipeline),
    Script { script: &'static LuaScript, keys: Vec<String>, arguments: Vec<Vec<u8>> },
}

impl Request {
    pub(super) async fn send(&self, connection: &mut impl ConnectionLike) -> RedisResult<Value> {
        match self {
            Self::Command(command) => command.query_async(connection).await,
            Self::Commands(pipeline) => pipeline.query_async(connection).await,
            Self::Script { script, keys, arguments } => {
                let by = |name: &str, body: &str| {
                    let mut command = cmd(name);
                    command.arg(body).arg(keys.len()).arg(keys).arg(arguments);
                    command
                };
                match by("EVALSHA", script.hash()).query_async(connection).await {
                    // The whole text instead of SCRIPT LOAD: a cluster would load it on every node, and fail with any.
                    Err(error) if Fault::of(&error) == Fault::NoScript => {
                        by("EVAL", script.text).query_async(connection).await
                    }
                    done => done,
                }
            }
        }
    }
}

/// A script of ours.
pub(super) struct LuaScript {
    text: &'static str,
    script: std::sync::OnceLock<Script>,
}

impl LuaScript {
    pub(super) const fn new(text: &'static str) -> Self {
        Self { text, script: std::sync::OnceLock::new() }
    }

    fn hash(&self) -> &str {
        self.script.get_or_init(|| Script::new(self.text)).get_hash()
    }
}

/// An answer read as what it should be.
pub(super) fn read<T: redis::FromRedisValue>(value: Value) -> Result<T, crate::store::Error> {
    redis::from_redis_value(value).map_err(|error| Fault::of(&RedisError::from(error)).into_error())
}
