//! Faults at random moments, many times over, under load and with tokens of two seconds. Each test counts what callers
//! noticed, and adds a row to the table that `make chaos` prints and docs/RELIABILITY.md holds.
//!
//! A grant may be lost in one case only: the process died between sending a refresh token that the provider rotated and
//! storing the answer. No protocol can prevent that (RFC 6749 has no way to ask again). The authorization server's log
//! tells these cases from all others, of which there must be none.

mod fleet;
mod kills;
mod row;
mod weather;

pub(crate) use kills::{A_NETWORK, Blow, strikes};

use std::time::Instant;

use futures_util::future::join_all;

use crate::refresh::refreshes;
use crate::support::Store;
use crate::support::chance::Chance;
use fleet::{Fleet, call, people};
use row::Row;

#[tokio::test]
#[ignore = "long: make chaos"]
async fn a_thousand_rotations_of_one_grant_under_load() {
    let (chance, began) = (Chance::announced("rotations"), Instant::now());
    let fleet = Fleet::start(Store::Redis, 3, |config| config).await;
    let users = people("user", 1);
    fleet.connect(&users).await;
    let mut row = Row::default();
    for round in 1..=1_000 {
        // The token ends, and the next calls to all replicas at once meet that.
        fleet.rig.server.revoke("access", &users[0]).await;
        let all = fleet.all();
        for answer in join_all((0..12).map(|number| call(all[number % all.len()], &users[0]))).await {
            assert_eq!(answer.status, 200, "in round {round}: {}", answer.text());
            row.calls += 1;
        }
        assert_eq!(refreshes(&fleet.rig).await, round);
    }
    fleet.assert_nothing_lost(&[]).await;
    row.rotations = fleet.rig.server.count("refreshed").await;
    row.report("rotations", 1_000, &chance, began);
    assert_eq!(row.rotations, 1_000);
}
