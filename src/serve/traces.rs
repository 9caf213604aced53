//! Delivers traces to the operator's collector: OTLP over HTTP, in protobuf, by the one outgoing client. In batches, each tried a few times
//! while the next ones wait; what there is no room or patience for is counted and gone. Decides nothing of what is traced.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use http::{HeaderValue, Method, Request, StatusCode, header};
use tokio::{
    runtime::Handle,
    sync::mpsc::Receiver,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    backoff::{self, Backoff},
    config::Otlp,
    outbound::{CallLimits, Outbound},
    telemetry::{
        Metrics,
        trace::{Resource, Trace, rejected},
    },
};

/// How long traces are gathered.
const GATHERED: Duration = Duration::from_secs(2);
/// How many go in one request.
const BATCH: usize = 256;
/// How often a batch is tried at most, …
const TRIES: u32 = 4;
/// … and how long is waited between.
const PAUSES: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(8));
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where traces go now; nowhere where there is none.
pub type Collector = Arc<ArcSwapOption<Otlp>>;

/// Delivers traces until it is drained.
pub struct Exporter {
    ending: CancellationToken,
    task: JoinHandle<()>,
}

struct Delivery {
    collector: Collector,
    outbound: Outbound,
    metrics: Arc<Metrics>,
    resource: Resource,
    ending: CancellationToken,
}

/// What became of a request.
enum Sent {
    Taken,
    /// The same may be taken later.
    NotNow,
    Refused,
}

impl Exporter {
    /// Delivers what is `recorded` from now on.
    pub fn start(
        recorded: Receiver<Box<Trace>>,
        collector: Collector,
        (outbound, metrics): (Outbound, Arc<Metrics>),
        handle: &Handle,
    ) -> Self {
        let ending = CancellationToken::new();
        let resource = Resource::of_this_process();
        let delivery = Delivery { collector, outbound, metrics, resource, ending: ending.clone() };
        Self { ending, task: handle.spawn(delivery.run(recorded)) }
    }

    /// Delivers what is there, at most for so long, and nothing more.
    pub async fn drain(self, limit: Duration) {
        self.ending.cancel();
        let abort = self.task.abort_handle();
        if timeout(limit, self.task).await.is_err() {
            abort.abort();
        }
    }
}

impl Delivery {
    async fn run(self, mut recorded: Receiver<Box<Trace>>) {
        let mut batch = Vec::new();
        loop {
            match self.ending.run_until_cancelled(recorded.recv()).await {
                Some(Some(first)) => {
                    batch.push(first);
                    // All that comes within this time goes together.
                    let more = self.ending.run_until_cancelled(gather(&mut recorded, &mut batch));
                    let _ = timeout(GATHERED, more).await;
                }
                Some(None) => return,
                None => recorded.close(),
            }
            while batch.len() < BATCH
                && let Ok(trace) = recorded.try_recv()
            {
                batch.push(trace);
            }
            // Only at the end: else there was a first one.
            if batch.is_empty() {
                return;
            }
            self.deliver(std::mem::take(&mut batch)).await;
        }
    }

    async fn deliver(&self, batch: Vec<Box<Trace>>) {
        let spans = batch.iter().map(|trace| trace.len() as u64).sum();
        let body = self.resource.request(batch);
        for doublings in 0..TRIES {
            match self.send(&body).await {
                Sent::Taken => return,
                Sent::Refused => break,
                Sent::NotNow if self.ending.is_cancelled() => break,
                Sent::NotNow => {
                    let pause = PAUSES.jittered(doublings, backoff::chance(&(spans, doublings)));
                    self.ending.run_until_cancelled(sleep(pause)).await;
                }
            }
        }
        self.metrics.spans_dropped(spans);
    }

    /// Sends a batch once. What is wrong with the answer is logged, and never what was sent.
    async fn send(&self, body: &[u8]) -> Sent {
        let Some(otlp) = self.collector.load_full() else { return Sent::Refused };
        let mut request = Request::new(body.to_vec());
        *request.method_mut() = Method::POST;
        let Ok(uri) = otlp.traces_url.as_str().parse() else { return Sent::Refused };
        *request.uri_mut() = uri;
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        for (name, value) in &otlp.headers {
            let Ok(mut value) = HeaderValue::from_str(value.expose()) else { continue };
            value.set_sensitive(true);
            request.headers_mut().insert(name, value);
        }
        let limits = CallLimits { total: Some(PATIENCE), body: None, allow_plain_http: otlp.allow_plain_http };
        match self.outbound.send(request, limits).await {
            Ok(answer) if answer.status().is_success() => {
                let lost = rejected(answer.body());
                if lost > 0 {
                    tracing::warn!(spans = lost, "the trace collector has not taken all spans");
                    self.metrics.spans_dropped(lost);
                }
                Sent::Taken
            }
            Ok(answer) => {
                tracing::warn!(http = answer.status().as_u16(), "the trace collector has not taken spans");
                match answer.status() {
                    StatusCode::TOO_MANY_REQUESTS
                    | StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT => Sent::NotNow,
                    _ => Sent::Refused,
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the trace collector can't be reached");
                Sent::NotNow
            }
        }
    }
}

/// Gathers traces until there is a batch, or nobody records any more.
async fn gather(recorded: &mut Receiver<Box<Trace>>, batch: &mut Vec<Box<Trace>>) {
    while batch.len() < BATCH {
        let Some(trace) = recorded.recv().await else { return };
        batch.push(trace);
    }
}
