//! Grants that come and go beside each other: what is let go must never take along what is in use, at a provider whose
//! revocations reach all that an account ever gave to a client; and what nobody has any more must not live on there.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{
    provider::{Brings, Habits, Holder},
    scenario::Run,
    world::{User, World},
};
use crate::{connection::record::form::Record, events::Kind};

impl World {
    /// A provider that revokes far, perhaps doesn't say who consents, and perhaps spares refresh tokens.
    pub fn revokes_far(&self) {
        let random = &self.journal.random;
        self.provider.adopt(Habits {
            far: true,
            nameless: random.below(6) == 0,
            refresh: random.pick(&[Brings::Always, Brings::Always, Brings::Always, Brings::First, Brings::Never]),
        });
    }
}

impl Run {
    /// One of all that can happen to the grants of a person who has several.
    pub(super) async fn part(&mut self) {
        let world = Arc::clone(&self.world);
        let random = &world.journal.random;
        let user = &world.users[self.any_user()];
        let (one, two) = (Arc::clone(self.any_process()), Arc::clone(self.any_process()));
        let account = u8::from(random.below(3) == 0);
        match random.below(8) {
            0 | 1 => {
                // While calls renew what is there.
                self.burst(false);
                sleep(random.millis(0, 50)).await;
                world.connect_as(user, &one, account).await;
            }
            2 | 3 => {
                world.disconnect(user, &one).await;
                sleep(random.millis(0, 2000)).await;
                world.connect_as(user, &two, account).await;
            }
            4 => self.at_once(user, account).await,
            5 => {
                self.burst(false);
                world.disconnect(user, &one).await;
            }
            6 => self.wait_for_a_word(user, account, false).await,
            _ => {
                let key = world.store_key(user, &one);
                key.await;
                if random.below(2) == 0 {
                    world.disconnect(user, &two).await;
                }
            }
        }
    }

    /// One connection is given up while another comes in.
    async fn at_once(&self, user: &User, account: u8) {
        let world = &self.world;
        let (one, two) = (Arc::clone(self.any_process()), Arc::clone(self.any_process()));
        let other = &world.users[self.any_user()];
        let pause = world.journal.random.millis(0, 3000);
        let connecting = async {
            sleep(pause).await;
            world.connect_as(user, &two, account).await;
        };
        if other.number == user.number {
            connecting.await;
        } else {
            tokio::join!(world.disconnect(other, &one), connecting);
        }
    }

    /// What nobody has any more has ended at the provider.
    pub(super) async fn check_partings(&self) {
        let world = &self.world;
        // Beyond the end of all that waits, by whichever clock, and the healer's next rounds.
        sleep(Duration::from_secs(150) + Duration::from_millis(self.skew)).await;
        let habits = world.provider.habits();
        // Who isn't named might be anybody; and what a failover forgot, nobody can look after.
        if habits.nameless || world.journal.counts().failovers > 0 || world.told.count(Kind::RevocationFailed) > 0 {
            return;
        }
        let records = world.server.records();
        // Between the grave of a grant and what takes its place: the healer finds it in use still, and forgets the grave.
        let buried_alive = world.journal.counts().long_stops > 0;
        for (family, holder) in world.provider.living().into_iter().filter(|_| !buried_alive) {
            if !records.iter().any(|record| world.may_be_of(record, &holder)) {
                world.journal.violated(format!("family {family} was let go, and lives on at the provider"));
            }
        }
        for record in records.iter().filter(|record| record.waits_for().is_some()) {
            world.journal.violated(format!("a grant for {} waits for ever", record.id.service));
        }
    }
}

impl World {
    /// Whether a record is of this person and client, and of that account as far as it says: of a tombstone, too, which
    /// waits for its turn.
    fn may_be_of(&self, record: &Record, holder: &Holder) -> bool {
        let user =
            self.users.iter().find(|user| user.id.service == record.id.service && user.id.caller == record.id.caller);
        let Some(user) = user else { return true };
        let account = record.identity.as_ref().map(|identity| &identity.id);
        let account = account.or(record.pending_revocation().and_then(|pending| pending.identity.as_ref()));
        let is_kept = record.grant.is_some() || record.pending_revocation().is_some();
        is_kept
            && user.holder(holder.account) == *holder
            && account.is_none_or(|account| *account == user.account(holder.account).id)
    }
}
