//! Consents, and revocations that may reach far: RFC 7009 §2.1 lets a provider end the whole authorization grant, and some
//! end all that an account ever gave to a client. What such a revocation reached while it was in use is found here.

use std::sync::{Arc, Weak};

use tokio::time::{Duration, Instant};

use super::{Access, Death, Family, Gate, PATIENCE, Provider, Server, State};
use crate::{connection::record::form::Record, oauth};

/// Who consents, as the provider sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub person: usize,
    /// As which of their accounts.
    pub account: u8,
    /// To which OAuth client.
    pub client: String,
}

/// With which consents a refresh token comes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    #[default]
    Always,
    /// With the first one, and again once that is over. The others continue it.
    First,
    Never,
}

/// What providers are free to do. The default is the kindest.
#[derive(Debug, Default, Clone, Copy)]
pub struct Habits {
    /// A revocation ends all that the same account ever gave to the client.
    pub far: bool,
    /// It doesn't say which account it is.
    pub nameless: bool,
    pub refresh: Refresh,
}

impl Provider {
    pub fn adopt(&self, habits: Habits) {
        *self.habits.lock() = habits;
    }

    pub fn habits(&self) -> Habits {
        *self.habits.lock()
    }

    /// Whether a revocation ends all that an account ever gave.
    pub fn is_far(&self) -> bool {
        self.habits().far
    }

    /// Whether there are grants that nothing renews.
    pub fn is_sparing(&self) -> bool {
        self.habits().refresh != Refresh::Always
    }

    /// Where it is told what is in use when it revokes.
    pub fn looks_at(&self, server: &Arc<Server>) {
        let _ = self.server.set(Arc::downgrade(server));
    }

    /// The person consents (again).
    pub fn consent(&self, user: usize) -> (usize, oauth::Grant) {
        self.consent_as(user, Holder { person: user, account: 0, client: "client".into() })
    }

    /// The same, as one of their accounts.
    pub fn consent_as(&self, user: usize, holder: Holder) -> (usize, oauth::Grant) {
        let (mut state, habits) = (self.state.lock(), self.habits());
        let continues = |family: &Family| family.user == user && family.holder == holder && family.dead.is_none();
        let earlier = state.families.iter().rposition(continues).filter(|_| habits.refresh == Refresh::First);
        let (family, access, refresh) = if let Some(earlier) = earlier {
            (earlier, state.give_again(earlier, self.life), None)
        } else {
            let family = state.families.len();
            state.families.push(Family { bare: habits.refresh == Refresh::Never, ..Family::new(user, holder) });
            let (access, refresh) = state.issue(family, self.life, habits.refresh == Refresh::Never);
            (family, access, (habits.refresh != Refresh::Never).then_some(refresh))
        };
        let grant = oauth::Grant {
            access_token: access.as_str().into(),
            refresh_token: refresh.map(|refresh| refresh.as_str().into()),
            expires_in: Some(self.life),
            scopes: None,
            refresh_expires_in: None,
            id_token_subject: None,
        };
        (family, grant)
    }

    /// Whether this record's grant can be renewed: what renews it would be taken.
    pub fn can_renew(&self, record: &Record) -> bool {
        let token = record.grant.as_ref().and_then(|grant| grant.refresh_token.as_ref());
        record.invalid.is_none() && token.is_some_and(|token| self.takes(token.expose()).is_some())
    }

    /// Whether the person consented to it more than once.
    pub fn continued(&self, family: usize) -> bool {
        self.state.lock().families[family].continued
    }

    /// Its client has stored it for certain, and guarded it meanwhile.
    pub fn stored(&self, family: usize) {
        self.state.lock().families[family].stored = true;
    }

    /// The same of what this consent gave, which may not be the family's first.
    pub fn no_longer_in_doubt(&self, family: usize, access: &str) {
        self.state.lock().families[family].in_doubt.retain(|token| token != access);
    }

    /// Whether a consent to it brought no refresh token.
    pub fn came_bare(&self, family: usize) -> bool {
        self.state.lock().families[family].bare
    }

    /// Whether its client revoked it, at a time that nothing excuses.
    pub fn was_overtaken(&self, family: usize) -> bool {
        self.state.lock().families[family].overtaken
    }

    /// The families that were stored for certain, and still live.
    pub fn living(&self) -> Vec<(usize, Holder)> {
        let state = self.state.lock();
        let families = state.families.iter().enumerate();
        let living = families.filter(|(_, family)| family.stored && family.dead.is_none());
        living.map(|(number, family)| (number, family.holder.clone())).collect()
    }

    pub(super) fn revoke(&self, state: &mut State, token: &str, sender: &Arc<Gate>, sent: Instant) -> (u16, String) {
        let Some(named) = state.family_of(token) else { return (200, String::new()) };
        if !self.is_far() {
            if state.families[named].connected && state.families[named].dead.is_none() {
                self.journal.violated(format!("family {named} was revoked by its client while it was connected"));
            }
            state.kill(named, Death::Client);
            return (200, String::new());
        }
        self.journal.count(|counts| counts.revocations += 1);
        let (in_use, excused) = (self.in_use(state), self.excuses(sender, sent));
        let holder = state.families[named].holder.clone();
        for family in 0..state.families.len() {
            if state.families[family].holder != holder || state.families[family].dead.is_some() {
                continue;
            }
            state.families[family].overtaken = !excused;
            // What came in without the lease, or by a write that its sender gave up, had nothing to guard it: also where an
            // earlier consent to the same family was stored.
            if in_use.contains(&family) && state.families[family].stored && !excused {
                self.journal.violated(format!("family {family} was in use, and revoked with family {named}"));
            }
            state.kill(family, Death::Client);
        }
        (200, String::new())
    }

    /// The families that calls use by what is stored, or that wait for somebody's word: but for what comes without its lease,
    /// as its process was stopped after it had looked whether it still has that.
    fn in_use(&self, state: &State) -> Vec<usize> {
        let Some(server) = self.server.get().and_then(Weak::upgrade) else { return vec![] };
        let records = server.records_in_time().into_iter();
        let alive = records.filter(|record| record.is_alive());
        let grants = alive.filter_map(|record| record.grant);
        grants
            .filter_map(|grant| {
                let family = state.family_of(grant.refresh_token.as_ref().unwrap_or(&grant.access_token).expose())?;
                let in_doubt = state.families[family].in_doubt.contains(grant.access_token.expose());
                (!in_doubt).then_some(family)
            })
            .collect()
    }

    /// Whether a revocation that was sent then may be of another time: it comes after its sender gave up, its sender was
    /// stopped after it had looked what is in use, or the lease under which it looked was lost.
    fn excuses(&self, sender: &Gate, sent: Instant) -> bool {
        let (looked, now) = (sent - Duration::from_secs(5), Instant::now());
        sent.elapsed() > PATIENCE
            || sender.troubled(looked, now)
            || self.journal.failover(sent - Duration::from_secs(20), now).is_some()
    }
}

impl State {
    /// Another access token of a family; what renews it stays as it was.
    fn give_again(&mut self, number: usize, life: Duration) -> String {
        let family = &mut self.families[number];
        family.serial += 1;
        family.continued = true;
        family.bare = true;
        let access = format!("a{number}.{}", family.serial);
        family.newest.clone_from(&access);
        family.in_doubt.push(access.clone());
        self.access.insert(
            access.clone(),
            Access { family: number, until: Instant::now() + life, dead: false, served: false },
        );
        access
    }
}

impl Family {
    fn new(user: usize, holder: Holder) -> Self {
        let now = Instant::now();
        Self {
            user,
            holder,
            stored: false,
            overtaken: false,
            continued: false,
            bare: false,
            in_doubt: vec![],
            dead: None,
            newest: String::new(),
            issued: now,
            asked: now,
            renewal: None,
            refused: false,
            connected: false,
            serial: 0,
        }
    }
}
