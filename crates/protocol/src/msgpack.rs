//! Reads `MessagePack` one token at a time, from bytes that nobody has checked, and writes it. Deliberately without a
//! tree of values: a length on the wire is only ever compared with what is there, never allocated on trust.

use std::borrow::Cow;

use rmp::Marker;
use serde::Serialize;

/// One value, or the beginning of a map or an array whose content follows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Token<'a> {
    Nil,
    Bool(bool),
    /// Negative; those from 0 on are `Uint`, however they were written.
    Int(i64),
    Uint(u64),
    Float(f64),
    Str(&'a str),
    Bin(&'a [u8]),
    Ext(i8, &'a [u8]),
    Array(u32),
    /// The number of pairs.
    Map(u32),
}

/// Why bytes are no `MessagePack`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// They end too early, or have the one byte that means nothing.
    Structure,
    /// A string that is not UTF-8.
    Utf8,
}

/// A place within bytes.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

/// Appends a string, a number, a boolean or nil (`()`), in its shortest form.
pub(crate) fn push(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    let written = rmp_serde::encode::write(out, value);
    debug_assert!(written.is_ok(), "a Vec takes all that is written to it");
}

/// Appends the beginning of a map of so many pairs.
pub(crate) fn push_map(out: &mut Vec<u8>, pairs: u32) {
    let start = out.len();
    out.push(0);
    set_length(out, start, pairs, Marker::FixMap(0));
}

/// How many pairs the map has that bytes begin with, and what follows its beginning; none when they begin with no map.
pub(crate) fn split_map(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut reader = Reader::new(bytes);
    match reader.token() {
        Ok(Token::Map(pairs)) => Some((pairs, reader.rest)),
        _ => None,
    }
}

/// Puts the length of a map (`FixMap`) or an array (`FixArray`) where one byte was reserved for it at `start`. Its
/// content, that stands there already, moves on when one byte isn't enough.
pub(crate) fn set_length(out: &mut Vec<u8>, start: usize, length: u32, kind: Marker) {
    let (marker_16, marker_32) = if matches!(kind, Marker::FixMap(_)) {
        (Marker::Map16, Marker::Map32)
    } else {
        (Marker::Array16, Marker::Array32)
    };
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ 0..=15), _) => out[start] = kind.to_u8() | length,
        (_, Ok(length)) => {
            let [high, low] = length.to_be_bytes();
            out.splice(start..=start, [marker_16.to_u8(), high, low]);
        }
        _ => {
            let [a, b, c, d] = length.to_be_bytes();
            out.splice(start..=start, [marker_32.to_u8(), a, b, c, d]);
        }
    }
}

impl<'a> Token<'a> {
    /// The text that a key becomes in JSON; none for what can be no key there.
    pub(crate) fn key_text(self) -> Option<Cow<'a, str>> {
        match self {
            Token::Str(text) => Some(Cow::Borrowed(text)),
            Token::Nil => Some(Cow::Borrowed("null")),
            Token::Bool(true) => Some(Cow::Borrowed("true")),
            Token::Bool(false) => Some(Cow::Borrowed("false")),
            Token::Int(number) => Some(Cow::Owned(number.to_string())),
            Token::Uint(number) => Some(Cow::Owned(number.to_string())),
            Token::Float(_) | Token::Bin(_) | Token::Ext(..) | Token::Array(_) | Token::Map(_) => None,
        }
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Reads the next token.
    pub(crate) fn token(&mut self) -> Result<Token<'a>, Malformed> {
        Ok(match Marker::from_u8(self.byte()?) {
            Marker::Null => Token::Nil,
            Marker::True => Token::Bool(true),
            Marker::False => Token::Bool(false),
            Marker::FixPos(number) => Token::Uint(number.into()),
            Marker::FixNeg(number) => Token::Int(number.into()),
            Marker::U8 => Token::Uint(self.byte()?.into()),
            Marker::U16 => Token::Uint(self.u16()?.into()),
            Marker::U32 => Token::Uint(self.u32()?.into()),
            Marker::U64 => Token::Uint(u64::from_be_bytes(self.array()?)),
            Marker::I8 => signed(i8::from_be_bytes(self.array()?).into()),
            Marker::I16 => signed(i16::from_be_bytes(self.array()?).into()),
            Marker::I32 => signed(i32::from_be_bytes(self.array()?).into()),
            Marker::I64 => signed(i64::from_be_bytes(self.array()?)),
            Marker::F32 => Token::Float(f32::from_be_bytes(self.array()?).into()),
            Marker::F64 => Token::Float(f64::from_be_bytes(self.array()?)),
            Marker::FixStr(bytes) => self.text(bytes.into())?,
            Marker::Str8 => self.byte().and_then(|bytes| self.text(bytes.into()))?,
            Marker::Str16 => self.u16().and_then(|bytes| self.text(bytes.into()))?,
            Marker::Str32 => self.u32().and_then(|bytes| self.text(bytes))?,
            Marker::Bin8 => self.byte().and_then(|bytes| self.take(bytes.into())).map(Token::Bin)?,
            Marker::Bin16 => self.u16().and_then(|bytes| self.take(bytes.into())).map(Token::Bin)?,
            Marker::Bin32 => self.u32().and_then(|bytes| self.take(bytes)).map(Token::Bin)?,
            Marker::FixExt1 => self.extension(1)?,
            Marker::FixExt2 => self.extension(2)?,
            Marker::FixExt4 => self.extension(4)?,
            Marker::FixExt8 => self.extension(8)?,
            Marker::FixExt16 => self.extension(16)?,
            Marker::Ext8 => self.byte().and_then(|bytes| self.extension(bytes.into()))?,
            Marker::Ext16 => self.u16().and_then(|bytes| self.extension(bytes.into()))?,
            Marker::Ext32 => self.u32().and_then(|bytes| self.extension(bytes))?,
            Marker::FixArray(items) => Token::Array(items.into()),
            Marker::Array16 => Token::Array(self.u16()?.into()),
            Marker::Array32 => Token::Array(self.u32()?),
            Marker::FixMap(pairs) => Token::Map(pairs.into()),
            Marker::Map16 => Token::Map(self.u16()?.into()),
            Marker::Map32 => Token::Map(self.u32()?),
            Marker::Reserved => return Err(Malformed::Structure),
        })
    }

    /// Passes over one value with all that is in it, and gives its bytes. It needs no memory for the nesting, so none
    /// is too deep.
    pub(crate) fn value(&mut self) -> Result<&'a [u8], Malformed> {
        let start = self.rest;
        // Each token takes a byte at least, and adds less than 2^33, so this can't overflow.
        let mut values_due: u64 = 1;
        while values_due > 0 {
            values_due -= 1;
            match self.token()? {
                Token::Array(items) => values_due += u64::from(items),
                Token::Map(pairs) => values_due += 2 * u64::from(pairs),
                _ => {}
            }
        }
        Ok(&start[..start.len() - self.rest.len()])
    }

    fn text(&mut self, bytes: u32) -> Result<Token<'a>, Malformed> {
        str::from_utf8(self.take(bytes)?).map(Token::Str).map_err(|_| Malformed::Utf8)
    }

    fn extension(&mut self, bytes: u32) -> Result<Token<'a>, Malformed> {
        let kind = i8::from_be_bytes(self.array()?);
        Ok(Token::Ext(kind, self.take(bytes)?))
    }

    fn take(&mut self, bytes: u32) -> Result<&'a [u8], Malformed> {
        let bytes = usize::try_from(bytes).map_err(|_| Malformed::Structure)?;
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(Malformed::Structure)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Malformed::Structure)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.array().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }
}

fn signed<'a>(number: i64) -> Token<'a> {
    u64::try_from(number).map_or(Token::Int(number), Token::Uint)
}
