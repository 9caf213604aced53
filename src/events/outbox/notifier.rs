//! The outbox: what is to be told waits here, bounded, and is told by tasks of its own, so that no call ever waits. A
//! notice is first claimed in the store, which only one replica can do and only once; then it becomes a message for each
//! recipient, and each message is tried until it is taken, refused for good, or its schedule has run out (a dead letter).

use std::{fmt, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use tokio::{
    runtime::Handle,
    task::JoinSet,
    time::{interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    handover::{Content, Delivery, Handover},
    inbox::{Inbox, Work, channel},
    mail::{MailError, Mailer},
    queue::{PATIENCE, Schedule},
    sent::Sent,
    webhook::{self, Endpoints},
};
use crate::{
    clock::Timestamp,
    config::{self, NoticeKind},
    events::{
        contact::Contacts,
        notice::{Notice, Surroundings},
    },
    outbound::Outbound,
    store::{Claim, Store},
    telemetry::metrics::{NoticeChannel, NoticeOutcome},
    vault::{Root, Vault},
};

/// How much is told at the same time.
const AT_ONCE: usize = 16;
/// One attempt.
const ATTEMPT: Duration = Duration::from_secs(10);
/// How long a notification is remembered as given.
const REMEMBERED: Duration = Duration::from_secs(30 * 86_400);
/// How often it is looked what other replicas have left.
const LOOK: Duration = Duration::from_secs(30);
/// What still has to be stored at the end may take this long.
const LEAVE: Duration = Duration::from_secs(3);

/// What notices are told with.
pub struct Parts {
    /// Where claims lie, and what is left at the end.
    pub store: Arc<dyn Store>,
    /// Seals the latter.
    pub vault: Arc<Vault>,
    /// Names, titles and links.
    pub surroundings: Arc<dyn Surroundings>,
    /// Whom mail goes to.
    pub contacts: Contacts,
    /// Calls endpoints.
    pub outbound: Outbound,
    /// Who is told.
    pub settings: config::Notifications,
    /// The long-lived runtime.
    pub handle: Handle,
}

/// Tells what comes into the inbox. Cheap to clone.
#[derive(Clone)]
pub struct Notifier(Arc<Inner>);

struct Inner {
    inbox: Inbox,
    store: Arc<dyn Store>,
    surroundings: Arc<dyn Surroundings>,
    contacts: Contacts,
    endpoints: Endpoints,
    mailer: Option<Mailer>,
    schedule: Schedule,
    handover: Handover,
    stop: CancellationToken,
    stopped: CancellationToken,
}

impl Notifier {
    /// Begins to tell.
    ///
    /// # Errors
    /// Where mail can't be sent as configured.
    pub fn start(inbox: Inbox, parts: Parts) -> Result<Self, MailError> {
        let Parts { store, vault, surroundings, contacts, outbound, settings, handle } = parts;
        let mailer = settings.email.map(|email| Mailer::new(email, ATTEMPT)).transpose()?;
        let notifier = Self(Arc::new(Inner {
            inbox,
            handover: Handover { store: Arc::clone(&store), vault },
            store,
            surroundings,
            contacts,
            endpoints: Endpoints::new(settings.webhooks, outbound, ATTEMPT),
            mailer,
            schedule: Schedule(settings.retries),
            stop: CancellationToken::new(),
            stopped: CancellationToken::new(),
        }));
        handle.spawn(notifier.clone().run());
        Ok(notifier)
    }

    /// Ends: what is due is still told, for at most this long; the rest is left in the store for other replicas, and what
    /// can't be left there is a dead letter.
    pub async fn drain(&self, limit: Duration) {
        let idle = async {
            while !self.0.inbox.is_idle() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = timeout(limit, idle).await;
        self.0.stop.cancel();
        self.0.stopped.cancelled().await;
        let now = self.now();
        let mut messages = Vec::new();
        {
            let mut state = self.0.inbox.0.state.lock();
            messages.extend(state.under_way.drain().filter_map(|(_, delivery)| Some((now, delivery?))));
            for (due, work) in state.waiting.take_all() {
                match work {
                    Work::Deliver(delivery) => messages.push((due, *delivery)),
                    Work::Announce { notice, .. } => self.unannounced(&notice),
                }
            }
        }
        let copies: Vec<Delivery> = messages.iter().map(|(_, delivery)| delivery.clone()).collect();
        let left = timeout(LEAVE, self.0.handover.leave(messages)).await.unwrap_or(copies);
        for delivery in left {
            self.dead(&delivery, "the process ended, and the store did not take it");
        }
    }

    async fn run(self) {
        let mut tasks = JoinSet::new();
        let mut look = interval(LOOK);
        let inbox = &self.0.inbox;
        loop {
            for (number, work) in inbox.take_due(AT_ONCE.saturating_sub(tasks.len())) {
                let notifier = self.clone();
                tasks.spawn(async move {
                    notifier.attend(work).await;
                    notifier.0.inbox.0.state.lock().under_way.remove(&number);
                });
            }
            let due = inbox.0.state.lock().waiting.next_due().filter(|_| tasks.len() < AT_ONCE);
            let pause = due.map_or(LOOK, |due| due.until(self.now()));
            tokio::select! {
                () = inbox.0.changed.notified() => {}
                () = sleep(pause) => {}
                Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
                _ = look.tick() => {
                    let notifier = self.clone();
                    tasks.spawn(async move {
                        for (due, delivery) in notifier.0.handover.take_over().await {
                            notifier.0.inbox.put(due, Work::Deliver(Box::new(delivery)));
                        }
                    });
                }
                () = self.0.stop.cancelled() => break,
            }
        }
        tasks.shutdown().await;
        self.0.stopped.cancel();
    }

    async fn attend(&self, work: Work) {
        match work {
            Work::Announce { notice, token, attempts } => {
                if self.announce(&notice, &token).await.is_none() {
                    let due = self.now().plus(PATIENCE.after(attempts));
                    let attempts = attempts.saturating_add(1);
                    self.0.inbox.put(due, Work::Announce { notice, token, attempts });
                }
            }
            Work::Deliver(delivery) => self.deliver(*delivery).await,
        }
    }

    /// Makes a notice into messages, where it is this process's to give; `None`: that can't be known now.
    async fn announce(&self, notice: &Notice, token: &[u8; 16]) -> Option<()> {
        let inner = &self.0;
        let root = inner.surroundings.root().await?;
        let mailer = inner.mailer.as_ref().filter(|mailer| mailer.wants(notice.kind));
        let contact = match mailer {
            Some(_) => Some(inner.contacts.find(&root, &notice.connection.caller).await.ok()?),
            None => None,
        };
        let address = contact.as_ref().and_then(|contact| contact.address.as_ref());
        let mut endpoints = inner.endpoints.wanting(notice.kind).peekable();
        if address.is_none() && endpoints.peek().is_none() {
            return Some(());
        }
        let recovered = notice.kind == NoticeKind::ConnectionRecovered;
        // Most connections that are made were never lost.
        if recovered && inner.store.peek(&lost(notice, &root)).await.ok()?.is_none() {
            return Some(());
        }
        let name = address.map(|address| address.expose().as_str());
        let about = inner.surroundings.about(&notice.connection, &notice.scopes, name).await?;
        let identity = URL_SAFE_NO_PAD.encode(notice.identity(&root));
        // After an error it may be ours all the same: then what lies there is our token.
        match inner.store.put_once(&format!("notice.{identity}"), token, Some(REMEMBERED)).await.ok()? {
            Claim::Mine => {}
            Claim::Theirs(theirs) if theirs == token => {}
            Claim::Theirs(_) => {
                self.count(NoticeChannel::None, NoticeOutcome::Duplicate);
                return Some(());
            }
        }
        if notice.kind == NoticeKind::ConnectionInvalid {
            inner.store.put_once(&lost(notice, &root), b"told", Some(REMEMBERED)).await.ok()?;
        }
        // Several consents may follow one loss: at most one of them takes the mark away.
        if recovered && inner.store.take(&lost(notice, &root)).await.ok()?.is_none() {
            self.count(NoticeChannel::None, NoticeOutcome::Duplicate);
            return Some(());
        }
        let id = format!("msg_{identity}");
        let message =
            |content| Work::Deliver(Box::new(Delivery { id: id.clone(), kind: notice.kind, content, attempts: 0 }));
        let now = self.now();
        if endpoints.peek().is_some() {
            let body = webhook::body(notice, &about);
            for endpoint in endpoints {
                let (url, body) = (endpoint.url.to_string(), body.clone());
                inner.inbox.put(now, message(Content::Webhook { url, body }));
            }
        }
        if let (Some(mailer), Some(contact), Some(address)) = (mailer, &contact, address)
            && let Some(mail) = mailer.write(address, contact, notice, &about, now)
        {
            inner.inbox.put(now, message(Content::Mail(mail)));
        }
        tracing::debug!(id, kind = notice.kind.name(), service = %notice.connection.service, "a notice is given");
        Some(())
    }

    async fn deliver(&self, mut delivery: Delivery) {
        let sent = match (&delivery.content, &self.0.mailer) {
            (Content::Webhook { url, body }, _) => self.0.endpoints.send(url, &delivery.id, body, self.now()).await,
            (Content::Mail(mail), Some(mailer)) => mailer.send(mail, &delivery.id).await,
            (Content::Mail(_), None) => Sent::Never("mail is no longer configured"),
        };
        let channel = channel(&delivery);
        delivery.attempts = delivery.attempts.saturating_add(1);
        match sent {
            Sent::Delivered => self.count(channel, NoticeOutcome::Delivered),
            Sent::Never(why) => self.dead(&delivery, why),
            Sent::NotNow(asked) => match self.0.schedule.wait(delivery.attempts, asked, &delivery.id) {
                Some(wait) => {
                    self.count(channel, NoticeOutcome::Retried);
                    self.0.inbox.put(self.now().plus(wait), Work::Deliver(Box::new(delivery)));
                }
                None => self.dead(&delivery, "every attempt failed"),
            },
        }
    }

    /// The last word on a message. Neither its link nor its recipient's address is in it.
    fn dead(&self, delivery: &Delivery, why: &str) {
        let channel = channel(delivery);
        self.count(channel, NoticeOutcome::Dead);
        let host = match &delivery.content {
            Content::Webhook { url, .. } => {
                url::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
            }
            Content::Mail(_) => "mail".to_owned(),
        };
        tracing::error!(
            target: "valetkey::dead_letter",
            id = delivery.id,
            r#type = delivery.kind.name(),
            host,
            attempts = delivery.attempts,
            why,
            "a notice could not be delivered"
        );
    }

    fn unannounced(&self, notice: &Notice) {
        self.count(NoticeChannel::None, NoticeOutcome::Dead);
        tracing::error!(
            target: "valetkey::dead_letter",
            r#type = notice.kind.name(),
            service = %notice.connection.service,
            "a notice could not be given: the store was away when the process ended"
        );
    }

    fn count(&self, channel: NoticeChannel, outcome: NoticeOutcome) {
        self.0.inbox.0.metrics.notification(channel, outcome);
    }

    fn now(&self) -> Timestamp {
        self.0.inbox.0.clock.now()
    }
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notifier")
    }
}

/// Where it is remembered that the loss of a notice's connection was told; says nothing of whom it concerns.
fn lost(notice: &Notice, root: &Root) -> String {
    format!("lost.{}", URL_SAFE_NO_PAD.encode(root.blind("lost", &notice.connection.parts())))
}
