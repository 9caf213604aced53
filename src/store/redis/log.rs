//! The log as Redis streams, one for each shard and log, in the shard's slot. Redis gives the positions, so that they grow
//! whoever appends; the ids of what was appended by itself are in a sorted set beside it.

use async_trait::async_trait;
use redis::Cmd;

use super::{LuaScript, RedisStore, Repeat, decimal, milliseconds, on};
use crate::store::{Entry, EntryId, Error, Keep, Log, Logged, Order, Position, Shard, Stream};

static APPEND: LuaScript = LuaScript::new(include_str!("lua/append.lua"));
static TRIM: LuaScript = LuaScript::new(include_str!("lua/trim.lua"));

/// An entry as the server answers it: its position, and names and values.
type Answered = (String, Vec<Vec<u8>>);

impl RedisStore {
    /// Adds what a script needs that appends these entries, too.
    pub(super) fn add_entries(
        &self,
        shard: Shard,
        entries: &[Entry],
        keys: &mut Vec<String>,
        arguments: &mut Vec<Vec<u8>>,
    ) {
        for entry in entries {
            keys.push(self.layout.log(&Stream { log: entry.log, shard }));
            arguments.push(stored(entry));
        }
    }
}

/// What lies in storage: the id, then the sealed bytes.
fn stored(entry: &Entry) -> Vec<u8> {
    [entry.id.0.as_slice(), &entry.sealed].concat()
}

fn range(stream: &str, order: Order, limit: usize) -> Cmd {
    let behind = |position: Option<Position>, end: &str| {
        position.map_or_else(|| end.to_owned(), |Position { at_ms, nth }| format!("({at_ms}-{nth}"))
    };
    let (name, from, to) = match order {
        Order::Oldest(after) => ("XRANGE", behind(after, "-"), "+"),
        Order::Newest(before) => ("XREVRANGE", behind(before, "+"), "-"),
    };
    let mut command = on(name, stream);
    command.arg(from).arg(to).arg("COUNT").arg(limit);
    command
}

fn logged((position, fields): Answered) -> Result<Logged, Error> {
    let wrong = || Error::Corrupt { what: "an entry of the log" };
    let (at_ms, nth) = position.split_once('-').ok_or_else(wrong)?;
    let position = Position { at_ms: at_ms.parse().map_err(|_| wrong())?, nth: nth.parse().map_err(|_| wrong())? };
    let (id, sealed) = EntryId::split(fields.get(1).ok_or_else(wrong)?)?;
    Ok(Logged { position, id, sealed: sealed.to_vec() })
}

#[async_trait]
impl Log for RedisStore {
    async fn append(&self, shard: Shard, entries: &[Entry]) -> Result<(), Error> {
        let streams = entries.iter().map(|entry| Stream { log: entry.log, shard });
        let keys = streams.flat_map(|stream| [self.layout.log(&stream), self.layout.appended(&stream)]).collect();
        let _: i64 = self.script(&APPEND, keys, entries.iter().map(stored).collect()).await?;
        Ok(())
    }

    async fn read(&self, stream: &Stream, order: Order, limit: usize) -> Result<Vec<Logged>, Error> {
        let command = range(&self.layout.log(stream), order, limit);
        let answered: Vec<Answered> = self.command(command, Repeat::Read).await?;
        answered.into_iter().map(logged).collect()
    }

    async fn trim(&self, stream: &Stream, keep: Keep) -> Result<u64, Error> {
        let keys = vec![self.layout.log(stream), self.layout.appended(stream)];
        let age = keep.age.map(milliseconds).unwrap_or_default();
        let first = keep.behind.map(|Position { at_ms, nth }| format!("{at_ms}-{}", nth.saturating_add(1)));
        let arguments =
            vec![age, keep.entries.map(decimal).unwrap_or_default(), first.unwrap_or_default().into_bytes()];
        self.script(&TRIM, keys, arguments).await
    }
}
