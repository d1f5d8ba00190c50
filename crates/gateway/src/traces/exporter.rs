//! The thread that hands ended spans to the collector, with a runtime of its own: whatever a collector does, no task of the
//! node waits for it. What can't be exported in time is counted and gone; the log says so once a minute at most.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use opentelemetry::KeyValue;
use opentelemetry_otlp::{Protocol, SpanExporter as OtlpExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{timeout, timeout_at};

use super::config::TracesConfig;
use super::queue::Queue;
use crate::metrics::Metrics;

/// Between two lines that say that spans are dropped.
const LOG_INTERVAL: Duration = Duration::from_mins(1);

/// The thread, as long as nobody has asked it to end.
#[derive(Debug)]
pub(super) struct Exporter(Mutex<Option<oneshot::Sender<oneshot::Sender<()>>>>);

/// Starts the thread.
pub(super) fn start(config: &TracesConfig, node_id: &str, metrics: &Arc<Metrics>) -> anyhow::Result<(Queue, Exporter)> {
    let (queue, spans) = Queue::new(config.queue_spans_max, Arc::clone(metrics));
    let (stop, stopped) = oneshot::channel();
    let work = Work {
        spans,
        otlp: otlp(config, node_id)?,
        metrics: Arc::clone(metrics),
        batch_spans_max: config.batch_spans_max,
        batch_delay: config.batch_delay,
        export_timeout: config.export_timeout,
        endpoint: config.endpoint_printed(),
        losses: Losses::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("a runtime")?;
    let run = move || runtime.block_on(work.run(stopped));
    std::thread::Builder::new().name("spans".to_owned()).spawn(run).context("a thread")?;
    Ok((queue, Exporter(Mutex::new(Some(stop)))))
}

impl Exporter {
    /// Exports what waits and ends. False when that isn't done in time.
    pub(super) async fn end(&self, within: Duration) -> bool {
        let Some(stop) = self.0.lock().take() else { return true };
        let (done, is_done) = oneshot::channel();
        stop.send(done).is_ok() && matches!(timeout(within, is_done).await, Ok(Ok(())))
    }
}

/// Spans as they come out of the queue.
type Batch = Vec<Box<SpanData>>;

/// What the thread does.
struct Work {
    spans: mpsc::Receiver<Box<SpanData>>,
    otlp: OtlpExporter,
    metrics: Arc<Metrics>,
    batch_spans_max: usize,
    batch_delay: Duration,
    export_timeout: Duration,
    /// For the log.
    endpoint: String,
    losses: Losses,
}

/// What the log says of spans that are dropped.
#[derive(Default)]
struct Losses {
    /// When a line said so, and how many that were by then.
    told: Option<(Instant, u64)>,
    /// Why the last export failed, until a line has said it.
    error: Option<String>,
}

impl Work {
    async fn run(mut self, mut stopped: oneshot::Receiver<oneshot::Sender<()>>) {
        let mut batch = Batch::with_capacity(self.batch_spans_max);
        let done = loop {
            tokio::select! {
                biased;
                stopped = &mut stopped => break stopped,
                () = self.gather(&mut batch) => {}
            }
            self.export(&mut batch).await;
        };
        // What ends from here on counts as dropped.
        self.spans.close();
        loop {
            let room = self.batch_spans_max - batch.len();
            if room > 0 && self.spans.recv_many(&mut batch, room).await > 0 {
                continue;
            }
            if batch.is_empty() {
                break;
            }
            self.export(&mut batch).await;
        }
        if let Ok(done) = done {
            // Nobody may wait any more.
            let _ = done.send(());
        }
    }

    /// Waits until there is a batch worth a request. What it has gathered stays in `batch` when it is given up.
    async fn gather(&mut self, batch: &mut Batch) {
        if batch.is_empty() && self.spans.recv_many(batch, self.batch_spans_max).await == 0 {
            // The queue ends with the process.
            return std::future::pending().await;
        }
        let deadline = tokio::time::Instant::now() + self.batch_delay;
        while batch.len() < self.batch_spans_max {
            let room = self.batch_spans_max - batch.len();
            match timeout_at(deadline, self.spans.recv_many(batch, room)).await {
                Ok(count) if count > 0 => {}
                _ => return,
            }
        }
    }

    async fn export(&mut self, batch: &mut Batch) {
        let count = batch.len() as u64;
        let spans = batch.drain(..).map(|span| *span).collect();
        let failed = match timeout(self.export_timeout, self.otlp.export(spans)).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {:?}", self.export_timeout)),
        };
        match failed {
            None => self.metrics.spans.exported(count),
            Some(error) => {
                self.metrics.spans.dropped(count);
                self.losses.error = Some(error);
            }
        }
        if let Some((dropped, error)) = self.losses.due(self.metrics.spans.dropped.get(), Instant::now()) {
            tracing::warn!(dropped, endpoint = self.endpoint, error, "spans are dropped");
        }
    }
}

impl Losses {
    /// What a line says now: how many were dropped since the last one, and why. `dropped`: how many were since the start.
    fn due(&mut self, dropped: u64, now: Instant) -> Option<(u64, String)> {
        let before = match self.told {
            Some((at, _)) if now.duration_since(at) < LOG_INTERVAL => return None,
            told => told.map_or(0, |(_, before)| before),
        };
        if dropped <= before {
            return None;
        }
        self.told = Some((now, dropped));
        let error = self.error.take();
        Some((dropped - before, error.unwrap_or_else(|| "the collector is too slow: the queue was full".to_owned())))
    }
}

fn otlp(config: &TracesConfig, node_id: &str) -> anyhow::Result<OtlpExporter> {
    // Its time is that of the whole export. The builder's own headers would be decoded once more.
    let mut client = reqwest::Client::builder().default_headers(config.headers.clone());
    if let Some(path) = &config.certificate_file {
        let told = || format!("the certificate {} of OTEL_EXPORTER_OTLP_CERTIFICATE", path.display());
        let pem = std::fs::read(path).with_context(told)?;
        let certificates = reqwest::Certificate::from_pem_bundle(&pem).with_context(told)?;
        client = client.tls_certs_only(certificates);
    }
    let mut exporter = OtlpExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(config.endpoint())
        .with_timeout(config.export_timeout)
        .with_http_client(client.build().context("an HTTP client")?)
        .build()
        .context("OTLP")?;
    exporter.set_resource(&resource(&config.resource, node_id));
    Ok(exporter)
}

/// What every span comes from: what the variables say comes before what is known here.
fn resource(said: &BTreeMap<String, String>, node_id: &str) -> Resource {
    let known =
        [("service.name", "fanfare"), ("service.version", env!("CARGO_PKG_VERSION")), ("service.instance.id", node_id)];
    let known = known.map(|(name, value)| KeyValue::new(name, value.to_owned()));
    let said = said.iter().map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(known)
        .with_attributes(said)
        .build()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn the_reason_of_a_failed_export_is_kept_until_a_line_says_it() {
        let (start, mut losses) = (Instant::now(), Losses::default());
        assert_eq!(losses.due(0, start), None);
        losses.error = Some("network error".to_owned());
        assert_eq!(losses.due(5, start), Some((5, "network error".to_owned())));
        losses.error = Some("timeout".to_owned());
        assert_eq!(losses.due(9, start + LOG_INTERVAL / 2), None);
        assert_eq!(losses.due(12, start + LOG_INTERVAL), Some((7, "timeout".to_owned())));
        let (dropped, error) = losses.due(13, start + 2 * LOG_INTERVAL).unwrap();
        assert!(dropped == 1 && error.contains("the queue was full"), "{error}");
        assert_eq!(losses.due(13, start + 3 * LOG_INTERVAL), None);
    }
}
