//! The figures of growth as plots: what there is of them.

use super::document::{Growth, Step, least};
use crate::plot::{Guide, Measured, Plot, Scale};

const KB_PER_MB: f64 = 1024.0;
/// What is asked: costs within 10 %, memory of 4 KB for each connection.
const FLAT: f64 = 1.1;
const KB_PER_CONNECTION: f64 = 4.0;

/// Each with the name of its file. A single point is no plot.
pub(super) fn of(growth: &Growth) -> Vec<(&'static str, Plot)> {
    let cost = |x: fn(&Step) -> u32| move |step: &Step| Some((f64::from(x(step)), step.cpu_us_per_delivery?));
    let by_subscribers = |steps: &[Step]| steps.iter().filter_map(cost(|step| step.subscribers)).collect();
    let by_nodes = growth.nodes.iter().filter_map(cost(|step| step.servers)).collect();
    let memory = growth.subscribers.iter().filter_map(Step::memory).map(|(x, kb)| (x, kb / KB_PER_MB)).collect();
    [
        (
            "cost-by-subscribers.svg",
            cost_by_subscribers(by_subscribers(&growth.subscribers), by_subscribers(&growth.floors)),
        ),
        ("cost-by-nodes.svg", cost_by_nodes(by_nodes, growth.floor.as_ref())),
        ("memory-by-connections.svg", memory_by_connections(memory)),
    ]
    .into_iter()
    .filter_map(|(name, mut plot)| {
        plot.measured.iter_mut().for_each(|(_, points)| points.sort_by(|one, other| one.0.total_cmp(&other.0)));
        let is_line = |(_, points): &Measured| points.len() > 1;
        let is_there = plot.measured.first().is_some_and(is_line);
        plot.measured.retain(is_line);
        is_there.then_some((name, plot))
    })
    .collect()
}

fn cost_by_subscribers(points: Vec<(f64, f64)>, floors: Vec<(f64, f64)>) -> Plot {
    let cheapest = least(&points.iter().map(|(_, y)| *y).collect::<Vec<_>>()).unwrap_or_default();
    Plot {
        title: "CPU time of the node for a delivery, by subscribers".to_owned(),
        x_label: "subscribers of one channel on one node",
        y_label: "µs a delivery",
        scale: Scale::Logarithmic,
        guides: vec![level("aim: at most 1.1 × the cheapest".to_owned(), FLAT * cheapest)],
        measured: vec![("node", points), ("floor: one send(2) a delivery", floors)],
    }
}

fn cost_by_nodes(points: Vec<(f64, f64)>, floor: Option<&Step>) -> Plot {
    let one = points
        .iter()
        .find(|(nodes, _)| *nodes < 1.5)
        .map(|(_, y)| level("aim: at most 1.1 × one node".to_owned(), FLAT * y));
    let floor_us = floor.and_then(|floor| floor.cpu_us_per_delivery);
    let floor = floor_us.map(|us| level("floor: one send(2) a delivery".to_owned(), us));
    Plot {
        title: "CPU time of all nodes for a delivery, by nodes".to_owned(),
        x_label: "nodes that share the subscribers and one processor",
        y_label: "µs a delivery",
        scale: Scale::Whole,
        guides: one.into_iter().chain(floor).collect(),
        measured: vec![("nodes", points)],
    }
}

fn memory_by_connections(points: Vec<(f64, f64)>) -> Plot {
    // What the node needs by itself is no connection's: the aim's line begins where the first point would, had it none.
    let slope = KB_PER_CONNECTION / KB_PER_MB;
    let base = match points.as_slice() {
        [first, .., last] => first.1 - first.0 * (last.1 - first.1) / (last.0 - first.0),
        _ => 0.0,
    };
    let last = points.last().map_or(0.0, |last| last.0);
    let first = points.first().map_or(0.0, |first| first.0);
    let label = "aim: at most 4 KB a connection".to_owned();
    Plot {
        title: "Memory of a node, by idle connections".to_owned(),
        x_label: "connections, each with one subscription beside its own two topics",
        y_label: "RSS, MB",
        scale: Scale::FromZero,
        guides: vec![Guide { label, from_y: base + slope * first, to_y: base + slope * last }],
        measured: vec![("node", points)],
    }
}

fn level(label: String, y: f64) -> Guide {
    Guide { label, from_y: y, to_y: y }
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::growth;
    use super::*;

    #[test]
    fn all_three_are_drawn_and_of_half_a_run_what_there_is() {
        let mut growth = growth();
        let names = |growth: &Growth| of(growth).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(&growth), ["cost-by-subscribers.svg", "cost-by-nodes.svg", "memory-by-connections.svg"]);
        for (name, plot) in of(&growth) {
            assert!(plot.svg().is_ok_and(|svg| svg.contains("aim")), "{name}");
        }
        growth.subscribers.truncate(1);
        assert_eq!(names(&growth), ["cost-by-nodes.svg"]);
    }

    #[test]
    fn the_aim_for_memory_starts_from_what_a_node_needs_by_itself() {
        let plot = memory_by_connections(vec![(1_024.0, 13.0), (10_240.0, 40.0)]);
        assert!((plot.guides[0].from_y - 14.0).abs() < 1e-9 && (plot.guides[0].to_y - 50.0).abs() < 1e-9);
    }
}
