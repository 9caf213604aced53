//! What the log must say: whatever a write changed, read off the record before and after it. The judge compares that with the
//! entries at the end: no change without its entry, no entry without its change.

use std::collections::BTreeMap;

use crate::{
    connection::record::form::Record,
    events::{AUDIT, Opened},
    store::{Key, OwnerId, Version, Versioned},
    vault::Vault,
};

use super::log::Logs;

/// What happened, as far as a record tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Happened {
    Connected,
    KeyStored,
    /// The upstream or the provider refused it for good, or it has expired.
    Lost,
    /// Disconnected, erased, or without its key from now on.
    Parted,
}

impl Happened {
    /// What an entry says; `None` where no record tells of that.
    fn of(kind: &str) -> Option<Self> {
        Some(match kind {
            "connected" => Self::Connected,
            "api_key_stored" => Self::KeyStored,
            "invalidated" | "expired" => Self::Lost,
            "revoked" | "erased" | "api_key_removed" => Self::Parted,
            _ => return None,
        })
    }
}

/// An owner and a service.
type Named = (OwnerId, String);

/// What stood somewhere before a write and after it.
pub struct Write {
    pub key: Key,
    pub before: Option<Versioned>,
    pub after: Option<Versioned>,
}

impl Write {
    /// Whether a connection was given up by it.
    pub fn parted(&self, vault: &Vault) -> bool {
        self.happened(vault).iter().any(|(_, happened)| matches!(happened, Happened::Parted))
    }

    /// What happened, and to which service. An entry says of the person only who has their key; whose it is the owner tells.
    fn happened(&self, vault: &Vault) -> Vec<(Named, Happened)> {
        let open = |stored: &Versioned| Record::open(vault, &self.key, stored.version, &stored.value).ok();
        let (before, after) = (self.before.as_ref().and_then(open), self.after.as_ref().and_then(open));
        let happened = between(before.as_ref(), after.as_ref(), self.after.as_ref().map(|after| after.version));
        happened.into_iter().map(|(service, what)| ((self.key.owner, service), what)).collect()
    }
}

/// What happened between these, the later of which was written as this version.
fn between(before: Option<&Record>, after: Option<&Record>, version: Option<Version>) -> Vec<(String, Happened)> {
    let mut happened = Vec::new();
    let mut is = |record: &Record, what| happened.push((record.id.service.to_string(), what));
    if let (Some(after), Some(version)) = (after, version) {
        // Under another label it begins nothing, and loses nothing.
        let arrived = after.moved_by != before.and_then(|before| before.moved_by);
        if after.grant.is_some() && after.consent == Some(version) && after.is_connected() {
            is(after, Happened::Connected);
        }
        if !arrived && after.api_key.as_ref().is_some_and(|key| key.token_version == version) {
            is(after, Happened::KeyStored);
        }
        let was_good = before.is_some_and(|before| before.invalid.is_none());
        let refused = |record: &Record| record.api_key.as_ref().is_some_and(|key| key.refused);
        let key_was_good = before.is_some_and(|before| !refused(before));
        if !arrived && (was_good && after.invalid.is_some() || key_was_good && refused(after)) {
            is(after, Happened::Lost);
        }
    }
    if let Some(before) = before.filter(|before| before.stands()) {
        let gone = match after {
            Some(after) => !after.stands() || before.api_key.is_some() && after.api_key.is_none(),
            // It stands under its new label.
            None => before.under_way().is_none(),
        };
        if gone {
            is(before, Happened::Parted);
        }
    }
    happened
}

/// Where changes and entries differ, in words.
pub fn differences(writes: &[Write], logs: &Logs, vault: &Vault) -> Vec<String> {
    let mut counts: BTreeMap<(Named, Happened), (usize, usize)> = BTreeMap::new();
    for happened in writes.iter().flat_map(|write| write.happened(vault)) {
        counts.entry(happened).or_default().0 += 1;
    }
    for (stream, appended) in logs.all().filter(|(stream, _)| stream.log == AUDIT) {
        let opened = Opened::open(vault, stream, &appended.logged).unwrap();
        let (event, owner) = (opened.event(), opened.owner());
        // What changed no record: that a token has ended is a matter of the clock.
        let Some(happened) = Happened::of(&event.kind).filter(|_| appended.with_change || event.kind != "expired")
        else {
            continue;
        };
        let (owner, service) = (*owner.unwrap(), event.service.as_ref().unwrap().to_string());
        counts.entry(((owner, service), happened)).or_default().1 += 1;
    }
    let differ = counts.into_iter().filter(|(_, (changes, entries))| changes != entries);
    differ
        .map(|(((owner, service), what), (changes, entries))| {
            format!("{what:?} of {owner} at {service}: {changes} changes, {entries} entries")
        })
        .collect()
}
