//! What the keys are called. Everything of one owner carries the same hash tag, so that each atomic step touches one
//! cluster slot; the tag is one byte of the owner's hash, so that indexes number 256 and not one per owner.

use std::{fmt, sync::Arc};

use sha2::{Digest, Sha256};

use crate::store::{Key, OwnerId, Stream};

/// How many shards there are.
pub(super) const SHARDS: u16 = 256;

/// The names of one deployment. All begin with its prefix, so that deployments with different prefixes share a Redis
/// without seeing each other.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    prefix: Arc<str>,
}

impl Layout {
    /// Names that begin with `prefix` and a colon.
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into() }
    }

    /// The channel on which changes are told.
    pub(super) fn changes(&self) -> String {
        format!("{}:changes", self.prefix)
    }

    /// The channel on which one process hears its own heartbeat.
    pub(super) fn heartbeat(&self, instance: u64) -> String {
        format!("{}:beat:{instance:016x}", self.prefix)
    }

    /// An owner's records: hash of record → stored form.
    pub(super) fn records(&self, owner: &OwnerId) -> String {
        self.in_shard(owner.0[0], format_args!("r:{owner}"))
    }

    /// Due times of a shard: sorted set of keys by milliseconds since the epoch.
    pub(super) fn due(&self, shard: u8) -> String {
        self.in_shard(shard, format_args!("due"))
    }

    /// Who has records in a shard: set of owners.
    pub(super) fn owners(&self, shard: u8) -> String {
        self.in_shard(shard, format_args!("owners"))
    }

    /// The last fencing number of a shard.
    pub(super) fn fence(&self, shard: u8) -> String {
        self.in_shard(shard, format_args!("fence"))
    }

    /// A record's lease.
    pub(super) fn lease(&self, key: &Key) -> String {
        self.in_shard(key.shard().0, format_args!("l:{key}"))
    }

    /// A one-time value.
    pub(super) fn one_time(&self, id: &str) -> String {
        self.in_shard(spread(id), format_args!("o:{id}"))
    }

    /// A log's entries in a shard: a Redis stream.
    pub(super) fn log(&self, stream: &Stream) -> String {
        self.in_shard(stream.shard.0, format_args!("a:{}", stream.log.as_str()))
    }

    /// Which entries of it were appended by themselves: sorted set of their ids by milliseconds since the epoch.
    pub(super) fn appended(&self, stream: &Stream) -> String {
        self.in_shard(stream.shard.0, format_args!("i:{}", stream.log.as_str()))
    }

    /// One bucket of a counter.
    pub(super) fn bucket(&self, counter: &str, bucket: u64) -> String {
        self.in_shard(spread(counter), format_args!("c:{counter}:{bucket}"))
    }

    /// Marks what a counter has counted.
    pub(super) fn counted(&self, counter: &str, id: &str) -> String {
        self.in_shard(spread(counter), format_args!("n:{counter}:{id}"))
    }

    fn in_shard(&self, shard: u8, name: fmt::Arguments<'_>) -> String {
        format!("{}:{{{shard:02x}}}:{name}", self.prefix)
    }
}

/// The shard of what has a name and no owner.
fn spread(name: &str) -> u8 {
    Sha256::digest(name.as_bytes())[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{LogName, RecordId};

    #[test]
    fn all_of_an_owner_lies_in_one_slot() {
        let key = Key { owner: OwnerId([0x3f; 16]), record: RecordId([1; 16]) };
        let (layout, shard) = (Layout::new("vk"), key.shard().0);
        let stream = Stream { log: LogName::new("audit"), shard: key.shard() };
        let names = [
            layout.records(&key.owner),
            layout.due(shard),
            layout.owners(shard),
            layout.fence(shard),
            layout.lease(&key),
            layout.log(&stream),
            layout.appended(&stream),
        ];
        for name in names {
            assert!(name.starts_with("vk:{3f}:"), "{name}");
        }
    }

    #[test]
    fn one_time_values_spread_over_shards() {
        let shards: std::collections::HashSet<String> =
            (0..200).map(|n| Layout::new("vk").one_time(&n.to_string())[..7].to_owned()).collect();
        assert!(shards.len() > 64);
    }

    #[test]
    fn all_of_a_counter_lies_in_one_slot() {
        let layout = Layout::new("vk");
        let names = [layout.bucket("a", 1), layout.bucket("a", 2), layout.counted("a", "x")];
        assert!(names.iter().all(|name| name[..7] == names[0][..7]), "{names:?}");
    }
}
