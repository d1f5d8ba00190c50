//! The claim with what others see of a user, byte for byte as the issuer wrote it: read from the token itself, since the
//! claims have been parsed and would come out re-ordered and re-rounded. The token's signature is checked before.

use std::borrow::Cow;
use std::collections::HashMap;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use fanfare_protocol::Info;
use serde_json::value::RawValue;

use super::AuthError;

/// The info of a good token; `name` is the claim's, or a JSON pointer (RFC 6901) to it. `null` counts as missing.
pub(super) fn info(token: &str, name: &str) -> Result<Option<Info>, AuthError> {
    let payload = token.split('.').nth(1).and_then(|payload| BASE64_URL_SAFE_NO_PAD.decode(payload).ok());
    let payload = payload.ok_or(AuthError::Malformed)?;
    let Some(found) = find(&payload, name).filter(|found| *found != "null") else { return Ok(None) };
    Info::parse(found).map(Some).map_err(|error| AuthError::invalid(name, error.to_string()))
}

fn find<'a>(payload: &'a [u8], name: &str) -> Option<&'a str> {
    let mut found = str::from_utf8(payload).ok()?;
    match name.strip_prefix('/') {
        None => found = member(found, name)?,
        Some(path) => {
            for segment in path.split('/') {
                found = member(found, &segment.replace("~1", "/").replace("~0", "~"))?;
            }
        }
    }
    Some(found)
}

/// A member of an object, or an element of an array. Of several the last one counts, as for all other claims.
fn member<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    if let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(json) {
        return name.parse::<usize>().ok().and_then(|at| items.get(at).map(|item| item.get()));
    }
    let members: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_str(json).ok()?;
    members.get(name).map(|member| member.get())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn of(payload: &str, name: &str) -> Result<Option<String>, AuthError> {
        let token = format!("e30.{}.sig", BASE64_URL_SAFE_NO_PAD.encode(payload));
        info(&token, name).map(|info| info.map(|info| info.as_str().to_owned()))
    }

    #[test]
    fn it_is_what_the_issuer_wrote() {
        for written in [r#"{"z":1.10, "a":[1e400,12345678901234567890123]}"#, "\"x\\u0041\"", "7", "false"] {
            let payload = format!(r#"{{"sub":"1","info": {written} ,"\u0069nf":0}}"#);
            assert_eq!(of(&payload, "info").unwrap().as_deref(), Some(written));
            let nested = format!(r#"{{"a/b":[0,{{"info":{written}}}]}}"#);
            assert_eq!(of(&nested, "/a~1b/1/info").unwrap().as_deref(), Some(written));
        }
        assert_eq!(of(r#"{"\u0069nfo":1}"#, "info").unwrap().as_deref(), Some("1"));
        for without in ["{}", r#"{"info":null}"#, r#"{"other":1}"#] {
            assert_eq!(of(without, "info").unwrap(), None);
        }
        assert_eq!(of(r#"{"info":1}"#, "/info/deeper").unwrap(), None);
    }

    #[test]
    fn what_is_too_much_is_refused_by_name() {
        let payload = format!(r#"{{"info":"{}"}}"#, "x".repeat(1_023));
        let error = of(&payload, "info").unwrap_err().message().into_owned();
        assert_eq!(error, "invalid claim \"info\": has 1025 bytes of JSON; at most 1024 are allowed");
    }
}
