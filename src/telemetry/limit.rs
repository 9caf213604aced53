//! Limits how many log lines of one kind are written: a burst, then ten a second, so that a storm of strangers' requests
//! neither fills a disk nor hides other lines. The number left out is logged a little later, and when the process ends, so
//! that the storm itself stays visible. Audit lines are never left out, nor are the details that an operator asks for with
//! `debug` or `trace`. It never changes a line. Monotonic time.

use std::{
    collections::HashMap,
    fmt::{self, Write},
    hash::{DefaultHasher, Hasher},
    sync::{Arc, OnceLock},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tracing::{
    Event, Level, Metadata,
    callsite::Identifier,
    field::{Field, Visit},
    subscriber::Interest,
};
use tracing_subscriber::layer::{Context, Filter};

use super::caps::within_cap;

/// The most lines of one kind that are written at once.
const BURST: u32 = 20;
/// The time between two lines of one kind once the burst is spent.
const PACE: Duration = Duration::from_millis(100);
/// How long after the first line left out their number is logged.
const SUMMARY: Duration = Duration::from_secs(2);
/// The most kinds told apart. Beyond it each place in the code is one kind, whatever its lines say.
const KINDS: usize = 1024;
/// The fields that make lines of one place differ in kind: their values are few, and chosen by us or the operator.
const TELLING: [&str; 7] = ["status", "service", "issuer", "check", "source", "line", "place"];
/// How many characters of a line the summary quotes.
const TOLD: usize = 160;
/// The target of the lines that say how many others were left out.
pub(super) const LEFT_OUT: &str = "valetkey::left_out";
const AUDIT: &str = "valetkey::audit";
/// Lines of calls that went well: how many there are, the operator says (`telemetry.sample`).
const CALLS: &str = "valetkey::calls";

/// A place in the code, and the hash of the telling fields.
type Kind = (Identifier, u64);

/// Lets records through as the caps allow, and no more of one kind than the limit.
pub(super) struct Gate {
    /// Whether everything passes, also our dependencies' records.
    pub(super) unlimited: bool,
    /// What has been written lately.
    pub(super) lines: Arc<Lines>,
}

/// What has been written lately, by kind.
#[derive(Default)]
pub(super) struct Lines {
    seen: Mutex<HashMap<Kind, Seen>>,
    reporter: OnceLock<Thread>,
}

/// The lines of one kind.
struct Seen {
    /// When the next one would be due if all came at the pace: it runs ahead of the clock by the burst at most.
    next: Instant,
    left_out: Option<LeftOut>,
}

/// What was left out of one kind, and is still to be told.
struct LeftOut {
    count: u64,
    since: Instant,
    level: Level,
    like: String,
}

impl Gate {
    fn enabled_at_all(&self, metadata: &Metadata<'_>) -> bool {
        self.unlimited || within_cap(metadata)
    }

    /// Whether lines of this place have an end.
    fn counts(&self, metadata: &Metadata<'_>) -> bool {
        !self.unlimited && *metadata.level() <= Level::INFO && !matches!(metadata.target(), AUDIT | CALLS | LEFT_OUT)
    }
}

impl<S> Filter<S> for Gate {
    fn enabled(&self, metadata: &Metadata<'_>, _context: &Context<'_, S>) -> bool {
        self.enabled_at_all(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Where `event_enabled` may still refuse, "always" would be a lie: the registry counts on it.
        match self.enabled_at_all(metadata) {
            false => Interest::never(),
            true if self.counts(metadata) => Interest::sometimes(),
            true => Interest::always(),
        }
    }

    fn event_enabled(&self, event: &Event<'_>, _context: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if !self.counts(metadata) {
            return true;
        }
        let mut telling = Telling::default();
        event.record(&mut telling);
        let like = || {
            let mut like = Like::default();
            event.record(&mut like);
            (*metadata.level(), like.0)
        };
        self.lines.take((metadata.callsite(), telling.0.finish()), Instant::now(), like)
    }
}

impl Lines {
    /// Whether one more of this kind may be written. `like` tells level and text of the first that may not.
    fn take(&self, mut kind: Kind, now: Instant, like: impl FnOnce() -> (Level, String)) -> bool {
        let mut all = self.seen.lock();
        if all.len() >= KINDS && !all.contains_key(&kind) {
            all.retain(|_, seen| seen.left_out.is_some() || seen.next > now);
            if all.len() >= KINDS {
                kind.1 = 0;
            }
        }
        let seen = all.entry(kind).or_insert(Seen { next: now, left_out: None });
        let next = seen.next.max(now);
        if next.saturating_duration_since(now) < PACE * BURST {
            seen.next = next + PACE;
            return true;
        }
        if let Some(left_out) = &mut seen.left_out {
            left_out.count += 1;
            return false;
        }
        let (level, like) = like();
        seen.left_out = Some(LeftOut { count: 1, since: now, level, like });
        drop(all);
        if let Some(reporter) = self.reporter.get() {
            reporter.unpark();
        }
        false
    }

    /// What was left out since this was last asked.
    fn left_out(&self) -> Vec<LeftOut> {
        self.seen.lock().values_mut().filter_map(|seen| seen.left_out.take()).collect()
    }

    /// Logs what was left out so far.
    fn tell(&self, now: Instant) {
        for LeftOut { count, since, level, like } in self.left_out() {
            let seconds = now.saturating_duration_since(since).as_secs().max(1);
            // A field of this name is what programs read; people read the sentence.
            let text = format_args!("{count} more lines like this were left out in the last {seconds} s");
            match level {
                Level::ERROR => tracing::error!(target: LEFT_OUT, left_out = count, like, "{text}"),
                _ => tracing::warn!(target: LEFT_OUT, left_out = count, like, "{text}"),
            }
        }
    }

    /// Starts the thread that logs what was left out. It lives as long as the process, and sleeps while there is nothing.
    pub(super) fn report(self: &Arc<Self>) {
        let lines = Arc::clone(self);
        let report = move || {
            loop {
                thread::park();
                thread::sleep(SUMMARY);
                lines.tell(Instant::now());
            }
        };
        // Without a thread, the process's end is the time to say it.
        if let Ok(handle) = thread::Builder::new().name("log".into()).spawn(report) {
            let _ = self.reporter.set(handle.thread().clone());
        }
    }
}

/// The process's log. When this is dropped, the log says how many lines were left out and not yet mentioned.
#[must_use]
pub struct Logging(pub(super) Arc<Lines>);

impl Drop for Logging {
    fn drop(&mut self) {
        self.0.tell(Instant::now());
    }
}

/// Hashes the telling fields of a record.
#[derive(Default)]
struct Telling(DefaultHasher);

impl Visit for Telling {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if TELLING.contains(&field.name()) {
            // Hashing doesn't fail.
            let _ = write!(Hashed(&mut self.0), "{}={value:?};", field.name());
        }
    }
}

struct Hashed<'a>(&'a mut DefaultHasher);

impl Write for Hashed<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

/// The message of a record and its telling fields.
#[derive(Default)]
struct Like(String);

impl Visit for Like {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = match field.name() {
            "message" => format!("{value:?}"),
            name if TELLING.contains(&name) => format!("{name}={value:?}"),
            _ => return,
        };
        let left = TOLD.saturating_sub(self.0.chars().count());
        let space = if self.0.is_empty() { "" } else { " " };
        self.0.extend(space.chars().chain(text.chars()).take(left));
    }
}

#[cfg(test)]
mod tests {
    use tracing::Callsite;

    use super::*;

    fn kind(detail: u64) -> Kind {
        (
            tracing::callsite!(name: "a place", kind: tracing::metadata::Kind::EVENT, fields: message)
                .metadata()
                .callsite(),
            detail,
        )
    }

    fn said() -> (Level, String) {
        (Level::WARN, "a storm".to_owned())
    }

    fn written(lines: &Lines, kind: &Kind, now: Instant) -> u32 {
        (0..100).map(|_| u32::from(lines.take(kind.clone(), now, said))).sum()
    }

    #[test]
    fn a_kind_has_a_burst_and_then_its_pace_and_what_is_left_out_is_told_once() {
        let (lines, now) = (Lines::default(), Instant::now());
        let (one, other) = (kind(1), kind(2));
        assert_eq!(written(&lines, &one, now), BURST);
        assert_eq!(written(&lines, &other, now), BURST, "another kind has its own");
        assert_eq!(written(&lines, &one, now + PACE * 3), 3);
        assert_eq!(written(&lines, &one, now + Duration::from_secs(3600)), BURST, "quiet gathers no more than a burst");
        let left_out = lines.left_out();
        assert_eq!(left_out.iter().map(|left| left.count).sum::<u64>(), 400 - u64::from(3 * BURST) - 3);
        assert!(left_out.iter().all(|left| left.like == "a storm" && left.level == Level::WARN));
        assert!(lines.left_out().is_empty());
    }

    #[test]
    fn kinds_are_bounded_and_beyond_them_a_place_is_one_kind() {
        let (lines, now) = (Lines::default(), Instant::now());
        let taken = (1..=10_000).filter(|detail| lines.take(kind(*detail), now, said)).count();
        assert_eq!(taken, KINDS + BURST as usize);
        assert!(lines.seen.lock().len() <= KINDS + 1);
        let later = now + Duration::from_secs(3600);
        lines.left_out();
        assert!(lines.take(kind(10_001), later, said));
        assert_eq!(lines.seen.lock().len(), 1, "what is quiet is forgotten");
    }
}
