//! The coordinator's side of the client processes: starts them, gives them orders, and adds up what they say.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::address::WebSocketUrl;
use crate::orders::{Notice, Order, Progress, Published, SwarmPlan, SwarmReport};
use crate::process;

/// How long a process may take to obey or to say anything: it speaks 20 times a second.
const SILENCE_MAX: Duration = Duration::from_secs(30);

pub(crate) struct Crew {
    workers: Vec<Worker>,
    notices: Receiver<(usize, Notice)>,
    orders_given: u64,
    reports: Vec<SwarmReport>,
    heard: Instant,
}

struct Worker {
    child: Child,
    orders: Option<ChildStdin>,
    latest: Progress,
    latency_us_max: u64,
}

impl Crew {
    /// Starts `processes` client processes and deals the clients of `plan` out to them, and the processes to `urls`.
    pub(crate) fn start(plan: &SwarmPlan, urls: &[WebSocketUrl], processes: u32) -> anyhow::Result<Crew> {
        let (sender, notices) = channel();
        let mut workers = Vec::new();
        for (index, url) in (0..processes).zip(urls.iter().cycle()) {
            let share = SwarmPlan { url: url.clone(), ..share_of(plan, index, processes) };
            let worker = Worker::start(&share, workers.len(), sender.clone()).context("starting a client process")?;
            workers.push(worker);
        }
        Ok(Crew { workers, notices, orders_given: 0, reports: Vec::new(), heard: Instant::now() })
    }

    /// Gives an order to all and waits until all have begun to carry it out.
    pub(crate) fn order(&mut self, order: &Order) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        for worker in &mut self.workers {
            let orders = worker.orders.as_mut().context("the client process is gone")?;
            orders.write_all(&line).context("a client process has ended")?;
        }
        self.orders_given += 1;
        let since = Instant::now();
        while self.progress().orders < self.orders_given {
            ensure!(
                since.elapsed() < SILENCE_MAX,
                "the client processes have not obeyed for {} s",
                SILENCE_MAX.as_secs()
            );
            self.listen(Duration::from_millis(10))?;
        }
        Ok(())
    }

    /// Takes in what the processes say, for at most this long.
    pub(crate) fn listen(&mut self, patience: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + patience;
        loop {
            match self.notices.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok((index, notice)) => self.hear(index, notice)?,
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => bail!("all client processes have ended"),
            }
        }
        if self.heard.elapsed() > SILENCE_MAX {
            bail!("the client processes have said nothing for {} s", SILENCE_MAX.as_secs());
        }
        Ok(())
    }

    /// The sum of all processes.
    pub(crate) fn progress(&self) -> Progress {
        Progress::merged(self.workers.iter().map(|worker| &worker.latest))
    }

    /// The greatest latency since the last call, in microseconds.
    pub(crate) fn take_latency_us_max(&mut self) -> u64 {
        self.workers.iter_mut().map(|worker| std::mem::take(&mut worker.latency_us_max)).max().unwrap_or_default()
    }

    /// Asks for the reports of all; one each.
    pub(crate) fn reports(&mut self, published: Published) -> anyhow::Result<Vec<SwarmReport>> {
        self.reports.clear();
        self.order(&Order::Report(published))?;
        while self.reports.len() < self.workers.len() {
            self.listen(Duration::from_millis(20))?;
        }
        Ok(std::mem::take(&mut self.reports))
    }

    /// CPU time that all client processes have used, in microseconds.
    pub(crate) fn cpu_us(&self) -> anyhow::Result<u64> {
        self.workers.iter().map(|worker| process::cpu_us(worker.child.id())).sum()
    }

    fn hear(&mut self, index: usize, notice: Notice) -> anyhow::Result<()> {
        self.heard = Instant::now();
        match notice {
            Notice::Progress(progress) => {
                let worker = &mut self.workers[index];
                worker.latency_us_max = worker.latency_us_max.max(progress.latency_us_max);
                worker.latest = progress;
            }
            Notice::Report(report) => self.reports.push(*report),
            Notice::Failed(reason) => bail!("a client process failed: {reason}"),
        }
        Ok(())
    }
}

impl Worker {
    fn start(plan: &SwarmPlan, index: usize, notices: Sender<(usize, Notice)>) -> anyhow::Result<Worker> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("worker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut orders = child.stdin.take().context("no pipe to the client process")?;
        let output = child.stdout.take().context("no pipe from the client process")?;
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let notice = serde_json::from_str(&line)
                    .unwrap_or_else(|error| Notice::Failed(format!("it said what nobody understands: {error}")));
                if notices.send((index, notice)).is_err() {
                    return;
                }
            }
            // Nobody listens any more when the run is over, and then it may end.
            let _ = notices.send((index, Notice::Failed("it ended by itself".to_owned())));
        });
        let mut line = serde_json::to_vec(plan)?;
        line.push(b'\n');
        orders.write_all(&line)?;
        Ok(Worker { child, orders: Some(orders), latest: Progress::default(), latency_us_max: 0 })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The end of its input ends the process; the kill is for one that hangs.
        self.orders = None;
        for _ in 0..100 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The clients of one process: consecutive numbers, as even as can be.
fn share_of(plan: &SwarmPlan, index: u32, processes: u32) -> SwarmPlan {
    let bound = |index: u32| {
        let share = u64::from(plan.clients) * u64::from(index) / u64::from(processes);
        u32::try_from(share).unwrap_or(plan.clients)
    };
    let first = bound(index);
    let clients = bound(index + 1) - first;
    let concurrency = plan.concurrency.div_ceil(processes);
    SwarmPlan { first, clients, concurrency, ..plan.clone() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;
    use crate::dialect::Dialect;
    use crate::mix::Mix;
    use crate::orders::Topics;

    #[test]
    fn every_client_belongs_to_exactly_one_process() {
        let plan = SwarmPlan {
            url: "ws://127.0.0.1:1/ws".parse().unwrap(),
            secret: String::new(),
            mix: Mix { dialects: vec![Dialect::Nats], tenants: vec!["acme".to_owned()] },
            first: 0,
            clients: 10_001,
            topics: Topics { name: "load".to_owned(), channels: 1 },
            subscribe_at_once: true,
            source_addresses: 1,
            stops_reading: false,
            concurrency: 100,
            connect_timeout_ms: 1,
            run: 0,
        };
        for processes in [1, 2, 3, 7] {
            let mut next = 0;
            for index in 0..processes {
                let share = share_of(&plan, index, processes);
                assert_eq!(share.first, next);
                next += share.clients;
            }
            assert_eq!(next, 10_001);
        }
    }
}
