//! Annotations `org.systemd.property.NAME`: properties of the scope that the config asks for, as runc has them. The value
//! is GVariant text (GLib, "GVariant Text Format"), as far as systemd's properties need it.

use std::collections::HashMap;

use super::{Property, Value};
use crate::error::{Context, Error, Result};

const PREFIX: &str = "org.systemd.property.";
/// What vzrun says itself: another process in the scope, another place for it, or another owner would be none of the
/// container's business.
const OWN: [&str; 5] = ["PIDs", "PIDFDs", "Slice", "Controller", "Delegate"];
/// No property of a unit is nested deeper, or longer.
const DEEPEST: u32 = 4;
const MICROSECONDS: u64 = 1_000_000;

/// The properties that the annotations of a config name, in the order of the names.
pub(crate) fn plan(annotations: Option<&HashMap<String, String>>) -> Result<Vec<Property>> {
    let mut found: Vec<(&str, &str, &str)> = annotations
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?, key.as_str(), value.as_str())))
        .collect();
    found.sort_unstable();
    found
        .into_iter()
        .map(|(name, key, text)| {
            property(name, text).context(|| format!("annotation {key}={text:?}"))
        })
        .collect()
}

fn property(name: &str, text: &str) -> Result<Property> {
    if name.len() < 3 || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err(Error::config(
            "the name of a property has letters only, three or more",
        ));
    }
    if OWN.contains(&name) {
        return Err(Error::config(format!("{name} is not a config's to set")));
    }
    let parsed = parse(text)?;
    // systemd has times in microseconds on the bus, and in seconds in its files: `TimeoutStopSec`, but `TimeoutStopUSec`.
    let stem = name.strip_suffix("Sec");
    match stem.filter(|stem| stem.ends_with(|c: char| c.is_ascii_lowercase())) {
        Some(stem) => {
            let value = Value::U64(microseconds(&parsed)?);
            Ok(Property::new(format!("{stem}USec"), value))
        }
        None => Ok(Property::new(name, parsed.into_value()?)),
    }
}

fn microseconds(seconds: &Parsed) -> Result<u64> {
    let wrong = || Error::config("not a number of seconds");
    match seconds {
        Parsed::Number { value, .. } => u64::try_from(*value)
            .ok()
            .and_then(|seconds| seconds.checked_mul(MICROSECONDS))
            .ok_or_else(wrong),
        Parsed::Double(seconds) if (0.0..1e12).contains(seconds) =>
        {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "in range by the guard"
            )]
            Ok((seconds * 1e6) as u64)
        }
        _ => Err(wrong()),
    }
}

/// GVariant text, taken apart.
#[derive(Debug, Clone, PartialEq)]
enum Parsed {
    Bool(bool),
    /// With the signature that the text gives it; an integer without one is an int32.
    Number {
        value: i128,
        signature: &'static str,
    },
    Double(f64),
    Text(String),
    Pair(Box<(Parsed, Parsed)>),
    /// With the signature of an item, where the text gives one.
    List(Vec<Parsed>, Option<&'static str>),
}

/// The names of the types of numbers, their signatures, and what fits.
const NUMBERS: [(&str, &str, i128, i128); 8] = [
    ("byte", "y", 0, u8::MAX as i128),
    ("int16", "n", i16::MIN as i128, i16::MAX as i128),
    ("uint16", "q", 0, u16::MAX as i128),
    ("int32", "i", i32::MIN as i128, i32::MAX as i128),
    ("uint32", "u", 0, u32::MAX as i128),
    ("handle", "h", i32::MIN as i128, i32::MAX as i128),
    ("int64", "x", i64::MIN as i128, i64::MAX as i128),
    ("uint64", "t", 0, u64::MAX as i128),
];

impl Parsed {
    fn into_value(self) -> Result<Value> {
        let unknown = || Error::config("a type that no property of a scope has");
        match self {
            Parsed::Bool(value) => Ok(Value::Bool(value)),
            Parsed::Text(text) => Ok(Value::Text(text)),
            Parsed::Number { value, signature } => match signature {
                "i" => value.try_into().map(Value::I32).map_err(|_| unknown()),
                "u" => value.try_into().map(Value::U32).map_err(|_| unknown()),
                "x" => value.try_into().map(Value::I64).map_err(|_| unknown()),
                "t" => value.try_into().map(Value::U64).map_err(|_| unknown()),
                _ => Err(unknown()),
            },
            Parsed::List(items, signature) => {
                let first = items.first();
                let signature = match (signature, first) {
                    (Some(signature), _) => signature,
                    (None, Some(Parsed::Text(_))) => "s",
                    (None, Some(Parsed::Pair(_))) => "(ss)",
                    (None, Some(Parsed::Number { signature, .. })) => signature,
                    _ => return Err(unknown()),
                };
                list(items, signature).ok_or_else(unknown)
            }
            Parsed::Double(_) | Parsed::Pair(_) => Err(unknown()),
        }
    }
}

/// All items of a list are of one type.
fn list(items: Vec<Parsed>, signature: &str) -> Option<Value> {
    let mut items = items.into_iter();
    let text = |item: Parsed| match item {
        Parsed::Text(text) => Some(text),
        _ => None,
    };
    let number = |item: Parsed| match item {
        Parsed::Number { value, .. } => Some(value),
        _ => None,
    };
    match signature {
        "s" => items.map(text).collect::<Option<_>>().map(Value::Texts),
        "y" => items
            .map(|item| number(item)?.try_into().ok())
            .collect::<Option<_>>()
            .map(Value::Bytes),
        "u" => items
            .map(|item| number(item)?.try_into().ok())
            .collect::<Option<_>>()
            .map(Value::U32s),
        "(ss)" => items
            .try_fold(Vec::new(), |mut all, item| {
                let Parsed::Pair(pair) = item else {
                    return None;
                };
                all.push((text(pair.0)?, text(pair.1)?));
                Some(all)
            })
            .map(Value::Pairs),
        _ => None,
    }
}

fn parse(text: &str) -> Result<Parsed> {
    let mut parser = Parser { rest: text };
    let parsed = parser.value(0)?;
    match parser.token() {
        "" => Ok(parsed),
        rest => Err(wrong(rest)),
    }
}

fn wrong(rest: &str) -> Error {
    match rest {
        "" => Error::config("value parse error: it ends too early"),
        rest => Error::config(format!("value parse error at {rest:?}")),
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    /// What is left, from the next token on.
    fn token(&mut self) -> &'a str {
        self.rest = self.rest.trim_ascii_start();
        self.rest
    }

    fn eat(&mut self, what: &str) -> bool {
        match self.token().strip_prefix(what) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Letters, digits and what else is in numbers.
    fn word(&mut self) -> &'a str {
        let rest = self.token();
        let inside = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        let end = rest.find(|c| !inside(c)).unwrap_or(rest.len());
        let (word, rest) = rest.split_at(end);
        self.rest = rest;
        word
    }

    fn value(&mut self, depth: u32) -> Result<Parsed> {
        if depth > DEEPEST {
            return Err(Error::config("value parse error: nested too deep"));
        }
        let rest = self.token();
        match rest.as_bytes().first() {
            Some(b'\'' | b'"') => self.text().map(Parsed::Text),
            Some(b'[') => self.list(None, depth),
            Some(b'(') => self.pair(depth),
            Some(b'@') => {
                self.eat("@");
                self.annotated(depth)
            }
            _ => {
                let word = self.word();
                match word {
                    "true" => Ok(Parsed::Bool(true)),
                    "false" => Ok(Parsed::Bool(false)),
                    "boolean" => self.value(depth + 1),
                    "string" | "objectpath" | "signature" => self.text().map(Parsed::Text),
                    "double" => double(self.word()).ok_or_else(|| wrong(rest)),
                    _ => match NUMBERS.iter().find(|(name, ..)| *name == word) {
                        Some((_, signature, ..)) => integer(self.word(), signature),
                        None => integer(word, "i").or_else(|| double(word)),
                    }
                    .ok_or_else(|| wrong(rest)),
                }
            }
        }
    }

    /// `@as []`: a type in front.
    fn annotated(&mut self, depth: u32) -> Result<Parsed> {
        let rest = self.token();
        let lists = [("as ", "s"), ("ay ", "y"), ("au ", "u"), ("a(ss) ", "(ss)")];
        for (kind, signature) in lists {
            if self.eat(kind) {
                return self.list(Some(signature), depth);
            }
        }
        for (_, signature, ..) in NUMBERS {
            if self.eat(&format!("{signature} ")) {
                return integer(self.word(), signature).ok_or_else(|| wrong(rest));
            }
        }
        match self.eat("b ") || self.eat("s ") {
            true => self.value(depth + 1),
            false => Err(wrong(rest)),
        }
    }

    fn list(&mut self, mut signature: Option<&'static str>, depth: u32) -> Result<Parsed> {
        let rest = self.token();
        if !self.eat("[") {
            return Err(wrong(rest));
        }
        let mut items = Vec::new();
        while !self.eat("]") {
            if !items.is_empty() && !self.eat(",") {
                return Err(wrong(self.rest));
            }
            let item = self.value(depth + 1)?;
            if let (Parsed::Number { signature: its, .. }, None, true) =
                (&item, signature, items.is_empty())
            {
                signature = Some(its);
            }
            items.push(item);
        }
        Ok(Parsed::List(items, signature))
    }

    fn pair(&mut self, depth: u32) -> Result<Parsed> {
        self.eat("(");
        let first = self.value(depth + 1)?;
        if !self.eat(",") {
            return Err(wrong(self.rest));
        }
        let second = self.value(depth + 1)?;
        match self.eat(")") {
            true => Ok(Parsed::Pair(Box::new((first, second)))),
            false => Err(wrong(self.rest)),
        }
    }

    /// In either quotes, with the escapes of C.
    fn text(&mut self) -> Result<String> {
        let rest = self.token();
        let mut characters = rest.char_indices();
        let quote = match characters.next() {
            Some((_, quote @ ('\'' | '"'))) => quote,
            _ => return Err(wrong(rest)),
        };
        let mut text = String::new();
        while let Some((at, c)) = characters.next() {
            match c {
                c if c == quote => {
                    self.rest = &rest[at + 1..];
                    return Ok(text);
                }
                '\\' => text.push(match characters.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, 't')) => '\t',
                    Some((_, c @ ('\\' | '\'' | '"'))) => c,
                    Some((at, _)) => return Err(wrong(&rest[at..])),
                    None => break,
                }),
                '\0' => return Err(Error::config("value parse error: a NUL byte")),
                c => text.push(c),
            }
        }
        Err(wrong(""))
    }
}

/// Decimal, hexadecimal or octal, as far as it fits its type.
fn integer(word: &str, signature: &'static str) -> Option<Parsed> {
    let (negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    // Two signs are none.
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let value = match digits.strip_prefix("0x") {
        Some(hex) if hex.starts_with(|c: char| c.is_ascii_hexdigit()) => {
            i128::from_str_radix(hex, 16).ok()?
        }
        Some(_) => return None,
        None if digits.len() > 1 && digits.starts_with('0') => {
            i128::from_str_radix(digits, 8).ok()?
        }
        None => digits.parse().ok()?,
    };
    let value = if negative { -value } else { value };
    let (.., least, most) = NUMBERS.iter().find(|(_, its, ..)| *its == signature)?;
    (*least..=*most)
        .contains(&value)
        .then_some(Parsed::Number { value, signature })
}

fn double(word: &str) -> Option<Parsed> {
    let value: f64 = word.parse().ok()?;
    // The names of what is no number are letters.
    value.is_finite().then_some(Parsed::Double(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, text: &str) -> Result<Property> {
        let annotations = HashMap::from([(format!("{PREFIX}{name}"), text.to_owned())]);
        plan(Some(&annotations)).map(|mut list| list.remove(0))
    }

    #[test]
    fn values() {
        let texts = |list: &[&str]| Value::Texts(list.iter().map(|t| (*t).to_owned()).collect());
        for (name, text, expected, value) in [
            (
                "TimeoutStopUSec",
                "uint64 123456789",
                "TimeoutStopUSec",
                Value::U64(123_456_789),
            ),
            (
                "TimeoutStopSec",
                "2",
                "TimeoutStopUSec",
                Value::U64(2_000_000),
            ),
            (
                "TimeoutStopSec",
                "uint64 3",
                "TimeoutStopUSec",
                Value::U64(3_000_000),
            ),
            (
                "TimeoutStopSec",
                " 0.25 ",
                "TimeoutStopUSec",
                Value::U64(250_000),
            ),
            (
                "TimeoutStopSec",
                "double 1",
                "TimeoutStopUSec",
                Value::U64(1_000_000),
            ),
            (
                "CollectMode",
                "'inactive-or-failed'",
                "CollectMode",
                Value::Text("inactive-or-failed".into()),
            ),
            (
                "Description",
                r#""a \"b\" \\ 'c'""#,
                "Description",
                Value::Text(r#"a "b" \ 'c'"#.into()),
            ),
            ("KillSignal", "15", "KillSignal", Value::I32(15)),
            ("KillSignal", "-1", "KillSignal", Value::I32(-1)),
            ("CPUWeight", "@t 7", "CPUWeight", Value::U64(7)),
            ("CPUWeight", "uint64 0x10", "CPUWeight", Value::U64(16)),
            ("Mode", "uint32 0755", "Mode", Value::U32(0o755)),
            ("Some", "int64 -5", "Some", Value::I64(-5)),
            ("SendSIGHUP", "true", "SendSIGHUP", Value::Bool(true)),
            (
                "SendSIGHUP",
                "boolean false",
                "SendSIGHUP",
                Value::Bool(false),
            ),
            (
                "After",
                "['a.service', \"b.service\"]",
                "After",
                texts(&["a.service", "b.service"]),
            ),
            ("After", "@as []", "After", texts(&[])),
            (
                "AllowedCPUs",
                "[byte 0x03, 1]",
                "AllowedCPUs",
                Value::Bytes(vec![3, 1]),
            ),
            (
                "AllowedCPUs",
                "@ay [3]",
                "AllowedCPUs",
                Value::Bytes(vec![3]),
            ),
            (
                "Whatever",
                "[uint32 1, 2]",
                "Whatever",
                Value::U32s(vec![1, 2]),
            ),
            (
                "DeviceAllow",
                "[('/dev/null', 'rw'), ('char-pts','r')]",
                "DeviceAllow",
                Value::Pairs(vec![
                    ("/dev/null".into(), "rw".into()),
                    ("char-pts".into(), "r".into()),
                ]),
            ),
            // Not a time: no small letter before it.
            ("ASec", "'x'", "ASec", Value::Text("x".into())),
        ] {
            let property = one(name, text).unwrap_or_else(|e| panic!("{name}={text}: {e}"));
            assert_eq!(property, Property::new(expected, value), "{text}");
        }
        assert!(plan(None).unwrap().is_empty());
        let other = HashMap::from([("org.systemd.propertyX".into(), "1".into())]);
        assert!(plan(Some(&other)).unwrap().is_empty());
    }

    #[test]
    fn hostile() {
        for (name, text) in [
            ("", "1"),
            ("ab", "1"),
            ("Ab1", "1"),
            ("A.b", "1"),
            ("Exec Start", "1"),
            ("Ümlaut", "1"),
            ("PIDs", "[uint32 1]"),
            ("Slice", "'x.slice'"),
            ("Controller", "':1.1'"),
            ("Abc", ""),
            ("Abc", " "),
            ("Abc", "x"),
            ("Abc", "'x"),
            ("Abc", "'x' y"),
            ("Abc", "'\\"),
            ("Abc", "'\\q'"),
            ("Abc", "'\0'"),
            ("Abc", "["),
            ("Abc", "[]"),
            ("Abc", "[1,"),
            ("Abc", "['a' 'b']"),
            ("Abc", "['a', 1]"),
            ("Abc", "[1, 2]"),
            ("Abc", "[byte 256]"),
            ("Abc", "[byte 1, 256]"),
            ("Abc", "@a"),
            ("Abc", "@as"),
            ("Abc", "@as ["),
            ("Abc", "@"),
            ("Abc", "(1"),
            ("Abc", "('a','b')"),
            ("Abc", "[('a')]"),
            ("Abc", "uint64"),
            ("Abc", "uint64 -1"),
            ("Abc", "uint64 18446744073709551616"),
            ("Abc", "uint32 4294967296"),
            ("Abc", "2147483648"),
            ("Abc", "1.5"),
            ("Abc", "--1"),
            ("Abc", "+-1"),
            ("Abc", "0x"),
            ("Abc", "0x-1"),
            ("Abc", "9999999999999999999999999999999999999999999999"),
            ("Abc", "nan"),
            ("Abc", "boolean boolean boolean boolean boolean true"),
            ("Abc", &"[".repeat(100_000)),
            ("Abc", &"(".repeat(100_000)),
            ("TimeoutStopSec", "-1"),
            ("TimeoutStopSec", "'1'"),
            ("TimeoutStopSec", "uint64 18446744073709551615"),
            ("TimeoutStopSec", "inf"),
            ("TimeoutStopSec", "1e300"),
        ] {
            let result = one(name, text);
            assert!(result.is_err(), "{name}={text:.40}: {result:?}");
        }
    }
}
