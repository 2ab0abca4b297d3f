//! Arguments that are texts of a certain form, and numbers. Each knows its rule and an example, which its schema and its
//! error share.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Unexpected, Visitor};
use serde::{Deserialize, Serialize};

use crate::mail::{Address, DomainName};

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $rule:literal, $examples:tt, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub(crate) struct $name(String);

        impl TryFrom<String> for $name {
            type Error = &'static str;

            fn try_from(text: String) -> Result<Self, &'static str> {
                let is_it: fn(&str) -> bool = $check;
                if is_it(&text) { Ok(Self(text)) } else { Err($rule) }
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "examples": $examples})
            }
        }
    };
}

text!(
    /// Name of a namespace (RFC 1123 label).
    Namespace,
    "must be the name of a namespace: at most 63 lower-case letters, digits and -, with a letter or digit at both ends, such as mail",
    [],
    |text| text.len() <= 63 && is_label(text)
);
text!(
    /// Name of an object (RFC 1123 subdomain).
    ObjectName,
    "must be the name of an object, not an address: at most 253 lower-case letters, digits, - and ., with a letter or digit at both ends of each part, such as example-com",
    [],
    |text| text.len() <= 253 && text.split('.').all(is_label)
);
text!(
    /// A domain name.
    Domain,
    "must be a domain name of at least two labels",
    ["example.com"],
    |text| DomainName::parse(text).is_ok()
);
text!(
    /// The part of an address before the `@`.
    LocalPart,
    "must be only the part of the address before the @: at most 64 letters, digits and . _ - + & ' % /, with dots only between others",
    ["ada"],
    |text| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_+&'%/-".contains(c);
        text.len() <= 64 && text.split('.').all(|part| !part.is_empty() && part.chars().all(is_plain))
    }
);
text!(
    /// A quota.
    QuotaText,
    "must be a text with a whole number of Mi, Gi or Ti; 0 is for no limit, where a field allows it",
    ["2Gi"],
    |text| text == "0" || {
        let digits = text.strip_suffix("Mi").or_else(|| text.strip_suffix("Gi")).or_else(|| text.strip_suffix("Ti"));
        digits.is_some_and(|digits| {
            (1..=9).contains(&digits.len()) && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
        })
    }
);
text!(
    /// An email address.
    EmailAddress,
    "must be an email address",
    ["ada@example.com"],
    |text| text.len() <= 254 && Address::parse(text).is_ok()
);
text!(
    /// A text of one line that people read.
    Line,
    "must be one line of 1 to 255 characters without control characters",
    ["Ada Lovelace"],
    |text| !text.is_empty() && text.chars().count() <= 255 && !text.chars().any(char::is_control)
);
text!(
    /// The digest of a plan.
    Digest,
    "must be the digest that plan_delete answered: 32 hexadecimal digits",
    ["0f343b0931126a20f133d67c2b018a3b"],
    |text| text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
);

macro_rules! as_str {
    ($($name:ident),*) => {
        $(impl $name {
            /// The text.
            pub(crate) fn as_str(&self) -> &str {
                &self.0
            }
        })*
    };
}

as_str!(Namespace, ObjectName, Domain, LocalPart, EmailAddress, Digest);

/// A label of RFC 1123 without its limit of 63 bytes.
fn is_label(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = text.bytes().next().is_some_and(is_plain) && text.bytes().last().is_some_and(is_plain);
    ends && text.bytes().all(|b| is_plain(b) || b == b'-')
}

/// A whole number in a range. Clients also send `1.0`, which the JSON Schema type `integer` allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Whole<const LEAST: u32, const MOST: u32>(u32);

impl<const LEAST: u32, const MOST: u32> Whole<LEAST, MOST> {
    /// The number.
    pub(crate) const fn get(self) -> u32 {
        self.0
    }
}

impl<'de, const LEAST: u32, const MOST: u32> Deserialize<'de> for Whole<LEAST, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WholeVisitor::<LEAST, MOST>)
    }
}

struct WholeVisitor<const LEAST: u32, const MOST: u32>;

impl<const LEAST: u32, const MOST: u32> Visitor<'_> for WholeVisitor<LEAST, MOST> {
    type Value = Whole<LEAST, MOST>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a whole number from {LEAST} to {MOST}")
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Self::Value, E> {
        let found = u32::try_from(number).ok().filter(|number| (LEAST..=MOST).contains(number));
        found.map(Whole).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Self::Value, E> {
        let positive = u64::try_from(number).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))?;
        self.visit_u64(positive)
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Self::Value, E> {
        let is_whole = number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number);
        if !is_whole {
            return Err(E::invalid_value(Unexpected::Float(number), &self));
        }
        let text = format!("{number:.0}");
        self.visit_u64(text.parse().map_err(E::custom)?)
    }
}

impl<const LEAST: u32, const MOST: u32> JsonSchema for Whole<LEAST, MOST> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Whole_{LEAST}_{MOST}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "minimum": LEAST, "maximum": MOST})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    fn takes<T: DeserializeOwned>(values: &[Value], is_taken: bool) {
        for value in values {
            assert_eq!(serde_json::from_value::<T>(value.clone()).is_ok(), is_taken, "{value}");
        }
    }

    #[test]
    fn whole_floats_are_whole_numbers() {
        takes::<Whole<1, 200>>(&[json!(1), json!(1.0), json!(200), json!(2e1)], true);
        takes::<Whole<1, 200>>(
            &[json!(0), json!(1.5), json!(201), json!(-1), json!(1e300), json!("1"), json!(null), json!(-0.0)],
            false,
        );
    }

    #[test]
    fn quotas_are_texts_as_in_manifests() {
        takes::<QuotaText>(&[json!("0"), json!("1Gi"), json!("512Mi"), json!("3Ti")], true);
        takes::<QuotaText>(
            &[
                json!("2GB"),
                json!("1.5Gi"),
                json!("Gi"),
                json!("01Gi"),
                json!("-1Gi"),
                json!(2),
                json!("1Ki"),
                json!(""),
            ],
            false,
        );
    }

    #[test]
    fn names_reach_no_other_path() {
        takes::<Namespace>(&[json!("mail"), json!("a"), json!("team-1")], true);
        takes::<Namespace>(
            &[
                json!("../kube-system"),
                json!("a/b"),
                json!("A"),
                json!("-a"),
                json!("a."),
                json!("a?b"),
                json!(""),
                json!("a\n"),
            ],
            false,
        );
        takes::<ObjectName>(&[json!("example.com"), json!("ada")], true);
        takes::<ObjectName>(
            &[json!("ada@example.com"), json!(".."), json!("a..b"), json!("a/status"), json!("a%2fb"), json!("ü")],
            false,
        );
    }

    #[test]
    fn an_address_is_no_local_part() {
        takes::<LocalPart>(&[json!("ada"), json!("o'hara"), json!("a.b+c")], true);
        takes::<LocalPart>(&[json!("ada@example.com"), json!(".a"), json!("a..b"), json!(""), json!("a b")], false);
        takes::<EmailAddress>(&[json!("a@b.example")], true);
        takes::<EmailAddress>(
            &[json!("a"), json!("a@b"), json!("a@b.example,c@d.example"), json!("<a@b.example>")],
            false,
        );
        takes::<Domain>(&[json!("example.com"), json!("bücher.example")], true);
        takes::<Domain>(&[json!("example"), json!("10.0.0.1"), json!("a b.example"), json!("*.example.com")], false);
    }
}
