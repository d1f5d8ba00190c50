//! JSON to `MessagePack` and back: the rules of the module's table, one by one, and then against a model.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fanfare_protocol::{EnvelopeError, json_to_msgpack, msgpack_to_json};
use proptest::prelude::*;
use rmpv::Value;

fn to_msgpack(json: &str) -> Value {
    let bytes = json_to_msgpack(json.as_bytes()).unwrap();
    let mut rest = &bytes[..];
    let value = rmpv::decode::read_value(&mut rest).unwrap();
    assert!(rest.is_empty(), "{json} left {} bytes over", rest.len());
    value
}

fn encode(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, value).unwrap();
    bytes
}

fn to_json(value: &Value) -> String {
    String::from_utf8(msgpack_to_json(&encode(value)).unwrap()).unwrap()
}

fn there_and_back(json: &str) -> String {
    String::from_utf8(msgpack_to_json(&json_to_msgpack(json.as_bytes()).unwrap()).unwrap()).unwrap()
}

#[test]
fn integers_of_64_bits_stay_integers() {
    for json in ["0", "7", "-1", "127", "128", "-33", "65536", "4294967296", "9223372036854775807"] {
        assert_eq!(to_msgpack(json), Value::from(json.parse::<i64>().unwrap()), "{json}");
        assert_eq!(there_and_back(json), json);
    }
    assert_eq!(to_msgpack("-9223372036854775808"), Value::from(i64::MIN));
    assert_eq!(to_msgpack("9223372036854775808"), Value::from(1_u64 << 63));
    assert_eq!(to_msgpack("18446744073709551615"), Value::from(u64::MAX));
    assert_eq!(there_and_back("18446744073709551615"), "18446744073709551615");
    assert_eq!(json_to_msgpack(b"7").unwrap(), [7], "in its shortest form");
}

#[test]
fn other_numbers_are_the_nearest_double() {
    assert_eq!(to_msgpack("1.10"), Value::F64(1.1));
    assert_eq!(to_msgpack("1.0"), Value::F64(1.0));
    assert_eq!(to_msgpack("1E2"), Value::F64(100.0));
    assert_eq!(to_msgpack("18446744073709551616"), Value::F64(18_446_744_073_709_551_616.0));
    assert_eq!(to_msgpack("-9223372036854775809"), Value::F64(-9_223_372_036_854_775_808.0));
    assert_eq!(to_msgpack("1e-999"), Value::F64(0.0));
    // Correct to the last bit, also where a quick method is one off.
    assert_eq!(to_msgpack("2.2250738585072011e-308"), Value::F64(2.225_073_858_507_201e-308));
    assert_eq!(to_msgpack("9007199254740993.0"), Value::F64(9_007_199_254_740_992.0));
    let Value::F64(zero) = to_msgpack("-0") else { panic!("minus zero is no integer") };
    assert!(zero == 0.0 && zero.is_sign_negative());
    assert_eq!(there_and_back("[1.10,1e2,-0]"), "[1.1,100.0,-0.0]");
}

#[test]
fn a_number_beyond_all_doubles_is_nil() {
    assert_eq!(to_msgpack("[1e999,-1e999]"), Value::Array(vec![Value::Nil, Value::Nil]));
    assert_eq!(to_msgpack(&"9".repeat(400)), Value::Nil);
}

#[test]
fn strings_mean_the_same() {
    assert_eq!(to_msgpack(r#""""#), Value::from(""));
    assert_eq!(to_msgpack(r#""a\"\\\/\b\f\n\r\t\u00e9\u65e5""#), Value::from("a\"\\/\u{8}\u{c}\n\r\té日"));
    assert_eq!(to_msgpack(r#""\ud83c\udfba🎺""#), Value::from("🎺🎺"));
    assert_eq!(to_msgpack(r#""\\ud800""#), Value::from("\\ud800"));
    assert_eq!(there_and_back("\"\\u0000\\u001f\\u007f\""), "\"\\u0000\\u001f\u{7f}\"");
    let long = "x".repeat(70_000);
    assert_eq!(to_msgpack(&format!("\"{long}\"")), Value::from(long));
}

#[test]
fn half_a_surrogate_pair_is_replaced() {
    assert_eq!(to_msgpack(r#""\ud800""#), Value::from("\u{fffd}"));
    assert_eq!(to_msgpack(r#""\udfba""#), Value::from("\u{fffd}"));
    assert_eq!(to_msgpack(r#""a\ud83cb""#), Value::from("a\u{fffd}b"));
    assert_eq!(to_msgpack(r#""\udfba\ud83c""#), Value::from("\u{fffd}\u{fffd}"));
    assert_eq!(to_msgpack(r#""\ud83c\n""#), Value::from("\u{fffd}\n"));
    assert_eq!(to_msgpack(r#""\ud83c\ud83c\udfba""#), Value::from("\u{fffd}🎺"));
    assert_eq!(to_msgpack(r#"{"\ud800":1}"#), Value::Map(vec![("\u{fffd}".into(), 1.into())]));
}

#[test]
fn order_and_duplicates_survive_both_ways() {
    let json = r#"{"z":1,"a":{"k":null,"k":true,"k":false},"":[],"z":{}}"#;
    assert_eq!(there_and_back(json), json);
    assert_eq!(there_and_back(" { \"b\" : [ 1 , 2 ] , \"a\" : { } }\r\n"), r#"{"b":[1,2],"a":{}}"#);
}

#[test]
fn containers_of_every_size_have_the_right_head() {
    for length in [0, 1, 15, 16, 17, 255, 256, 65_535, 65_536, 70_000] {
        let array = format!("[{}]", vec!["0"; length].join(","));
        assert_eq!(to_msgpack(&array).as_array().map(Vec::len), Some(length));
        assert_eq!(there_and_back(&array), array);
        let head_bytes = [1, 3, 5][usize::from(length > 15) + usize::from(length > 65_535)];
        assert_eq!(json_to_msgpack(array.as_bytes()).unwrap().len(), head_bytes + length, "in its shortest form");
        let object = format!("{{{}}}", vec![r#""k":[1]"#; length].join(","));
        assert_eq!(to_msgpack(&object).as_map().map(Vec::len), Some(length));
        assert_eq!(there_and_back(&object), object);
    }
}

#[test]
fn binary_becomes_base64() {
    assert_eq!(to_json(&Value::Binary(vec![])), r#""""#);
    assert_eq!(to_json(&Value::Binary(vec![0xfb, 0xff, 0xfe, 0])), r#""+//+AA==""#);
}

#[test]
fn an_extension_becomes_an_object() {
    assert_eq!(to_json(&Value::Ext(5, vec![1, 2])), r#"{"ext":5,"data":"AQI="}"#);
    assert_eq!(to_json(&Value::Ext(-128, vec![0; 16])), r#"{"ext":-128,"data":"AAAAAAAAAAAAAAAAAAAAAA=="}"#);
}

#[test]
fn a_timestamp_becomes_a_date() {
    let time_32 = |seconds: u32| to_json(&Value::Ext(-1, seconds.to_be_bytes().to_vec()));
    let time_64 =
        |nanoseconds: u64, seconds: u64| to_json(&Value::Ext(-1, (nanoseconds << 34 | seconds).to_be_bytes().to_vec()));
    let time_96 = |nanoseconds: u32, seconds: i64| {
        to_json(&Value::Ext(-1, [&nanoseconds.to_be_bytes()[..], &seconds.to_be_bytes()[..]].concat()))
    };
    assert_eq!(time_32(0), r#""1970-01-01T00:00:00Z""#);
    assert_eq!(time_32(951_782_400), r#""2000-02-29T00:00:00Z""#);
    assert_eq!(time_32(u32::MAX), r#""2106-02-07T06:28:15Z""#);
    assert_eq!(time_64(123_000_000, 1_752_000_000), r#""2025-07-08T18:40:00.123Z""#);
    assert_eq!(time_64(123_456_000, 1_752_000_000), r#""2025-07-08T18:40:00.123456Z""#);
    assert_eq!(time_64(1, 1 << 33), r#""2242-03-16T12:56:32.000000001Z""#);
    assert_eq!(time_96(0, -1), r#""1969-12-31T23:59:59Z""#);
    assert_eq!(time_96(0, -2_203_891_200), r#""1900-03-01T00:00:00Z""#);
    assert_eq!(time_96(0, -62_167_219_200), r#""0000-01-01T00:00:00Z""#);
    assert_eq!(time_96(0, 253_402_300_799), r#""9999-12-31T23:59:59Z""#);
}

#[test]
fn what_is_no_date_of_four_digits_stays_an_extension() {
    let is_extension = |data: Vec<u8>| to_json(&Value::Ext(-1, data)).starts_with(r#"{"ext":-1,"data":""#);
    let time_96 = |nanoseconds: u32, seconds: i64| [&nanoseconds.to_be_bytes()[..], &seconds.to_be_bytes()].concat();
    assert!(is_extension(time_96(0, 253_402_300_800)));
    assert!(is_extension(time_96(0, -62_167_219_201)));
    assert!(is_extension(time_96(0, i64::MIN)) && is_extension(time_96(0, i64::MAX)));
    assert!(is_extension(time_96(1_000_000_000, 0)));
    assert!(is_extension((1_000_000_000_u64 << 34).to_be_bytes().to_vec()));
    assert!(is_extension(vec![]) && is_extension(vec![1]) && is_extension(vec![0; 16]));
}

#[test]
fn floats_keep_their_value() {
    assert_eq!(to_json(&Value::F64(1.1)), "1.1");
    assert_eq!(to_json(&Value::F64(1e300)).parse(), Ok(1e300));
    assert_eq!(to_json(&Value::F32(0.5)), "0.5");
    assert_eq!(to_json(&Value::F32(1.1)), "1.100000023841858", "the value it has, not the one it was meant to have");
    for not_finite in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(to_json(&Value::F64(not_finite)), "null");
    }
    assert_eq!(to_json(&Value::F32(f32::NAN)), "null");
}

#[test]
fn keys_become_their_text() {
    let keys =
        [Value::from(1), Value::from(-1), Value::from(u64::MAX), Value::Nil, true.into(), false.into(), "s".into()];
    let map = Value::Map(keys.map(|key| (key, Value::Nil)).into());
    let expected = r#"{"1":null,"-1":null,"18446744073709551615":null,"null":null,"true":null,"false":null,"s":null}"#;
    assert_eq!(to_json(&map), expected);
    let refused = |key: Value| msgpack_to_json(&encode(&Value::Map(vec![(key, Value::Nil)])));
    for key in
        [Value::F64(1.0), Value::Binary(vec![]), Value::Array(vec![]), Value::Map(vec![]), Value::Ext(-1, vec![0; 4])]
    {
        assert_eq!(refused(key), Err(EnvelopeError::InvalidMsgpack));
    }
}

#[test]
fn what_is_neither_is_refused() {
    assert!(matches!(json_to_msgpack(b""), Err(EnvelopeError::InvalidJson { .. })));
    assert!(matches!(json_to_msgpack(b"[1,]"), Err(EnvelopeError::InvalidJson { .. })));
    assert!(matches!(json_to_msgpack(b"1 2"), Err(EnvelopeError::InvalidJson { .. })));
    assert_eq!(json_to_msgpack(b"\"\xff\""), Err(EnvelopeError::InvalidUtf8));
    assert_eq!(json_to_msgpack(("[".repeat(65) + &"]".repeat(65)).as_bytes()), Err(EnvelopeError::TooDeep));
    assert!(json_to_msgpack(("[".repeat(64) + &"]".repeat(64)).as_bytes()).is_ok());
    assert_eq!(msgpack_to_json(b""), Err(EnvelopeError::InvalidMsgpack));
    assert_eq!(msgpack_to_json(b"\x01\x01"), Err(EnvelopeError::InvalidMsgpack));
    assert_eq!(msgpack_to_json(b"\xa1\xff"), Err(EnvelopeError::InvalidUtf8));
    assert_eq!(msgpack_to_json(&[0x91; 65]), Err(EnvelopeError::TooDeep));
}

/// A JSON value as it is written, beside what it must become.
#[derive(Debug, Clone)]
struct Written {
    json: String,
    expected: Value,
}

fn written_string() -> impl Strategy<Value = (String, String)> {
    let piece = prop_oneof![
        "[a-z0-9 {}\\[\\],:é日🎺\u{7f}\u{2028}]{1,8}".prop_map(|plain| (plain.clone(), plain)),
        any::<char>().prop_map(|character| {
            let mut units = [0; 2];
            let escapes = character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04X}"));
            (escapes.collect(), character.to_string())
        }),
        prop::sample::select(vec![
            ("\\n", "\n"),
            ("\\\"", "\""),
            ("\\\\", "\\"),
            ("\\/", "/"),
            ("\\ud801 ", "\u{fffd} ")
        ])
        .prop_map(|(written, meant)| (written.to_owned(), meant.to_owned())),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| {
        let (written, meant): (Vec<_>, Vec<_>) = pieces.into_iter().unzip();
        (format!("\"{}\"", written.concat()), meant.concat())
    })
}

fn written_value() -> impl Strategy<Value = Written> {
    let written = |json: String, expected: Value| Written { json, expected };
    let leaf = prop_oneof![
        prop::sample::select(vec![("null", Value::Nil), ("true", true.into()), ("false", false.into())])
            .prop_map(move |(json, expected)| written(json.to_owned(), expected)),
        any::<i64>().prop_map(move |number| written(number.to_string(), number.into())),
        any::<u64>().prop_map(move |number| written(number.to_string(), number.into())),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,30})([eE][+-]?[0-9]{1,2})?".prop_map(move |text| {
            let expected = Value::F64(text.parse().unwrap());
            written(text, expected)
        }),
        written_string().prop_map(move |(json, meant)| written(json, meant.into())),
    ];
    leaf.prop_recursive(5, 80, 20, move |inner| {
        let array = prop::collection::vec(inner.clone(), 0..20).prop_map(move |items| {
            let texts: Vec<_> = items.iter().map(|item| item.json.clone()).collect();
            written(
                format!("[ {}]", texts.join(" ,")),
                Value::Array(items.into_iter().map(|item| item.expected).collect()),
            )
        });
        let object = prop::collection::vec((written_string(), inner), 0..20).prop_map(move |pairs| {
            let texts: Vec<_> = pairs.iter().map(|((key, _), value)| format!("{key}\t:\n{}", value.json)).collect();
            let expected = pairs.into_iter().map(|((_, key), value)| (key.into(), value.expected)).collect();
            written(format!("{{{} }}", texts.join(",\r")), Value::Map(expected))
        });
        prop_oneof![array, object]
    })
}

fn packed_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<f32>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Value::Binary),
        (0_i8..=127, prop::collection::vec(any::<u8>(), 0..20)).prop_map(|(kind, data)| Value::Ext(kind, data)),
    ];
    let key = prop_oneof![
        ".{0,8}".prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Nil)
    ];
    leaf.prop_recursive(5, 80, 20, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::Array),
            prop::collection::vec((key.clone(), inner), 0..20).prop_map(Value::Map),
        ]
    })
}

/// The rules of the table, over a tree.
fn model_json(value: &Value) -> String {
    let text = |text: &str| serde_json::to_string(text).unwrap();
    let list = |items: Vec<String>| items.join(",");
    match value {
        Value::Nil => "null".to_owned(),
        Value::Boolean(value) => value.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::F32(number) => serde_json::to_string(&f64::from(*number)).unwrap(),
        Value::F64(number) => serde_json::to_string(number).unwrap(),
        Value::String(string) => text(string.as_str().unwrap()),
        Value::Binary(bytes) => text(&STANDARD.encode(bytes)),
        Value::Ext(kind, data) => format!(r#"{{"ext":{kind},"data":{}}}"#, text(&STANDARD.encode(data))),
        Value::Array(items) => format!("[{}]", list(items.iter().map(model_json).collect())),
        Value::Map(pairs) => {
            let key = |key: &Value| key.as_str().map_or_else(|| text(&model_json(key)), text);
            let pairs = pairs.iter().map(|(name, value)| format!("{}:{}", key(name), model_json(value)));
            format!("{{{}}}", list(pairs.collect()))
        }
    }
}

proptest! {
    #[test]
    fn json_becomes_what_it_means(value in written_value()) {
        let translated = to_msgpack(&value.json);
        prop_assert_eq!(translated, value.expected);
    }

    #[test]
    fn json_that_came_back_stays_as_it_is(value in written_value()) {
        let first = there_and_back(&value.json);
        prop_assert_eq!(there_and_back(&first), first.clone());
        prop_assert_eq!(to_msgpack(&first), to_msgpack(&value.json));
    }

    #[test]
    fn messagepack_becomes_what_the_table_says(value in packed_value()) {
        prop_assert_eq!(to_json(&value), model_json(&value));
    }

    #[test]
    fn any_bytes_are_judged_without_a_panic(bytes: Vec<u8>) {
        let _ = json_to_msgpack(&bytes);
        if let Ok(json) = msgpack_to_json(&bytes) {
            prop_assert!(json_to_msgpack(&json).is_ok());
        }
    }
}
