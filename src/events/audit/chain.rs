//! The chain over each shard's part of the log, and what is signed of it. Pure: reads and writes nothing.
//!
//! The hash of an entry follows from that of the one before it, so that a signed hash speaks for all entries up to there. Signed
//! are, for each shard, marks along its chain from the floor (the last entry that was cut off) to the head, and over all shards
//! where each head stands. An anchor is what a new head says in one line of text, to be kept elsewhere.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use crate::{
    clock::Timestamp,
    store::{Logged, Position, Shard},
    vault::{PublicKey, Root, SIGNATURE, Signer},
};

/// How many marks a shard has at most: the newer, the closer to each other.
const MARKS: usize = 48;
/// What anchors begin with.
const ANCHOR: &str = "valetkey-audit-anchor-1";

/// Signs what is said of the log.
pub fn signer(root: &Root) -> Signer {
    root.signer("audit log")
}

/// A hash of the chain. Hexadecimal digits where it is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// Where the chain of a shard begins.
    pub fn beginning(shard: Shard) -> Self {
        Self(Sha256::new().chain_update(b"valetkey audit chain 1").chain_update([shard.0]).finalize().into())
    }

    /// The hash of the entry after this one: SHA-256 of this hash, and position, id and sealed bytes, each after its length
    /// (8 bytes, big endian). A position is its milliseconds and its number, 8 bytes each, big endian.
    #[must_use]
    pub fn then(&self, logged: &Logged) -> Self {
        let Position { at_ms, nth } = logged.position;
        let mut hash = Sha256::new().chain_update(self.0).chain_update(16_u64.to_be_bytes());
        hash.update(at_ms.to_be_bytes());
        hash.update(nth.to_be_bytes());
        for field in [logged.id.0.as_slice(), &logged.sealed] {
            hash.update((field.len() as u64).to_be_bytes());
            hash.update(field);
        }
        Self(hash.finalize().into())
    }

    /// As anchors have it: its first half.
    pub fn short(&self) -> String {
        HEXLOWER.encode(&self.0[..16])
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&HEXLOWER.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(serde::de::Error::custom)?;
        bytes.try_into().map(Self).map_err(|_| serde::de::Error::custom("a hash has 32 bytes"))
    }
}

/// A place in a shard's chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Mark {
    /// The position of the last entry up to here; zero before the first.
    at: u64,
    nth: u64,
    /// How many entries there were from the beginning to here.
    pub count: u64,
    /// The last one's hash.
    pub hash: Hash,
}

impl Mark {
    /// Before the first entry.
    pub fn beginning(shard: Shard) -> Self {
        Self { at: 0, nth: 0, count: 0, hash: Hash::beginning(shard) }
    }

    /// The same one entry later.
    #[must_use]
    pub fn then(&self, logged: &Logged) -> Self {
        let Position { at_ms, nth } = logged.position;
        Self { at: at_ms, nth, count: self.count + 1, hash: self.hash.then(logged) }
    }

    /// The position of its entry.
    pub const fn position(&self) -> Position {
        Position { at_ms: self.at, nth: self.nth }
    }
}

/// What is signed of a shard.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Head {
    /// Which shard.
    pub shard: u8,
    /// When it was signed, in milliseconds since the epoch.
    pub time: u64,
    /// Marks in order: the first is the floor, the last the head, and they may be the same.
    marks: Vec<Mark>,
}

impl Head {
    /// Of a shard of which nothing was signed yet.
    pub fn beginning(shard: Shard) -> Self {
        Self { shard: shard.0, time: 0, marks: vec![Mark::beginning(shard)] }
    }

    /// The last entry that was cut off.
    pub fn floor(&self) -> Mark {
        self.marks.first().copied().unwrap_or_else(|| Mark::beginning(Shard(self.shard)))
    }

    /// The last entry that it speaks for.
    pub fn head(&self) -> Mark {
        self.marks.last().copied().unwrap_or_else(|| Mark::beginning(Shard(self.shard)))
    }

    /// All marks, the floor first.
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// From now on it speaks for entries up to this mark.
    pub fn extend(&mut self, to: Mark) {
        self.marks.push(to);
        if self.marks.len() > MARKS {
            // Every other one of the older half goes.
            let mut at = 0;
            self.marks.retain(|_| {
                at += 1;
                at == 1 || at > MARKS / 2 || at % 2 == 0
            });
        }
    }

    /// What is up to this mark is cut off.
    pub fn cut(&mut self, floor: Mark) {
        self.marks.retain(|mark| mark.count > floor.count);
        self.marks.insert(0, floor);
    }
}

/// Where the head of one shard stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Standing {
    /// Which shard.
    pub shard: u8,
    /// The count of its floor.
    pub floor: u64,
    /// Its head.
    pub head: Mark,
}

/// What is signed over all shards, so that none is put back alone.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Heads {
    /// Grows by one each time.
    pub sequence: u64,
    /// When it was signed, in milliseconds since the epoch.
    pub time: u64,
    /// Where each shard stands that has had an entry, in order.
    pub shards: Vec<Standing>,
}

impl Heads {
    /// Where this shard stands.
    pub fn of(&self, shard: Shard) -> Option<&Standing> {
        self.shards.iter().find(|standing| standing.shard == shard.0)
    }

    /// How many entries are kept, as far as it speaks for them.
    pub fn entries(&self) -> u64 {
        self.shards.iter().map(|standing| standing.head.count.saturating_sub(standing.floor)).sum()
    }
}

/// Something that is signed: JSON, a line feed, the signature in hexadecimal digits. Signed is the JSON after a label and a line
/// feed.
pub trait Signed: Serialize + DeserializeOwned {
    /// Tells it from everything else that is signed.
    const LABEL: &str;
}

impl Signed for Head {
    const LABEL: &str = "valetkey audit head 1";
}

impl Signed for Heads {
    const LABEL: &str = "valetkey audit heads 1";
}

/// It isn't signed by this deployment, or isn't what it seems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what is signed of the log was changed, or signed by somebody else")]
pub struct NotSigned;

/// Signs it.
pub fn sign<T: Signed>(signer: &Signer, what: &T) -> Vec<u8> {
    let mut text = serde_json::to_string(what).expect("numbers and texts are JSON");
    let signature = signer.sign(format!("{}\n{text}", T::LABEL).as_bytes());
    text.push('\n');
    text.push_str(&HEXLOWER.encode(&signature));
    text.into_bytes()
}

/// What [`sign`] made.
///
/// # Errors
/// Of anything else.
pub fn signed<T: Signed>(key: &PublicKey, bytes: &[u8]) -> Result<T, NotSigned> {
    let text = std::str::from_utf8(bytes).map_err(|_| NotSigned)?;
    let (json, signature) = text.split_once('\n').ok_or(NotSigned)?;
    verified(key, &format!("{}\n{json}", T::LABEL), signature)?;
    serde_json::from_str(json).map_err(|_| NotSigned)
}

fn verified(key: &PublicKey, message: &str, signature: &str) -> Result<(), NotSigned> {
    let signature = HEXLOWER.decode(signature.as_bytes()).map_err(|_| NotSigned)?;
    let is_good = signature.len() == SIGNATURE && key.verifies(message.as_bytes(), &signature);
    is_good.then_some(()).ok_or(NotSigned)
}

/// What a head says in a line of text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Anchor {
    /// The number of the heads.
    pub sequence: u64,
    /// When they were signed.
    pub time: Timestamp,
    /// Shards that have moved on since the one before: how many entries each has had, and the first half of the last one's hash.
    pub shards: Vec<(Shard, u64, String)>,
}

impl Anchor {
    /// What has moved on between these.
    pub fn between(before: &Heads, after: &Heads) -> Self {
        let moved = after.shards.iter().filter(|standing| {
            before.of(Shard(standing.shard)).is_none_or(|before| before.head.count != standing.head.count)
        });
        let shards =
            moved.map(|standing| (Shard(standing.shard), standing.head.count, standing.head.hash.short())).collect();
        Self { sequence: after.sequence, time: Timestamp::from_millis(after.time), shards }
    }

    /// The line: `valetkey-audit-anchor-1 SEQUENCE MILLISECONDS SHARD:COUNT:HASH,… SIGNATURE`, shards in two hexadecimal digits.
    /// Signed is everything before the last space.
    pub fn sign(&self, signer: &Signer) -> String {
        let shards: Vec<String> =
            self.shards.iter().map(|(shard, count, hash)| format!("{:02x}:{count}:{hash}", shard.0)).collect();
        let text = format!("{ANCHOR} {} {} {}", self.sequence, self.time.millis(), shards.join(","));
        let signature = HEXLOWER.encode(&signer.sign(text.as_bytes()));
        format!("{text} {signature}")
    }

    /// Finds an anchor in a line of a log, whatever stands around it; none where there is none.
    ///
    /// # Errors
    /// Where there is one that isn't signed by this key.
    pub fn find(key: &PublicKey, line: &str) -> Result<Option<Self>, NotSigned> {
        let Some(at) = line.find(ANCHOR) else { return Ok(None) };
        let is_text = |next: char| next.is_ascii_alphanumeric() || matches!(next, ' ' | ':' | ',' | '-');
        let text = &line[at..];
        let text = &text[..text.find(|next| !is_text(next)).unwrap_or(text.len())];
        let fields: Vec<&str> = text.split(' ').collect();
        let [_, sequence, time, shards, signature, ..] = fields.as_slice() else { return Err(NotSigned) };
        verified(key, &format!("{ANCHOR} {sequence} {time} {shards}"), signature)?;
        let shard = |text: &str| {
            let mut parts = text.split(':');
            let shard = Shard(u8::from_str_radix(parts.next()?, 16).ok()?);
            Some((shard, parts.next()?.parse().ok()?, parts.next()?.to_owned()))
        };
        let shards: Option<Vec<_>> = shards.split(',').filter(|text| !text.is_empty()).map(shard).collect();
        let (sequence, time) = (sequence.parse().map_err(|_| NotSigned)?, time.parse().map_err(|_| NotSigned)?);
        Ok(Some(Self { sequence, time: Timestamp::from_millis(time), shards: shards.ok_or(NotSigned)? }))
    }
}

/// The name under which the store keeps what is signed of a shard.
pub fn head_name(shard: Shard) -> String {
    format!("audit-head-{:02x}", shard.0)
}

/// The name under which it keeps what is signed over all.
pub const HEADS_NAME: &str = "audit-heads";
