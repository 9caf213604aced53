//! How far attempts come, as the store counts it: once an attempt, by service and hour.

use std::time::Duration;

use super::{held::granted, testing::Break, *};
use crate::{config::Binding, events::CALLER, oauth::Fault, provider::OAuth};

const MINUTE: Duration = Duration::from_secs(60);

impl Rig {
    async fn report_of(&self, service: &str, days: u32) -> Report {
        assert!(self.consent.funnel.drain(MINUTE).await, "all is counted");
        self.consent.funnel.report(&self.service(service), days, self.clock.now()).await.unwrap()
    }

    async fn report(&self) -> Report {
        self.report_of("crm", 7).await
    }

    /// A person who opens their link in this browser and goes on to the provider.
    async fn person(&self, subject: &str, family: Family) -> (Browser, Url) {
        self.person_asked(subject, family, &self.service("crm")).await
    }

    async fn person_asked(&self, subject: &str, family: Family, service: &Service) -> (Browser, Url) {
        let (browser, ticket) = (Browser::new().unwrap(), self.ticket(subject).await);
        let guest = Guest { browser: Some(&browser), family, proven: None };
        let plan = self.consent.plan(service, &ticket, None, guest, self.clock.now()).await.unwrap();
        let url = self.leave(service, plan, &browser).await.unwrap();
        (browser, url)
    }
}

fn stages(report: &Report) -> [u64; 6] {
    let Report { offered, opened, initiated, authorized, completed, failed, .. } = *report;
    [offered, opened, initiated, authorized, completed, failed]
}

fn errors(report: &Report) -> Vec<(&str, u64)> {
    report.errors.iter().map(|error| (error.error.as_str(), error.count)).collect()
}

fn saying(authorize: &Url, error: &str) -> String {
    format!("error={error}&state={}&iss=https://crm.example", parameter(authorize, "state"))
}

#[tokio::test]
async fn an_attempt_counts_once_at_each_stage_whoever_tries_again() {
    let (rig, browser) = (Rig::new(), Browser::new().unwrap());
    let ticket = rig.ticket("ada").await;
    for _ in 0..3 {
        rig.plan(&ticket, Some(&browser)).await.unwrap();
    }
    // The button is pressed twice; the person says no, in both tabs, and yes in the end.
    let tabs = [rig.begin(&ticket, &browser).await.unwrap(), rig.begin(&ticket, &browser).await.unwrap()];
    for tab in &tabs {
        rig.call_back("crm", &saying(tab, "access_denied"), Some(&browser)).await.unwrap_err();
    }
    let last = rig.begin(&ticket, &browser).await.unwrap();
    rig.call_back("crm", &answer(&last), Some(&browser)).await.unwrap();
    let report = rig.report().await;
    assert_eq!(stages(&report), [1; 6]);
    assert_eq!(errors(&report), [("denied", 1)]);
    assert_eq!((report.conversion_rate, report.service.as_str(), report.days), (100.0, "crm", 7));
    assert_eq!(stages(&rig.report_of("calendar", 7).await), [0; 6]);
}

#[tokio::test]
async fn an_attempt_counts_in_its_own_hour_and_no_longer_than_it_is_asked_for() {
    let (rig, browser) = (Rig::new(), Browser::new().unwrap());
    for hours in [0, 0, 2] {
        rig.clock.advance(MINUTE * 60 * hours);
        let ticket = rig.ticket("ada").await;
        rig.begin(&ticket, &browser).await.unwrap();
    }
    assert_eq!(stages(&rig.report_of("crm", 1).await), [3, 3, 3, 0, 0, 0]);
    rig.clock.advance(MINUTE * 60 * 22);
    assert_eq!(stages(&rig.report_of("crm", 1).await), [1, 1, 1, 0, 0, 0], "the first two were a day ago");
    assert_eq!(stages(&rig.report_of("crm", 400).await), [3, 3, 3, 0, 0, 0]);
}

#[tokio::test]
async fn what_waits_for_the_application_is_completed_by_its_word() {
    let rig = Rig::with(|config| config.connect.binding = Binding::Confirm);
    let browser = Browser::new().unwrap();
    let Ok(Outcome::Pending(pending)) = granted(&rig, "ada", "default", &browser).await else { panic!() };
    assert_eq!(stages(&rig.report().await), [1, 1, 1, 1, 0, 0]);
    rig.clock.advance(MINUTE);
    for _ in 0..2 {
        let _ = rig.consent.confirm(&caller("ada"), &pending.code, &CALLER, rig.clock.now()).await;
    }
    let report = rig.report().await;
    assert_eq!(stages(&report), [1, 1, 1, 1, 1, 0]);
    assert!(report.median_seconds.is_some_and(|seconds| (54.0..=66.0).contains(&seconds)), "{report:?}");
    let firefox = report.browsers.iter().find(|count| count.browser == Family::Firefox).unwrap();
    assert_eq!(firefox.completed, 1, "by the browser that it began in: {report:?}");
}

#[tokio::test]
async fn ends_are_told_apart_by_the_providers_own_word_where_it_is_known() {
    let rig = Rig::new();
    for (number, word) in ["invalid_scope", "access_denied", "made_up_4711", "made_up_4712"].into_iter().enumerate() {
        let (browser, url) = rig.person(&format!("user-{number}"), Family::Chrome).await;
        rig.call_back("crm", &saying(&url, word), Some(&browser)).await.unwrap_err();
    }
    rig.provider.answer(400, r#"{"error":"invalid_grant"}"#);
    let (browser, url) = rig.person("eve", Family::Chrome).await;
    rig.call_back("crm", &answer(&url), Some(&browser)).await.unwrap_err();
    rig.provider.fail(Fault::Timeout);
    let (browser, url) = rig.person("bob", Family::Chrome).await;
    rig.call_back("crm", &answer(&url), Some(&browser)).await.unwrap_err();
    let report = rig.report().await;
    assert_eq!(stages(&report), [6, 6, 6, 2, 0, 6]);
    let mut found = errors(&report);
    found.sort_unstable();
    let expected = [
        ("denied", 1),
        ("exchange_failed:timeout", 1),
        ("exchange_refused:invalid_grant", 1),
        ("provider_error", 2),
        ("provider_error:invalid_scope", 1),
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn the_time_runs_from_when_the_person_was_first_sent_off() {
    let rig = Rig::new();
    for (user, seconds) in [("a", 10), ("b", 20), ("c", 400)] {
        let (browser, ticket) = (Browser::new().unwrap(), rig.ticket(user).await);
        rig.begin(&ticket, &browser).await.unwrap();
        rig.clock.advance(Duration::from_secs(seconds));
        let url = rig.begin(&ticket, &browser).await.unwrap();
        rig.call_back("crm", &answer(&url), Some(&browser)).await.unwrap();
    }
    let report = rig.report().await;
    let near = |found: Option<f64>, truth: f64| found.is_some_and(|found| (found / truth - 1.0).abs() <= 0.1);
    assert!(near(report.median_seconds, 20.0) && near(report.p90_seconds, 400.0), "{report:?}");
}

#[tokio::test]
async fn a_browser_in_which_nobody_comes_through_and_a_conversion_that_is_low_are_told() {
    let rig = Rig::new();
    for number in 0..4 {
        let (browser, url) = rig.person(&format!("chrome-{number}"), Family::Chrome).await;
        rig.call_back("crm", &answer(&url), Some(&browser)).await.unwrap();
        rig.person(&format!("safari-{number}"), Family::Safari).await;
    }
    let report = rig.report().await;
    assert_eq!((stages(&report), report.conversion_rate), ([8, 8, 8, 4, 4, 0], 50.0));
    for words in ["4 of 8", "Safari: 0 of 4 there, 4 of 4 elsewhere"] {
        assert!(report.insights.iter().any(|text| text.contains(words)), "{words}: {:?}", report.insights);
    }
}

#[tokio::test]
async fn refusals_that_rise_after_scopes_were_added_are_told() {
    let rig = Rig::new();
    let before = rig.service("crm");
    let scopes = ["contacts", "calendar"].map(str::to_owned).to_vec();
    let oauth = OAuth { scopes, ..OAuth::clone(before.oauth.as_ref().unwrap()) };
    let after = Service { oauth: Some(Arc::new(oauth)), ..Service::clone(&before) };
    for number in 0..8 {
        let service = if number < 4 { &before } else { &after };
        let (browser, url) = rig.person_asked(&format!("user-{number}"), Family::Chrome, service).await;
        let back = if number < 5 { answer(&url) } else { saying(&url, "access_denied") };
        let _ = rig.call_back("crm", &back, Some(&browser)).await;
    }
    let told = rig.consent.funnel.report(&after, 7, rig.clock.now()).await.unwrap().insights;
    let words = ["Since calendar was added", "3 of 4, before it 0 of 4"];
    assert!(told.iter().any(|text| words.iter().all(|word| text.contains(word))), "{told:?}");
    let told = rig.consent.funnel.report(&before, 7, rig.clock.now()).await.unwrap().insights;
    assert!(!told.iter().any(|text| text.contains("calendar")), "it is taken back: {told:?}");
}

#[tokio::test]
async fn what_the_store_did_not_take_is_counted_once_it_is_back_and_once_only() {
    for how in [Break::Before, Break::After] {
        let rig = Rig::new();
        rig.brittle.counters_break(Some(how));
        let (browser, url) = rig.person("ada", Family::Chrome).await;
        rig.call_back("crm", &answer(&url), Some(&browser)).await.unwrap();
        rig.brittle.counters_break(None);
        assert_eq!(stages(&rig.report().await), [1, 1, 1, 1, 1, 0], "{how:?}");
    }
}
