//! A person: what is known of their connection, and whether that is a cause for what a call got.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::World;
use crate::{
    connection::{Reason, Unusable, root},
    id::{Account, CallerId, ConnectionId, Issuer, ServiceName, Subject},
    store::Key,
    vault::Root,
};

/// A change is felt everywhere within this.
const FELT: Duration = Duration::from_secs(2);

/// What is known of a person's connection.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Families that may be connected, from when to when.
    pub(super) families: Vec<(usize, Instant, Option<Instant>)>,
    /// Disconnected for certain since then.
    pub(super) gone_since: Option<Instant>,
    /// A disconnect is under way, or nobody knows what came of it.
    pub(super) disconnecting: bool,
    /// Nobody knows what came of a connect.
    pub(super) connecting: bool,
    /// Until then a process may not have heard of the latest connect.
    pub(super) unheard_until: Option<Instant>,
    /// A failover forgot a connect or a disconnect.
    pub(super) forgotten: bool,
    /// The API refused a renewed token, too.
    pub(super) refused_twice: bool,
    /// That was in a process that was stopped meanwhile: it got the token when that was almost or quite over.
    pub(super) late: bool,
}

/// A person, with a connection.
pub struct User {
    pub number: usize,
    pub id: ConnectionId,
    pub key: Key,
    /// Where it is under its other label.
    pub elsewhere: Key,
    pub(super) known: Mutex<Known>,
}

/// The label that a connection is given by a rename.
pub(super) fn other_label() -> Account {
    Account::parse("other").unwrap()
}

impl User {
    pub(super) fn new(number: usize, root: &Root) -> Self {
        let caller = CallerId {
            issuer: Issuer::parse("https://auth.example.com/").unwrap(),
            subject: Subject::parse(&format!("user-{number}")).unwrap(),
        };
        let id = ConnectionId { caller, service: ServiceName::parse("crm").unwrap(), account: Account::default() };
        let elsewhere = root::key(root, &ConnectionId { account: other_label(), ..id.clone() });
        Self { number, key: root::key(root, &id), elsewhere, id, known: Mutex::default() }
    }

    /// A connect begins.
    pub(super) fn connecting(&self, family: usize) {
        let mut known = self.known.lock();
        known.connecting = true;
        known.families.push((family, Instant::now(), None));
    }

    /// Says whether it is certain now that this family is connected.
    pub(super) fn connected(&self, family: usize, done: bool) -> bool {
        let (mut known, now) = (self.known.lock(), Instant::now());
        if !done {
            return false;
        }
        for (other, _, until) in &mut known.families {
            if *other != family {
                until.get_or_insert(now);
            }
        }
        known.connecting = false;
        known.gone_since = None;
        known.unheard_until = Some(now + FELT);
        !known.disconnecting && !known.forgotten
    }

    /// A failover forgot a connect or a disconnect.
    pub fn forgotten(&self) {
        self.known.lock().forgotten = true;
    }

    /// The family that is connected for certain.
    pub fn family(&self) -> Option<usize> {
        let known = self.known.lock();
        let certain = known.gone_since.is_none() && !known.disconnecting && !known.connecting && !known.forgotten;
        let mut open = known.families.iter().filter(|(_, _, until)| until.is_none()).map(|(family, _, _)| *family);
        open.next().filter(|_| certain)
    }

    /// Whether nothing is connected for certain.
    pub fn is_gone(&self) -> bool {
        let known = self.known.lock();
        known.gone_since.is_some() && !known.connecting && !known.forgotten
    }

    /// Whether a stopped process took an old token for a new one.
    pub fn was_late(&self) -> bool {
        self.known.lock().late
    }

    pub fn may_be_gone(&self) -> bool {
        let known = self.known.lock();
        known.gone_since.is_some() || known.disconnecting || known.forgotten
    }

    /// The families that may have been connected since then.
    pub fn families_since(&self, since: Instant) -> Vec<usize> {
        let known = self.known.lock();
        let in_force = |until: Option<Instant>| until.is_none_or(|until| until + FELT >= since);
        let of_then = known.families.iter().filter(|(_, _, until)| known.forgotten || in_force(*until));
        of_then.map(|(family, _, _)| *family).collect()
    }

    /// Whether there is a cause for what a call got that began at `began`.
    pub(super) fn explains(&self, world: &World, unusable: &Unusable, began: Instant) -> bool {
        let reason = match unusable {
            Unusable::RefreshFailed | Unusable::Unavailable(_) => return true,
            Unusable::AccountRequired { .. } | Unusable::MissingScopes { .. } => return false,
            Unusable::AuthRequired { reason, .. } => *reason,
        };
        match reason {
            Reason::NotConnected => {
                self.may_be_gone() || self.known.lock().unheard_until.is_some_and(|until| began <= until)
            }
            Reason::Revoked | Reason::RefreshInterrupted => self.lost_for_a_cause(world, began),
            Reason::RejectedByUpstream => self.known.lock().refused_twice || self.lost_for_a_cause(world, began),
            Reason::Expired | Reason::ApiKeyRetired | Reason::Pending => false,
        }
    }

    /// Whether a grant that was in force since then is dead at the provider.
    pub fn lost_for_a_cause(&self, world: &World, since: Instant) -> bool {
        self.families_since(since).into_iter().any(|family| world.provider.death_of(family).is_some())
    }
}
