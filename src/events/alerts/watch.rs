//! The one that watches. Each replica asks for the lease; whoever has it reads what failed, brings the alerts up to date and
//! sends what has yet to be delivered. Whoever loses it forgets all, and another goes on with what is in the store.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{
    message::{Message, News, Recipient},
    spikes::{self, Spike, Turn},
    state::{State, Stored},
    ways::{self, Ways},
    window::{Sum, Window},
};
use crate::{
    clock::{Clock, Timestamp},
    config::Alerts,
    events::{
        failures::FailureLog,
        outbox::{MailError, Sent},
    },
    id::ServiceName,
    outbound::Outbound,
    provider::Live,
    store::{self, Key, OwnerId, RecordId, Store, Taken},
    telemetry::{Metrics, metrics::AlertOutcome},
    vault::Vault,
};

/// What the lease is on.
const LEASE: Key = Key { owner: OwnerId(*b"valetkey alerts."), record: RecordId([0; 16]) };
/// The hour of the day (UTC) from which on its digest is given.
const DIGEST_HOUR: u64 = 7;
/// How many messages wait at most; then the oldest is a dead letter.
const MOST: usize = 500;
/// How many messages are on their way at the same time.
const AT_ONCE: usize = 8;

/// What watching takes.
pub struct Parts {
    /// Where failures and alerts lie.
    pub store: Arc<dyn Store>,
    /// What seals them.
    pub vault: Arc<Vault>,
    /// Whose failures count.
    pub live: Live,
    /// How messages leave.
    pub outbound: Outbound,
    /// What is too much, and who is told.
    pub settings: Alerts,
    /// Where alerts are counted.
    pub metrics: Arc<Metrics>,
    /// The time.
    pub clock: Clock,
    /// The long-lived runtime.
    pub handle: Handle,
}

/// Watches for as long as the process lives. Cheap to clone.
#[derive(Clone)]
pub struct Watch(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    log: FailureLog,
    live: Live,
    settings: Alerts,
    ways: Ways,
    metrics: Arc<Metrics>,
    clock: Clock,
    /// Names this process where it holds the lease.
    holder: String,
    tick: Duration,
    stop: CancellationToken,
    stopped: CancellationToken,
}

/// What the one that watches has in hand.
struct Hand {
    window: Window,
    sending: JoinSet<(String, Recipient, Sent)>,
    under_way: BTreeSet<(String, String)>,
}

impl Watch {
    /// Begins to watch; `None`: there is nothing to watch for.
    ///
    /// # Errors
    /// Where mail can't be sent as configured.
    pub fn start(parts: Parts) -> Result<Option<Self>, MailError> {
        let Parts { store, vault, live, outbound, settings, metrics, clock, handle } = parts;
        if settings.failures_above.is_none() && !settings.digest {
            return Ok(None);
        }
        let mut random = [0; 16];
        // Without randomness nothing else works either.
        let _ = getrandom::fill(&mut random);
        let watch = Self(Arc::new(Inner {
            log: FailureLog::new(Arc::clone(&store), Arc::clone(&vault)),
            ways: Ways::new(&settings, outbound)?,
            tick: (settings.window / 20).clamp(Duration::from_millis(250), Duration::from_secs(10)),
            holder: data_encoding::HEXLOWER.encode(&random),
            stop: CancellationToken::new(),
            stopped: CancellationToken::new(),
            store,
            vault,
            live,
            settings,
            metrics,
            clock,
        }));
        handle.spawn(watch.clone().run());
        Ok(Some(watch))
    }

    /// Ends; another replica goes on at once. Messages under way are sent again by that one, under their own ids.
    pub async fn drain(&self, limit: Duration) {
        self.0.stop.cancel();
        let _ = tokio::time::timeout(limit, self.0.stopped.cancelled()).await;
    }

    async fn run(self) {
        let mut tick = interval(self.0.tick);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let term = (self.0.tick * 3).max(Duration::from_secs(3));
        let mut hand = None;
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = self.0.stop.cancelled() => break,
            }
            match self.0.store.lease(&LEASE, &self.0.holder, term).await {
                Ok(Taken::Mine { .. }) => {
                    let hand = hand.get_or_insert_with(|| Hand::new(self.0.settings.window));
                    if let Err(error) = self.look(hand).await {
                        tracing::debug!(%error, "alerts are looked after later: the store is away");
                    }
                }
                Ok(Taken::Theirs { .. }) => hand = None,
                Err(error) => tracing::debug!(%error, "nobody knows who watches: the store is away"),
            }
        }
        // What was delivered is noted, or the next one would send it again.
        if let Some(mut hand) = hand {
            let _ = self.note_sent(&mut hand).await;
        }
        let _ = self.0.store.release(&LEASE, &self.0.holder).await;
        self.0.stopped.cancel();
    }

    /// One look.
    async fn look(&self, hand: &mut Hand) -> Result<(), store::Error> {
        let inner = &self.0;
        self.note_sent(hand).await?;
        let now = inner.clock.now();
        let services: Vec<ServiceName> = inner.live.services().iter().map(|service| service.name.clone()).collect();
        hand.window.read_on(&inner.log, &services, now).await?;
        let mut stored = Stored::read(&inner.store, &inner.vault).await?;
        let mut state = stored.state.clone();
        let mut told = Vec::new();
        if let Some(above) = inner.settings.failures_above {
            for turn in spikes::turn(&mut state.spikes, &hand.window.sums(), above, inner.settings.window, now) {
                told.push(match turn {
                    Turn::Raised(spike, sum) => {
                        (AlertOutcome::Raised, News::raised(&spike, &sum, &inner.settings), spike, sum)
                    }
                    Turn::Over(spike) => {
                        let sum = self.whole(&spike, &services).await?;
                        (AlertOutcome::Resolved, News::over(&spike, &sum, &inner.settings), spike, sum)
                    }
                });
            }
        }
        let mut lines = Vec::new();
        for (outcome, news, spike, sum) in told {
            lines.push((outcome, news.text().to_owned(), spike, sum));
            self.queue(&mut state, news, now);
        }
        self.digest(&mut state, &services, now).await?;
        if !stored.replace(state, &inner.store, &inner.vault).await? {
            // Another is at it: it is looked at again in a moment.
            return Ok(());
        }
        for (outcome, text, spike, sum) in lines {
            self.log(outcome, &text, &spike, &sum);
        }
        self.send(hand, &stored.state, now);
        Ok(())
    }

    /// All that failed in this way since it began.
    async fn whole(&self, spike: &Spike, services: &[ServiceName]) -> Result<Sum, store::Error> {
        let first = Timestamp::from_millis(spike.first);
        let own = services.iter().filter(|name| name.as_str() == spike.service);
        let batches = self.0.log.batches(own, first).await?;
        let of_it = batches.iter().filter(|batch| batch.error == spike.error);
        let sum = of_it.fold(None, |sum, batch| Some(Sum::with(sum, batch)));
        Ok(sum.unwrap_or(Sum { count: 0, first_at: first, last_at: first, request: None }))
    }

    /// What failed within a day, once a day.
    async fn digest(&self, state: &mut State, services: &[ServiceName], now: Timestamp) -> Result<(), store::Error> {
        let today = now.date();
        if !self.0.settings.digest || state.digest.as_deref() == Some(today.as_str()) {
            return Ok(());
        }
        let is_time = now.seconds() % 86_400 / 3600 >= DIGEST_HOUR;
        match (&state.digest, is_time) {
            (Some(_), true) => {
                let failures = self.0.log.failures(services, 24, now).await?;
                self.queue(state, News::digest(&failures, now), now);
                state.digest = Some(today);
            }
            // Whoever begins in the course of a day gets the first one on the next.
            (None, true) => state.digest = Some(today),
            (None, false) => state.digest = Some(now.before(Duration::from_secs(86_400)).date()),
            (Some(_), false) => {}
        }
        Ok(())
    }

    fn queue(&self, state: &mut State, news: News, now: Timestamp) {
        state.messages.extend(news.messages(&self.0.settings, now));
        while state.messages.len() > MOST {
            dead(&state.messages.remove(0), "too many messages wait");
        }
    }

    fn log(&self, outcome: AlertOutcome, text: &str, spike: &Spike, sum: &Sum) {
        self.0.metrics.alert(outcome);
        let Spike { service, error, .. } = spike;
        let (count, request_id) = (sum.count, sum.request.as_deref());
        let (first_at, last_at) = (sum.first_at, sum.last_at);
        match outcome {
            AlertOutcome::Raised => {
                tracing::error!(target: "valetkey::alert", alert = "raised", service, error, count, %first_at, %last_at, request_id, "{text}");
            }
            AlertOutcome::Resolved => {
                tracing::info!(target: "valetkey::alert", alert = "resolved", service, error, count, %first_at, %last_at, request_id, "{text}");
            }
        }
    }

    /// Sends what is due and not on its way.
    fn send(&self, hand: &mut Hand, state: &State, now: Timestamp) {
        let due = state.messages.iter().filter(|message| Timestamp::from_millis(message.due).reached(now));
        for message in due {
            if hand.under_way.len() >= AT_ONCE {
                return;
            }
            if hand.under_way.insert(name(&message.id, &message.recipient)) {
                let (watch, message) = (self.clone(), message.clone());
                hand.sending.spawn(async move {
                    let sent = watch.0.ways.send(&message, watch.0.clock.now()).await;
                    (message.id, message.recipient, sent)
                });
            }
        }
    }

    /// Notes what became of what was sent.
    async fn note_sent(&self, hand: &mut Hand) -> Result<(), store::Error> {
        while let Some(done) = hand.sending.try_join_next() {
            let Ok((id, recipient, sent)) = done else { continue };
            let now = self.0.clock.now();
            let noted = loop {
                let mut stored = Stored::read(&self.0.store, &self.0.vault).await?;
                let mut state = stored.state.clone();
                let at = state.messages.iter().position(|one| one.id == id && one.recipient == recipient);
                let Some(at) = at else { break None };
                let message = note(&mut state.messages, at, sent, now);
                if stored.replace(state, &self.0.store, &self.0.vault).await? {
                    break Some(message);
                }
            };
            hand.under_way.remove(&name(&id, &recipient));
            if let Some((message, Some(why))) = noted {
                dead(&message, why);
            }
        }
        Ok(())
    }
}

impl Hand {
    fn new(window: Duration) -> Self {
        Self { window: Window::new(window), sending: JoinSet::new(), under_way: BTreeSet::new() }
    }
}

/// What becomes of a message after an attempt; with why, where it was the last.
fn note(messages: &mut Vec<Message>, at: usize, sent: Sent, now: Timestamp) -> (Message, Option<&'static str>) {
    let mut message = messages.remove(at);
    message.attempts = message.attempts.saturating_add(1);
    match (sent, ways::wait(message.attempts)) {
        (Sent::Delivered, _) => (message, None),
        (Sent::Never(why), _) => (message, Some(why)),
        (Sent::NotNow(_), None) => (message, Some("every attempt failed")),
        (Sent::NotNow(asked), Some(wait)) => {
            let wait = wait.max(asked.unwrap_or_default().min(Duration::from_secs(3600)));
            message.due = now.plus(wait).millis();
            messages.push(message.clone());
            (message, None)
        }
    }
}

fn name(id: &str, recipient: &Recipient) -> (String, String) {
    (id.to_owned(), format!("{recipient:?}"))
}

/// The last word on a message.
fn dead(message: &Message, why: &str) {
    let way = match message.recipient {
        Recipient::Webhook => "webhook",
        Recipient::Slack => "slack",
        Recipient::Mail(_) => "mail",
    };
    let (id, attempts) = (&message.id, message.attempts);
    tracing::error!(target: "valetkey::dead_letter", id, way, attempts, why, "an alert could not be delivered");
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}
