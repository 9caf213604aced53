//! Who acted for whom, and when: told of each connection, actor and day once by a process, and kept in the log.

use quick_cache::sync::Cache;

use super::Resolver;
use crate::{
    clock::Timestamp,
    connection::record::facts::Fact,
    events::{Cause, Kind},
    id::{ConnectionId, Subject},
};

/// How many are remembered as told.
const TOLD: usize = 10_000;
const DAY: u64 = 86_400;

/// What was told lately, by the day.
pub(super) struct Told(Cache<(ConnectionId, Subject), u64>);

impl Default for Told {
    fn default() -> Self {
        Self(Cache::new(TOLD))
    }
}

impl Told {
    /// Whether this is the first time on that day.
    fn is_news(&self, connection: &ConnectionId, actor: &Subject, at: Timestamp) -> bool {
        let (key, day) = ((connection.clone(), actor.clone()), at.seconds() / DAY);
        let news = self.0.get(&key) != Some(day);
        if news {
            self.0.insert(key, day);
        }
        news
    }
}

impl Resolver {
    /// A call goes out with this connection, for its owner but by `actor`. Told once a day; never waits. `cause` is asked for
    /// where it is told.
    pub fn acted_for(&self, connection: &ConnectionId, actor: &Subject, at: Timestamp, cause: impl FnOnce() -> Cause) {
        if !self.told.is_news(connection, actor, at) {
            return;
        }
        self.records.facts().tell(connection, &Fact::new(Kind::ActedFor, &cause().by(actor)));
    }
}
