//! JSON values that keep the order of their keys, with the conversions PHP applies to them.
//!
//! Mailcow decodes a request into PHP arrays and echoes it back in its answers: `{}` becomes `[]`,
//! `"5abc"` counts as 5, `"true"` as 0. These are facts a client can observe.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A JSON value with ordered keys.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Json {
    /// `null`
    #[default]
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A whole number
    Int(i64),
    /// A number with a fraction
    Float(f64),
    /// A string
    Text(String),
    /// A list
    List(Vec<Self>),
    /// An object that has at least one key (PHP has no other)
    Map(Vec<(String, Self)>),
}

static NULL: Json = Json::Null;

impl Json {
    /// Reads a value from text; `None` when the text is not JSON.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The value under a key, `Null` when there is none.
    pub fn get(&self, key: &str) -> &Self {
        match self {
            Self::Map(pairs) => pairs.iter().find(|(k, _)| k == key).map_or(&NULL, |(_, v)| v),
            _ => &NULL,
        }
    }

    /// PHP's `isset`: there and not null.
    pub fn is_set(&self, key: &str) -> bool {
        *self.get(key) != Self::Null
    }

    /// PHP's `!empty`.
    pub fn truthy(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(b) => *b,
            Self::Int(i) => *i != 0,
            Self::Float(f) => *f != 0.0,
            Self::Text(t) => !t.is_empty() && t != "0",
            Self::List(l) => !l.is_empty(),
            Self::Map(m) => !m.is_empty(),
        }
    }

    /// PHP's `intval`.
    pub fn to_int(&self) -> i64 {
        match self {
            Self::Null => 0,
            Self::Bool(b) => i64::from(*b),
            Self::Int(i) => *i,
            Self::Float(f) => truncate(*f),
            Self::Text(t) => leading_int(t),
            Self::List(l) => i64::from(!l.is_empty()),
            Self::Map(m) => i64::from(!m.is_empty()),
        }
    }

    /// The number a database column rounds this value to; `None` for text that is no number.
    pub fn to_rounded(&self) -> Option<i64> {
        match self {
            Self::Float(f) => Some(truncate(f.round())),
            Self::Text(t) => t.trim().parse::<f64>().ok().map(|f| truncate(f.round())),
            other => Some(other.to_int()),
        }
    }

    /// PHP's `is_numeric`.
    pub fn is_numeric(&self) -> bool {
        match self {
            Self::Int(_) | Self::Float(_) => true,
            Self::Text(t) => t.trim().parse::<f64>().is_ok(),
            _ => false,
        }
    }

    /// The value as PHP would print it.
    pub fn to_text(&self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Bool(b) => if *b { "1" } else { "" }.to_owned(),
            Self::Int(i) => i.to_string(),
            Self::Float(f) => f.to_string(),
            Self::Text(t) => t.clone(),
            Self::List(_) | Self::Map(_) => "Array".to_owned(),
        }
    }

    /// Whether it is a list or an object.
    pub fn is_array(&self) -> bool {
        matches!(self, Self::List(_) | Self::Map(_))
    }

    /// PHP's `(array)`: a scalar becomes a list of one, null an empty list.
    pub fn into_items(self) -> Vec<Self> {
        match self {
            Self::Null => Vec::new(),
            Self::List(list) => list,
            Self::Map(pairs) => pairs.into_iter().map(|(_, v)| v).collect(),
            scalar => vec![scalar],
        }
    }

    /// The object without a key.
    #[must_use]
    pub fn without(&self, key: &str) -> Self {
        match self {
            Self::Map(pairs) => Self::Map(pairs.iter().filter(|(k, _)| k != key).cloned().collect()),
            other => other.clone(),
        }
    }

    /// Sets a key of an object; an empty value becomes an object.
    pub fn set(&mut self, key: &str, value: impl Into<Self>) {
        if !matches!(self, Self::Map(_)) {
            *self = Self::Map(Vec::new());
        }
        if let Self::Map(pairs) = self {
            let value = value.into();
            match pairs.iter_mut().find(|(k, _)| k == key) {
                Some(pair) => pair.1 = value,
                None => pairs.push((key.to_owned(), value)),
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "PHP truncates floats to integers, too")]
fn truncate(f: f64) -> i64 {
    f as i64
}

fn leading_int(text: &str) -> i64 {
    let text = text.trim_start();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    sign * digits[..end].parse::<i64>().unwrap_or(0)
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Json, E> {
        Ok(Json::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Json, E> {
        Ok(Json::Int(v))
    }

    #[expect(clippy::cast_precision_loss, reason = "PHP turns such numbers into floats")]
    fn visit_u64<E>(self, v: u64) -> Result<Json, E> {
        Ok(i64::try_from(v).map_or(Json::Float(v as f64), Json::Int))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Json, E> {
        Ok(Json::Float(v))
    }

    fn visit_str<E>(self, v: &str) -> Result<Json, E> {
        Ok(Json::Text(v.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = seq.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut object = Json::List(Vec::new());
        while let Some((key, value)) = map.next_entry::<String, Json>()? {
            object.set(&key, value);
        }
        Ok(object)
    }
}

macro_rules! from {
    ($($from:ty => $make:expr),* $(,)?) => {
        $(impl From<$from> for Json {
            fn from(v: $from) -> Self {
                let make = $make;
                make(v)
            }
        })*
    };
}

from! {
    bool => Json::Bool,
    i64 => Json::Int,
    i32 => |v| Json::Int(i64::from(v)),
    f64 => Json::Float,
    String => Json::Text,
    &String => |v: &String| Json::Text(v.clone()),
    &str => |v: &str| Json::Text(v.to_owned()),
    &Json => |v: &Json| v.clone(),
}

impl<T: Into<Self>> From<Vec<T>> for Json {
    fn from(list: Vec<T>) -> Self {
        Self::List(list.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Self>> From<Option<T>> for Json {
    fn from(v: Option<T>) -> Self {
        v.map_or(Self::Null, Into::into)
    }
}

/// Makes an object: `obj! { "key" => value, … }`.
macro_rules! obj {
    ($($key:expr => $value:expr),* $(,)?) => {
        $crate::json::Json::Map(vec![$(($key.to_owned(), $crate::json::Json::from($value))),*])
    };
}

/// Makes a list of mixed values: `list!["code", name, 3]`.
macro_rules! list {
    ($($value:expr),* $(,)?) => {
        $crate::json::Json::List(vec![$($crate::json::Json::from($value)),*])
    };
}

pub(crate) use {list, obj};
