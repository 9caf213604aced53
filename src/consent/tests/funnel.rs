//! How far attempts come, as the store counts it: once an attempt, by hour and service.

use std::time::Duration;

use super::{held::granted, *};
use crate::{config::Binding, events::CALLER, id::ServiceName};

impl Rig {
    /// How many attempts reached a stage, in each hour from the first.
    async fn counted(&self, service: &str, stage: Stage) -> Vec<(u64, u64)> {
        let (service, first) = (ServiceName::parse(service).unwrap(), START.seconds() / 3600);
        let counts = self.consent.funnel.counts(&service, stage, first..=first + 24).await.unwrap();
        counts.into_iter().map(|(hour, count)| (hour - first, count)).collect()
    }
}

fn refusal(authorize: &Url) -> String {
    format!("error=access_denied&state={}&iss=https://crm.example", parameter(authorize, "state"))
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
        rig.call_back("crm", &refusal(tab), Some(&browser)).await.unwrap_err();
    }
    let last = rig.begin(&ticket, &browser).await.unwrap();
    rig.call_back("crm", &answer(&last), Some(&browser)).await.unwrap();
    rig.consent.funnel.count_offers().await;
    let denied = Stage::Failed(Ended::Denied);
    for stage in [Stage::Offered, Stage::Opened, Stage::Initiated, Stage::Authorized, Stage::Completed, denied] {
        assert_eq!(rig.counted("crm", stage).await, [(0, 1)], "{stage:?}");
        assert!(rig.counted("calendar", stage).await.is_empty(), "{stage:?}");
    }
    for why in Ended::ALL.into_iter().filter(|why| *why != Ended::Denied) {
        assert!(rig.counted("crm", Stage::Failed(why)).await.is_empty(), "{why:?}");
    }
}

#[tokio::test]
async fn another_attempt_counts_in_its_own_hour() {
    let (rig, browser) = (Rig::new(), Browser::new().unwrap());
    for hours in [0, 0, 2] {
        rig.clock.advance(Duration::from_secs(hours * 3600));
        let ticket = rig.ticket("ada").await;
        rig.begin(&ticket, &browser).await.unwrap();
    }
    rig.consent.funnel.count_offers().await;
    rig.consent.funnel.count_offers().await;
    assert_eq!(rig.counted("crm", Stage::Offered).await, [(0, 2), (2, 1)]);
    assert_eq!(rig.counted("crm", Stage::Initiated).await, [(0, 2), (2, 1)]);
    assert!(rig.counted("crm", Stage::Completed).await.is_empty());
}

#[tokio::test]
async fn what_waits_for_the_application_is_completed_by_its_word() {
    let rig = Rig::with(|config| config.connect.binding = Binding::Confirm);
    let browser = Browser::new().unwrap();
    let Ok(Outcome::Pending(pending)) = granted(&rig, "ada", "default", &browser).await else { panic!() };
    assert_eq!(rig.counted("crm", Stage::Authorized).await, [(0, 1)]);
    assert!(rig.counted("crm", Stage::Completed).await.is_empty());
    for _ in 0..2 {
        let _ = rig.consent.confirm(&caller("ada"), &pending.code, &CALLER, rig.clock.now()).await;
    }
    assert_eq!(rig.counted("crm", Stage::Completed).await, [(0, 1)]);
}

#[tokio::test]
async fn what_is_refused_at_the_token_endpoint_failed_after_it_was_authorized() {
    let (rig, browser) = (Rig::new(), Browser::new().unwrap());
    rig.provider.answer(400, r#"{"error":"invalid_grant"}"#);
    let ticket = rig.ticket("ada").await;
    let url = rig.begin(&ticket, &browser).await.unwrap();
    rig.call_back("crm", &answer(&url), Some(&browser)).await.unwrap_err();
    assert_eq!(rig.counted("crm", Stage::Authorized).await, [(0, 1)]);
    assert_eq!(rig.counted("crm", Stage::Failed(Ended::ExchangeRefused)).await, [(0, 1)]);
    assert!(rig.counted("crm", Stage::Completed).await.is_empty());
}
