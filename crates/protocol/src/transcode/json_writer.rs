//! Walks `MessagePack` that has been checked, and writes it as JSON. Deliberately gives up rather than explain what the
//! check would have refused.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::envelope::ENVELOPE_DEPTH_MAX;
use crate::json;
use crate::msgpack::{Reader, Token};

/// The extension type of a timestamp.
const TIMESTAMP: i8 = -1;
/// 0000-01-01T00:00:00Z and 9999-12-31T23:59:59Z in Unix seconds: what four digits of a year can tell.
const FOUR_DIGIT_YEARS_S: std::ops::RangeInclusive<i64> = -62_167_219_200..=253_402_300_799;

/// Appends the value to `out`; `None` for what can't be `MessagePack`.
pub(super) fn translate(msgpack: &[u8], out: &mut Vec<u8>) -> Option<()> {
    write_value(&mut Reader::new(msgpack), out, 1)
}

fn write_value(reader: &mut Reader<'_>, out: &mut Vec<u8>, level: usize) -> Option<()> {
    match reader.token().ok()? {
        Token::Nil => out.extend_from_slice(b"null"),
        Token::Bool(value) => json::push(out, &value),
        Token::Int(number) => json::push(out, &number),
        Token::Uint(number) => json::push(out, &number),
        Token::Float(number) => json::push(out, &number),
        Token::Str(text) => json::push(out, text),
        Token::Bin(bytes) => json::push(out, &STANDARD.encode(bytes)),
        Token::Ext(kind, data) => write_extension(out, kind, data),
        Token::Array(_) | Token::Map(_) if level > ENVELOPE_DEPTH_MAX => return None,
        Token::Array(items) => {
            out.push(b'[');
            for item in 0..items {
                separate(out, item);
                write_value(reader, out, level + 1)?;
            }
            out.push(b']');
        }
        Token::Map(pairs) => {
            out.push(b'{');
            for pair in 0..pairs {
                separate(out, pair);
                json::push(out, &*reader.token().ok()?.key_text()?);
                out.push(b':');
                write_value(reader, out, level + 1)?;
            }
            out.push(b'}');
        }
    }
    Some(())
}

fn separate(out: &mut Vec<u8>, index: u32) {
    if index > 0 {
        out.push(b',');
    }
}

fn write_extension(out: &mut Vec<u8>, kind: i8, data: &[u8]) {
    if let Some(text) = timestamp(kind, data) {
        json::push(out, &text);
    } else {
        out.extend_from_slice(br#"{"ext":"#);
        json::push(out, &kind);
        out.extend_from_slice(br#","data":"#);
        json::push(out, &STANDARD.encode(data));
        out.push(b'}');
    }
}

/// The time of a timestamp extension, as RFC 3339 writes it.
fn timestamp(kind: i8, data: &[u8]) -> Option<String> {
    let (seconds, nanoseconds) = match (kind, data.len()) {
        (TIMESTAMP, 4) => (u32::from_be_bytes(data.try_into().ok()?).into(), 0),
        (TIMESTAMP, 8) => {
            let packed = u64::from_be_bytes(data.try_into().ok()?);
            ((packed & 0x3_ffff_ffff).try_into().ok()?, u32::try_from(packed >> 34).ok()?)
        }
        (TIMESTAMP, 12) => {
            let (nanoseconds, seconds) = data.split_first_chunk()?;
            (i64::from_be_bytes(seconds.try_into().ok()?), u32::from_be_bytes(*nanoseconds))
        }
        _ => return None,
    };
    if !FOUR_DIGIT_YEARS_S.contains(&seconds) || nanoseconds > 999_999_999 {
        return None;
    }
    let (year, month, day) = civil_date(seconds.div_euclid(86_400));
    let of_day = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let fraction = match nanoseconds {
        0 => String::new(),
        _ if nanoseconds.is_multiple_of(1_000_000) => format!(".{:03}", nanoseconds / 1_000_000),
        _ if nanoseconds.is_multiple_of(1_000) => format!(".{:06}", nanoseconds / 1_000),
        _ => format!(".{nanoseconds:09}"),
    };
    Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z"))
}

/// Year, month and day of a count of days since 1970-01-01, in the Gregorian calendar. The method is `civil_from_days`
/// of <https://howardhinnant.github.io/date_algorithms.html>: years begin in March, so a leap day is a year's last.
fn civil_date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}
