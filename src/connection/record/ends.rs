//! When a connection will end by itself, if nobody does anything. Pure: the record, its service and the time go in.
//!
//! What the healer prevents is no end. A grant with a refresh token whose access token's end is known is renewed ahead of that end
//! (`due::ahead`), used or not: that puts off an idle limit, and the refresh token's end, too, where the provider gives a new token
//! or a later end each time. Whether it does, the first renewal shows (`RefreshLife::is_fixed`); until then nothing is foretold but
//! an end that comes before that renewal. Where nothing is renewed for its own sake (no refresh token, another client's, or an end
//! that the provider doesn't tell), access tokens, refresh tokens and idle limits run out. A limit from the consent on always does.

use crate::{
    clock::Timestamp,
    connection::model::{End, EndReason, Ends, Unused},
    provider::Service,
};

use super::{
    due,
    form::{Record, StoredGrant},
};

/// How the connection of this record will end. `service` owns it, where it is configured.
pub fn of(record: &Record, service: Option<&Service>, now: Timestamp) -> Ends {
    let Some(grant) = record.grant.as_ref().filter(|_| record.is_connected() && record.invalid.is_none()) else {
        return Ends::default();
    };
    let oauth = service.and_then(|service| service.oauth.as_deref());
    let lifetimes = oauth.map(|oauth| oauth.lifetimes).unwrap_or_default();
    let renewable = oauth.is_some() && grant.refresh_token_for(oauth).is_some();
    let renewal = due::ahead(record, now).filter(|_| renewable);

    let tokens = if renewable {
        let told = grant.refresh_life.expires_at;
        let counted = || Some(grant.refresh_life.received_at?.plus(lifetimes.refresh_token?));
        told.or_else(counted)
            .and_then(|end| refusal(grant, end, renewal))
            .map(|at| End::new(at, EndReason::RefreshToken))
    } else {
        grant.expires_at.map(|at| End::new(at, EndReason::AccessToken))
    };
    let lived = record.refreshed_at.max(record.connected_at);
    Ends {
        tokens,
        consent: record.connected_at.zip(lifetimes.grant).map(|(at, life)| at.plus(life)),
        unused: lived.zip(lifetimes.idle).map(|(since, limit)| Unused { since, limit, renewal }),
        lived,
        beside_key: record.api_key.as_ref().is_some_and(|key| !key.refused),
    }
}

/// When the end of a refresh token ends the connection: at the first renewal that comes too late, unless renewals put it off.
fn refusal(grant: &StoredGrant, end: Timestamp, renewal: Option<Timestamp>) -> Option<Timestamp> {
    match renewal {
        Some(at) if end <= at => Some(at),
        Some(_) => grant.refresh_life.is_fixed.then_some(end),
        // Until its own end the access token is of use without it.
        None => Some(end.max(grant.expires_at.unwrap_or(end))),
    }
}
