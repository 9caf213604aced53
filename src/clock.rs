//! Wall-clock time as a value. `Timestamp` is milliseconds since the Unix epoch; a [`Clock`] is asked for it at the edges
//! and can be turned by hand in tests. The only place that reads the system's clock; waits and deadlines use tokio's.

use std::{
    fmt,
    num::NonZeroU64,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::{
    Date, OffsetDateTime,
    format_description::well_known::{Iso8601, Rfc2822, Rfc3339},
};
use utoipa::ToSchema;

/// A moment, in milliseconds since the Unix epoch. Serialises as RFC 3339 in UTC, to the second.
///
/// An `Option` of it takes no more room than the moment itself: caches hold half a dozen of them for each connection. What
/// is kept is one more than the milliseconds, which is never zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ToSchema)]
#[schema(value_type = String, format = DateTime, description = "A moment as RFC 3339 in UTC, to the second.", examples("2026-11-23T15:04:05Z"))]
pub struct Timestamp(NonZeroU64);

impl Timestamp {
    /// The moment this many milliseconds after the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(millis))
    }

    /// The moment this many seconds after the epoch.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self::from_millis(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> u64 {
        self.0.get() - 1
    }

    /// Whole seconds since the epoch (`NumericDate` of RFC 7519).
    pub const fn seconds(self) -> u64 {
        self.millis() / 1000
    }

    /// Microseconds since the epoch, for record versions.
    pub const fn micros(self) -> u64 {
        self.millis().saturating_mul(1000)
    }

    /// This much later.
    pub fn plus(self, time: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
    }

    /// This much earlier; not before the epoch.
    pub fn before(self, time: Duration) -> Self {
        Self::from_millis(self.millis().saturating_sub(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long it has been since `earlier`; zero where that lies ahead.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.millis().saturating_sub(earlier.millis()))
    }

    /// How long it is until this moment; zero where it has passed.
    pub const fn until(self, now: Self) -> Duration {
        self.since(now)
    }

    /// Whether this moment has come.
    pub const fn reached(self, now: Self) -> bool {
        now.millis() >= self.millis()
    }

    /// As `2026-11-23T15:04:05Z`.
    pub fn rfc3339(self) -> String {
        i64::try_from(self.seconds())
            .ok()
            .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
            .and_then(|time| time.format(&Rfc3339).ok())
            .unwrap_or_else(|| "9999-12-31T23:59:59Z".to_owned())
    }

    /// The day in UTC, as `2026-11-23`.
    pub fn date(self) -> String {
        self.rfc3339().chars().take_while(|c| *c != 'T').collect()
    }

    /// The first moment of the day (UTC) written as `2026-11-23`.
    pub fn parse_date(text: &str) -> Option<Self> {
        let date = Date::parse(text, &Iso8601::DATE).ok()?;
        u64::try_from(date.midnight().assume_utc().unix_timestamp()).ok().map(Self::from_seconds)
    }

    /// As HTTP writes it (RFC 9110 §5.6.7): `Mon, 23 Nov 2026 15:04:05 GMT`.
    pub fn http_date(self) -> String {
        i64::try_from(self.seconds())
            .ok()
            .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
            .and_then(|time| time.format(&Rfc2822).ok())
            .map_or_else(|| "Fri, 31 Dec 9999 23:59:59 GMT".to_owned(), |text| text.replace("+0000", "GMT"))
    }

    /// Reads RFC 3339; any offset.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        u64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok().map(Self::from_millis)
    }
}

impl Default for Timestamp {
    /// The epoch.
    fn default() -> Self {
        Self::from_millis(0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.rfc3339(), self.millis() % 1000)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.rfc3339())
    }
}

/// For `#[serde(with = "crate::clock::millis")]`: an optional moment as a number, exact and short, in stored records.
pub mod millis {
    use super::{Deserialize, Deserializer, Serializer, Timestamp};

    /// Writes the milliseconds.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(time) => serializer.serialize_some(&time.millis()),
            None => serializer.serialize_none(),
        }
    }

    /// Reads them.
    ///
    /// # Errors
    /// Where it is no number.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Timestamp::from_millis))
    }
}

/// For `#[serde(with = "crate::clock::seconds")]`: a moment as a number, short, where its second is enough.
pub mod seconds {
    use super::{Deserialize, Deserializer, Serializer, Timestamp};

    /// Writes the whole seconds since the epoch.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(value.seconds())
    }

    /// Reads them.
    ///
    /// # Errors
    /// Where it is no number.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        u64::deserialize(deserializer).map(Timestamp::from_seconds)
    }

    /// The same where there may be none: `#[serde(with = "crate::clock::seconds::optional")]`.
    pub mod optional {
        use super::{Deserialize, Deserializer, Serializer, Timestamp};

        /// Writes the whole seconds since the epoch, or nothing.
        ///
        /// # Errors
        /// Those of the serializer.
        pub fn serialize<S: Serializer>(value: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
            match value {
                Some(time) => serializer.serialize_some(&time.seconds()),
                None => serializer.serialize_none(),
            }
        }

        /// Reads them.
        ///
        /// # Errors
        /// Where it is no number.
        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
            Ok(Option::<u64>::deserialize(deserializer)?.map(Timestamp::from_seconds))
        }
    }
}

/// Tells the time.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System,
    Manual(Arc<AtomicU64>),
    #[cfg(test)]
    Tokio(tokio::time::Instant, Arc<AtomicU64>),
}

impl Clock {
    /// The system's clock.
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until it is turned by hand.
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(AtomicU64::new(start.millis()))))
    }

    /// A clock that goes with tokio's, which tests can pause.
    #[cfg(test)]
    pub(crate) fn of_tokio(start: Timestamp) -> Self {
        Self(Source::Tokio(tokio::time::Instant::now(), Arc::new(AtomicU64::new(start.millis()))))
    }

    /// Now.
    #[expect(clippy::disallowed_methods, reason = "the one place that may read the system's clock")]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => {
                let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Timestamp::from_millis(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
            }
            Source::Manual(millis) => Timestamp::from_millis(millis.load(Ordering::SeqCst)),
            #[cfg(test)]
            Source::Tokio(since, millis) => Timestamp::from_millis(millis.load(Ordering::SeqCst)).plus(since.elapsed()),
        }
    }

    /// Turns a manual clock on; the system's can't be turned.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(millis) = &self.0 {
            millis.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({:?})", self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read_as_rfc_3339() {
        let time = Timestamp::from_millis(1_795_446_000_123);
        assert_eq!(time.rfc3339(), "2026-11-23T15:00:00Z");
        assert_eq!(Timestamp::parse_rfc3339("2026-11-23T16:00:00.123+01:00"), Some(time));
        assert_eq!(Timestamp::parse_rfc3339("yesterday"), None);
        assert_eq!(time.http_date(), "Mon, 23 Nov 2026 15:00:00 GMT");
        assert_eq!(Timestamp::from_seconds(1_798_848_000).http_date(), "Sat, 02 Jan 2027 00:00:00 GMT");
        assert_eq!(Timestamp::parse_date(&time.date()), Some(Timestamp::from_seconds(1_795_392_000)));
        assert_eq!(Timestamp::parse_date("2026-02-30"), None);
    }

    #[test]
    fn a_manual_clock_moves_only_by_hand() {
        let clock = Clock::manual(Timestamp::from_seconds(10));
        assert_eq!(clock.now(), Timestamp::from_seconds(10));
        clock.advance(Duration::from_millis(1500));
        assert_eq!(clock.now(), Timestamp::from_millis(11_500));
    }
}
