//! A client's request as a handler gets it, and as it stands in the stream. Deliberately checked once, here: whoever may
//! write to the stream is believed no further than its fields go.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fanfare_protocol::{Tenant, Topic, TopicError};
use redis::{FromRedisValue, Value};
use serde::de::DeserializeOwned;

use super::RequestError;

/// What a client asks. A clone shares it.
#[derive(Debug, Clone)]
pub struct Request(Arc<Fields>);

#[derive(Debug)]
struct Fields {
    id: String,
    method: String,
    data: String,
    tenant: Tenant,
    user: String,
    connection: String,
    reply_to: String,
    deadline: SystemTime,
    traceparent: Option<String>,
}

impl Request {
    /// Takes the fields of an entry; the error says what is wrong with them.
    pub(crate) fn parse(
        fields: HashMap<String, Value>,
        tenant: &Tenant,
        replies_prefix: &str,
    ) -> Result<Request, String> {
        let mut fields = fields;
        let mut take = |name: &str| match fields.remove(name).map(String::from_redis_value) {
            Some(Ok(text)) => Ok(text),
            Some(Err(_)) => Err(format!("its field `{name}` is no text")),
            None => Err(format!("it has no field `{name}`")),
        };
        let traceparent = take("traceparent").ok().filter(|text| !text.is_empty());
        // A client that sends no data asks with null.
        let data = take("data").ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "null".to_owned());
        let reply_to = take("reply_to")?;
        // What answers may be published on: else an entry could direct an answer at another tenant.
        if !reply_to.starts_with(replies_prefix) {
            return Err(format!("its field `reply_to` does not begin with {replies_prefix}"));
        }
        let deadline_ms = take("deadline_ms")?;
        let deadline_ms = deadline_ms.parse().map_err(|_| "its field `deadline_ms` is no Unix time in ms")?;
        let deadline = UNIX_EPOCH.checked_add(Duration::from_millis(deadline_ms));
        Ok(Request(Arc::new(Fields {
            id: take("request")?,
            method: take("method")?,
            data,
            tenant: tenant.clone(),
            user: take("user")?,
            connection: take("connection")?,
            reply_to,
            deadline: deadline.ok_or("its field `deadline_ms` is beyond all time")?,
            traceparent,
        })))
    }

    /// 128 random bits in text. A request that is answered a second time, since its first worker was lost, has the same: a
    /// handler whose work must not happen twice remembers it.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// What is asked: `dashboard.refresh`.
    pub fn method(&self) -> &str {
        &self.0.method
    }

    /// The data as the client sent it, in JSON.
    pub fn data(&self) -> &str {
        &self.0.data
    }

    /// The data as a type of the backend's. Data of another shape is the client's mistake: with `?` in the handler, it is
    /// told so (`bad_frame`).
    pub fn input<T: DeserializeOwned>(&self) -> Result<T, RequestError> {
        serde_json::from_str(&self.0.data).map_err(|error| {
            RequestError::new("bad_frame", format!("the request's data is not as it should be: {error}"))
        })
    }

    /// The tenant of the user who asks.
    pub fn tenant(&self) -> &Tenant {
        &self.0.tenant
    }

    /// Who asks: the `sub` of the token that the node has checked.
    pub fn user(&self) -> &str {
        &self.0.user
    }

    /// The topic of all connections of who asks.
    pub fn user_topic(&self) -> Result<Topic, TopicError> {
        Topic::user(&self.0.user)
    }

    /// The connection that asks, and that alone gets the answer: for [`Event::except`](crate::Event::except).
    pub fn connection(&self) -> &str {
        &self.0.connection
    }

    /// After this nobody waits for the answer any more, by the clock of the node.
    pub fn deadline(&self) -> SystemTime {
        self.0.deadline
    }

    /// How long somebody still waits, by the clock of this machine; zero when nobody does.
    pub fn time_left(&self) -> Duration {
        self.0.deadline.duration_since(SystemTime::now()).unwrap_or_default()
    }

    /// The client's trace, as W3C Trace Context has it.
    pub fn traceparent(&self) -> Option<&str> {
        self.0.traceparent.as_deref()
    }

    pub(crate) fn reply_to(&self) -> &str {
        &self.0.reply_to
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use serde::Deserialize;

    use super::*;

    const FIELDS: [(&str, &str); 8] = [
        ("request", "r1"),
        ("method", "dashboard.refresh"),
        ("data", r#"{"days":7}"#),
        ("user", "42"),
        ("connection", "c1"),
        ("reply_to", "fanfare:acme:replies:n1"),
        ("deadline_ms", "1767225600123"),
        ("traceparent", "00-a"),
    ];

    fn parse(without: &str, with: Option<(&str, &str)>) -> Result<Request, String> {
        let fields = FIELDS.into_iter().filter(|(name, _)| *name != without).chain(with);
        let fields = fields.map(|(name, text)| (name.to_owned(), Value::BulkString(text.into()))).collect();
        Request::parse(fields, &Tenant::parse("acme").unwrap(), "fanfare:acme:replies:")
    }

    #[test]
    fn a_request_has_what_the_node_wrote() {
        let request = parse("", None).unwrap();
        assert_eq!((request.id(), request.method(), request.user()), ("r1", "dashboard.refresh", "42"));
        assert_eq!((request.tenant().as_str(), request.connection()), ("acme", "c1"));
        assert_eq!(request.deadline(), UNIX_EPOCH + Duration::from_millis(1_767_225_600_123));
        assert_eq!(request.time_left(), Duration::ZERO);
        assert_eq!(request.traceparent(), Some("00-a"));
        assert_eq!(request.user_topic().unwrap().as_str(), "user:42");
    }

    #[test]
    fn its_data_is_read_as_a_type_or_refused_as_the_clients_mistake() {
        #[derive(Deserialize, Debug, PartialEq)]
        struct Refresh {
            days: u32,
        }
        assert_eq!(parse("", None).unwrap().input::<Refresh>().unwrap(), Refresh { days: 7 });
        let error = parse("data", None).unwrap().input::<Refresh>().unwrap_err();
        assert_eq!(error.code(), "bad_frame");
        assert_eq!(parse("data", None).unwrap().input::<Option<Refresh>>().unwrap(), None);
    }

    #[test]
    fn an_entry_that_could_not_be_answered_rightly_is_none() {
        for name in ["request", "method", "user", "connection", "reply_to", "deadline_ms"] {
            assert!(parse(name, None).unwrap_err().contains(name));
        }
        for reply_to in ["fanfare:other:replies:n1", "fanfare:acme:channel:orders", "x"] {
            assert!(parse("reply_to", Some(("reply_to", reply_to))).unwrap_err().contains("reply_to"));
        }
        assert!(parse("deadline_ms", Some(("deadline_ms", "soon"))).is_err());
    }
}
