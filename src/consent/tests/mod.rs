//! The flow itself: tickets, states, browsers, and what each mistake leaves as it was (SECURITY S32 to S41).

use url::Url;

use super::{
    testing::{Rig, START, caller, connection_id},
    *,
};
use crate::{events::CALLER, id::Account, oauth::Fault, provider::Service, vault::Purpose};

mod flow;
mod funnel;
mod held;
mod identity;
mod keeping;
mod sessions;

impl Rig {
    fn service(&self, name: &str) -> Arc<Service> {
        Arc::clone(self.services.get(name).unwrap())
    }

    async fn ticket(&self, subject: &str) -> String {
        let (caller, service) = (caller(subject), self.service("crm"));
        let wish = Wish {
            caller: &caller,
            name: None,
            application: None,
            service: &service,
            account: &Account::default(),
            scopes: &[],
            return_to: None,
        };
        self.consent.links.ticket(&wish, self.clock.now()).await.unwrap()
    }

    async fn plan(&self, ticket: &str, browser: Option<&Browser>) -> Result<Plan, BeginError> {
        let guest = Guest { browser, family: Family::Firefox, proven: None };
        self.consent.plan(&self.service("crm"), ticket, None, guest, self.clock.now()).await
    }

    async fn begin(&self, ticket: &str, browser: &Browser) -> Result<Url, BeginError> {
        let plan = self.plan(ticket, Some(browser)).await?;
        self.leave(&self.service("crm"), plan, browser).await
    }

    async fn leave(&self, service: &Service, plan: Plan, browser: &Browser) -> Result<Url, BeginError> {
        self.consent.begin(service, plan, browser, self.clock.now()).await
    }

    async fn call_back(
        &self,
        service: &str,
        query: &str,
        browser: Option<&Browser>,
    ) -> Result<Completed, CallbackError> {
        match self.outcome(service, query, browser).await? {
            Outcome::Stored(completed) => Ok(*completed),
            other => panic!("{other:?}"),
        }
    }

    async fn outcome(&self, service: &str, query: &str, browser: Option<&Browser>) -> Result<Outcome, CallbackError> {
        let answer = Answer::parse(query)?;
        self.consent.callback(&self.service(service), answer, browser, &CALLER, self.clock.now()).await
    }

    async fn is_connected(&self, subject: &str) -> bool {
        self.connections.manager.get(&connection_id(subject, "crm", "default")).await.unwrap().is_some()
    }
}

fn parameter(url: &Url, name: &str) -> String {
    url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned()
}

fn answer(authorize: &Url) -> String {
    format!("code=the-code&state={}&iss=https://crm.example", parameter(authorize, "state"))
}
