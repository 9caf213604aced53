//! Whether the log is what was signed: each shard's entries are held against its marks, against what is signed over all shards,
//! and against anchors that were kept elsewhere. Pure: it is told the entries, in order, and says what is wrong and where.

use std::{collections::BTreeMap, fmt};

use super::chain::{Anchor, Hash, Head, Heads, Mark, signed};
use crate::{
    clock::Timestamp,
    store::{Logged, Position, Shard},
    vault::PublicKey,
};

/// Something that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// In which shard's part; none: in what is said of all.
    pub shard: Option<Shard>,
    /// Between which entries, or at which (both the same), where that is known.
    pub between: Option<(Position, Position)>,
    /// What, in a sentence without its full stop.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |at: Position| match at.at_ms {
            0 => "the beginning".to_owned(),
            at_ms => format!("{at_ms}-{} ({})", at.nth, Timestamp::from_millis(at_ms)),
        };
        match self.shard {
            Some(shard) => write!(f, "shard {:02x}: {}", shard.0, self.what)?,
            None => write!(f, "{}", self.what)?,
        }
        match self.between {
            None => Ok(()),
            Some((from, to)) if from == to => write!(f, ", at {}", place(from)),
            Some((from, to)) => write!(f, ", after {} and up to {}", place(from), place(to)),
        }
    }
}

/// What came of looking at a shard.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Checked {
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// How many entries a signature speaks for.
    pub signed: u64,
    /// How many have come since.
    pub unsigned: u64,
}

/// What is signed over all shards, and the anchors.
pub struct Whole {
    key: PublicKey,
    heads: Option<Heads>,
    /// By shard: how many entries an anchor knows of, their last hash, and when that was.
    anchored: BTreeMap<Shard, Vec<(u64, String, Timestamp)>>,
    findings: Vec<Finding>,
}

impl Whole {
    /// With what the store has signed over all shards, and these lines of a log, in which there may be anchors.
    pub fn new<'l>(key: PublicKey, heads: Option<&[u8]>, lines: impl Iterator<Item = &'l str>) -> Self {
        let mut whole = Self { key, heads: None, anchored: BTreeMap::new(), findings: Vec::new() };
        match heads.map(|bytes| signed::<Heads>(&key, bytes)) {
            None => {}
            Some(Ok(heads)) => whole.heads = Some(heads),
            Some(Err(_)) => whole.say("what is signed over all shards was changed, or signed by somebody else"),
        }
        let mut newest: Option<(u64, Timestamp)> = None;
        for (number, line) in lines.enumerate() {
            match Anchor::find(&key, line) {
                Ok(None) => {}
                Ok(Some(anchor)) => {
                    newest = newest.max(Some((anchor.sequence, anchor.time)));
                    for (shard, count, hash) in anchor.shards {
                        whole.anchored.entry(shard).or_default().push((count, hash, anchor.time));
                    }
                }
                Err(_) => whole.say(&format!("line {} of the anchors isn't signed by this deployment", number + 1)),
            }
        }
        let known = whole.heads.as_ref().map_or(0, |heads| heads.sequence);
        if let Some((sequence, time)) = newest.filter(|(sequence, _)| *sequence > known) {
            let text = format!(
                "an anchor of {time} has the number {sequence}, and the store knows only {known}: it was put back"
            );
            whole.say(&text);
        }
        whole
    }

    /// How many anchors there are for all shards together.
    pub fn anchors(&self) -> usize {
        self.anchored.values().map(Vec::len).sum()
    }

    /// When the whole was last signed.
    pub fn signed_at(&self) -> Option<Timestamp> {
        self.heads.as_ref().map(|heads| Timestamp::from_millis(heads.time))
    }

    /// How many entries it speaks for.
    pub fn entries(&self) -> u64 {
        self.heads.as_ref().map_or(0, Heads::entries)
    }

    /// Begins with a shard: `head` is what the store has signed of it.
    pub fn shard(&self, shard: Shard, head: Option<&[u8]>) -> ShardCheck {
        let mut check = ShardCheck::new(shard);
        let standing = self.heads.as_ref().and_then(|heads| heads.of(shard));
        match head.map(|bytes| signed::<Head>(&self.key, bytes)) {
            None if standing.is_some() => check.say(None, "what is signed of it is missing"),
            None => {}
            Some(Err(_)) => {
                check.say(None, "what is signed of it was changed, or signed by somebody else");
                check.is_known = false;
            }
            Some(Ok(head)) if head.shard != shard.0 => {
                check.say(None, "what is signed of it belongs to another shard");
                check.is_known = false;
            }
            Some(Ok(head)) => {
                if standing.is_none() && self.heads.is_none() {
                    check.say(None, "it is signed, and nothing is signed over all shards");
                }
                if standing.is_some_and(|standing| standing.head.count > head.head().count) {
                    check.say(None, "what is signed of it is older than what is signed over all shards");
                }
                check.begin(head);
            }
        }
        if let Some(standing) = standing {
            check.expect(standing.head.count, Expected::Whole(standing.head.hash, standing.head.position()));
        }
        for (count, hash, time) in self.anchored.get(&shard).into_iter().flatten() {
            check.expect(*count, Expected::Anchor(hash.clone(), *time));
        }
        check
    }

    /// What is wrong with the whole.
    pub fn into_findings(self) -> Vec<Finding> {
        self.findings
    }

    fn say(&mut self, what: &str) {
        self.findings.push(Finding { shard: None, between: None, what: what.to_owned() });
    }
}

/// What the hash at a count should be, as somebody else than the shard's own marks says.
enum Expected {
    /// What is signed over all shards.
    Whole(Hash, Position),
    /// An anchor.
    Anchor(String, Timestamp),
}

/// Looks at one shard's entries, in order.
pub struct ShardCheck {
    shard: Shard,
    /// Whether it is known where the chain begins.
    is_known: bool,
    now: Mark,
    floor: Mark,
    /// Marks ahead, the next one last.
    ahead: Vec<Mark>,
    passed: Mark,
    last: Option<Position>,
    expected: BTreeMap<u64, Vec<Expected>>,
    checked: Checked,
}

impl ShardCheck {
    fn new(shard: Shard) -> Self {
        let beginning = Mark::beginning(shard);
        Self {
            shard,
            is_known: true,
            now: beginning,
            floor: beginning,
            ahead: Vec::new(),
            passed: beginning,
            last: None,
            expected: BTreeMap::new(),
            checked: Checked::default(),
        }
    }

    fn begin(&mut self, head: Head) {
        self.floor = head.floor();
        (self.now, self.passed) = (self.floor, self.floor);
        self.ahead = head.marks().iter().skip(1).rev().copied().collect();
    }

    fn expect(&mut self, count: u64, what: Expected) {
        // What was before the floor is gone, and what was at it is signed with it.
        if count >= self.floor.count {
            self.expected.entry(count).or_default().push(what);
        }
        if count == self.floor.count {
            self.hold_against();
        }
    }

    /// The next entry.
    pub fn entry(&mut self, logged: &Logged) {
        let position = logged.position;
        if self.last.is_some_and(|last| position <= last) {
            self.say(Some((position, position)), "an entry stands where it doesn't belong");
            return;
        }
        self.last = Some(position);
        if !self.is_known {
            self.checked.unsigned += 1;
            return;
        }
        // Left over from cutting, and soon gone.
        if position <= self.floor.position() {
            return;
        }
        while self.ahead.last().is_some_and(|mark| position > mark.position()) {
            self.pass();
        }
        if self.ahead.is_empty() {
            self.checked.unsigned += 1;
        } else {
            self.checked.signed += 1;
        }
        self.now = self.now.then(logged);
        self.hold_against();
    }

    /// There are no more.
    pub fn end(mut self) -> Checked {
        while !self.ahead.is_empty() {
            self.pass();
        }
        if !self.is_known {
            return self.checked;
        }
        let had = self.now.count;
        for (count, all) in std::mem::take(&mut self.expected) {
            for expected in all {
                match expected {
                    Expected::Whole(_, position) => self.say(
                        Some((position, position)),
                        &format!("what is signed over all shards knows of {count} entries, and there were only {had}"),
                    ),
                    Expected::Anchor(_, time) => {
                        self.say(
                            None,
                            &format!("an anchor of {time} knows of {count} entries, and there were only {had}"),
                        );
                    }
                }
            }
        }
        self.checked
    }

    /// All entries up to the next mark are seen.
    fn pass(&mut self) {
        let Some(mark) = self.ahead.pop() else { return };
        let between = Some((self.passed.position(), mark.position()));
        if self.now.count < mark.count {
            self.say(between, &format!("{} entries are missing", mark.count - self.now.count));
        } else if self.now.count > mark.count {
            self.say(between, &format!("{} entries are there that were never signed", self.now.count - mark.count));
        } else if self.now.hash != mark.hash {
            self.say(between, "an entry was changed, or entries stand in another order");
        }
        // From here on it is as it was signed: what comes now is looked at by itself.
        (self.now, self.passed) = (mark, mark);
        self.hold_against();
        // What is expected between two marks of which one is wrong can't be said any more.
        let later = self.expected.split_off(&mark.count);
        self.expected = later;
    }

    fn hold_against(&mut self) {
        let now = self.now;
        for expected in self.expected.remove(&now.count).into_iter().flatten() {
            let (differs, who) = match &expected {
                Expected::Whole(hash, _) => (*hash != now.hash, "what is signed over all shards".to_owned()),
                Expected::Anchor(hash, time) => (*hash != now.hash.short(), format!("an anchor of {time}")),
            };
            if differs {
                let between = Some((self.passed.position(), now.position()));
                self.say(between, &format!("{who} knows other entries up to here"));
            }
        }
    }

    fn say(&mut self, between: Option<(Position, Position)>, what: &str) {
        self.checked.findings.push(Finding { shard: Some(self.shard), between, what: what.to_owned() });
    }
}
