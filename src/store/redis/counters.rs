//! Counters: a number a bucket, and a mark for each thing that was counted, all of a counter in one slot.

use std::ops::RangeInclusive;

use async_trait::async_trait;
use redis::cmd;

use super::{LuaScript, RedisStore, Repeat, decimal, milliseconds};
use crate::store::{
    Counters, Error, Tally,
    counters::{check_counts, check_tally},
};

static COUNT_UP: LuaScript = LuaScript::new(include_str!("lua/count_up.lua"));

#[async_trait]
impl Counters for RedisStore {
    async fn count_up(&self, tally: &Tally<'_>) -> Result<(), Error> {
        check_tally(tally)?;
        let keys = vec![self.layout.counted(tally.name, tally.id), self.layout.bucket(tally.name, tally.bucket)];
        let arguments = vec![decimal(tally.n), milliseconds(tally.kept_for), milliseconds(tally.known_for)];
        let _: i64 = self.script(&COUNT_UP, keys, arguments).await?;
        Ok(())
    }

    async fn counts(&self, name: &str, buckets: RangeInclusive<u64>) -> Result<Vec<(u64, u64)>, Error> {
        check_counts(name, &buckets)?;
        let mut command = cmd("MGET");
        for bucket in buckets.clone() {
            command.arg(self.layout.bucket(name, bucket));
        }
        let counts: Vec<Option<u64>> = self.command(command, Repeat::Read).await?;
        Ok(buckets.zip(counts).filter_map(|(bucket, count)| Some((bucket, count?))).collect())
    }
}
