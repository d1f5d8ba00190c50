//! The issuer's key set, fetched over HTTP (RFC 7517) and kept: by one task, at start, then regularly, and once when a
//! token names a key that isn't there. While the issuer is away the last good set stays.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rand::Rng as _;
use reqwest::{Client, StatusCode, header, redirect};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::AuthSetupError;
use super::jwk_set;
use super::keys::{KeySet, TokenRules};
use crate::config::{JwksConfig, is_loopback};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
const BODY_BYTES_MAX: usize = 256 * 1024;

/// A handle on the key set. The task that fetches it ends with the last handle.
#[derive(Debug)]
pub(super) struct Jwks {
    keys: Arc<ArcSwap<KeySet>>,
    /// Holds one request at most: what is asked for while one waits is the same fetch.
    requests: mpsc::Sender<()>,
    attempts: watch::Receiver<Attempts>,
    min_interval: Duration,
}

/// Fetches so far, failed ones too.
#[derive(Clone, Copy, Debug, Default)]
struct Attempts {
    last: Option<Instant>,
    /// The last one that brought keys.
    last_good: Option<Instant>,
}

impl Jwks {
    /// Starts the task that fetches, at once. The issuer may be down: tokens are refused until it answers.
    pub(super) fn spawn(config: &JwksConfig, rules: TokenRules) -> Result<Self, AuthSetupError> {
        let mut client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(FETCH_TIMEOUT)
            // A redirect could lead to plain HTTP, or into the internal network.
            .redirect(redirect::Policy::none())
            .user_agent(concat!("fanfare/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&config.url) {
            client = client.no_proxy();
        }
        let client = client.build().map_err(|error| AuthSetupError::HttpClient(explained(&error)))?;
        let keys = Arc::new(ArcSwap::from_pointee(KeySet::default()));
        let (requests, requested) = mpsc::channel(1);
        let (report, attempts) = watch::channel(Attempts::default());
        let fetcher = Fetcher { client, config: config.clone(), rules, keys: Arc::clone(&keys), report };
        tokio::spawn(fetcher.run(requested));
        Ok(Self { keys, requests, attempts, min_interval: config.min_interval })
    }

    /// The last good key set; empty before the first.
    pub(super) fn load(&self) -> Arc<KeySet> {
        self.keys.load_full()
    }

    /// Since the last good fetch; none before the first.
    pub(super) fn age(&self) -> Option<Duration> {
        self.attempts.borrow().last_good.map(|fetched| fetched.elapsed())
    }

    /// Whether a fetch now is allowed: unauthenticated clients can make up key ids, so it is rate limited.
    pub(super) fn may_refresh(&self) -> bool {
        self.attempts.borrow().last.is_none_or(|last| last.elapsed() >= self.min_interval)
    }

    /// Waits for the fetch that is under way, or asks for one; returns at once when none is allowed yet. Everybody who
    /// waits shares one fetch. Cancel-safe.
    pub(super) async fn refresh(&self) {
        let mut attempts = self.attempts.clone();
        let last = attempts.borrow_and_update().last;
        if last.is_some_and(|last| last.elapsed() < self.min_interval) {
            return;
        }
        // Full means that somebody has asked already; an error of `changed` that the task is gone with the runtime.
        _ = self.requests.try_send(());
        _ = attempts.changed().await;
    }
}

struct Fetcher {
    client: Client,
    config: JwksConfig,
    rules: TokenRules,
    keys: Arc<ArcSwap<KeySet>>,
    report: watch::Sender<Attempts>,
}

impl Fetcher {
    async fn run(self, mut requested: mpsc::Receiver<()>) {
        let mut failures = 0;
        let mut last_good = None;
        loop {
            match self.fetch().await {
                Ok(keys) => {
                    failures = 0;
                    self.keys.store(Arc::new(keys));
                    last_good = Some(Instant::now());
                }
                Err(error) => {
                    failures += 1;
                    let url = self.config.url.as_str();
                    tracing::warn!(url, error, "can't fetch the issuer's keys, those known before stay");
                }
            }
            let finished = Instant::now();
            self.report.send_replace(Attempts { last: Some(finished), last_good });
            let allowed = finished + self.config.min_interval;
            let planned = finished + self.pause(failures);
            loop {
                tokio::select! {
                    () = tokio::time::sleep_until(planned) => break,
                    request = requested.recv() => match request {
                        None => return,
                        Some(()) if Instant::now() >= allowed => break,
                        // Asked for while the last fetch was under way: its answer serves this request too.
                        Some(()) => {}
                    },
                }
            }
        }
    }

    /// With jitter, so that nodes started together don't fetch together. After failures it is shorter, and doubles.
    fn pause(&self, failures: u32) -> Duration {
        let pause = if failures == 0 {
            self.config.refresh_interval
        } else {
            let doubled = self.config.min_interval.saturating_mul(1 << (failures - 1).min(16));
            doubled.min(self.config.refresh_interval)
        };
        let jittered = pause.mul_f64(rand::rng().random_range(0.9..1.1));
        jittered.max(self.config.min_interval)
    }

    async fn fetch(&self) -> Result<KeySet, String> {
        let request = self.client.get(self.config.url.clone()).header(header::ACCEPT, "application/json");
        let mut response = request.send().await.map_err(|error| explained(&error))?;
        if response.status() != StatusCode::OK {
            return Err(format!("the answer is {}, not 200 OK", response.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| explained(&error))? {
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(format!("the answer is larger than {BODY_BYTES_MAX} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        jwk_set::parse(&body, &self.rules)
    }
}

/// An error with its causes, which the HTTP client's own text leaves out.
fn explained(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
