//! Grants that are no connections yet: they wait for the application's word, or the person's. Each lies in a record of its
//! own beside whatever is connected under its label, serves no call and is never renewed. Who speaks for it in time takes
//! it away again; otherwise whichever process notices first revokes it at the provider.

use std::sync::Arc;

use crate::{
    clock::Timestamp,
    connection::{
        edit::Editor,
        lease::{Asked, Leases},
        model::{Connection, Unavailable},
        record::{
            change::Change,
            facts::Fact,
            form::Record,
            records::{Listed, Records},
            root,
            state::Wait,
            view::view,
        },
        revoke::{Arrival, Revoker},
    },
    events::{Cause, Kind},
    id::ConnectionId,
    oauth,
    provider::Live,
    store::{Expect, Key, RecordId, Version},
};

use super::client;

/// A grant to be put aside.
#[derive(Debug)]
pub struct UnconfirmedGrant<'a> {
    /// What it may become.
    pub id: &'a ConnectionId,
    /// Tells it from others for the same connection.
    pub name: &'a str,
    /// The grant.
    pub grant: oauth::Grant,
    /// Who granted it.
    pub identity: Option<oauth::Identity>,
    /// What was asked for.
    pub requested: &'a [String],
    /// Whether lists show it: it waits for the application.
    pub shown: bool,
    /// When it is given up.
    pub until: Timestamp,
}

/// Grants that wait for somebody's word.
pub struct Unconfirmed {
    records: Arc<Records>,
    editor: Arc<Editor>,
    revoker: Arc<Revoker>,
    leases: Arc<Leases>,
    live: Live,
}

impl Unconfirmed {
    /// Over these records.
    pub fn new(
        records: Arc<Records>,
        editor: Arc<Editor>,
        (revoker, leases): (Arc<Revoker>, Arc<Leases>),
        live: Live,
    ) -> Arc<Self> {
        Arc::new(Self { records, editor, revoker, leases, live })
    }

    /// Puts a grant aside.
    ///
    /// # Errors
    /// While the store or the keys are away.
    pub async fn put(&self, waiting: UnconfirmedGrant<'_>) -> Result<(), Unavailable> {
        let key = self.key(waiting.id, waiting.name).await?;
        let UnconfirmedGrant { id, grant, identity, requested, shown, until, .. } = waiting;
        let until = self.by_the_store(key, until, self.records.now()).await?;
        let client = client(&self.live.services(), id);
        let change = Change::Connected { grant, identity, requested: requested.to_vec(), client };
        let wait = Wait { shown, until: Some(until) };
        let record = |version: Version, now| {
            let connected = Record::empty(id.clone()).apply(change, now, version)?;
            connected.apply(Change::PutAside(wait), now, version)
        };
        let put = self.records.put(key, Expect::Absent, None, record).await?;
        if put.is_some() { Ok(()) } else { Err(Unavailable::Busy) }
    }

    /// Stores the grant that was put aside under `name` for `waiting`, as the connection `id`; only then its record there
    /// is taken away. `origin` tells it from all others: done again, also by two at once, it changes nothing. `None`: it
    /// was given up, or it was stored and given up since.
    ///
    /// # Errors
    /// While the store or the keys are away; [`Unavailable::Busy`], too, where it may have been given up meanwhile. Who asks
    /// again hears what became of it.
    pub async fn keep(
        &self,
        (waiting, name, origin): (&ConnectionId, &str, u64),
        id: &ConnectionId,
        grant: oauth::Grant,
        identity: Option<oauth::Identity>,
        requested: &[String],
        cause: &Cause,
    ) -> Result<Option<Connection>, Unavailable> {
        // Until it is stored nobody revokes it as one that nobody spoke for.
        let arrival = match self.live.services().get(id.service.as_str()) {
            Some(service) => self.revoker.arrival(&id.caller, service).await,
            None => Arrival::default(),
        };
        let change = || {
            let (grant, identity, requested) = (grant.clone(), identity.clone(), requested.to_vec());
            let client = client(&self.live.services(), id);
            Change::Kept(origin, Box::new(Change::Connected { grant, identity, requested, client }))
        };
        let fact = Fact::new(Kind::Connected, cause);
        // Who doesn't hear whether it is stored leaves it guarded: it may be yet.
        let kept = self.keep_guarded((waiting, name, origin), id, change, &fact, &arrival).await?;
        arrival.end();
        Ok(kept)
    }

    async fn keep_guarded(
        &self,
        (waiting, name, origin): (&ConnectionId, &str, u64),
        id: &ConnectionId,
        change: impl Fn() -> Change,
        fact: &Fact<'_>,
        arrival: &Arrival,
    ) -> Result<Option<Connection>, Unavailable> {
        let holds_it = |record: &Record| record.origin == Some(origin);
        let decide = |record: &Record| (!holds_it(record)).then(&change);
        // Who was stopped since may find it given up: it is looked for again, guarded anew, rather than stored.
        let connected = if self.is_there(waiting, name).await? {
            self.editor.change_under(arrival.lease(), id, fact, decide).await?
        } else {
            None
        };
        let record = match connected {
            Some(record) => record,
            None => match self.editor.stored(id).await? {
                Some(record) if holds_it(&record) && record.pending_revocation().is_none() => record,
                _ => return Ok(None),
            },
        };
        if let Err(error) = self.take(waiting, name).await {
            tracing::debug!(%error, "a grant is stored, and the record that it waited in is left to the healer");
        }
        let services = self.live.services();
        Ok(Some(view(&record, services.get(id.service.as_str()).map(AsRef::as_ref), self.records.now())))
    }

    /// Whether a grant of this name still waits for somebody's word.
    ///
    /// # Errors
    /// While the store or the keys are away.
    pub async fn is_there(&self, id: &ConnectionId, name: &str) -> Result<bool, Unavailable> {
        let key = self.key(id, name).await?;
        Ok(self.records.read(&key).await?.is_some_and(|(record, _)| record.waits_for().is_some()))
    }

    /// Takes a grant's record away because somebody spoke for it. `false`: it is gone, or about to be revoked.
    ///
    /// # Errors
    /// While the store or the keys are away.
    pub async fn take(&self, id: &ConnectionId, name: &str) -> Result<bool, Unavailable> {
        let key = self.key(id, name).await?;
        let Some((record, version)) = self.records.read(&key).await? else { return Ok(false) };
        if record.waits_for().is_none() {
            return Ok(false);
        }
        // To delete what is gone is a success; that it was there at this version was seen just now.
        self.records.delete(&key, version, None).await
    }

    /// Gives up what waits for the application under this label. `false`: nothing does.
    pub async fn discard(&self, id: &ConnectionId) -> Result<bool, Unavailable> {
        let owner = self.records.roots().key(id).await?.owner;
        let mut found = false;
        for Listed { key, record } in self.records.list(owner).await? {
            // Of what can't be read nobody can tell whose it is; the healer gives it up in its time, once it can be read.
            let Ok(record) = record else { continue };
            if record.id == *id && record.waits_for().is_some_and(|wait| wait.shown) {
                found = true;
                self.give_up(key).await?;
            }
        }
        Ok(found)
    }

    /// Revokes a grant that nobody spoke for.
    pub async fn give_up(&self, key: Key) -> Result<(), Unavailable> {
        let Some((record, version)) = self.records.read(&key).await? else { return Ok(()) };
        if record.waits_for().is_none() {
            return Ok(());
        }
        tracing::info!(service = %record.id.service, "a grant that nobody confirmed is given up");
        if self.records.write(key, record, version, Change::Disconnected, None).await?.is_some() {
            self.revoker.finish(key).await;
        }
        Ok(())
    }

    /// The moment that is as far from now by the store's clock as `then` is by ours: replicas whose clocks differ must agree
    /// on it. A store that no other process shares has no clock but ours.
    async fn by_the_store(&self, key: Key, then: Timestamp, now: Timestamp) -> Result<Timestamp, Unavailable> {
        Ok(self.store_time(key).await?.map_or(then, |time| time.plus(then.until(now))))
    }

    /// Whether this moment has come by the store's clock.
    pub async fn has_come(&self, key: Key, moment: Timestamp) -> Result<bool, Unavailable> {
        Ok(moment.reached(self.store_time(key).await?.unwrap_or(self.records.now())))
    }

    /// The store's clock, where it is another than ours. A lease on `key` tells it.
    async fn store_time(&self, key: Key) -> Result<Option<Timestamp>, Unavailable> {
        if !self.records.store().is_shared() {
            return Ok(None);
        }
        match self.leases.ask(key).await? {
            Asked::Mine(lease) => {
                let time = lease.store_time_at_least();
                lease.release().await;
                Ok(Some(Timestamp::from_millis(time / 1000)))
            }
            Asked::Theirs(_) => Err(Unavailable::Busy),
        }
    }

    async fn key(&self, id: &ConnectionId, name: &str) -> Result<Key, Unavailable> {
        let root = self.records.roots().get().await?;
        let [_, _, service, account] = id.parts();
        let record = RecordId(root.blind("aside", &[service, account, name.as_bytes()]));
        Ok(Key { owner: root::owner(&root, &id.caller), record })
    }
}
