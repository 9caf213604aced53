//! The way of one process to the provider: what is slow, fails or is lost on it, by the provider's mood and script.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use super::{super::gate::Gate, PATIENCE, Provider, Scripted};
use crate::oauth::{Fault, Transport, TransportError};

pub(super) struct Line {
    pub(super) provider: Arc<Provider>,
    pub(super) gate: Arc<Gate>,
}

#[async_trait]
impl Transport for Line {
    async fn call(&self, request: http::Request<Vec<u8>>, _: bool) -> Result<http::Response<Vec<u8>>, TransportError> {
        let (provider, random, sent) = (&self.provider, &self.provider.journal.random, Instant::now());
        self.gate.cross().await;
        let mood = *provider.mood.lock();
        let most = if random.in_thousand(mood.slow) { 15_000 } else { mood.delay };
        let (before, mut after) = (random.millis(0, most), random.millis(0, most));
        let (mut lost, mut belied) = (random.in_thousand(mood.lost_answers), None);
        let mut fault = random.in_thousand(mood.fails).then(|| match random.below(4) {
            0 => Scripted::Fault(Fault::Connect),
            1 => Scripted::Answer(503, "<h1>busy</h1>"),
            2 => Scripted::Answer(429, ""),
            _ => Scripted::Answer(401, r#"{"error":"invalid_client"}"#),
        });
        let scripted = provider.script.lock().pop_front();
        match scripted {
            Some(Scripted::Lost) => lost = true,
            Some(Scripted::Slow(time)) => after = time,
            Some(Scripted::Belied(status, body)) => belied = Some((status, body.to_owned())),
            Some(other) => fault = Some(other),
            None => {}
        }
        let path = request.uri().path().to_owned();
        let token = url::form_urlencoded::parse(request.body())
            .find(|(name, _)| name == "refresh_token" || name == "token")
            .map(|(_, value)| value.into_owned())
            .unwrap_or_default();
        if path == "/token" {
            provider.requests.lock().push((Instant::now(), token.clone()));
        } else {
            provider.revocations.lock().push((Instant::now(), token.clone()));
        }
        let late = before > PATIENCE;
        lost |= late || before + after > PATIENCE;
        let outcome = if let Some(Scripted::Fault(kind)) = fault {
            Err(kind)
        } else if late {
            let (provider, gate) = (Arc::clone(provider), Arc::clone(&self.gate));
            tokio::spawn(async move {
                sleep(before).await;
                provider.answer(&path, &token, &gate, sent, true);
            });
            sleep(PATIENCE).await;
            Err(Fault::Timeout)
        } else {
            if !before.is_zero() {
                sleep(before).await;
            }
            let answer = match fault {
                Some(Scripted::Answer(status, body)) => (status, body.to_owned()),
                _ => {
                    let answer = provider.answer(&path, &token, &self.gate, sent, lost || belied.is_some());
                    belied.unwrap_or(answer)
                }
            };
            if !after.is_zero() {
                sleep(after.min(PATIENCE.saturating_sub(before))).await;
            }
            if lost {
                Err(if before + after > PATIENCE { Fault::Timeout } else { Fault::Protocol })
            } else {
                Ok(answer)
            }
        };
        self.gate.cross().await;
        let (status, body) = outcome.map_err(|kind| TransportError { kind })?;
        let response = http::Response::builder().status(status).header("content-type", "application/json");
        Ok(response.body(body.into_bytes()).unwrap())
    }
}
