//! How many connections there are, by service, for the metrics: all replicas share them, so one counts and the others tell the same.
//! Who counts surveys the whole store. What was counted waits in the store,
//! sealed, so that whoever starts later knows it at once, and nobody's end makes it untrue. Reads records, and changes none.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use tokio::{runtime::Handle, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Timestamp,
    id::ServiceName,
    store::{Claim, Store},
    telemetry::{
        Metrics,
        metrics::{Census, Tally},
    },
    vault::{Purpose, Root},
};

use super::{model::Unavailable, survey::Survey};

/// How often at most a replica looks for what another has counted.
const LOOK: Duration = Duration::from_secs(60);
/// How long a process serves at most before it looks for the first time.
const FIRST: Duration = Duration::from_secs(15);
/// The name of the turn to count.
const TURN: &str = "census-turn";

/// Counts connections, or tells what another replica has counted.
pub struct CensusTaker {
    survey: Arc<Survey>,
    metrics: Arc<Metrics>,
    process: String,
    ending: CancellationToken,
    handle: Handle,
}

/// A census as it waits in the store.
#[derive(Serialize, Deserialize)]
struct Stored {
    at: u64,
    services: BTreeMap<ServiceName, Tally>,
}

impl CensusTaker {
    pub(super) fn new(
        (survey, metrics): (Arc<Survey>, Arc<Metrics>),
        process: String,
        (ending, handle): (CancellationToken, Handle),
    ) -> Arc<Self> {
        Arc::new(Self { survey, metrics, process, ending, handle })
    }

    /// From now on connections are counted once in this time, by whichever replica comes first.
    pub fn take_each(self: &Arc<Self>, interval: Duration) {
        let (taker, ending) = (Arc::clone(self), self.ending.clone());
        self.handle.spawn(ending.run_until_cancelled_owned(async move {
            // A single process has nobody to look at.
            let wait =
                if taker.survey.records().store().is_shared() { interval.div_f64(5.0).min(LOOK) } else { interval };
            sleep(wait.min(FIRST)).await;
            loop {
                if let Err(error) = taker.look(interval).await {
                    tracing::debug!(%error, "connections could not be counted");
                }
                sleep(wait).await;
            }
        }));
    }

    /// Counts, where that is this process's turn; else tells what was counted last.
    async fn look(&self, interval: Duration) -> Result<(), Unavailable> {
        let store = self.survey.records().store();
        if !store.is_shared() {
            self.metrics.counted(self.survey.census().await?);
            return Ok(());
        }
        let root = self.survey.records().roots().get().await?;
        let name = HEXLOWER.encode(&root.blind("census", &[]));
        let stored = store.peek(&name).await?;
        if let Some(census) = stored.as_deref().and_then(|sealed| open(&root, &name, sealed)) {
            self.metrics.counted(census);
        }
        match store.put_once(TURN, self.process.as_bytes(), Some(interval)).await? {
            Claim::Theirs(_) => Ok(()),
            Claim::Mine => {
                let census = self.survey.census().await?;
                let sealed = seal(&root, &name, &census)?;
                // Kept a little longer than the next one takes to come; after that nobody counts any more.
                keep(store, &name, stored, sealed.as_bytes(), interval.saturating_mul(12)).await?;
                self.metrics.counted(census);
                Ok(())
            }
        }
    }
}

/// Puts it in the place of what was there; what another replica has put there meanwhile is as good.
async fn keep(
    store: &Arc<dyn Store>,
    name: &str,
    before: Option<Vec<u8>>,
    sealed: &[u8],
    ttl: Duration,
) -> Result<(), Unavailable> {
    match before {
        Some(before) => drop(store.replace(name, &before, sealed, Some(ttl)).await?),
        None => drop(store.put_once(name, sealed, Some(ttl)).await?),
    }
    Ok(())
}

fn seal(root: &Root, name: &str, census: &Census) -> Result<String, Unavailable> {
    let stored = Stored { at: census.at.millis(), services: census.services.clone() };
    let plain = serde_json::to_vec(&stored).expect("numbers and texts are JSON");
    Ok(root.seal(Purpose::Census, &plain, &[name.as_bytes()])?)
}

fn open(root: &Root, name: &str, sealed: &[u8]) -> Option<Census> {
    let plain = root.open(Purpose::Census, std::str::from_utf8(sealed).ok()?, &[name.as_bytes()]).ok()?;
    let stored: Stored = serde_json::from_slice(plain.expose()).ok()?;
    Some(Census { at: Timestamp::from_millis(stored.at), services: stored.services })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_sealed_and_opens_where_it_lies_only() {
        let root = Root::from_bytes([7; 32]);
        let tally = Tally { by_state: [3, 0, 1], on_api_key: 2, ending: [0, 1, 3], ..Tally::default() };
        let services = [(ServiceName::parse("crm").unwrap(), tally)].into();
        let census = Census { at: Timestamp::from_millis(1_700_000_000_123), services };
        let sealed = seal(&root, "here", &census).unwrap();
        assert!(!sealed.contains("crm"));
        assert_eq!(open(&root, "here", sealed.as_bytes()), Some(census));
        assert_eq!(open(&root, "there", sealed.as_bytes()), None);
    }
}
