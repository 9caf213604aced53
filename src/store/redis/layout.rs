//! What the keys are called. Everything of one owner carries the same hash tag, so that each atomic step touches one
//! cluster slot; the tag is one byte of the owner's hash, so that indexes number 256 and not one per owner.

use sha2::{Digest, Sha256};

use crate::store::{Key, OwnerId};

/// How many shards there are.
pub(super) const SHARDS: u16 = 256;

/// Where changes are told.
pub(super) const CHANGES: &str = "vk:changes";

/// An owner's records: hash of record → stored form.
pub(super) fn records(owner: &OwnerId) -> String {
    format!("vk:{{{:02x}}}:r:{owner}", owner.0[0])
}

/// Due times of a shard: sorted set of keys by milliseconds since the epoch.
pub(super) fn due(shard: u8) -> String {
    format!("vk:{{{shard:02x}}}:due")
}

/// Who has records in a shard: set of owners.
pub(super) fn owners(shard: u8) -> String {
    format!("vk:{{{shard:02x}}}:owners")
}

/// The last fencing number of a shard.
pub(super) fn fence(shard: u8) -> String {
    format!("vk:{{{shard:02x}}}:fence")
}

/// A record's lease.
pub(super) fn lease(key: &Key) -> String {
    format!("vk:{{{:02x}}}:l:{key}", shard(key))
}

/// A one-time value.
pub(super) fn one_time(id: &str) -> String {
    format!("vk:{{{:02x}}}:o:{id}", Sha256::digest(id.as_bytes())[0])
}

/// The channel on which one process hears its own heartbeat.
pub(super) fn heartbeat(instance: u64) -> String {
    format!("vk:beat:{instance:016x}")
}

/// The shard a record is in.
pub(super) fn shard(key: &Key) -> u8 {
    key.owner.0[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::RecordId;

    #[test]
    fn all_of_an_owner_lies_in_one_slot() {
        let key = Key { owner: OwnerId([0x3f; 16]), record: RecordId([1; 16]) };
        let names = [records(&key.owner), due(shard(&key)), owners(shard(&key)), fence(shard(&key)), lease(&key)];
        for name in names {
            assert!(name.starts_with("vk:{3f}:"), "{name}");
        }
    }

    #[test]
    fn one_time_values_spread_over_shards() {
        let shards: std::collections::HashSet<String> =
            (0..200).map(|n| one_time(&n.to_string())[..7].to_owned()).collect();
        assert!(shards.len() > 64);
    }
}
