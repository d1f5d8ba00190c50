//! The body of an answer on the clients' port: whole, or an event stream that goes on for as long as its client stays.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Frame;
use tokio::sync::mpsc;

/// Either of them.
pub type Body = Either<Full<Bytes>, EventBody>;

/// What the task of a stream hands over, one chunk at a time. Dropped, it tells that task that the client has gone.
#[derive(Debug)]
pub struct EventBody(mpsc::Receiver<Bytes>);

impl EventBody {
    /// A body, and where its chunks go: the second one waits until the first was taken.
    pub(super) fn new() -> (mpsc::Sender<Bytes>, Self) {
        let (sender, receiver) = mpsc::channel(1);
        (sender, Self(receiver))
    }
}

impl hyper::body::Body for EventBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}
