//! How the kernel notices a client that is gone without a word: somebody pulled the plug, a phone left the network. Needed
//! where the client says nothing by itself, so no heartbeat of ours can be missed. Deliberately not where a client answers
//! pings, over a WebSocket.

use std::time::Duration;

use tokio::net::TcpStream;

/// Shorter than that, a network with a hiccup would count as a dead peer.
const UNACKNOWLEDGED_MIN: Duration = Duration::from_secs(10);

/// How long bytes may stay unacknowledged: as long as two pings may stay unanswered.
pub fn unacknowledged_max(ping_interval: Duration) -> Duration {
    (2 * ping_interval).max(UNACKNOWLEDGED_MIN)
}

/// From now on a connection whose peer acknowledges nothing for `unacknowledged` breaks (`TCP_USER_TIMEOUT`, tcp(7)),
/// and one whose peer takes nothing for so long.
pub fn watch(stream: &TcpStream, unacknowledged: Duration) {
    set(stream, Some(unacknowledged));
}

/// The kernel's own patience again, a quarter of an hour or so.
pub fn unwatch(stream: &TcpStream) {
    set(stream, None);
}

fn set(stream: &TcpStream, limit: Option<Duration>) {
    // Only a socket that has gone already can't be set.
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(stream).set_tcp_user_timeout(limit);
    #[cfg(not(target_os = "linux"))]
    let _ = (stream, limit);
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use socket2::SockRef;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_connection_is_watched_as_long_as_it_is_asked_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let limit = || SockRef::from(&stream).tcp_user_timeout().unwrap().filter(|limit| !limit.is_zero());
        assert_eq!(limit(), None);
        watch(&stream, unacknowledged_max(Duration::from_secs(25)));
        assert_eq!(limit(), Some(Duration::from_secs(50)));
        watch(&stream, unacknowledged_max(Duration::from_millis(10)));
        assert_eq!(limit(), Some(Duration::from_secs(10)));
        unwatch(&stream);
        assert_eq!(limit(), None);
    }
}
