//! What a funnel's numbers mean, in words: where people are lost, and what to look at. Pure. A few attempts are enough for a
//! word: whoever sets a service up sees at the third attempt that it doesn't work.

use super::{
    Family,
    figures::{Change, Report, percent},
};
use crate::consent::Ended;

/// Of fewer than this many nothing is said.
const ENOUGH: u64 = 3;
/// A rate below this, in percent, is worth a word.
pub const LOW_CONVERSION: f64 = 70.0;
/// By how many points in a hundred more people must refuse than before.
const RISE: f64 = 15.0;

/// What is worth a look, the most pressing first.
pub(super) fn of(report: &Report, change: Option<&Change>) -> Vec<String> {
    [exchange(report), refusals(change), low(report), browser(report), unopened(report)].into_iter().flatten().collect()
}

/// The person agreed, and nothing came of it.
fn exchange(report: &Report) -> Option<String> {
    let Report { authorized, completed, .. } = *report;
    if authorized < ENOUGH || percent(completed, authorized) >= LOW_CONVERSION {
        return None;
    }
    let lost = authorized.saturating_sub(completed);
    let exchange =
        report.errors.iter().filter(|error| matches!(error.why, Ended::ExchangeRefused | Ended::ExchangeFailed));
    let failed: u64 = exchange.clone().map(|error| error.count).sum();
    let come = format!("{authorized} came back from the provider with a code, but only {completed} were completed");
    if failed * 2 < lost {
        return Some(format!(
            "{come}: most of the others wait for a confirmation, by the application or by the person, that never comes"
        ));
    }
    let commonest = exchange.max_by_key(|error| error.count)?;
    Some(format!(
        "{come}: the exchange of the code fails, most often with {} ({} times); check client_id, client_secret and \
         token_url of this service",
        commonest.error, commonest.count
    ))
}

/// More people say no since more is asked of them.
fn refusals(change: Option<&Change>) -> Option<String> {
    let Change { since, added, before, after } = change?;
    let [old, new] = [before, after].map(|asked| percent(asked.denied, asked.initiated));
    if before.initiated < ENOUGH || after.initiated < ENOUGH || after.denied < 2 || new < old + RISE {
        return None;
    }
    Some(format!(
        "Since {} was added to the scopes ({}), more people refuse: {} of {}, before it {} of {}",
        added.join(", "),
        since.date(),
        after.denied,
        after.initiated,
        before.denied,
        before.initiated
    ))
}

/// Few come through.
fn low(report: &Report) -> Option<String> {
    let Report { initiated, completed, conversion_rate, .. } = *report;
    if initiated < ENOUGH || conversion_rate >= LOW_CONVERSION {
        return None;
    }
    let ended: u64 = report.errors.iter().map(|error| error.count).sum();
    let why = match report.errors.first() {
        Some(error) if ended * 2 >= initiated.saturating_sub(completed) => {
            format!("the commonest end is {} ({} times)", error.error, error.count)
        }
        _ => "most of the others never came back from the provider".to_owned(),
    };
    Some(format!(
        "Only {completed} of {initiated} attempts that were sent to the provider were completed ({conversion_rate} %, below \
         70 %): {why}"
    ))
}

/// One family of browsers in which nobody comes through.
fn browser(report: &Report) -> Option<String> {
    let stuck = report.browsers.iter().find(|count| {
        count.browser != Family::None && count.initiated >= ENOUGH && count.completed == 0 && report.completed > 0
    })?;
    let (others, completed) = (report.initiated.saturating_sub(stuck.initiated), report.completed);
    Some(format!(
        "Nobody completes with {}: 0 of {} there, {completed} of {others} elsewhere",
        stuck.browser.title(),
        stuck.initiated
    ))
}

/// Links that nobody follows.
fn unopened(report: &Report) -> Option<String> {
    (report.offered >= ENOUGH && report.opened == 0).then(|| {
        format!(
            "{} links were given out, and nobody opened one: does the application show its users the auth_url?",
            report.offered
        )
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::figures::{Asked, BrowserCount, ErrorCount},
        *,
    };
    use crate::clock::Timestamp;

    fn report(offered: u64, opened: u64, initiated: u64, authorized: u64, completed: u64) -> Report {
        let conversion_rate = percent(completed, initiated);
        Report { offered, opened, initiated, authorized, completed, conversion_rate, ..Report::default() }
    }

    fn error(why: Ended, error: &str, count: u64) -> ErrorCount {
        ErrorCount { error: error.into(), count, why }
    }

    #[track_caller]
    fn says(insights: &[String], words: &[&str]) {
        assert!(insights.iter().any(|text| words.iter().all(|word| text.contains(word))), "{words:?}: {insights:?}");
    }

    #[test]
    fn three_attempts_of_which_one_comes_through_are_worth_a_word() {
        says(&of(&report(3, 3, 3, 1, 1), None), &["1 of 3", "33.3 %", "never came back"]);
        let denied = Report { errors: vec![error(Ended::Denied, "denied", 2)], ..report(3, 3, 3, 1, 1) };
        says(&of(&denied, None), &["below 70 %", "denied (2 times)"]);
        for fine in [report(9, 9, 10, 7, 7), report(2, 2, 2, 0, 0), report(0, 0, 0, 0, 0)] {
            assert_eq!(of(&fine, None), Vec::<String>::new());
        }
    }

    #[test]
    fn an_exchange_that_fails_is_named_with_its_commonest_error() {
        let errors = vec![
            error(Ended::Denied, "denied", 9),
            error(Ended::ExchangeRefused, "exchange_refused:invalid_client", 4),
            error(Ended::ExchangeFailed, "exchange_failed:timeout", 1),
        ];
        let failing = Report { errors, ..report(20, 20, 20, 6, 1) };
        says(&of(&failing, None), &["6 came back", "exchange_refused:invalid_client (4 times)", "client_secret"]);
        says(&of(&report(6, 6, 6, 6, 1), None), &["wait for a confirmation"]);
        assert!(!of(&report(6, 6, 6, 5, 5), None).iter().any(|text| text.contains("came back")));
    }

    #[test]
    fn refusals_count_where_they_rose_after_scopes_were_added() {
        let asked = |initiated, denied| Asked { initiated, denied };
        let change = |before, after| Change {
            since: Timestamp::from_seconds(1_800_000_000),
            added: vec!["calendar".into()],
            before,
            after,
        };
        let fine = report(9, 9, 10, 9, 9);
        says(&of(&fine, Some(&change(asked(10, 0), asked(6, 4)))), &["calendar", "4 of 6", "0 of 10", "2027-01-15"]);
        for nothing in
            [change(asked(10, 5), asked(6, 3)), change(asked(2, 0), asked(6, 6)), change(asked(9, 0), asked(9, 1))]
        {
            assert_eq!(of(&fine, Some(&nothing)), Vec::<String>::new());
        }
    }

    #[test]
    fn a_browser_in_which_nobody_comes_through_is_named() {
        let count = |browser, initiated, completed| BrowserCount { browser, opened: initiated, initiated, completed };
        let browsers = vec![count(Family::Chrome, 10, 9), count(Family::Safari, 3, 0)];
        let some = Report { browsers, ..report(13, 13, 13, 10, 10) };
        says(&of(&some, None), &["Safari", "0 of 3", "10 of 10"]);
        let all = Report { browsers: vec![count(Family::Safari, 3, 0)], ..report(3, 3, 3, 0, 0) };
        assert!(!of(&all, None).iter().any(|text| text.contains("Safari")), "not the browser's fault");
    }

    #[test]
    fn links_that_nobody_opens_are_told() {
        says(&of(&report(3, 0, 0, 0, 0), None), &["3 links", "nobody opened"]);
        assert_eq!(of(&report(3, 1, 0, 0, 0), None), Vec::<String>::new());
    }
}
