//! Does the server throw keys away when its memory is full? Then histories may vanish, which an operator should know.
//! Deliberately only a warning: whether that is borne is the operator's to say.

use redis::aio::MultiplexedConnection;

/// Looks, and says so in the log when it is. A user without the right to ask learns nothing.
pub(super) async fn warn(connection: &mut MultiplexedConnection) {
    let mut info = redis::cmd("INFO");
    info.arg("memory");
    let answer: redis::RedisResult<String> = info.query_async(connection).await;
    if let Some(policy) = answer.ok().as_deref().and_then(evicts) {
        tracing::warn!(
            policy,
            "Redis evicts keys when it is full, histories of durable events among them: set maxmemory-policy noeviction"
        );
    }
}

/// The policy, when it throws anything away (<https://redis.io/docs/latest/develop/reference/eviction/>).
fn evicts(info: &str) -> Option<&str> {
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let is_limited = field("maxmemory").is_some_and(|limit| limit != "0");
    field("maxmemory_policy").filter(|policy| is_limited && *policy != "noeviction")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_limit_with_another_policy_evicts() {
        let info =
            |limit: &str, policy: &str| format!("# Memory\r\nmaxmemory:{limit}\r\nmaxmemory_policy:{policy}\r\n");
        assert_eq!(evicts(&info("100", "allkeys-lru")), Some("allkeys-lru"));
        assert_eq!(evicts(&info("100", "volatile-ttl")), Some("volatile-ttl"));
        assert_eq!(evicts(&info("100", "noeviction")), None);
        assert_eq!(evicts(&info("0", "allkeys-lru")), None);
        assert_eq!(evicts(""), None);
    }
}
