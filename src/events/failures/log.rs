//! Reads the batches that all replicas stored, and adds them up.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde::Serialize;

use super::{Batch, kept::stream_of};
use crate::{
    clock::Timestamp,
    id::ServiceName,
    store::{self, Order, Position, Store, Stream},
    vault::Vault,
};

/// The longest span that is looked at, in hours.
pub const HOURS_MAX: u32 = 744;
/// How many entries are read in one go.
const PAGE: usize = 500;
/// A batch may be stored this much later than its last failure happened: it was gathered, the store was away, and clocks differ.
const LATE: Duration = Duration::from_secs(600);

/// What failed in one way, over all replicas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Of which service.
    pub service: String,
    /// What failed: `class`, or `class:word`.
    pub error: String,
    /// How often.
    pub count: u64,
    /// When it first did, …
    pub first_at: Timestamp,
    /// … and last, in the span that was asked for.
    pub last_at: Timestamp,
    /// One of the requests in which it happened, the latest, where there was one.
    pub request_id: Option<String>,
    /// Whether an alert was raised for it in that span, or is raised still.
    pub alerted: bool,
}

/// The log of failures. Cheap to clone.
#[derive(Clone)]
pub struct FailureLog {
    pub(in crate::events) store: Arc<dyn Store>,
    pub(in crate::events) vault: Arc<Vault>,
}

impl FailureLog {
    /// In this store, opened by this vault.
    pub fn new(store: Arc<dyn Store>, vault: Arc<Vault>) -> Self {
        Self { store, vault }
    }

    /// The streams in which the batches of these services lie.
    pub(in crate::events) fn streams<'s>(services: impl IntoIterator<Item = &'s ServiceName>) -> BTreeSet<Stream> {
        services.into_iter().map(stream_of).collect()
    }

    /// All batches of a stream behind this position, and the position to go on behind.
    ///
    /// # Errors
    /// While the store is away.
    pub(in crate::events) async fn behind(
        &self,
        stream: &Stream,
        after: Position,
    ) -> Result<(Vec<Batch>, Position), store::Error> {
        let (mut found, mut last) = (Vec::new(), after);
        loop {
            let page = self.store.read(stream, Order::Oldest(Some(last)), PAGE).await?;
            found.extend(page.iter().filter_map(|logged| Batch::open(&self.vault, stream, logged)));
            let is_last = page.len() < PAGE;
            last = page.last().map_or(last, |logged| logged.position);
            if is_last {
                return Ok((found, last));
            }
        }
    }

    /// The batches of these services whose last failure happened since then, in no order.
    ///
    /// # Errors
    /// While the store is away.
    pub async fn batches(
        &self,
        services: impl IntoIterator<Item = &ServiceName>,
        since: Timestamp,
    ) -> Result<Vec<Batch>, store::Error> {
        let wanted: BTreeSet<&ServiceName> = services.into_iter().collect();
        let streams = Self::streams(wanted.iter().copied());
        let (mut found, mut closed) = (Vec::new(), 0_usize);
        for stream in &streams {
            let mut before = None;
            loop {
                let page = self.store.read(stream, Order::Newest(before), PAGE).await?;
                before = page.last().map(|logged| logged.position);
                let is_last = page.len() < PAGE;
                for logged in page {
                    match Batch::open(&self.vault, stream, &logged) {
                        Some(batch) if wanted.contains(&batch.service) && batch.last_at() >= since => found.push(batch),
                        Some(_) => {}
                        None => closed += 1,
                    }
                }
                let is_old = before.is_none_or(|at| Timestamp::from_millis(at.at_ms).plus(LATE) < since);
                if is_last || is_old {
                    break;
                }
            }
        }
        if closed > 0 {
            tracing::warn!(closed, "entries of the log of failures are opened by no key of the vault, and not counted");
        }
        Ok(found)
    }
}

/// One line a service and error, the most frequent first; of alerts it knows nothing.
pub(in crate::events) fn added_up(batches: Vec<Batch>) -> Vec<Failure> {
    let mut all: BTreeMap<(ServiceName, String), Failure> = BTreeMap::new();
    for batch in batches {
        let (first_at, last_at) = (batch.first_at(), batch.last_at());
        let failure = all.entry((batch.service.clone(), batch.error.clone())).or_insert_with(|| Failure {
            service: batch.service.to_string(),
            error: batch.error.clone(),
            count: 0,
            first_at,
            last_at,
            request_id: None,
            alerted: false,
        });
        failure.count = failure.count.saturating_add(batch.count());
        failure.first_at = failure.first_at.min(first_at);
        if failure.request_id.is_none() || (batch.request.is_some() && last_at >= failure.last_at) {
            failure.request_id = batch.request;
        }
        failure.last_at = failure.last_at.max(last_at);
    }
    let mut all: Vec<Failure> = all.into_values().collect();
    all.sort_by_key(|failure| std::cmp::Reverse((failure.count, failure.last_at)));
    all
}
