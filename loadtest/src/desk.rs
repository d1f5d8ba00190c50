//! A thread that owns something and works on it, and takes questions in between: what it owns is touched by nobody else,
//! so there is no lock around it. Not a pool: one thread, one owner.

use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, anyhow};

/// How long a question may wait for its answer: the longest step is shorter by far.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a desk's thread does between questions.
pub(crate) trait Work: Send + 'static {
    /// Goes on for some milliseconds at most, or a little longer while somebody else is stuck.
    fn step(&mut self) -> anyhow::Result<()>;
}

type Question<W> = Box<dyn FnOnce(&mut W) + Send>;

/// The thread ends when this is dropped.
pub(crate) struct Desk<W> {
    questions: Option<Sender<Question<W>>>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

impl<W: Work> Desk<W> {
    pub(crate) fn start(work: W) -> Desk<W> {
        let (questions, asked) = channel();
        let thread = std::thread::spawn(move || run(work, &asked));
        Desk { questions: Some(questions), thread: Some(thread) }
    }

    /// Has this done by the thread, and waits for what comes of it. Fails with the thread's own error if it has ended.
    pub(crate) fn ask<T: Send + 'static>(
        &mut self,
        question: impl FnOnce(&mut W) -> T + Send + 'static,
    ) -> anyhow::Result<T> {
        let (answer, answered) = channel();
        let question: Question<W> = Box::new(move |work| {
            // Nobody waits any more only when the patience was at its end, and that is told there.
            let _ = answer.send(question(work));
        });
        let sent = self.questions.as_ref().is_some_and(|questions| questions.send(question).is_ok());
        match answered.recv_timeout(PATIENCE) {
            Ok(answer) if sent => Ok(answer),
            _ if self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) => {
                Err(anyhow!("a thread of the load generator is stuck for {} s", PATIENCE.as_secs()))
            }
            _ => {
                let thread = self.thread.take().context("a thread of the load generator has ended")?;
                let ended = thread.join().map_err(|_| anyhow!("a thread of the load generator panicked"))?;
                Err(ended.err().unwrap_or_else(|| anyhow!("a thread of the load generator has ended")))
            }
        }
    }
}

impl<W> Drop for Desk<W> {
    fn drop(&mut self) {
        self.questions = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run<W: Work>(mut work: W, asked: &Receiver<Question<W>>) -> anyhow::Result<()> {
    loop {
        loop {
            match asked.try_recv() {
                Ok(question) => question(&mut work),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Ok(()),
            }
        }
        work.step()?;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    struct Counter(u64);

    impl Work for Counter {
        fn step(&mut self) -> anyhow::Result<()> {
            self.0 += 1;
            anyhow::ensure!(self.0 < 1_000_000, "counted too far");
            std::thread::sleep(Duration::from_micros(50));
            Ok(())
        }
    }

    #[test]
    fn work_goes_on_between_questions_and_its_failure_is_told() {
        let mut desk = Desk::start(Counter(0));
        let first = desk.ask(|counter| counter.0).unwrap();
        while desk.ask(|counter| counter.0).unwrap() <= first {}
        desk.ask(|counter| counter.0 = 999_998).unwrap();
        let error = (0..1_000).find_map(|_| {
            std::thread::sleep(Duration::from_millis(5));
            desk.ask(|counter| counter.0).err()
        });
        assert_eq!(error.unwrap().to_string(), "counted too far");
    }
}
