//! Which traces are recorded, by the names of the standard
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#general-sdk-configuration>).

use std::fmt;

use fanfare_protocol::Traceparent;

/// What `OTEL_TRACES_SAMPLER` may be.
pub(super) const NAMES: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];

/// What half of the trace id that is compared can be at most, and one more.
const WHOLE: u64 = 1 << 63;

/// A decision for every trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sampler {
    root: Root,
    is_parent_based: bool,
}

/// What was decided about a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// This trace is recorded.
    Recorded(u128),
    /// This one is not. No trace where whoever decides again decides alike: without a parent, nothing is ever recorded.
    Unrecorded(Option<u128>),
}

/// The decision for what has no parent, or whose parent doesn't count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Root {
    On,
    Off,
    /// So many of [`WHOLE`] ids.
    Ratio(u64),
}

impl Default for Sampler {
    fn default() -> Self {
        Self { root: Root::On, is_parent_based: true }
    }
}

impl Sampler {
    /// By one of [`NAMES`]; `ratio` is from 0 to 1.
    pub(super) fn named(name: &str, ratio: f64) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let (is_parent_based, root) = match name.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, &*name),
        };
        let root = match root {
            "always_on" => Root::On,
            "always_off" => Root::Off,
            "traceidratio" => Root::of_ratio(ratio),
            _ => return None,
        };
        Some(Self { root, is_parent_based })
    }

    /// Whether something with this parent is recorded, and in which trace.
    pub(super) fn decide(self, parent: Option<Traceparent>) -> Decision {
        let (trace, is_recorded) = match parent {
            Some(parent) if self.is_parent_based => (parent.trace_id(), parent.is_sampled()),
            Some(parent) => (parent.trace_id(), self.root.samples(parent.trace_id())),
            None if self.root == Root::Off => return Decision::Unrecorded(None),
            None => {
                // No id is 0.
                let trace = rand::random::<u128>().max(1);
                (trace, self.root.samples(trace))
            }
        };
        if is_recorded { Decision::Recorded(trace) } else { Decision::Unrecorded(Some(trace)) }
    }
}

impl Decision {
    /// The trace, when it is recorded.
    pub(super) fn recorded(self) -> Option<u128> {
        match self {
            Self::Recorded(trace) => Some(trace),
            Self::Unrecorded(_) => None,
        }
    }
}

impl Root {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "from 0 to 1 of a power of 2"
    )]
    fn of_ratio(ratio: f64) -> Self {
        if ratio >= 1.0 { Self::On } else { Self::Ratio((ratio.max(0.0) * WHOLE as f64) as u64) }
    }

    /// As the SDKs of other languages decide, so that one ratio everywhere records whole traces.
    #[expect(clippy::cast_possible_truncation, reason = "the lower half of the id is meant")]
    fn samples(self, trace: u128) -> bool {
        match self {
            Self::On => true,
            Self::Off => false,
            Self::Ratio(below) => (trace as u64) >> 1 < below,
        }
    }
}

impl fmt::Display for Sampler {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_parent_based { "parentbased_" } else { "" })?;
        match self.root {
            Root::On => f.write_str("always_on"),
            Root::Off => f.write_str("always_off"),
            Root::Ratio(below) => write!(f, "traceidratio {}", below as f64 / WHOLE as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn parent(trace: u128, is_sampled: bool) -> Option<Traceparent> {
        Some(Traceparent::new(trace, 7, is_sampled))
    }

    #[test]
    fn a_parents_word_counts_where_the_sampler_is_parent_based() {
        for root in ["always_on", "always_off", "traceidratio"] {
            let sampler = Sampler::named(&format!("parentbased_{root}"), 0.5).unwrap();
            assert_eq!(sampler.decide(parent(5, true)).recorded(), Some(5));
            assert_eq!(sampler.decide(parent(5, false)).recorded(), None);
        }
        assert_eq!(Sampler::named("always_on", 1.0).unwrap().decide(parent(5, false)).recorded(), Some(5));
        assert_eq!(Sampler::named("ALWAYS_OFF", 1.0).unwrap().decide(parent(5, true)).recorded(), None);
        assert_eq!(Sampler::named("parentbased_jaeger_remote", 1.0), None);
    }

    #[test]
    fn a_ratio_decides_by_the_trace_so_that_all_decide_alike() {
        let half = Sampler::named("traceidratio", 0.5).unwrap();
        let (below, above) = ((1 << 63) - 2, 1 << 63);
        assert_eq!(
            (half.decide(parent(below, false)).recorded(), half.decide(parent(above, true)).recorded()),
            (Some(below), None)
        );
        // The upper half of the id has no say.
        assert_eq!(half.decide(parent(above + (1 << 64), true)).recorded(), None);
        let sampled = (0..10_000).filter(|_| half.decide(None).recorded().is_some()).count();
        assert!((4_000..6_000).contains(&sampled), "{sampled}");
        assert!((0..100).all(|_| Sampler::named("traceidratio", 0.0).unwrap().decide(None).recorded().is_none()));
        // Whoever asks again about a trace that isn't recorded hears the same.
        for _ in 0..100 {
            if let Decision::Unrecorded(trace) = half.decide(None) {
                assert_eq!(half.decide(parent(trace.unwrap(), false)), Decision::Unrecorded(trace));
            }
        }
        assert!((0..100).all(|_| Sampler::named("traceidratio", 1.0).unwrap().decide(None).recorded().is_some()));
    }

    #[test]
    fn it_is_printed_as_it_was_named() {
        for name in ["always_on", "parentbased_always_off"] {
            assert_eq!(Sampler::named(name, 1.0).unwrap().to_string(), name);
        }
        assert_eq!(Sampler::named("traceidratio", 0.25).unwrap().to_string(), "traceidratio 0.25");
        assert_eq!(Sampler::default().to_string(), "parentbased_always_on");
    }
}
