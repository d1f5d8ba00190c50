//! Fences over all pub/sub connections of a cluster: one is passed when every connection that stood when it was asked for
//! has answered, or is lost. Bounded by the fences that are asked for. Deliberately no sending.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::inbox::InboxSender;
use crate::notice::Notice;

/// How many connections each fence still waits for.
#[derive(Debug, Default)]
pub(super) struct Fences {
    awaited: Mutex<HashMap<u64, usize>>,
}

/// The fences of one connection.
#[derive(Debug, Default)]
pub(super) struct Posts(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// There is a connection.
    stands: bool,
    /// Not sent yet.
    unsent: Vec<u64>,
    /// Sent, and not answered.
    sent: Vec<u64>,
}

impl Fences {
    /// Asks for one, over all of these connections. Those that have to send something are told.
    pub(super) fn ask<'a>(&self, number: u64, posts: impl Iterator<Item = &'a Posts>, inbox: &InboxSender) {
        // Held all the while, or the first could answer before the second is counted.
        let mut awaited = self.awaited.lock();
        let count = posts.filter(|post| post.ask(number)).count();
        if count > 0 {
            awaited.insert(number, count);
        } else {
            inbox.push(Notice::Fence(number));
            inbox.announce();
        }
    }

    /// One connection is past these, or lost.
    pub(super) fn pass(&self, numbers: &[u64], inbox: &InboxSender) {
        let mut awaited = self.awaited.lock();
        for number in numbers {
            let Some(count) = awaited.get_mut(number) else { continue };
            *count -= 1;
            if *count == 0 {
                awaited.remove(number);
                inbox.push(Notice::Fence(*number));
            }
        }
        drop(awaited);
        inbox.announce();
    }
}

impl Posts {
    fn ask(&self, number: u64) -> bool {
        let mut state = self.0.lock();
        if state.stands {
            state.unsent.push(number);
        }
        state.stands
    }

    /// A connection stands.
    pub(super) fn up(&self) {
        *self.0.lock() = State { stands: true, ..State::default() };
    }

    /// It is lost. Returns the fences that it was asked for.
    pub(super) fn down(&self) -> Vec<u64> {
        let State { unsent, mut sent, .. } = std::mem::take(&mut *self.0.lock());
        sent.extend(unsent);
        sent
    }

    /// Those that are to be sent.
    pub(super) fn take(&self) -> Vec<u64> {
        let mut state = self.0.lock();
        let unsent = std::mem::take(&mut state.unsent);
        state.sent.extend(&unsent);
        unsent
    }

    /// These are answered.
    pub(super) fn answered(&self, numbers: &[u64]) {
        self.0.lock().sent.retain(|number| !numbers.contains(number));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use futures_util::FutureExt;

    use super::*;
    use crate::inbox::{Inbox, InboxLimits};

    #[test]
    fn comes_when_every_connection_that_stood_has_answered_or_is_lost() {
        let (sender, mut inbox) = Inbox::new(InboxLimits::default());
        let mut told = move || {
            let mut notices = Vec::new();
            let _ = inbox.recv_many(&mut notices, 9).now_or_never();
            let number = |notice| if let Notice::Fence(number) = notice { number } else { 0 };
            notices.into_iter().map(number).collect::<Vec<_>>()
        };
        let (fences, posts) = (Fences::default(), [Posts::default(), Posts::default(), Posts::default()]);
        fences.ask(1, posts.iter(), &sender);
        assert_eq!(told(), [1], "there is no connection");
        posts[0].up();
        posts[1].up();
        fences.ask(2, posts.iter(), &sender);
        fences.ask(3, posts.iter(), &sender);
        posts[2].up();
        assert_eq!((posts[0].take(), posts[2].take()), (vec![2, 3], vec![]));
        posts[0].answered(&[2]);
        fences.pass(&[2], &sender);
        assert!(told().is_empty());
        fences.pass(&posts[1].down(), &sender);
        assert_eq!(told(), [2]);
        fences.pass(&posts[0].down(), &sender);
        assert_eq!(told(), [3]);
        assert!(posts[0].down().is_empty());
    }
}
