//! An authorization server and API in memory. Refresh tokens serve once; who presents a spent one loses the family. It
//! also is the judge of what must never happen: a token that is spent twice outside the window that no protocol closes,
//! a token that is renewed for nothing, a family that its own client revokes while it is connected.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{gate::Gate, journal::Journal, store::Server};
use crate::oauth::{Fault, Transport};

mod judge;
mod line;
mod partings;

use line::Line;
pub use partings::{Habits, Holder, Refresh as Brings};

/// How long a process waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// A token that was issued, and stored, this long ago has been seen by whoever asked for it.
const FRESH: Duration = Duration::from_secs(1);
/// How long a spent token is taken again, where there is grace.
const GRACE: Duration = Duration::from_secs(20);

/// What becomes of refresh tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Each serves once. A second use revokes the family.
    Strict,
    /// Each serves once, or again within the grace period.
    Grace,
    /// They serve for ever, and answers don't repeat them.
    Fixed,
}

/// How the endpoint is today. Times in a thousand, milliseconds. The default answers at once.
#[derive(Debug, Default, Clone, Copy)]
pub struct Mood {
    pub delay: u64,
    /// Answers that take up to 15 seconds.
    pub slow: u64,
    pub fails: u64,
    pub lost_answers: u64,
}

/// An answer out of turn.
#[derive(Debug, Clone)]
pub enum Scripted {
    Answer(u16, &'static str),
    /// This is answered after the request was carried out.
    Belied(u16, &'static str),
    /// The answer is lost after the request was carried out.
    Lost,
    Fault(Fault),
    Slow(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    Reuse,
    Person,
    Client,
}

struct Family {
    user: usize,
    holder: Holder,
    /// Its client has stored it for certain, and guarded it meanwhile.
    stored: bool,
    /// Its client ended it, and nothing excuses that it was the wrong time.
    overtaken: bool,
    /// The person consented to it more than once.
    continued: bool,
    /// A consent brought no refresh token with it.
    bare: bool,
    /// The access tokens of further consents that its client has not stored for certain.
    in_doubt: Vec<String>,
    dead: Option<Death>,
    newest: String,
    issued: Instant,
    /// When it was asked for: its client can't know any better when its life began.
    asked: Instant,
    /// Who asked for it, when, and whether the answer was lost on its way.
    renewal: Option<(Arc<Gate>, Instant, bool)>,
    /// The newest access token was refused at the API.
    refused: bool,
    /// The person is connected with this family, and with no other.
    connected: bool,
    serial: u64,
}

struct Access {
    family: usize,
    until: Instant,
    dead: bool,
    /// The API has taken it at least once.
    served: bool,
}

struct Refresh {
    family: usize,
    spent: Option<Spend>,
}

struct Spend {
    by: Arc<Gate>,
    sent: Instant,
    at: Instant,
    /// Nobody gets the answer.
    lost: bool,
    next: String,
    landed: Option<Instant>,
}

#[derive(Default)]
struct State {
    families: Vec<Family>,
    access: HashMap<String, Access>,
    refresh: HashMap<String, Refresh>,
    awaiting: usize,
    /// When a token was last stored.
    landed: Option<Instant>,
    down_until: Option<Instant>,
}

pub struct Provider {
    journal: Arc<Journal>,
    state: Mutex<State>,
    mood: Mutex<Mood>,
    pub script: Mutex<VecDeque<Scripted>>,
    /// When the token endpoint was asked, with which refresh token.
    pub requests: Mutex<Vec<(Instant, String)>>,
    /// The same of revocations.
    pub revocations: Mutex<Vec<(Instant, String)>>,
    pub mode: Mode,
    pub life: Duration,
    /// A new access token ends the one before.
    pub one_at_a_time: bool,
    /// Clocks of processes may differ: what is early for one is late for another.
    pub skewed: bool,
    habits: Mutex<Habits>,
    /// What is in use.
    server: OnceLock<Weak<Server>>,
}

impl Provider {
    pub fn new(journal: Arc<Journal>, mode: Mode, life: Duration, one_at_a_time: bool, skewed: bool) -> Arc<Self> {
        Arc::new(Self {
            journal,
            state: Mutex::default(),
            mood: Mutex::default(),
            script: Mutex::default(),
            requests: Mutex::default(),
            revocations: Mutex::default(),
            mode,
            life,
            one_at_a_time,
            skewed,
            habits: Mutex::default(),
            server: OnceLock::new(),
        })
    }

    pub fn mood(&self, mood: Mood) {
        *self.mood.lock() = mood;
    }

    pub fn outage(&self, time: Duration) {
        self.journal.step("pro", "outage", &time);
        self.state.lock().down_until = Some(Instant::now() + time);
    }

    pub fn up(&self) {
        self.state.lock().down_until = None;
    }

    /// It is certain that the person is connected with this family alone, or (`None`) that nothing is certain.
    pub fn connected(&self, user: usize, with: Option<usize>) {
        for (index, family) in self.state.lock().families.iter_mut().enumerate() {
            if family.user == user {
                family.connected = with == Some(index);
            }
        }
    }

    /// The person revokes at the provider.
    pub fn revoke_by_person(&self, family: usize) {
        self.journal.step("pro", "the person revokes", &family);
        self.state.lock().kill(family, Death::Person);
    }

    /// Whether the newest access token is in use: not one that nobody has yet.
    pub fn is_settled(&self, family: usize) -> bool {
        let state = self.state.lock();
        let issued = state.families[family].issued;
        if self.mode == Mode::Fixed {
            issued.elapsed() > PATIENCE
        } else {
            let stored = state.landed.unwrap_or(issued);
            state.awaiting == 0 && issued.max(stored).elapsed() > FRESH
        }
    }

    /// The newest access token is no longer taken.
    pub fn drop_access(&self, family: usize) {
        let mut state = self.state.lock();
        let newest = state.families[family].newest.clone();
        if let Some(access) = state.access.get_mut(&newest) {
            access.dead = true;
        }
    }

    /// Nor is any other of this person, nor one that nobody heard of.
    pub fn drop_all_access(&self, user: usize) {
        let mut state = self.state.lock();
        let State { families, access, .. } = &mut *state;
        access.values_mut().filter(|access| families[access.family].user == user).for_each(|access| access.dead = true);
    }

    /// Whether the API takes this access token; and whose it is.
    pub fn accepts(&self, token: &str) -> (bool, usize) {
        let mut state = self.state.lock();
        if let Some(user) = key_of(token) {
            return (true, user);
        }
        let Some(access) = state.access.get(token) else { return (false, usize::MAX) };
        let (family, until, dead) = (access.family, access.until, access.dead);
        let accepted = !dead && until > Instant::now() && state.families[family].dead.is_none();
        if !accepted {
            state.refuse(token, family);
        } else if let Some(access) = state.access.get_mut(token) {
            access.served = true;
        }
        (accepted, state.families[family].user)
    }

    /// Whether the API has taken this token before.
    pub fn has_served(&self, token: &str) -> bool {
        self.state.lock().access.get(token).is_some_and(|access| access.served)
    }

    /// The API refuses a good token, as APIs do at times.
    pub fn refuse_for_nothing(&self, token: &str) {
        let mut state = self.state.lock();
        if let Some(family) = state.access.get(token).map(|access| access.family) {
            state.refuse(token, family);
        }
    }

    pub fn death_of(&self, family: usize) -> Option<Death> {
        self.state.lock().families[family].dead
    }

    /// The family of a refresh token that would be taken.
    pub fn takes(&self, token: &str) -> Option<usize> {
        let state = self.state.lock();
        let refresh = state.refresh.get(token)?;
        (refresh.spent.is_none() && state.families[refresh.family].dead.is_none()).then_some(refresh.family)
    }

    /// The family of a token, whatever became of it.
    pub fn family_of(&self, token: &str) -> Option<usize> {
        self.state.lock().family_of(token)
    }

    /// Whether it waits to hear that tokens are stored.
    pub fn awaits_landing(&self) -> bool {
        self.state.lock().awaiting > 0
    }

    /// The store has this refresh token.
    pub fn landed(&self, token: &str) {
        let mut state = self.state.lock();
        let spend = state.refresh.values_mut().filter_map(|refresh| refresh.spent.as_mut());
        if let Some(spend) = spend.into_iter().find(|spend| spend.next == token && spend.landed.is_none()) {
            spend.landed = Some(Instant::now());
            state.awaiting -= 1;
            state.landed = Some(Instant::now());
        }
    }

    /// The provider as this process reaches it.
    pub fn reached_by(self: &Arc<Self>, gate: &Arc<Gate>) -> Arc<dyn Transport> {
        Arc::new(Line { provider: Arc::clone(self), gate: Arc::clone(gate) })
    }

    fn answer(&self, path: &str, token: &str, sender: &Arc<Gate>, sent: Instant, lost: bool) -> (u16, String) {
        let mut state = self.state.lock();
        if state.down_until.is_some_and(|until| until > Instant::now()) {
            return (503, String::new());
        }
        let outcome = if path == "/revoke" {
            self.revoke(&mut state, token, sender, sent)
        } else {
            self.renew(&mut state, token, sender, sent, lost)
        };
        self.journal.step(&sender.name, path, &(token, &outcome, if lost { "unheard" } else { "" }));
        outcome
    }

    fn renew(&self, state: &mut State, token: &str, sender: &Arc<Gate>, sent: Instant, lost: bool) -> (u16, String) {
        let refused = || (400, r#"{"error":"invalid_grant"}"#.to_owned());
        let now = Instant::now();
        let Some(refresh) = state.refresh.get(token) else { return refused() };
        let family = refresh.family;
        if state.families[family].dead.is_some() {
            return refused();
        }
        if let Some(spend) = &refresh.spent {
            self.judge(token, spend, sender, sent);
            if self.mode != Mode::Grace || now > spend.at + GRACE {
                state.kill(family, Death::Reuse);
                return refused();
            }
        } else {
            self.judge_haste(state, family, token, sent);
        }
        if sender.name.starts_with('i') {
            self.journal.violated("an import renewed a token".into());
        }
        self.journal.count(|counts| counts.refreshes += 1);
        if self.one_at_a_time {
            let newest = state.families[family].newest.clone();
            state.access.get_mut(&newest).unwrap().dead = true;
        }
        let (access, next) = state.issue(family, self.life, self.mode == Mode::Fixed);
        state.families[family].asked = sent;
        state.families[family].renewal = Some((Arc::clone(sender), sent, lost));
        let life = self.life.as_secs();
        if self.mode == Mode::Fixed {
            return (200, format!(r#"{{"access_token":"{access}","token_type":"Bearer","expires_in":{life}}}"#));
        }
        let spend = Spend { by: Arc::clone(sender), sent, at: now, lost, next: next.clone(), landed: None };
        state.refresh.get_mut(token).unwrap().spent = Some(spend);
        state.awaiting += 1;
        let answer = format!(
            r#"{{"access_token":"{access}","token_type":"Bearer","expires_in":{life},"refresh_token":"{next}"}}"#
        );
        (200, answer)
    }
}

/// An API key of this person's.
pub fn key(user: usize) -> String {
    format!("k{user}")
}

/// Whose key that is.
fn key_of(token: &str) -> Option<usize> {
    token.strip_prefix('k')?.parse().ok()
}

impl State {
    fn issue(&mut self, number: usize, life: Duration, fixed: bool) -> (String, String) {
        let now = Instant::now();
        let family = &mut self.families[number];
        family.serial += 1;
        let access = format!("a{number}.{}", family.serial);
        let refresh = format!("r{number}.{}", family.serial);
        (family.newest, family.issued, family.refused) = (access.clone(), now, false);
        self.access.insert(access.clone(), Access { family: number, until: now + life, dead: false, served: false });
        if !fixed {
            self.refresh.insert(refresh.clone(), Refresh { family: number, spent: None });
        }
        (access, refresh)
    }

    fn family_of(&self, token: &str) -> Option<usize> {
        let refresh = self.refresh.get(token).map(|token| token.family);
        refresh.or_else(|| self.access.get(token).map(|access| access.family))
    }

    fn kill(&mut self, family: usize, death: Death) {
        self.families[family].dead.get_or_insert(death);
    }

    fn refuse(&mut self, token: &str, family: usize) {
        // Of a family that was consented to again, its client may well use the token of that, rather than a renewal's.
        if self.families[family].newest == token || self.families[family].continued {
            self.families[family].refused = true;
        }
    }
}
