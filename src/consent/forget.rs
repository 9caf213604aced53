//! An erased person's sessions, dashboard links and flows end: they lie in the store under names that only their browsers
//! know, so that nobody can take them away. Instead it is noted until when they may have begun, for as long as any of them
//! could live.

use std::{sync::Arc, time::Duration};

use data_encoding::HEXLOWER;

use super::SESSION_TTL;
use crate::{
    clock::Timestamp,
    connection::{Roots, Unavailable},
    id::CallerId,
    store::{Claim, Store},
};

/// Nothing that a browser holds lives longer, but for links that were sent by mail.
const REMEMBERED: Duration = SESSION_TTL.saturating_add(Duration::from_secs(60));
/// How often to try to note it when someone else was quicker.
const ATTEMPTS: u32 = 4;

/// When people were erased, for as long as anything of theirs might live.
#[derive(Clone)]
pub struct Erasures {
    roots: Roots,
    store: Arc<dyn Store>,
}

impl Erasures {
    pub(super) fn new(roots: Roots, store: Arc<dyn Store>) -> Self {
        Self { roots, store }
    }

    /// From now on nothing that a browser of this caller's has begun is good for anything.
    ///
    /// # Errors
    /// While store or keys are away.
    pub async fn note(&self, caller: &CallerId, now: Timestamp) -> Result<(), Unavailable> {
        let (name, value) = (self.name(caller).await?, now.millis().to_be_bytes());
        for _ in 0..ATTEMPTS {
            match self.store.put_once(&name, &value, Some(REMEMBERED)).await? {
                Claim::Mine => return Ok(()),
                Claim::Theirs(before) => {
                    if self.store.replace(&name, &before, &value, Some(REMEMBERED)).await? {
                        return Ok(());
                    }
                }
            }
        }
        Err(Unavailable::Busy)
    }

    /// Whether the caller was erased since something began.
    pub(super) async fn since(&self, caller: &CallerId, begun: Timestamp) -> Result<bool, Unavailable> {
        let erased = self.store.peek(&self.name(caller).await?).await?;
        let at = erased.and_then(|at| at.try_into().ok()).map(u64::from_be_bytes).map(Timestamp::from_millis);
        Ok(at.is_some_and(|at| begun <= at))
    }

    async fn name(&self, caller: &CallerId) -> Result<String, Unavailable> {
        let root = self.roots.get().await?;
        let name = root.blind("erased", &caller.parts());
        Ok(format!("erased.{}", HEXLOWER.encode(&name)))
    }
}
