//! API keys of a service: what the operator wrote of their phases.

use std::time::Duration;

use crate::{
    clock::Timestamp,
    config::{ApiKeyPhase, ApiKeys, Context, Path, RawApiKeys, finding, or, units::Span},
};

/// The longest line of `benefits`, in characters.
const BENEFIT_MAX: usize = 200;

/// How welcome API keys are, and until when.
pub fn api_keys(raw: Option<RawApiKeys>, path: &Path, cx: &mut Context<'_>) -> ApiKeys {
    let Some(raw) = raw else { return ApiKeys::default() };
    let default = ApiKeys::default();
    let phase = raw.phase.unwrap_or_default();
    let notice_ahead = or(raw.notice_ahead, default.notice_ahead);
    let delete_after = raw.delete_after.and_then(|span| span.0);
    let retire_on = retire_on(raw.retire_on.as_deref(), phase, delete_after, path, cx);
    let benefits = raw.benefits.unwrap_or_default();
    for (at, text) in benefits.iter().enumerate() {
        if text.trim().is_empty() || text.chars().count() > BENEFIT_MAX || text.chars().any(char::is_control) {
            let finding = finding("This should be a line of at most 200 characters");
            cx.report.problem(&path.key("benefits").index(at), finding);
        }
    }
    let reminders = match raw.reminders {
        Some(written) => reminders(&written, notice_ahead, &path.key("reminders"), cx),
        None => default.reminders,
    };
    ApiKeys { phase, retire_on, benefits, notice_ahead, reminders, delete_after }
}

fn retire_on(
    written: Option<&str>,
    phase: ApiKeyPhase,
    delete_after: Option<Duration>,
    path: &Path,
    cx: &mut Context<'_>,
) -> Option<Timestamp> {
    let at = path.key("retire_on");
    let Some(day) = written else {
        if phase == ApiKeyPhase::Deprecated && !cx.report.is_broken(&at) {
            let hint = "add `retire_on: YYYY-MM-DD`, the day from which keys are no longer used";
            cx.report.problem(&at, finding("`phase: deprecated` needs the day on which it ends").hint(hint));
        } else if phase == ApiKeyPhase::Retired && delete_after.is_some() && !cx.report.is_broken(&at) {
            let hint = "add `retire_on: YYYY-MM-DD`, the day on which keys were retired";
            cx.report.problem(&at, finding("`delete_after` counts from the day of retirement").hint(hint));
        }
        return None;
    };
    if !matches!(phase, ApiKeyPhase::Deprecated | ApiKeyPhase::Retired) {
        let finding = finding("`retire_on` only goes with `phase: deprecated` or `phase: retired`");
        cx.report.problem(&at, finding);
    }
    let moment = Timestamp::parse_date(day);
    if moment.is_none() {
        cx.report.problem(&at, finding("There is no such day").hint("write it as `YYYY-MM-DD`"));
    }
    moment
}

fn reminders(written: &[Span], notice_ahead: Duration, path: &Path, cx: &mut Context<'_>) -> Vec<Duration> {
    for (at, Span(ahead)) in written.iter().enumerate() {
        let path = path.index(at);
        if ahead.is_zero() {
            cx.report.problem(&path, finding("This duration should be more than zero"));
        } else if *ahead > notice_ahead {
            let finding = finding("This reminder would come before the notice, and is left out");
            cx.report.warning(&path, finding.hint("raise `notice_ahead`"));
        }
    }
    let mut reminders: Vec<Duration> = written.iter().map(|span| span.0).collect();
    reminders.sort_unstable_by(|a, b| b.cmp(a));
    reminders.dedup();
    reminders
}
