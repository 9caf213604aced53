//! What a process could not deliver before it ended, left in the store for whichever replica comes by: a few slots, each a
//! sealed batch. Replicas look into them from time to time and at start; whoever takes a slot away delivers what is in it.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::mail::Mail;
use crate::{
    clock::Timestamp,
    config::NoticeKind,
    secret::{self, SecretString},
    store::{Claim, Store},
    vault::{Context, Purpose, Vault},
};

/// How many batches can wait.
const SLOTS: usize = 16;
/// How many messages a batch holds.
const BATCH: usize = 64;
/// What nobody has taken after this is lost; no link lives longer by default.
const KEPT: Duration = Duration::from_secs(7 * 86_400);

/// One message to one recipient.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Delivery {
    /// The same for each attempt, on each replica.
    pub id: String,
    /// What it is about.
    pub kind: NoticeKind,
    /// What goes where.
    pub content: Content,
    /// How often it was tried.
    pub attempts: u32,
}

/// What goes where.
#[derive(Clone, Serialize, Deserialize)]
pub(super) enum Content {
    /// To an endpoint.
    Webhook {
        /// Which.
        url: String,
        /// What it gets.
        #[serde(serialize_with = "secret::reveal")]
        body: SecretString,
    },
    /// To a person.
    Mail(Mail),
}

/// The slots.
pub(super) struct Handover {
    pub store: Arc<dyn Store>,
    pub vault: Arc<Vault>,
}

impl Handover {
    /// Leaves messages with their times; what comes back could not be left.
    pub async fn leave(&self, mut messages: Vec<(Timestamp, Delivery)>) -> Vec<Delivery> {
        for slot in 0..SLOTS {
            if messages.is_empty() {
                break;
            }
            let batch: Vec<(u64, &Delivery)> =
                messages.iter().take(BATCH).map(|(due, delivery)| (due.millis(), delivery)).collect();
            let Ok(plain) = serde_json::to_vec(&batch).map(zeroize::Zeroizing::new) else { break };
            let taken = batch.len();
            let name = name(slot);
            let Ok(sealed) = self.vault.seal(&context(&[name.as_bytes()]), &plain) else { break };
            match self.store.put_once(&name, &sealed, Some(KEPT)).await {
                Ok(Claim::Mine) => drop(messages.drain(..taken)),
                Ok(Claim::Theirs(_)) => {}
                Err(_) => break,
            }
        }
        messages.into_iter().map(|(_, delivery)| delivery).collect()
    }

    /// Takes over whatever others have left. A store that is away has nothing.
    pub async fn take_over(&self) -> Vec<(Timestamp, Delivery)> {
        let mut messages = Vec::new();
        for slot in 0..SLOTS {
            let name = name(slot);
            match self.store.peek(&name).await {
                Ok(Some(_)) => {}
                Ok(None) => continue,
                Err(_) => break,
            }
            let Ok(Some(sealed)) = self.store.take(&name).await else { continue };
            let Ok(plain) = self.vault.open(&context(&[name.as_bytes()]), &sealed) else {
                tracing::error!(slot, "messages of another replica can't be opened; they are lost");
                continue;
            };
            let batch: Vec<(u64, Delivery)> = serde_json::from_slice(plain.expose()).unwrap_or_default();
            messages.extend(batch.into_iter().map(|(due, delivery)| (Timestamp::from_millis(due), delivery)));
        }
        messages
    }
}

fn name(slot: usize) -> String {
    format!("outbox.{slot}")
}

const fn context<'a>(parts: &'a [&'a [u8]]) -> Context<'a> {
    Context { purpose: Purpose::Event, parts }
}
