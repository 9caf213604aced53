//! What all replicas know of alerts: one sealed value in the store, replaced by comparison only.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{message::Message, spikes::Spike, window::Name};
use crate::{
    clock::Timestamp,
    store::{self, Claim, Store},
    vault::{Context, Purpose, Vault},
};

/// Its name in the store.
const NAME: &str = "alerts";
/// How long it is kept after its last change.
const KEPT: Duration = Duration::from_secs(40 * 86_400);

/// Alerts, and what has yet to be delivered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    #[serde(rename = "s", default)]
    pub spikes: Vec<Spike>,
    #[serde(rename = "m", default)]
    pub messages: Vec<Message>,
    /// The day whose digest was given last.
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// The state as it was read.
pub(super) struct Stored {
    pub state: State,
    sealed: Option<Vec<u8>>,
}

impl Stored {
    /// Reads it. One that no key opens counts as none, and is written over.
    pub async fn read(store: &Arc<dyn Store>, vault: &Vault) -> Result<Self, store::Error> {
        let sealed = store.peek(NAME).await?;
        let state = sealed.as_deref().and_then(|sealed| {
            let plain = vault.open(&context(), sealed).ok()?;
            serde_json::from_slice(plain.expose()).ok()
        });
        Ok(Self { state: state.unwrap_or_default(), sealed })
    }

    /// Writes another in its place. `false`: somebody else did.
    pub async fn replace(&mut self, state: State, store: &Arc<dyn Store>, vault: &Vault) -> Result<bool, store::Error> {
        if self.state == state {
            return Ok(true);
        }
        let plain = serde_json::to_vec(&state).expect("texts, numbers and lists of them are JSON");
        let Ok(sealed) = vault.seal(&context(), &plain) else { return Ok(false) };
        let done = match &self.sealed {
            Some(before) => store.replace(NAME, before, &sealed, Some(KEPT)).await?,
            None => store.put_once(NAME, &sealed, Some(KEPT)).await? == Claim::Mine,
        };
        if done {
            *self = Self { state, sealed: Some(sealed) };
        }
        Ok(done)
    }
}

/// Services and errors whose alert was raised since then, or is raised still.
///
/// # Errors
/// While the store is away.
pub(in crate::events) async fn raised_since(
    store: &Arc<dyn Store>,
    vault: &Vault,
    since: Timestamp,
) -> Result<BTreeSet<Name>, store::Error> {
    let state = Stored::read(store, vault).await?.state;
    let raised = state.spikes.into_iter().filter(|spike| spike.over.is_none_or(|over| over >= since));
    Ok(raised.map(|spike| (spike.service, spike.error)).collect())
}

const fn context() -> Context<'static> {
    const PARTS: &[&[u8]] = &[NAME.as_bytes()];
    Context { purpose: Purpose::Event, parts: PARTS }
}
