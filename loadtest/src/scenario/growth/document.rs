//! What growth came to: a step for each number of subscribers and of nodes, how flat the costs are, and how straight the
//! memory is.

use std::fmt::Write as _;

use serde::Serialize;

use crate::aim::Aim;
use crate::figures::{float, ratio, thousands, whole};
use crate::histogram::Quantiles;
use crate::report::Report;
use crate::table::{decimals, millis};

/// Costs that differ by no more than this count as flat: the most expensive step ÷ the cheapest.
const FLAT: f64 = 1.1;
const FLOOR_TIMES: f64 = 1.1;
const RSS_KB: f64 = 4.0;
/// With fewer connections, what a node needs by itself hides what they need.
const SUBSCRIBERS_OF_MEMORY_MIN: u32 = 1_000;

/// All that one command found out.
#[derive(Default, Serialize)]
pub(crate) struct Growth {
    /// Of the form of this document.
    pub(crate) version: u32,
    pub(crate) scenario: &'static str,
    pub(crate) event_bytes: u32,
    /// On one node.
    pub(crate) subscribers: Vec<Step>,
    /// The floor server with the same numbers of subscribers, if that was wanted.
    pub(crate) floors: Vec<Step>,
    pub(crate) nodes: Vec<Step>,
    /// With as many subscribers as the nodes have together.
    pub(crate) floor: Option<Step>,
    /// The most expensive delivery ÷ the cheapest.
    pub(crate) flatness_by_subscribers: Option<f64>,
    pub(crate) flatness_of_floors: Option<f64>,
    /// A node's delivery ÷ the floor's, for each number of subscribers.
    pub(crate) to_floors: Vec<f64>,
    /// The greatest of these ÷ the least: what grows, and is not the machine's.
    pub(crate) flatness_to_floors: Option<f64>,
    /// The most expensive delivery with several nodes ÷ that with one.
    pub(crate) most_nodes_to_one: Option<f64>,
    pub(crate) one_node_to_floor: Option<f64>,
    pub(crate) memory: Option<MemoryLine>,
    pub(crate) aims: Vec<Aim>,
    pub(crate) failures: Vec<String>,
}

/// So many subscribers of so many servers.
#[derive(Serialize)]
pub(crate) struct Step {
    pub(crate) target: &'static str,
    pub(crate) servers: u32,
    pub(crate) subscribers: u32,
    pub(crate) events_per_s: f64,
    pub(crate) deliveries: u64,
    pub(crate) deliveries_per_s: Option<f64>,
    pub(crate) kept_up: Option<bool>,
    /// Of all servers together.
    pub(crate) cpu_us_per_delivery: Option<f64>,
    pub(crate) latency_us: Quantiles,
    pub(crate) other_cores: Option<f64>,
    /// Of all servers together: before anybody connected, and when all were subscribed and nothing had been published.
    pub(crate) rss_before_kb: Option<u64>,
    pub(crate) rss_idle_kb: Option<u64>,
    pub(crate) rss_kb_per_connection: Option<f64>,
    pub(crate) warnings: Vec<String>,
    pub(crate) failures: Vec<String>,
}

/// The line that fits memory over connections best.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct MemoryLine {
    pub(crate) kb_per_connection: f64,
    pub(crate) kb_without_any: f64,
    /// How far the farthest step is from it, as a share of the step's memory.
    pub(crate) farthest: f64,
}

impl Step {
    pub(crate) fn new(servers: u32, subscribers: u32, events_per_s: f64, report: Report) -> Step {
        let delivery = report.delivery.unwrap_or_default();
        let (before, idle) = report.memory.map(|memory| (memory.before.rss_kb, memory.connected.rss_kb)).unzip();
        let grown = before.zip(idle).map(|(before, idle)| float(idle) - float(before));
        Step {
            target: report.target,
            servers,
            subscribers,
            events_per_s,
            deliveries: delivery.deliveries,
            deliveries_per_s: delivery.deliveries_per_s,
            kept_up: delivery.kept_up,
            cpu_us_per_delivery: delivery.server_cpu_us_per_delivery,
            latency_us: delivery.latency_us,
            other_cores: delivery.other_cores,
            rss_before_kb: before,
            rss_idle_kb: idle,
            rss_kb_per_connection: grown.and_then(|kb| ratio(kb, f64::from(subscribers))),
            warnings: report.warnings,
            failures: report.failures,
        }
    }

    /// What is plotted: subscribers, and memory in KB where there are enough of them to tell.
    pub(super) fn memory(&self) -> Option<(f64, f64)> {
        let is_enough = self.subscribers >= SUBSCRIBERS_OF_MEMORY_MIN;
        self.rss_idle_kb.filter(|_| is_enough).map(|kb| (f64::from(self.subscribers), float(kb)))
    }

    fn words(&self) -> String {
        let servers =
            if self.servers == 1 { self.target.to_owned() } else { format!("{} × {}", self.servers, self.target) };
        format!("{servers}, {} subscribers", thousands(self.subscribers.into()))
    }
}

impl Growth {
    /// Makes of the steps what they come to.
    pub(crate) fn judge(&mut self) {
        (self.version, self.scenario) = (1, "growth");
        let costs = |steps: &[Step]| flatness(steps.iter().filter_map(|step| step.cpu_us_per_delivery));
        self.flatness_by_subscribers = costs(&self.subscribers);
        self.flatness_of_floors = costs(&self.floors);
        let pairs = self.subscribers.iter().zip(&self.floors);
        let to_floor = |(node, floor): (&Step, &Step)| ratio(node.cpu_us_per_delivery?, floor.cpu_us_per_delivery?);
        self.to_floors = pairs.filter_map(to_floor).collect();
        self.flatness_to_floors = flatness(self.to_floors.iter().copied());
        let one = self.nodes.iter().find(|step| step.servers == 1).and_then(|step| step.cpu_us_per_delivery);
        let several: Vec<f64> =
            self.nodes.iter().filter(|step| step.servers > 1).filter_map(|step| step.cpu_us_per_delivery).collect();
        self.most_nodes_to_one = most(&several).zip(one).and_then(|(most, one)| ratio(most, one));
        let floor = self.floor.as_ref().and_then(|floor| floor.cpu_us_per_delivery);
        self.one_node_to_floor = one.zip(floor).and_then(|(one, floor)| ratio(one, floor));
        self.memory = MemoryLine::through(&self.subscribers.iter().filter_map(Step::memory).collect::<Vec<_>>());
        self.aims = [
            ("CPU a delivery by subscribers, most ÷ least", self.flatness_by_subscribers, FLAT),
            ("node ÷ floor by subscribers, most ÷ least", self.flatness_to_floors, FLAT),
            ("CPU a delivery, several nodes ÷ one", self.most_nodes_to_one, FLAT),
            ("CPU a delivery, node ÷ floor", self.one_node_to_floor, FLOOR_TIMES),
            ("RSS, KB a connection", self.memory.map(|line| line.kb_per_connection), RSS_KB),
        ]
        .into_iter()
        .filter_map(|(name, value, at_most)| Some(Aim::new(name, value?, at_most)))
        .collect();
        self.failures = self.told(|step| &step.failures);
    }

    /// For people.
    pub(crate) fn render(&self) -> String {
        let mut text = format!("\ngrowth: the same deliveries a second, events of {} bytes\n", self.event_bytes);
        let _ = writeln!(
            text,
            "  {:<38}{:>10}{:>14}{:>14}{:>20}{:>12}{:>12}",
            "", "events/s", "deliveries/s", "CPU each, µs", "latency p50/p99, ms", "RSS, MB", "KB each"
        );
        for step in self.steps() {
            let latency = format!("{} / {}", millis(step.latency_us.p50), millis(step.latency_us.p99));
            let _ = writeln!(
                text,
                "  {:<38}{:>10}{:>14}{:>14}{latency:>20}{:>12}{:>12}",
                step.words(),
                decimals(step.events_per_s),
                step.deliveries_per_s.map(|rate| thousands(whole(rate))).unwrap_or_default(),
                step.cpu_us_per_delivery.map(decimals).unwrap_or_default(),
                step.rss_idle_kb.map(|kb| decimals(float(kb) / 1024.0)).unwrap_or_default(),
                step.rss_kb_per_connection.map(decimals).unwrap_or_default(),
            );
        }
        if let Some(MemoryLine { kb_per_connection, kb_without_any, farthest }) = self.memory {
            let _ = writeln!(
                text,
                "memory: {} KB a connection and {} MB, no step farther from that line than {:.1} %",
                decimals(kb_per_connection),
                decimals(kb_without_any / 1024.0),
                farthest * 100.0
            );
        }
        if let Some(flatness) = self.flatness_of_floors {
            let times: Vec<String> = self.to_floors.iter().copied().map(decimals).collect();
            let flatness = decimals(flatness);
            let _ = writeln!(text, "floor: most ÷ least {flatness}; node ÷ floor, step by step: {}", times.join(", "));
        }
        for aim in &self.aims {
            let _ = writeln!(text, "{}", aim.line("growth"));
        }
        for warning in self.told(|step| &step.warnings) {
            let _ = writeln!(text, "warning: {warning}");
        }
        for failure in &self.failures {
            let _ = writeln!(text, "FAILED: {failure}");
        }
        if self.failures.is_empty() {
            text.push_str("Everything arrived once and in order, or a gap notice covered it.\n");
        }
        text
    }

    fn steps(&self) -> impl Iterator<Item = &Step> {
        self.subscribers.iter().chain(&self.floors).chain(&self.floor).chain(&self.nodes)
    }

    fn told(&self, what: impl Fn(&Step) -> &Vec<String>) -> Vec<String> {
        self.steps().flat_map(|step| what(step).iter().map(|text| format!("{}: {text}", step.words()))).collect()
    }
}

impl MemoryLine {
    /// Least squares through subscribers and KB. None for fewer than two steps.
    fn through(points: &[(f64, f64)]) -> Option<MemoryLine> {
        let count = float(points.len() as u64);
        let mean = |of: fn(&(f64, f64)) -> f64| ratio(points.iter().map(of).sum(), count);
        let (mean_x, mean_y) = (mean(|point| point.0)?, mean(|point| point.1)?);
        let together: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
        let spread: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
        let kb_per_connection = ratio(together, spread)?;
        let kb_without_any = mean_y - kb_per_connection * mean_x;
        let distances = points.iter().map(|(x, y)| (kb_without_any + kb_per_connection * x - y).abs() / y);
        Some(MemoryLine { kb_per_connection, kb_without_any, farthest: distances.fold(0.0, f64::max) })
    }
}

/// The greatest ÷ the least.
fn flatness(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.collect();
    most(&values).zip(least(&values)).and_then(|(most, least)| ratio(most, least))
}

fn most(values: &[f64]) -> Option<f64> {
    values.iter().copied().reduce(f64::max)
}

pub(super) fn least(values: &[f64]) -> Option<f64> {
    values.iter().copied().reduce(f64::min)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::process::Memory;
    use crate::report::{Delivery, MemoryFigures};

    pub(in super::super) fn step(target: &'static str, servers: u32, subscribers: u32, cpu_us: f64) -> Step {
        let delivery = Delivery { server_cpu_us_per_delivery: Some(cpu_us), ..Delivery::default() };
        let memory = |rss_kb| Memory { rss_kb, ..Memory::default() };
        let (empty, full) = (memory(10_000), memory(10_000 + 3 * u64::from(subscribers)));
        let memory = Some(MemoryFigures::new(empty, full, full, subscribers.into()));
        Step::new(servers, subscribers, 1.0, Report { target, delivery: Some(delivery), memory, ..Report::default() })
    }

    pub(in super::super) fn growth() -> Growth {
        let subscribers = [(100, 6.0), (1_000, 5.0), (3_000, 5.2), (10_000, 5.5)];
        let mut growth = Growth {
            subscribers: subscribers.map(|(subscribers, cost)| step("fanfare", 1, subscribers, cost)).into(),
            nodes: [(1, 5.0), (2, 5.1), (4, 5.3)].map(|(nodes, cost)| step("fanfare", nodes, 5_000, cost)).into(),
            floors: subscribers.map(|(subscribers, cost)| step("floor", 1, subscribers, cost / 1.25)).into(),
            floor: Some(step("floor", 1, 5_000, 4.0)),
            ..Growth::default()
        };
        growth.judge();
        growth
    }

    #[test]
    fn flatness_is_judged_by_the_farthest_step() {
        let mut growth = growth();
        let near = |value: Option<f64>, expected: f64| (value.unwrap_or_default() - expected).abs() < 1e-9;
        assert!(near(growth.flatness_by_subscribers, 1.2) && near(growth.most_nodes_to_one, 1.06));
        assert!(near(growth.one_node_to_floor, 1.25) && near(growth.flatness_of_floors, 1.2));
        assert!(near(growth.flatness_to_floors, 1.0), "the floor grew as much");
        assert!(growth.to_floors.len() == 4 && growth.to_floors.iter().all(|times| near(Some(*times), 1.25)));
        let text = growth.render();
        for expected in ["by subscribers, most ÷ least: 1.20, at most 1.10: NOT MET", "4 × fanfare, 5,000"] {
            assert!(text.contains(expected), "{expected} is not in {text}");
        }
        growth.nodes[1].failures.push("1 deliveries came twice".to_owned());
        growth.judge();
        assert_eq!(growth.failures, ["2 × fanfare, 5,000 subscribers: 1 deliveries came twice"]);
    }

    #[test]
    fn memory_that_is_a_line_is_found_to_be_one() {
        let line = growth().memory.unwrap_or(MemoryLine { kb_per_connection: 0.0, kb_without_any: 0.0, farthest: 1.0 });
        assert!((line.kb_per_connection - 3.0).abs() < 1e-9 && (line.kb_without_any - 10_000.0).abs() < 1e-6);
        assert!(line.farthest < 1e-9, "{line:?}");
        assert!(MemoryLine::through(&[(1.0, 1.0)]).is_none());
    }

    #[test]
    fn what_was_not_run_is_not_judged() {
        let mut growth = Growth { nodes: vec![step("fanfare", 2, 5_000, 5.0)], ..Growth::default() };
        growth.judge();
        assert!(growth.aims.is_empty());
    }
}
