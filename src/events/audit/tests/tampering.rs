//! Ten thousand ways of tampering with a stored log, by a fixed seed: each is found. What `tests/audit` does with the other
//! verifier, on the same kind of log.

use std::collections::BTreeMap;

use super::super::{
    chain::{Anchor, Head, Heads, Mark, Standing, sign, signer},
    check::{Checked, Finding, Whole},
};
use crate::{
    store::{EntryId, Logged, Position, Shard},
    vault::Root,
};

const SHARDS: u8 = 4;
const ENTRIES: u64 = 60;

/// A log as it is stored, and an anchor of it.
#[derive(Clone)]
struct Stored {
    heads: Option<Vec<u8>>,
    shards: BTreeMap<u8, (Option<Vec<u8>>, Vec<Logged>)>,
    anchors: String,
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % sides as u64).unwrap()
    }
}

fn root() -> Root {
    Root::from_bytes([7; 32])
}

fn entry(shard: u8, number: u64, dice: &mut Dice) -> Logged {
    let byte = |dice: &mut Dice| u8::try_from(dice.roll(256)).unwrap();
    let sealed = (0..40 + dice.roll(40)).map(|_| byte(dice)).collect();
    let mut id = [shard; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    Logged { position: Position { at_ms: 1_800_000_000_000 + number / 3, nth: number % 3 }, id: EntryId(id), sealed }
}

/// Each shard has a floor after its fifth entry, marks every seven, and its head at the last but `unsigned`.
fn stored(unsigned: u64) -> Stored {
    let (signer, mut dice) = (signer(&root()), Dice(1));
    let (mut shards, mut standings) = (BTreeMap::new(), Vec::new());
    for shard in 0..SHARDS {
        let (mut head, mut mark) = (Head::beginning(Shard(shard)), Mark::beginning(Shard(shard)));
        let mut entries = Vec::new();
        for number in 1..=ENTRIES {
            let logged = entry(shard, number, &mut dice);
            if number <= ENTRIES - unsigned {
                mark = mark.then(&logged);
                if number == 5 {
                    head.cut(mark);
                } else if number % 7 == 0 || number == ENTRIES - unsigned {
                    head.extend(mark);
                }
            }
            entries.push(logged);
        }
        entries.drain(..5);
        standings.push(Standing { shard, floor: 5, head: mark });
        shards.insert(shard, (Some(sign(&signer, &head)), entries));
    }
    let heads = Heads { sequence: 9, time: 1_800_000_000_000, shards: standings };
    let anchors = format!("x {} y\n", Anchor::between(&Heads::default(), &heads).sign(&signer));
    Stored { heads: Some(sign(&signer, &heads)), shards, anchors }
}

fn look(stored: &Stored) -> (Vec<Finding>, Checked) {
    let key = signer(&root()).public_key();
    let whole = Whole::new(key, stored.heads.as_deref(), stored.anchors.lines());
    let mut all = Checked::default();
    for (shard, (head, entries)) in &stored.shards {
        let mut check = whole.shard(Shard(*shard), head.as_deref());
        entries.iter().for_each(|logged| check.entry(logged));
        let checked = check.end();
        all.findings.extend(checked.findings);
        all.signed += checked.signed;
        all.unsigned += checked.unsigned;
    }
    let mut findings = whole.into_findings();
    findings.extend(all.findings.clone());
    (findings, all)
}

fn flip(bytes: &mut [u8], dice: &mut Dice) {
    let at = dice.roll(bytes.len());
    bytes[at] ^= u8::try_from(1 + dice.roll(255)).unwrap();
}

/// Does something to the log; says what.
fn tamper(log: &mut Stored, dice: &mut Dice) -> String {
    let shard = u8::try_from(dice.roll(SHARDS.into())).unwrap();
    let (head, entries) = log.shards.get_mut(&shard).unwrap();
    let at = dice.roll(entries.len());
    let what = dice.roll(100);
    match what {
        0..40 => flip(&mut entries[at].sealed, dice),
        40..48 => flip(&mut entries[at].id.0, dice),
        48..54 => entries[at].position.nth ^= 1 << dice.roll(8),
        54..60 => entries[at].position.at_ms ^= 1 << dice.roll(20),
        60..72 => drop(entries.remove(at)),
        72..75 => entries.truncate(at),
        75..78 => drop(entries.drain(..=at)),
        78..84 => {
            // What is in two entries changes places, and each has the position of the other.
            let other = (at + 1 + dice.roll(entries.len() - 1)) % entries.len();
            let places = [entries[at].position, entries[other].position];
            entries.swap(at, other);
            (entries[at].position, entries[other].position) = (places[0], places[1]);
        }
        84..87 => {
            let other = (at + 1 + dice.roll(entries.len() - 1)) % entries.len();
            entries.swap(at, other);
        }
        87..89 => {
            let again = Logged {
                position: Position { nth: entries[at].position.nth + 7, ..entries[at].position },
                ..entries[at].clone()
            };
            entries.insert(at + 1, again);
        }
        89..93 => flip(head.as_mut().unwrap(), dice),
        93..95 => flip(log.heads.as_mut().unwrap(), dice),
        95 => *head = None,
        96 => {
            let other = (shard + 1) % SHARDS;
            let [one, two] = [shard, other].map(|shard| log.shards[&shard].0.clone());
            log.shards.get_mut(&shard).unwrap().0 = two;
            log.shards.get_mut(&other).unwrap().0 = one;
        }
        97 => {
            let other = (shard + 1) % SHARDS;
            let [one, two] = [shard, other].map(|shard| log.shards[&shard].1.clone());
            log.shards.get_mut(&shard).unwrap().1 = two;
            log.shards.get_mut(&other).unwrap().1 = one;
        }
        98 => log.heads = None,
        _ => drop(log.shards.remove(&shard)),
    }
    format!("{what} in shard {shard} at {at}")
}

#[test]
fn a_log_that_nobody_touched_is_as_it_was_signed() {
    let (findings, all) = look(&stored(0));
    assert_eq!(findings, []);
    assert_eq!((all.signed, all.unsigned), (4 * (ENTRIES - 5), 0));
    let (findings, all) = look(&stored(6));
    assert_eq!(findings, []);
    assert_eq!((all.signed, all.unsigned), (4 * (ENTRIES - 11), 24));
}

#[test]
fn ten_thousand_ways_of_tampering_are_all_found() {
    let whole = stored(0);
    let mut dice = Dice(20_261_129);
    for number in 0..10_000 {
        let mut log = whole.clone();
        let what = tamper(&mut log, &mut dice);
        // A shard that is gone altogether is asked for all the same.
        for shard in 0..SHARDS {
            log.shards.entry(shard).or_insert((None, Vec::new()));
        }
        let (findings, _) = look(&log);
        assert!(!findings.is_empty(), "{number}: {what} is not found");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let whole = stored(0);
    let mut log = whole.clone();
    log.shards.get_mut(&2).unwrap().1.remove(10);
    let (findings, _) = look(&log);
    let said: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(
        said[0].starts_with("shard 02: 1 entries are missing, after 1800000000004-2 (2027-01-15T08:00:00Z)"),
        "{said:?}"
    );
    let mut log = whole;
    log.shards.get_mut(&0).unwrap().1[3].sealed[0] ^= 1;
    let said: Vec<String> = look(&log).0.iter().map(ToString::to_string).collect();
    assert!(
        said[0].starts_with("shard 00: an entry was changed, or entries stand in another order, after "),
        "{said:?}"
    );
}

#[test]
fn a_log_that_was_put_back_whole_is_found_by_its_anchors_alone() {
    let (before, after) = (stored(20), stored(0));
    assert_eq!(look(&before).0, [], "by itself it is right");
    let anchored = Stored { anchors: after.anchors, ..before };
    let said: Vec<String> = look(&anchored).0.iter().map(ToString::to_string).collect();
    assert_eq!(said, Vec::<String>::new(), "its entries are all there, signed or not");
    let mut cut = anchored;
    for (_, entries) in cut.shards.values_mut() {
        entries.truncate(35);
    }
    let said: Vec<String> = look(&cut).0.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 4, "{said:#?}");
    assert!(said[0].contains("an anchor of 2027-01-15T08:00:00Z knows of 60 entries"), "{said:?}");
    let forged = Stored { anchors: stored(0).anchors.replace(":60:", ":40:"), ..stored(0) };
    assert_eq!(look(&forged).0.len(), 1, "an anchor that was changed is not believed");
}
