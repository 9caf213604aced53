//! The store of several replicas: Redis alone, behind Sentinel or as a Cluster. Each write is one Lua script on one hash
//! slot; reads go to the master only. It never fails because Redis is away at the start, and needs no restart when Redis
//! comes back.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use redis::{Cmd, cmd};
use tokio::runtime::Handle;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use self::layout::Layout;
use self::link::Link;
use self::request::{LuaScript, Repeat, Request, read};
use self::targets::Targets;
use super::key::{owner_from_bytes, record_from_bytes};
use super::notices::Notices;
use super::version::encode;
use super::{
    Change, Claim, Due, Entry, Error, Expect, Key, OwnerId, Page, Put, RecordId, Store, Taken, Version, Versioned,
    Write, check_one_time_id,
};

mod counters;
mod fault;
mod layout;
mod link;
mod listener;
mod log;
mod options;
mod request;
mod targets;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use options::{Limits, OptionsError, RedisOptions, TlsOptions, Topology};

static PUT: LuaScript = LuaScript::new(include_str!("lua/put.lua"));
static DELETE: LuaScript = LuaScript::new(include_str!("lua/delete.lua"));
static LEASE: LuaScript = LuaScript::new(include_str!("lua/lease.lua"));
static RENEW: LuaScript = LuaScript::new(include_str!("lua/renew.lua"));
static RELEASE: LuaScript = LuaScript::new(include_str!("lua/release.lua"));
static PUT_ONCE: LuaScript = LuaScript::new(include_str!("lua/put_once.lua"));
static REPLACE: LuaScript = LuaScript::new(include_str!("lua/replace.lua"));

/// The bytes in front of a one-time value that tell one call's value from another's.
const NONCE: usize = 16;

/// The store in Redis.
pub struct RedisStore {
    layout: Layout,
    link: Arc<Link>,
    notices: Arc<Notices>,
    closed: CancellationToken,
}

impl RedisStore {
    /// Checks the settings and begins to connect on `near`, the runtime from which most calls come; they may come from any
    /// with timers. What goes on all the time, listening to others' changes, is done on `beside`. Both must outlive the
    /// store. That Redis can't be reached is no error here.
    ///
    /// # Errors
    /// [`OptionsError`] for settings that cannot work.
    pub fn connect(options: &RedisOptions, near: &Handle, beside: &Handle) -> Result<Self, OptionsError> {
        let layout = Layout::new(&options.prefix);
        let targets = Targets::new(options, &layout)?;
        let closed = CancellationToken::new();
        let link = Link::start(targets, options.limits.clone(), near.clone(), closed.clone());
        let notices = Arc::new(Notices::new());
        beside.spawn(listener::listen(Arc::clone(&link), layout.clone(), Arc::clone(&notices), closed.clone()));
        Ok(Self { layout, link, notices, closed })
    }

    async fn script<T: redis::FromRedisValue>(
        &self,
        script: &'static LuaScript,
        keys: Vec<String>,
        arguments: Vec<Vec<u8>>,
    ) -> Result<T, Error> {
        read(self.link.call(&Request::Script { script, keys, arguments }, Repeat::Write).await?)
    }

    async fn command<T: redis::FromRedisValue>(&self, command: Cmd, repeat: Repeat) -> Result<T, Error> {
        read(self.link.call(&Request::Command(command), repeat).await?)
    }

    /// The keys that every write of a record touches.
    fn keys_of(&self, key: &Key) -> Vec<String> {
        let shard = key.shard().0;
        vec![self.layout.records(&key.owner), self.layout.due(shard), self.layout.owners(shard)]
    }

    async fn records_of(&self, owner: &OwnerId) -> Result<Vec<(RecordId, Versioned)>, Error> {
        let fields: Vec<(Vec<u8>, Vec<u8>)> =
            self.command(on("HGETALL", &self.layout.records(owner)), Repeat::Read).await?;
        let mut records = Vec::with_capacity(fields.len());
        for (record, stored) in fields {
            match record_from_bytes(&record).and_then(|record| Ok((record, Versioned::decode(&stored)?))) {
                Ok(found) => records.push(found),
                Err(error) => tracing::warn!(%error, %owner, "a record is skipped"),
            }
        }
        Ok(records)
    }

    /// Some owners of a shard, and where to go on (0: nowhere).
    async fn owners_of(&self, shard: u8, cursor: u64, about: usize) -> Result<(u64, Vec<OwnerId>), Error> {
        let mut command = on("SSCAN", &self.layout.owners(shard));
        command.arg(cursor).arg("COUNT").arg(about);
        let (next, owners): (u64, Vec<Vec<u8>>) = self.command(command, Repeat::Read).await?;
        Ok((next, owners.iter().map(|owner| owner_from_bytes(owner)).collect::<Result<_, _>>()?))
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

fn on(name: &str, key: &str) -> Cmd {
    let mut command = cmd(name);
    command.arg(key);
    command
}

fn decimal(number: impl ToString) -> Vec<u8> {
    number.to_string().into_bytes()
}

/// Milliseconds as Redis takes them: at least one.
fn milliseconds(ttl: Duration) -> Vec<u8> {
    decimal(ttl.as_millis().clamp(1, i64::MAX as u128 / 4))
}

/// How the scripts read an expectation.
fn expectation(expect: Expect) -> (Vec<u8>, Vec<u8>) {
    match expect {
        Expect::Absent => (b"absent".to_vec(), Vec::new()),
        Expect::Version(Version(version)) => (b"version".to_vec(), version.to_be_bytes().to_vec()),
        Expect::Any => (b"any".to_vec(), Vec::new()),
    }
}

/// What the writing scripts answer.
fn written((done, there): (i64, Option<Vec<u8>>)) -> Result<Put, Error> {
    match done {
        1 => Ok(Put::Stored),
        2 => Err(Error::LeaseLost),
        _ => Ok(Put::Conflict(there.map(|there| Versioned::decode(&there)).transpose()?)),
    }
}

/// The stored form of a one-time value.
fn with_nonce(value: &[u8]) -> Result<Vec<u8>, Error> {
    let mut nonce = [0; NONCE];
    getrandom::fill(&mut nonce).map_err(|_| Error::unavailable("the system has no random numbers"))?;
    Ok([nonce.as_slice(), value].concat())
}

fn without_nonce(stored: Vec<u8>) -> Result<Vec<u8>, Error> {
    stored.get(NONCE..).map(<[u8]>::to_vec).ok_or(Error::Corrupt { what: "a one-time value" })
}

/// What came of asking all shards: everything that was answered, unless nothing was. A part of a cluster that is down
/// doesn't hide the rest.
async fn all_shards<T>(
    questions: impl Iterator<Item = impl Future<Output = Result<T, Error>>>,
) -> Result<Vec<T>, Error> {
    let mut answers = Vec::new();
    let mut failed = None;
    for answer in join_all(questions).await {
        match answer {
            Ok(answer) => answers.push(answer),
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) if answers.is_empty() => Err(error),
        Some(error) => {
            tracing::warn!(%error, "a part of Redis did not answer");
            Ok(answers)
        }
        None => Ok(answers),
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn get(&self, key: &Key) -> Result<Option<Versioned>, Error> {
        let mut command = on("HGET", &self.layout.records(&key.owner));
        command.arg(&key.record.0);
        let stored: Option<Vec<u8>> = self.command(command, Repeat::Read).await?;
        stored.map(|stored| Versioned::decode(&stored)).transpose()
    }

    async fn list(&self, owner: &OwnerId) -> Result<Vec<(RecordId, Versioned)>, Error> {
        self.records_of(owner).await
    }

    async fn put(&self, key: &Key, expect: Expect, write: Write<'_>) -> Result<Put, Error> {
        let Write { version, value, due, entries, under } = write;
        let (expect, expected) = expectation(expect);
        let mut keys = self.keys_of(key);
        let mut arguments = vec![
            key.record.0.to_vec(),
            expect,
            expected,
            encode(version, value),
            due.map(decimal).unwrap_or_default(),
            key.to_bytes().to_vec(),
            key.owner.0.to_vec(),
            self.layout.changes().into_bytes(),
            Change::text(key, Some(version)).into_bytes(),
            under.map(|held| held.holder.into()).unwrap_or_default(),
        ];
        self.add_entries(key.shard(), entries, &mut keys, &mut arguments);
        keys.extend(under.map(|held| self.layout.lease(held.key)));
        written(first_and_rest(self.script(&PUT, keys, arguments).await?)?)
    }

    async fn delete(&self, key: &Key, expect: Expect, entries: &[Entry]) -> Result<Put, Error> {
        let (expect, expected) = expectation(expect);
        let mut keys = self.keys_of(key);
        let mut arguments = vec![
            key.record.0.to_vec(),
            expect,
            expected,
            key.to_bytes().to_vec(),
            key.owner.0.to_vec(),
            self.layout.changes().into_bytes(),
            Change::text(key, None).into_bytes(),
        ];
        self.add_entries(key.shard(), entries, &mut keys, &mut arguments);
        written(first_and_rest(self.script(&DELETE, keys, arguments).await?)?)
    }

    async fn due(&self, until_ms: u64, after: Option<Due>, limit: usize) -> Result<Vec<Due>, Error> {
        // Of what is due at the same time as the one before, some lies before it.
        let from = after.map_or_else(|| "-inf".into(), |(_, at)| decimal(at));
        let from = &from;
        let shards = all_shards((0..=u8::MAX).map(|shard| async move {
            let mut command = on("ZRANGEBYSCORE", &self.layout.due(shard));
            command.arg(from).arg(until_ms).arg("WITHSCORES").arg("LIMIT").arg(0).arg(limit);
            self.command::<Vec<(Vec<u8>, f64)>>(command, Repeat::Read).await
        }))
        .await?;
        let mut due = Vec::new();
        for (key, at) in shards.into_iter().flatten() {
            due.push((Key::from_bytes(&key)?, at as u64));
        }
        if let Some((last, time)) = after {
            due.retain(|(key, at)| (*at, *key) > (time, last));
        }
        due.sort_unstable_by_key(|(key, at)| (*at, *key));
        due.truncate(limit);
        Ok(due)
    }

    async fn lease(&self, key: &Key, holder: &str, ttl: Duration) -> Result<Taken, Error> {
        let keys = vec![self.layout.lease(key), self.layout.fence(key.shard().0)];
        let (mine, number): (i64, i64) = self.script(&LEASE, keys, vec![holder.into(), milliseconds(ttl)]).await?;
        let number = u64::try_from(number).unwrap_or(0);
        Ok(match mine {
            1 => Taken::Mine { fence: number },
            _ => Taken::Theirs { remaining: Duration::from_millis(number) },
        })
    }

    async fn renew(&self, key: &Key, holder: &str, ttl: Duration) -> Result<bool, Error> {
        let renewed: i64 =
            self.script(&RENEW, vec![self.layout.lease(key)], vec![holder.into(), milliseconds(ttl)]).await?;
        Ok(renewed == 1)
    }

    async fn release(&self, key: &Key, holder: &str) -> Result<(), Error> {
        let _: i64 = self.script(&RELEASE, vec![self.layout.lease(key)], vec![holder.into()]).await?;
        Ok(())
    }

    async fn put_once(&self, id: &str, value: &[u8], ttl: Option<Duration>) -> Result<Claim, Error> {
        check_one_time_id(id)?;
        let arguments = vec![with_nonce(value)?, ttl.map(milliseconds).unwrap_or_default()];
        match first_and_rest(self.script(&PUT_ONCE, vec![self.layout.one_time(id)], arguments).await?)? {
            (1, _) => Ok(Claim::Mine),
            (_, Some(there)) => without_nonce(there).map(Claim::Theirs),
            (_, None) => Err(Error::Corrupt { what: "a one-time value" }),
        }
    }

    async fn peek(&self, id: &str) -> Result<Option<Vec<u8>>, Error> {
        check_one_time_id(id)?;
        let stored: Option<Vec<u8>> = self.command(on("GET", &self.layout.one_time(id)), Repeat::Read).await?;
        stored.map(without_nonce).transpose()
    }

    async fn take(&self, id: &str) -> Result<Option<Vec<u8>>, Error> {
        check_one_time_id(id)?;
        let stored: Option<Vec<u8>> = self.command(on("GETDEL", &self.layout.one_time(id)), Repeat::Never).await?;
        stored.map(without_nonce).transpose()
    }

    async fn replace(&self, id: &str, expected: &[u8], value: &[u8], ttl: Option<Duration>) -> Result<bool, Error> {
        check_one_time_id(id)?;
        let arguments = vec![expected.to_vec(), with_nonce(value)?, ttl.map(milliseconds).unwrap_or_default()];
        let replaced: i64 = self.script(&REPLACE, vec![self.layout.one_time(id)], arguments).await?;
        Ok(replaced == 1)
    }

    async fn count(&self) -> Result<u64, Error> {
        let mut total = 0;
        for shard in 0..=u8::MAX {
            let mut cursor = 0;
            loop {
                let (next, owners) = self.owners_of(shard, cursor, 500).await?;
                let lengths = owners.iter().map(|owner| async move {
                    self.command::<u64>(on("HLEN", &self.layout.records(owner)), Repeat::Read).await
                });
                total += join_all(lengths).await.into_iter().sum::<Result<u64, _>>()?;
                cursor = next;
                if cursor == 0 {
                    break;
                }
            }
        }
        Ok(total)
    }

    /// The cursor is `shard.position`.
    async fn scan(&self, cursor: Option<String>, limit: usize) -> Result<Page, Error> {
        let wrong = || Error::Refused { reason: "a cursor of another store".into(), passing: false };
        let (mut shard, mut position) = match &cursor {
            None => (0_u16, 0_u64),
            Some(cursor) => {
                let (shard, position) = cursor.split_once('.').ok_or_else(wrong)?;
                (shard.parse().map_err(|_| wrong())?, position.parse().map_err(|_| wrong())?)
            }
        };
        let mut page = Vec::new();
        while page.len() < limit.max(1) {
            let Ok(at) = u8::try_from(shard) else { return Ok((page, None)) };
            let (next, owners) = self.owners_of(at, position, limit.clamp(1, 1000)).await?;
            let found = join_all(owners.iter().map(|owner| self.records_of(owner))).await;
            for (owner, records) in owners.iter().zip(found) {
                page.extend(records?.into_iter().map(|(record, value)| (Key { owner: *owner, record }, value)));
            }
            (shard, position) = if next == 0 { (shard + 1, 0) } else { (shard, next) };
        }
        Ok((page, (shard < layout::SHARDS).then(|| format!("{shard}.{position}"))))
    }

    async fn ping(&self) -> Result<(), Error> {
        self.command::<redis::Value>(cmd("PING"), Repeat::Read).await.map(drop)
    }

    fn changes(&self) -> broadcast::Receiver<Change> {
        self.notices.subscribe()
    }

    fn channel_up(&self) -> bool {
        self.notices.epoch().is_some()
    }

    fn channel_epoch(&self) -> Option<u64> {
        self.notices.epoch()
    }

    async fn close(&self) {
        self.closed.cancel();
        self.link.shut();
    }
}

/// Reads `{1}` or `{0, what stands there}`.
fn first_and_rest(answer: Vec<redis::Value>) -> Result<(i64, Option<Vec<u8>>), Error> {
    let mut answer = answer.into_iter();
    let done = answer.next().map(read).transpose()?.unwrap_or(0);
    Ok((done, answer.next().map(read).transpose()?.flatten()))
}
