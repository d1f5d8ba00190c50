//! A backend of a dashboard: when a page asks for fresh figures it answers, and tells all others that there are new ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fanfare_client::{Event, Publisher, Request, RequestError, Tenant, Topic, Worker};
use serde::{Deserialize, Serialize};

/// What a page asks with: `{"days":7}`.
#[derive(Deserialize)]
struct Refresh {
    days: u64,
}

/// What it is shown.
#[derive(Serialize)]
struct Figures {
    days: u64,
    orders: u64,
    refreshed_by: String,
}

struct Dashboard {
    publisher: Publisher,
    /// In place of a database.
    orders_a_day: AtomicU64,
}

impl Dashboard {
    async fn refresh(&self, request: Request) -> Result<Figures, RequestError> {
        let Refresh { days } = request.input()?;
        if !(1..=90).contains(&days) {
            return Err(RequestError::new("bad_frame", "`days` must be 1 to 90"));
        }
        let orders = days * self.orders_a_day.fetch_add(1, Ordering::Relaxed);
        let figures = Figures { days, orders, refreshed_by: request.user().to_owned() };
        // To every page but the one that has asked and gets the answer; a slow one needs the newest figures only.
        let event = Event::new("dashboard.updated").data(&figures).key("figures").except(request.connection());
        self.publisher.publish(request.tenant(), &Topic::channel("dashboard")?, &event).await?;
        Ok(figures)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().init();
    let setting = |name, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let redis = setting("REDIS_URL", "redis://127.0.0.1:6379");
    let tenant = Tenant::parse(&setting("TENANT", "acme"))?;

    let publisher = Publisher::connect(&redis).await?;
    let dashboard = Arc::new(Dashboard { publisher, orders_a_day: AtomicU64::new(40) });
    let worker = Worker::builder(&redis, tenant)
        .group("dashboard")
        .method("dashboard.refresh", move |request| {
            let dashboard = Arc::clone(&dashboard);
            async move { dashboard.refresh(request).await }
        })
        .build()?;
    println!("answering dashboard.refresh on {}; Ctrl-C stops", redis.rsplit('@').next().unwrap_or_default());
    worker.run(async { _ = tokio::signal::ctrl_c().await }).await;
    Ok(())
}
