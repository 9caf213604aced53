//! Grants that are no connections yet: they wait for the application's word, or the person's. Each lies in a record of its
//! own beside whatever is connected under its label, serves no call and is never renewed. Who speaks for it in time takes
//! it away again; otherwise whichever process notices first revokes it at the provider.

use std::sync::atomic::Ordering;

use crate::{
    clock::Timestamp,
    events::Kind,
    id::ConnectionId,
    oauth,
    store::{Expect, Key, Put, RecordId},
};

use super::{
    Arrival, Connection, Connections, Unavailable,
    lease::{Asked, Lease},
    manage::view,
    record::Record,
    root,
    snapshot::Snapshot,
    state::Change,
};

/// A grant to be put aside.
#[derive(Debug)]
pub struct Aside<'a> {
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

impl Connections {
    /// Puts a grant aside.
    ///
    /// # Errors
    /// While the store or the keys are away.
    pub async fn put_aside(&self, aside: Aside<'_>) -> Result<(), Unavailable> {
        let key = self.aside_key(aside.id, aside.name).await?;
        let now = self.now();
        let version = self.version_after(None, now);
        let Aside { id, grant, identity, requested, shown, until, .. } = aside;
        let until = self.by_the_store(key, until, now).await?;
        let change = Change::Connected { grant, identity, requested: requested.to_vec(), client: self.client(id) };
        let record = Record::empty(id.clone()).apply(change, now, version.0).aside(shown, until);
        let sealed = record.seal(&self.0.parts.vault, &key, version)?;
        let due = self.due(&record, now);
        match self.0.parts.store.put(&key, Expect::Absent, version, &sealed, due).await? {
            Put::Stored => {
                self.0.snapshots.changed(&key.owner);
                Ok(())
            }
            Put::Conflict(_) => Err(Unavailable::Busy),
        }
    }

    /// Stores the grant that was put aside under `name` for `waiting`, as the connection `id`; only then its record there
    /// is taken away. `origin` tells it from all others: done again, also by two at once, it changes nothing. `None`: it
    /// was given up, or it was stored and given up since.
    ///
    /// # Errors
    /// While the store or the keys are away. What was put aside then still is.
    pub async fn keep_from_aside(
        &self,
        (waiting, name, origin): (&ConnectionId, &str, u64),
        id: &ConnectionId,
        grant: oauth::Grant,
        identity: Option<oauth::Identity>,
        requested: &[String],
    ) -> Result<Option<Connection>, Unavailable> {
        let holds_it = |record: &Record| record.origin == Some(origin);
        // Until it is stored nobody revokes it as one that nobody spoke for.
        let _arrival = match self.0.parts.services.get(id.service.as_str()) {
            Some(service) => self.arrival(&id.caller, service).await,
            None => Arrival::default(),
        };
        let change = || {
            let (grant, identity, requested) = (grant.clone(), identity.clone(), requested.to_vec());
            let client = self.client(id);
            Change::Kept(origin, Box::new(Change::Connected { grant, identity, requested, client }))
        };
        let connected = if self.is_aside(waiting, name).await? {
            self.change(id, |record| (!holds_it(record)).then(change)).await?
        } else {
            None
        };
        let record = match connected {
            Some(record) => {
                self.tell(id, Kind::Connected, None);
                record
            }
            None => match self.read(&self.key(id).await?).await? {
                Some((record, _)) if holds_it(&record) && record.farewell.is_none() => record,
                _ => return Ok(None),
            },
        };
        if let Err(error) = self.take_from_aside(waiting, name).await {
            tracing::debug!(%error, "a grant is stored, and the record that it waited in is left to the healer");
        }
        Ok(Some(view(&record, self.now())))
    }

    /// Whether a grant of this name still waits for somebody's word.
    ///
    /// # Errors
    /// While the store or the keys are away.
    pub async fn is_aside(&self, id: &ConnectionId, name: &str) -> Result<bool, Unavailable> {
        let key = self.aside_key(id, name).await?;
        Ok(self.read(&key).await?.is_some_and(|(record, _)| record.aside.is_some()))
    }

    /// Whether a grant for this connection waits for the application.
    ///
    /// # Errors
    /// While the store or the keys are away.
    pub async fn is_waiting(&self, id: &ConnectionId) -> Result<bool, Unavailable> {
        let snapshot = self.snapshot(&id.caller).await?;
        Ok(snapshot.aside(self.now()).any(|waiting| waiting.service == id.service && waiting.account == id.account))
    }

    /// Takes a grant's record away because somebody spoke for it. `false`: it is gone, or about to be revoked.
    ///
    /// # Errors
    /// While the store or the keys are away.
    pub async fn take_from_aside(&self, id: &ConnectionId, name: &str) -> Result<bool, Unavailable> {
        let key = self.aside_key(id, name).await?;
        let Some((record, version)) = self.read(&key).await? else { return Ok(false) };
        if record.aside.is_none() {
            return Ok(false);
        }
        // To delete what is gone is a success; that it was there at this version was seen just now.
        let gone = matches!(self.0.parts.store.delete(&key, Expect::Version(version)).await?, Put::Stored);
        self.0.snapshots.changed(&key.owner);
        Ok(gone)
    }

    /// Gives up what waits for the application under this label. `false`: nothing does.
    pub(super) async fn discard_aside(&self, id: &ConnectionId) -> Result<bool, Unavailable> {
        let owner = self.key(id).await?.owner;
        let mut found = false;
        for (record, _) in self.0.parts.store.list(&owner).await? {
            let key = Key { owner, record };
            let record = match self.read(&key).await {
                Ok(Some((record, _))) => record,
                // Nobody can tell whose it is; the healer gives it up in its time, once it can be read.
                Ok(None) | Err(Unavailable::Keys) => continue,
                Err(error) => return Err(error),
            };
            if record.id == *id && record.aside.as_ref().is_some_and(|aside| aside.shown) {
                found = true;
                self.give_up_aside(key).await?;
            }
        }
        Ok(found)
    }

    /// Revokes a grant that nobody spoke for.
    pub(super) async fn give_up_aside(&self, key: Key) -> Result<(), Unavailable> {
        let Some((record, version)) = self.read(&key).await? else { return Ok(()) };
        if record.aside.is_none() {
            return Ok(());
        }
        tracing::info!(service = %record.id.service, "a grant that nobody confirmed is given up");
        if self.write(key, record, version, Change::Disconnected).await?.is_some() {
            self.finish_farewell(key).await;
        }
        Ok(())
    }

    /// The moment that is as far from now by the store's clock as `then` is by ours: replicas whose clocks differ must agree
    /// on it. A store that no other process shares has no clock but ours.
    async fn by_the_store(&self, key: Key, then: Timestamp, now: Timestamp) -> Result<Timestamp, Unavailable> {
        Ok(self.store_time(key).await?.map_or(then, |time| time.plus(then.until(now))))
    }

    /// Whether this moment has come by the store's clock.
    pub(super) async fn has_come(&self, key: Key, moment: Timestamp) -> Result<bool, Unavailable> {
        Ok(moment.reached(self.store_time(key).await?.unwrap_or(self.now())))
    }

    /// The store's clock, where it is another than ours. A lease on `key` tells it.
    async fn store_time(&self, key: Key) -> Result<Option<Timestamp>, Unavailable> {
        let store = &self.0.parts.store;
        if !store.is_shared() {
            return Ok(None);
        }
        let holder = format!("{}-{}", self.0.process, self.0.leases.fetch_add(1, Ordering::Relaxed));
        match Lease::ask(store, key, holder, &self.0.parts.handle).await? {
            Asked::Mine(lease) => {
                let time = lease.store_time_at_least();
                lease.release().await;
                Ok(Some(Timestamp::from_millis(time / 1000)))
            }
            Asked::Theirs(_) => Err(Unavailable::Busy),
        }
    }

    async fn aside_key(&self, id: &ConnectionId, name: &str) -> Result<Key, Unavailable> {
        let root = self.0.parts.roots.get().await?;
        let parts = [id.service.as_str().as_bytes(), id.account.as_str().as_bytes(), name.as_bytes()];
        Ok(Key { owner: root::owner(&root, &id.caller), record: RecordId(root.blind("aside", &parts)) })
    }
}

impl Snapshot {
    /// The grants that wait for the application.
    pub fn aside(&self, now: Timestamp) -> impl Iterator<Item = &Connection> {
        self.rare
            .iter()
            .flat_map(|rare| rare.aside.iter())
            .filter(move |(until, _)| !until.reached(now))
            .map(|(_, connection)| connection)
    }
}
