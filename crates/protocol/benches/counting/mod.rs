//! Cases whose instructions are counted: each has a name, runs in a process of its own under callgrind, and counts only
//! within [`counted`]. Deliberately neither the counting nor the figures: those are `scripts/check-instructions`'s.

pub(crate) mod sample;

use std::hint::black_box;

/// What is counted, by name.
#[derive(Default)]
pub(crate) struct Cases(Vec<(String, Box<dyn Fn()>)>);

impl Cases {
    /// Adds a case. `prepare` makes what `act` works on; neither that nor the dropping of it, or of what `act` returns, is
    /// counted.
    pub(crate) fn add<I, O>(
        &mut self,
        name: impl Into<String>,
        prepare: impl Fn() -> I + 'static,
        act: impl Fn(&mut I) -> O + 'static,
    ) {
        let run = move || {
            // The first time finds the allocator empty and one-time initialisation undone.
            drop(black_box(act(&mut prepare())));
            let mut input = prepare();
            drop(counted(&mut input, &act));
        };
        self.0.push((name.into(), Box::new(run)));
    }

    /// Runs the case that the program's argument names. Without one, or with what `cargo bench` gives, prints the names.
    pub(crate) fn run(&self) {
        match std::env::args().nth(1).filter(|name| !name.starts_with("--")) {
            None => self.0.iter().for_each(|(name, _)| println!("{name}")),
            Some(wanted) => {
                let (_, case) = self.0.iter().find(|(name, _)| *name == wanted).expect("a case of this name");
                case();
            }
        }
    }
}

/// Callgrind finds it by its name, and counts from its beginning to its end.
#[inline(never)]
fn counted<I, O>(input: &mut I, act: &impl Fn(&mut I) -> O) -> O {
    black_box(act(black_box(input)))
}
