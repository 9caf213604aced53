//! A process as the outside sees it: everything it asks of store and provider passes its gate. A killed process passes no
//! more, a stopped one (SIGSTOP) passes when it goes on, one that is cut off finds no store.

use std::{
    future::pending,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::broadcast,
    time::{Instant, sleep, sleep_until},
};

use super::journal::Journal;
use crate::store::Change;

#[derive(Debug, Clone, Copy)]
pub enum Trouble {
    Kill,
    Stop(Duration),
    Cut(Duration),
}

pub struct Gate {
    pub name: String,
    journal: Arc<Journal>,
    state: Mutex<State>,
    /// What it asked the store, in order.
    pub asked: Mutex<Vec<&'static str>>,
    /// How often it asked whether it is its healer's turn, which is not among the above.
    pub turns: AtomicUsize,
    /// The process's end of the channel of change notices.
    pub notices: broadcast::Sender<Change>,
}

#[derive(Default)]
struct State {
    killed: bool,
    left: Option<Instant>,
    stopped_until: Option<Instant>,
    cut_until: Option<Instant>,
    cuts: u64,
    armed: Option<(u64, Trouble)>,
    /// From when to when something was wrong.
    troubles: Vec<(Instant, Option<Instant>)>,
}

impl Gate {
    pub fn new(name: String, journal: Arc<Journal>) -> Arc<Self> {
        Arc::new(Self {
            name,
            journal,
            state: Mutex::default(),
            asked: Mutex::default(),
            turns: AtomicUsize::new(0),
            notices: broadcast::Sender::new(256),
        })
    }

    pub fn strike(&self, trouble: Trouble) {
        let now = Instant::now();
        let mut state = self.state.lock();
        if state.killed {
            return;
        }
        self.journal.step(&self.name, "trouble", &trouble);
        match trouble {
            Trouble::Kill => {
                state.killed = true;
                state.troubles.push((now, None));
                self.journal.count(|counts| counts.kills += 1);
            }
            Trouble::Stop(time) => {
                let end = now + time;
                state.stopped_until = Some(end);
                state.troubles.push((now, Some(end)));
                self.journal.count(|counts| {
                    counts.stops += 1;
                    counts.long_stops += u64::from(time >= Duration::from_secs(10));
                });
            }
            Trouble::Cut(time) => {
                let end = now + time;
                state.cut_until = Some(end);
                state.cuts += 1;
                state.troubles.push((now, Some(end)));
                self.journal.count(|counts| counts.cuts += 1);
                drop(state);
                let notices = self.notices.clone();
                let _ = notices.send(Change::Gap);
                tokio::spawn(async move {
                    sleep(time).await;
                    let _ = notices.send(Change::Gap);
                });
            }
        }
    }

    /// The process gets a SIGTERM.
    pub fn told_to_stop(&self) {
        self.journal.step(&self.name, "told to stop", &());
        self.journal.count(|counts| counts.drains += 1);
    }

    /// It ends in order: that is no trouble, and excuses nothing.
    pub fn leave(&self) {
        self.journal.step(&self.name, "left", &());
        let mut state = self.state.lock();
        state.killed = true;
        state.left = Some(Instant::now());
    }

    /// Whether it ended in order before then.
    pub fn left_before(&self, then: Instant) -> bool {
        self.state.lock().left.is_some_and(|left| left < then)
    }

    /// Strikes at the gate's so many-th crossing from now.
    pub fn arm(&self, crossings: u64, trouble: Trouble) {
        self.state.lock().armed = Some((crossings, trouble));
    }

    /// Waits here while stopped; for ever once killed.
    pub async fn cross(&self) {
        let due = {
            let mut state = self.state.lock();
            match &mut state.armed {
                Some((0, trouble)) => Some(*trouble),
                Some((left, _)) => {
                    *left -= 1;
                    None
                }
                None => None,
            }
        };
        if let Some(trouble) = due {
            self.state.lock().armed = None;
            self.strike(trouble);
        }
        loop {
            let until = {
                let state = self.state.lock();
                if state.killed { None } else { Some(state.stopped_until.filter(|until| *until > Instant::now())) }
            };
            match until {
                None => pending().await,
                Some(Some(until)) => sleep_until(until).await,
                Some(None) => return,
            }
        }
    }

    pub fn is_killed(&self) -> bool {
        self.state.lock().killed
    }

    pub fn is_cut(&self) -> bool {
        self.state.lock().cut_until.is_some_and(|until| until > Instant::now())
    }

    /// How often it was cut off.
    pub fn cuts(&self) -> u64 {
        self.state.lock().cuts
    }

    /// When the last trouble that ends is over.
    pub fn over_at(&self) -> Option<Instant> {
        self.state.lock().troubles.iter().filter_map(|(_, end)| *end).max()
    }

    /// Whether something was wrong with the process between these moments.
    pub fn troubled(&self, from: Instant, to: Instant) -> bool {
        self.state.lock().troubles.iter().any(|(begin, end)| *begin < to && end.is_none_or(|end| end > from))
    }
}
