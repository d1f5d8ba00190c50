//! The body of a request, read whole and within bounds. Deliberately without what it says.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};

/// Why a body can't be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// It is longer than it may be, or says so; no more of it is read.
    TooLong,
    /// It did not arrive in time.
    Late,
    /// The connection broke, or the body is none by HTTP's rules.
    Broken,
}

/// Reads the whole body, of which never more than `bytes_max` is kept.
pub(crate) async fn read(body: Incoming, bytes_max: usize, within: Duration) -> Result<Bytes, BodyError> {
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(BodyError::TooLong);
    }
    let collected = tokio::time::timeout(within, Limited::new(body, bytes_max).collect()).await;
    match collected.map_err(|_| BodyError::Late)? {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(BodyError::TooLong),
        Err(_) => Err(BodyError::Broken),
    }
}
