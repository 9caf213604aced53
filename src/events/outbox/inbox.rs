//! What waits to be told, bounded, and what is being told at this moment. Events come in here without waiting; `notifier`
//! takes them out.

use std::{collections::HashMap, fmt, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    handover::{Content, Delivery},
    queue::Queue,
};
use crate::{
    clock::{Clock, Timestamp},
    events::{
        Event, Sink,
        notice::{Judge, Notice},
    },
    telemetry::{
        Metrics,
        metrics::{NoticeChannel, NoticeOutcome},
    },
};

/// How much waits at most.
const CAPACITY: usize = 10_000;

/// Something to do.
pub(super) enum Work {
    /// Find out who is to be told what.
    Announce { notice: Notice, token: [u8; 16], attempts: u32 },
    /// Tell one recipient.
    Deliver(Box<Delivery>),
}

pub(super) struct State {
    pub waiting: Queue<Work>,
    /// What is being told at this moment, in case the process has to end.
    pub under_way: HashMap<u64, Option<Delivery>>,
    next: u64,
}

/// Where events come in; exists before whatever is needed to tell them. Cheap to clone.
#[derive(Clone)]
pub struct Inbox(pub(super) Arc<InboxInner>);

pub(super) struct InboxInner {
    judge: Judge,
    pub state: Mutex<State>,
    pub changed: Notify,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
}

impl Inbox {
    /// An empty one.
    pub fn new(clock: Clock, metrics: Arc<Metrics>) -> Self {
        let state = State { waiting: Queue::new(CAPACITY), under_way: HashMap::new(), next: 0 };
        let (judge, changed) = (Judge::new(), Notify::new());
        Self(Arc::new(InboxInner { judge, state: Mutex::new(state), changed, clock, metrics }))
    }

    pub(super) fn put(&self, due: Timestamp, work: Work) {
        let dropped = self.0.state.lock().waiting.push(due, work);
        if let Some(dropped) = dropped {
            let channel = match &dropped {
                Work::Announce { .. } => NoticeChannel::None,
                Work::Deliver(delivery) => channel(delivery),
            };
            self.0.metrics.notification(channel, NoticeOutcome::Dropped);
            tracing::warn!("too much waits to be told: the oldest notice is dropped");
        }
        self.0.changed.notify_one();
    }

    pub(super) fn take_due(&self, limit: usize) -> Vec<(u64, Work)> {
        let mut state = self.0.state.lock();
        let taken = state.waiting.take_due(self.0.clock.now(), limit);
        let mut numbered = Vec::with_capacity(taken.len());
        for work in taken {
            let number = state.next;
            state.next += 1;
            let delivery = match &work {
                Work::Announce { .. } => None,
                Work::Deliver(delivery) => Some(Delivery::clone(delivery)),
            };
            state.under_way.insert(number, delivery);
            numbered.push((number, work));
        }
        numbered
    }

    /// Nothing is due and nothing under way.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.0.state.lock();
        let due = state.waiting.next_due().is_some_and(|due| due.reached(self.0.clock.now()));
        !due && state.under_way.is_empty()
    }
}

impl Sink for Inbox {
    fn tell(&self, event: &Event) {
        let now = self.0.clock.now();
        let Some(notice) = self.0.judge.notice(event, now) else { return };
        let mut token = [0; 16];
        if getrandom::fill(&mut token).is_err() {
            return;
        }
        self.put(now, Work::Announce { notice, token, attempts: 0 });
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inbox")
    }
}

/// By which way a message goes.
pub(super) const fn channel(delivery: &Delivery) -> NoticeChannel {
    match delivery.content {
        Content::Webhook { .. } => NoticeChannel::Webhook,
        Content::Mail(_) => NoticeChannel::Mail,
    }
}
