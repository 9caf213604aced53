//! Logs: one subscriber, on standard error. Records of Valetkey's own pass as the filter (`RUST_LOG`) says. Those of our
//! dependencies are capped whatever it says, because some print requests with their credentials: everything foreign at
//! `warn`, and Pingora's, whose errors embed raw bytes of requests and answers, only as the fact that there was one and
//! where. `VALETKEY_UNSAFE_LOGS=1` lifts the caps, for debugging with worthless credentials; what Pingora would say below
//! `warn` isn't even compiled into a release build.

use std::{io, panic, sync::Arc};

use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer,
    fmt::{MakeWriter, format::FmtSpan},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use super::{
    caps::is_pingora,
    limit::{Gate, LEFT_OUT, Lines, Logging},
};

/// How a record is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// A line for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// What is logged, and how.
#[derive(Debug, Clone, Default)]
pub struct LogOptions {
    /// The form of a record.
    pub format: Format,
    /// Directives as in `RUST_LOG`; `info` where there are none.
    pub filter: Option<String>,
    /// Whether our dependencies' records pass uncapped and whole, credentials and all.
    pub unsafe_foreign: bool,
}

impl LogOptions {
    /// The options as the environment has them, which `variable` looks up: `RUST_LOG` and `VALETKEY_UNSAFE_LOGS`.
    pub fn from_environment(format: Format, variable: impl Fn(&str) -> Option<String>) -> Self {
        Self {
            format,
            filter: variable("RUST_LOG").filter(|filter| !filter.trim().is_empty()),
            unsafe_foreign: variable("VALETKEY_UNSAFE_LOGS").is_some_and(|value| value == "1"),
        }
    }
}

/// Why logging can't begin.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The filter's text is no filter.
    #[error("RUST_LOG is not a valid filter")]
    Filter,
    /// Something else in this process already logs.
    #[error("logging has already been set up")]
    Twice,
}

/// Begins to log to standard error, for the whole process: `tracing` events, records of the `log` crate, and panics by
/// their place (a panic's text is told only where it is a constant of the program's).
///
/// Lines of one kind are limited (`limit`). Keep what is returned for as long as the process logs.
///
/// # Errors
/// Where the filter can't be read, or this was done before.
pub fn init(options: &LogOptions) -> Result<Logging, InitError> {
    let lines = Arc::<Lines>::default();
    subscriber(options, io::stderr, Arc::clone(&lines))?.try_init().map_err(|_| InitError::Twice)?;
    lines.report();
    let bridge = if options.unsafe_foreign { &UNSAFE_BRIDGE } else { &BRIDGE };
    log::set_logger(bridge).map_err(|_| InitError::Twice)?;
    log::set_max_level(if options.unsafe_foreign { log::LevelFilter::Trace } else { log::LevelFilter::Warn });
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let text = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("[text withheld]");
        tracing::error!(place, text, "panic");
    }));
    Ok(Logging(lines))
}

/// The subscriber, writing wherever `writer` says. `seen` counts what is written.
fn subscriber<W>(
    options: &LogOptions,
    writer: W,
    seen: Arc<Lines>,
) -> Result<impl Subscriber + Send + Sync + use<W>, InitError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let directives = options.filter.as_deref().unwrap_or("info");
    let filter = EnvFilter::builder().parse(directives).map_err(|_| InitError::Filter)?;
    // Whatever the filter lets through, its reader learns how many lines were left out.
    let told = format!("{LEFT_OUT}=warn").parse().map_err(|_| InitError::Filter)?;
    let filter = filter.add_directive(told);
    let gate = Gate { unlimited: options.unsafe_foreign, lines: seen };
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_span_events(FmtSpan::NONE);
    let lines = match options.format {
        Format::Text => lines.with_ansi(false).boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    Ok(tracing_subscriber::registry().with(filter).with(lines.with_filter(gate)))
}

/// Takes the records of the `log` crate (Pingora, rustls and tungstenite use it) over into `tracing`.
struct Bridge {
    unsafe_foreign: bool,
}

static BRIDGE: Bridge = Bridge { unsafe_foreign: false };
static UNSAFE_BRIDGE: Bridge = Bridge { unsafe_foreign: true };

impl log::Log for Bridge {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        self.unsafe_foreign || metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let withheld = format_args!("[text withheld]");
        let text = if is_pingora(record.target()) && !self.unsafe_foreign { &withheld } else { record.args() };
        let source = record.target();
        let line = record.line().unwrap_or_default();
        match record.level() {
            log::Level::Error => tracing::error!(target: "valetkey::foreign", source, line, "{text}"),
            log::Level::Warn => tracing::warn!(target: "valetkey::foreign", source, line, "{text}"),
            log::Level::Info => tracing::info!(target: "valetkey::foreign", source, line, "{text}"),
            log::Level::Debug => tracing::debug!(target: "valetkey::foreign", source, line, "{text}"),
            log::Level::Trace => tracing::trace!(target: "valetkey::foreign", source, line, "{text}"),
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use log::Log;
    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written while `act` runs with these options.
    fn written(options: &LogOptions, act: impl FnOnce()) -> String {
        let lines = Sink::default();
        let sink = lines.clone();
        let subscriber = subscriber(options, move || sink.clone(), Arc::default()).unwrap();
        tracing::subscriber::with_default(subscriber, act);
        String::from_utf8(lines.0.lock().clone()).unwrap()
    }

    fn loudest() -> LogOptions {
        LogOptions { filter: Some("trace".into()), ..LogOptions::default() }
    }

    fn record(bridge: &Bridge, target: &str, level: log::Level) {
        bridge.log(
            &log::Record::builder().target(target).level(level).line(Some(7)).args(format_args!("canary")).build(),
        );
    }

    #[test]
    fn foreign_details_are_dropped_even_at_trace() {
        let text = written(&loudest(), || {
            tracing::trace!(target: "h2::codec", "canary");
            tracing::debug!(target: "hyper_util::client", "canary");
            tracing::info!(target: "pingora_core", "canary");
            tracing::error!(target: "pingora_core", "canary");
            tracing::debug!(target: "valetkeyish", "canary");
            record(&BRIDGE, "pingora_proxy::proxy_h1", log::Level::Debug);
            record(&BRIDGE, "rustls::client", log::Level::Info);
        });
        assert_eq!(text, "");
    }

    #[test]
    fn pingoras_errors_tell_their_place_and_no_text() {
        let text = written(&loudest(), || {
            record(&BRIDGE, "pingora_proxy::proxy_trait", log::Level::Error);
        });
        assert!(text.contains("pingora_proxy::proxy_trait") && text.contains("line=7"), "{text}");
        assert!(!text.contains("canary"), "{text}");
    }

    #[test]
    fn own_records_and_foreign_warnings_pass() {
        let text = written(&loudest(), || {
            tracing::debug!(target: "valetkey::proxy", "own");
            tracing::warn!(target: "redis", "theirs");
            record(&BRIDGE, "rustls::conn", log::Level::Warn);
        });
        for expected in ["own", "theirs", "canary"] {
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn a_storm_is_cut_short_and_neither_audit_lines_nor_asked_for_details_are() {
        let text = written(&loudest(), || {
            for _ in 0..100 {
                tracing::warn!(target: "valetkey::proxy", "storm");
                tracing::info!(target: "valetkey::audit", "audit");
                tracing::debug!(target: "valetkey::proxy", "detail");
            }
        });
        let count = |word: &str| text.lines().filter(|line| line.contains(word)).count();
        assert!((20..100).contains(&count("storm")), "{text}");
        assert_eq!((count("audit"), count("detail")), (100, 100));
    }

    #[test]
    fn the_filter_holds_for_own_records() {
        let text = written(&LogOptions::default(), || {
            tracing::debug!(target: "valetkey::proxy", "quiet");
            tracing::info!(target: "valetkey::proxy", "loud");
        });
        assert!(text.contains("loud") && !text.contains("quiet"), "{text}");
    }

    #[test]
    fn unsafe_logs_lift_the_caps() {
        let options = LogOptions { unsafe_foreign: true, ..loudest() };
        let text = written(&options, || record(&UNSAFE_BRIDGE, "pingora_core", log::Level::Trace));
        assert!(text.contains("canary"));
    }

    #[test]
    fn json_records_are_objects() {
        let options = LogOptions { format: Format::Json, ..LogOptions::default() };
        let text = written(&options, || tracing::info!(target: "valetkey", service = "github", "hello"));
        let object: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(object["message"], "hello");
        assert_eq!(object["service"], "github");
    }

    #[test]
    fn a_filter_that_is_none_is_refused() {
        let options = LogOptions { filter: Some("a=b=c".into()), ..LogOptions::default() };
        assert!(matches!(subscriber(&options, io::sink, Arc::default()), Err(InitError::Filter)));
    }
}
