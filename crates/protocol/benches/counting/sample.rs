//! Envelopes of a given size, as an application might send them: short texts, numbers and nested maps, some text beyond ASCII.

use bytes::Bytes;

/// An envelope in JSON of exactly `bytes` bytes, at least 128.
pub(crate) fn envelope(bytes: usize) -> Bytes {
    let mut json = String::from(r#"{"type":"order.updated","at":1760000000000,"key":"order-4711","data":{"items":["#);
    let end = |pad: usize| format!(r#"],"note":"{}"}}}}"#, "x".repeat(pad));
    let mut line = 0;
    loop {
        let comma = if line == 0 { "" } else { "," };
        let item = format!(
            r#"{comma}{{"sku":"A-{line:04}","name":"Käse \"jung\"","count":{line},"price":12.50,"gift":null}}"#
        );
        if json.len() + item.len() + end(0).len() > bytes {
            break;
        }
        json.push_str(&item);
        line += 1;
    }
    let pad = bytes - json.len() - end(0).len();
    json.push_str(&end(pad));
    json.into()
}
