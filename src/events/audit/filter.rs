//! Which events somebody wants: as they write it, and as entries are held against it.

use super::{
    KeptEvent,
    shown::{TYPES, type_of},
};
use crate::{
    clock::Timestamp,
    id::{Account, CallerId, Issuer, ServiceName, Subject},
    store::OwnerId,
};

/// Which events are wanted: all that a field says nothing against.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of these people: their names in the store.
    pub owners: Option<Vec<OwnerId>>,
    /// Of this user.
    pub user: Option<Subject>,
    /// Of this issuer.
    pub issuer: Option<Issuer>,
    /// To this service.
    pub service: Option<ServiceName>,
    /// Under this label.
    pub account: Option<Account>,
    /// Of this type, as the contract calls it.
    pub kind: Option<&'static str>,
    /// Then or later.
    pub since: Option<Timestamp>,
    /// Before then.
    pub until: Option<Timestamp>,
}

impl Filter {
    /// Whether it lets this one through that says nothing of the person yet.
    pub(super) fn may_pass(&self, event: &KeptEvent) -> bool {
        let kind = type_of(&event.kind, event.detail.as_deref());
        self.service.as_ref().is_none_or(|service| event.service.as_ref() == Some(service))
            && self.kind.is_none_or(|wanted| kind == Some(wanted))
            && self.since.is_none_or(|since| event.at >= since)
            && self.until.is_none_or(|until| event.at < until)
    }

    /// The same of the person.
    pub(super) fn passes(&self, event: &KeptEvent) -> bool {
        let wants_none = self.user.is_none() && self.issuer.is_none() && self.account.is_none();
        event.person.as_ref().map_or(wants_none, |person| {
            self.user.as_ref().is_none_or(|user| *user == person.user)
                && self.issuer.as_ref().is_none_or(|issuer| *issuer == person.issuer)
                && self.account.as_ref().is_none_or(|account| *account == person.account)
        })
    }
}

/// A filter as an operator writes it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    /// The subject of a caller's JWT.
    pub user: Option<&'a str>,
    /// Its issuer.
    pub issuer: Option<&'a str>,
    /// A service.
    pub service: Option<&'a str>,
    /// A label.
    pub account: Option<&'a str>,
    /// One of [`TYPES`].
    pub kind: Option<&'a str>,
    /// A moment, or how long ago.
    pub since: Option<&'a str>,
    /// A moment, or how long ago.
    pub until: Option<&'a str>,
}

impl Asked<'_> {
    /// The filter, but for the people's names in the store: those of [`Asked::user`], with its issuer or any of `issuers`, are given
    /// as well.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence that says what to do.
    pub fn filter(&self, issuers: &[Issuer], now: Timestamp) -> Result<(Filter, Vec<CallerId>), String> {
        let user = self.user.map(Subject::parse).transpose().map_err(|error| format!("user: {error}"))?;
        let issuer = self.issuer.map(Issuer::parse).transpose().map_err(|error| format!("issuer: {error}"))?;
        let kind = self.kind.map(|kind| {
            let known = TYPES.into_iter().find(|known| *known == kind);
            known.ok_or_else(|| format!("type: there is none of this name; take one of {}", TYPES.join(", ")))
        });
        let filter = Filter {
            owners: None,
            service: self.service.map(ServiceName::parse).transpose().map_err(|error| format!("service: {error}"))?,
            account: self.account.map(Account::parse).transpose().map_err(|error| format!("account: {error}"))?,
            kind: kind.transpose()?,
            since: self.since.map(|text| moment("since", text, now)).transpose()?,
            until: self.until.map(|text| moment("until", text, now)).transpose()?,
            user,
            issuer,
        };
        let named = filter.issuer.as_ref().map_or(issuers, std::slice::from_ref);
        let callers = filter.user.iter().flat_map(|subject| {
            named.iter().map(|issuer| CallerId { issuer: issuer.clone(), subject: subject.clone() })
        });
        let callers = callers.collect();
        Ok((filter, callers))
    }
}

/// A moment as an operator writes it.
fn moment(name: &str, text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let ago = || humantime::parse_duration(text).ok().map(|ago| now.before(ago));
    Timestamp::parse_rfc3339(text)
        .or_else(|| Timestamp::parse_date(text))
        .or_else(ago)
        .ok_or_else(|| format!("{name}: write 7d for seven days ago, 2026-11-23, or 2026-11-23T15:04:05Z"))
}
