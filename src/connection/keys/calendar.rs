//! The daily work on API keys: those who still rest on a deprecated key are told when the notice begins and at each reminder, and
//! keys that were retired long enough are deleted, if the operator wants that. That nobody is told twice is the store's `put_once`,
//! which doesn't trust leases. Who turns the events into mails is none of this module's business.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    clock::Timestamp,
    config,
    connection::{
        daily::{self, DAY, KEPT, PACE},
        model::Unavailable,
    },
    events::{Actor, Cause, Kind},
    id::ServiceName,
    provider::Services,
    store::Claim,
    vault::Root,
};

use super::{ApiKeys, about, census::Holder, name};

/// What this day's work is called.
const WHAT: &str = "api keys";

/// What is to be done for a service's keys at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// Tell those who rest on a key; `since` is the moment that this is about.
    Tell { retire_on: Timestamp, since: Timestamp },
    /// Delete keys retired at `retire_on`.
    Delete { retire_on: Timestamp },
}

impl Work {
    fn of(keys: &config::ApiKeys, now: Timestamp) -> Option<Self> {
        let retire_on = keys.retire_on?;
        if let Some(since) = keys.latest_notice(now) {
            return Some(Self::Tell { retire_on, since });
        }
        let due = keys.delete_after.is_some() && keys.deletable_from(now).is_some_and(|from| from.reached(now));
        due.then_some(Self::Delete { retire_on })
    }
}

type Plan = BTreeMap<ServiceName, Work>;

fn plan(services: &Services, now: Timestamp) -> Plan {
    let owners = services.iter().filter(|service| service.owner == service.name);
    owners.filter_map(|service| Some((service.name.clone(), Work::of(&service.api_keys, now)?))).collect()
}

/// What a day's work goes by. Another plan on the same day, after a change of the configuration, is other work.
fn day_of(root: &Root, plan: &Plan, now: Timestamp) -> String {
    name(root, "api-key-day", &[now.date().as_bytes(), format!("{plan:?}").as_bytes()])
}

impl ApiKeys {
    /// Does each day's work for as long as the process lives.
    pub fn look_after(self: &Arc<Self>) {
        let keys = Arc::clone(self);
        daily::look_after(&self.handle, WHAT, move || {
            let keys = Arc::clone(&keys);
            async move { keys.day().await }
        });
    }

    /// Does today's work, unless it is done already, or another replica is at it. Says whether it was done here.
    ///
    /// # Errors
    /// While the store or the keys are away; what was done until then stays done.
    pub async fn day(&self) -> Result<bool, Unavailable> {
        let now = self.records.now();
        let plan = plan(&self.live.services(), now);
        if plan.is_empty() {
            return Ok(false);
        }
        let store = self.records.store();
        let root = self.records.roots().get().await?;
        let today = day_of(&root, &plan, now);
        let work = self.work(&root, plan, now);
        daily::once((store.as_ref(), &self.leases), (&root, WHAT), &today, work).await
    }

    async fn work(&self, root: &Root, plan: Plan, now: Timestamp) -> Result<(), Unavailable> {
        let mut dry = Vec::new();
        for (service, work) in &plan {
            if let Work::Delete { retire_on } = work
                && self.is_dry_run(root, service, *retire_on, now).await?
            {
                dry.push(service.clone());
            }
        }
        let (mut told, mut deleted, mut announced) = (0_u64, 0_u64, 0_u64);
        let mut cursor = None;
        loop {
            let page = self.holders(cursor).await?;
            for holder in page.holders {
                match plan.get(&holder.id.service) {
                    Some(Work::Tell { retire_on, since }) if holder.rests_on_key() => {
                        told += u64::from(self.remind(root, &holder, *retire_on, *since, now).await?);
                    }
                    Some(Work::Delete { .. }) if holder.key.is_some() => {
                        if dry.contains(&holder.id.service) {
                            announced += 1;
                            announce(&holder);
                        } else {
                            deleted += u64::from(self.remove_retired(&holder.id, &Cause::of(Actor::Healer)).await?);
                        }
                    }
                    _ => {}
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
            tokio::time::sleep(PACE).await;
        }
        tracing::info!(told, deleted, announced, "the day's work on API keys is done");
        Ok(())
    }

    /// Tells of one connection, unless it was told before. The name is claimed first: a process that dies in between
    /// leaves one untold rather than told twice.
    async fn remind(
        &self,
        root: &Root,
        holder: &Holder,
        retire_on: Timestamp,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<bool, Unavailable> {
        let store = self.records.store();
        let ttl = Some(retire_on.until(now) + KEPT);
        let (end, this) = (retire_on.millis().to_be_bytes(), since.millis().to_be_bytes());
        let told = about(root, "api-key-reminder", &holder.id, &[&end, &this]);
        if store.put_once(&told, b"told", ttl).await? != Claim::Mine {
            return Ok(false);
        }
        let first = about(root, "api-key-notice", &holder.id, &[&end]);
        let kind = match store.put_once(&first, b"told", ttl).await? {
            Claim::Mine => Kind::ApiKeyDeprecated { retire_on },
            Claim::Theirs(_) => Kind::ApiKeyReminder { retire_on },
        };
        self.tell(&holder.id, kind, Actor::Nobody);
        Ok(true)
    }

    /// Whether the log has yet to say what goes: only a day after that is anything deleted.
    async fn is_dry_run(
        &self,
        root: &Root,
        service: &ServiceName,
        retire_on: Timestamp,
        now: Timestamp,
    ) -> Result<bool, Unavailable> {
        let name = name(root, "api-key-cleanup", &[service.as_str().as_bytes(), &retire_on.millis().to_be_bytes()]);
        let said = now.millis().to_be_bytes();
        Ok(match self.records.store().put_once(&name, &said, Some(DAY * 400)).await? {
            Claim::Mine => true,
            Claim::Theirs(said) => {
                let said = said.try_into().map(u64::from_be_bytes).map_or(now, Timestamp::from_millis);
                now.since(said) < DAY
            }
        })
    }
}

fn announce(holder: &Holder) {
    let id = &holder.id;
    tracing::info!(
        issuer = %id.caller.issuer,
        user = %id.caller.subject,
        service = %id.service,
        account = %id.account,
        "a retired API key will be deleted in a day; a grant beside it stays"
    );
}
