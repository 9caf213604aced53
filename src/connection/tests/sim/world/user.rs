//! A person's connection, and what is known of it: which grants may be in force, and what excuses that none is.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{super::provider::Holder, World, services};
use crate::{
    connection::{Reason, Unusable, record::root},
    id::{Account, CallerId, ConnectionId, Issuer, ServiceName, Subject},
    oauth,
    provider::Service,
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
    /// A key was stored, and not removed since.
    pub(super) has_key: bool,
    /// Nobody knows what came of storing or removing a key.
    pub(super) key_in_doubt: bool,
    /// Until then there may be another connection of this service, under the other label.
    pub(super) twofold_until: Option<Instant>,
}

pub struct User {
    pub number: usize,
    /// Whose it is: a person may have one with each service.
    person: usize,
    pub service: Arc<Service>,
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
    pub(super) fn new(number: usize, person: usize, service: &str, root: &Root) -> Self {
        let caller = CallerId {
            issuer: Issuer::parse("https://auth.example.com/").unwrap(),
            subject: Subject::parse(&format!("user-{person}")).unwrap(),
        };
        let id = ConnectionId { caller, service: ServiceName::parse(service).unwrap(), account: Account::default() };
        let service = Arc::clone(services().get(service).unwrap());
        let elsewhere = root::key(root, &ConnectionId { account: other_label(), ..id.clone() });
        Self { number, person, service, key: root::key(root, &id), elsewhere, id, known: Mutex::default() }
    }

    /// The connection under its other label.
    pub fn other_id(&self) -> ConnectionId {
        ConnectionId { account: other_label(), ..self.id.clone() }
    }

    /// Whom the provider takes for the one who consents, where the person does so as this account of theirs.
    pub fn holder(&self, account: u8) -> Holder {
        let client = self.service.oauth.as_ref().map(|oauth| oauth.client_id.clone()).unwrap_or_default();
        Holder { person: self.person, account, client }
    }

    /// What the provider calls that account.
    pub fn account(&self, account: u8) -> oauth::Identity {
        oauth::Identity { id: format!("{}-{account}", self.person), label: None }
    }

    /// The latest consent, to that family, came to nothing: what was there before still is, perhaps of the same family; and
    /// what was in doubt still is.
    pub fn refused(&self, family: usize, in_doubt: bool) {
        let mut known = self.known.lock();
        if let Some(latest) = known.families.iter().rposition(|(other, _, _)| *other == family) {
            known.families.remove(latest);
        }
        known.connecting = in_doubt;
    }

    /// Nobody knows what comes of what the person does next.
    pub fn disconnecting(&self) {
        let mut known = self.known.lock();
        known.disconnecting = true;
        known.key_in_doubt = true;
    }

    /// It is gone for certain, with its key.
    pub fn gone(&self) {
        let mut known = self.known.lock();
        (known.disconnecting, known.key_in_doubt, known.has_key) = (false, false, false);
        known.gone_since = Some(Instant::now());
    }

    /// A key is being stored or removed.
    pub fn storing_key(&self) {
        self.known.lock().key_in_doubt = true;
    }

    /// Whether it is there is certain now.
    pub fn key_is_there(&self, there: bool) {
        let mut known = self.known.lock();
        (known.key_in_doubt, known.has_key) = (false, there);
    }

    /// Whether there is a key, where that is certain.
    pub fn has_key(&self) -> Option<bool> {
        let known = self.known.lock();
        (!known.key_in_doubt && !known.forgotten).then_some(known.has_key)
    }

    /// From now on, and for this time, there may be two connections.
    pub fn twofold_for(&self, time: Duration) {
        self.known.lock().twofold_until = Some(Instant::now() + time);
    }

    /// A connect begins. Says whether nobody knows what came of one before.
    pub fn connecting(&self, family: usize) -> bool {
        let mut known = self.known.lock();
        known.families.push((family, Instant::now(), None));
        std::mem::replace(&mut known.connecting, true)
    }

    /// Says whether it is certain now that this family is connected.
    pub fn connected(&self, family: usize, done: bool) -> bool {
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
            Unusable::MissingScopes { .. } => return false,
            Unusable::AccountRequired { .. } => return self.is_twofold(began),
            Unusable::AuthRequired { reason, .. } => *reason,
        };
        self.explains_reason(world, reason, began)
    }

    fn explains_reason(&self, world: &World, reason: Reason, began: Instant) -> bool {
        match reason {
            Reason::NotConnected => {
                self.may_be_gone()
                    || self.is_twofold(began)
                    || self.known.lock().unheard_until.is_some_and(|until| began <= until)
            }
            Reason::Revoked | Reason::RefreshInterrupted => self.lost_for_a_cause(world, began),
            // Without anything that renews it, one refusal is the end.
            Reason::RejectedByUpstream => {
                let refused_twice = self.known.lock().refused_twice;
                refused_twice || self.may_expire(world, began) || self.lost_for_a_cause(world, began)
            }
            Reason::Expired => self.may_expire(world, began),
            // While a grant waits for somebody's word, that is said in place of any other reason.
            Reason::Pending => [Reason::NotConnected, Reason::RejectedByUpstream, Reason::Expired]
                .into_iter()
                .any(|reason| self.explains_reason(world, reason, began)),
            Reason::ApiKeyRetired => false,
        }
    }

    fn is_twofold(&self, began: Instant) -> bool {
        self.known.lock().twofold_until.is_some_and(|until| began <= until)
    }

    /// Whether what is stored has nothing that renews it, as the provider gave nothing; or what another family replaced
    /// since then may have had nothing: who hasn't heard of that yet still goes by it.
    fn may_expire(&self, world: &World, began: Instant) -> bool {
        let grant = world.server.record(&self.key).and_then(|record| record.grant);
        let stored = grant.as_ref().and_then(|grant| world.provider.family_of(grant.access_token.expose()));
        let replaced = || {
            let mut before = self.families_since(began).into_iter().filter(|family| Some(*family) != stored);
            before.any(|family| world.provider.came_bare(family))
        };
        world.provider.is_sparing() && (grant.is_none_or(|grant| grant.refresh_token.is_none()) || replaced())
    }

    /// Whether a grant that was in force since then is dead at the provider.
    pub fn lost_for_a_cause(&self, world: &World, since: Instant) -> bool {
        self.families_since(since).into_iter().any(|family| world.provider.death_of(family).is_some())
            || self.keeps_what_is_dead(world)
    }

    /// Whether the latest consent brought no refresh token, and continued a family that its client has forgotten: it keeps
    /// the refresh token of another, which nobody told it is dead.
    fn keeps_what_is_dead(&self, world: &World) -> bool {
        let Some(grant) = world.server.record(&self.key).and_then(|record| record.grant) else { return false };
        let given = world.provider.family_of(grant.access_token.expose());
        let kept = grant.refresh_token.and_then(|token| world.provider.family_of(token.expose()));
        world.provider.is_sparing()
            && kept.is_some_and(|kept| Some(kept) != given && world.provider.death_of(kept).is_some())
    }
}
