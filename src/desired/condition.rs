//! Conditions of a rule: each value parsed for its operator, or an error with its field.

use super::Invalid;
use crate::crd::{self, Field, Operator};
use crate::mail::DomainName;
use crate::mail::rule::{Condition, Glob, HeaderName, Part, Pattern, Test, Text};

/// The conditions of the list at `path`.
pub(super) fn conditions(path: &str, list: &[crd::Condition]) -> Result<Vec<Condition>, Invalid> {
    let one = |(i, spec)| condition(&format!("{path}[{i}]"), spec);
    list.iter().enumerate().map(one).collect()
}

pub(super) fn condition(path: &str, spec: &crd::Condition) -> Result<Condition, Invalid> {
    Ok(Condition { part: part(path, spec)?, test: test(path, spec)?, not: spec.not })
}

fn part(path: &str, spec: &crd::Condition) -> Result<Part, Invalid> {
    let part = match (spec.field, &spec.header) {
        (Field::Header, Some(name)) => {
            return HeaderName::parse(name)
                .map(Part::Header)
                .map_err(|error| Invalid::value(format!("{path}.header"), name, error));
        }
        (Field::Header, None) => {
            return Err(Invalid::of(format!("{path}.header"))(
                "the field Header needs the name of the header".to_owned(),
            ));
        }
        (field, Some(name)) => {
            let why = format!("is set, but the field is {field:?}; set field: Header");
            return Err(Invalid::value(format!("{path}.header"), name, why));
        }
        (Field::Sender, None) => Part::Sender,
        (Field::EnvelopeSender, None) => Part::EnvelopeSender,
        (Field::Recipient, None) => Part::Recipient,
        (Field::Subject, None) => Part::Subject,
    };
    Ok(part)
}

fn is_address(field: Field) -> bool {
    match field {
        Field::Sender | Field::EnvelopeSender | Field::Recipient => true,
        Field::Subject | Field::Header => false,
    }
}

fn test(path: &str, spec: &crd::Condition) -> Result<Test, Invalid> {
    let at = Values { path, given: &spec.values };
    if spec.operator == Operator::Exists {
        return exists(path, spec);
    }
    if spec.values.is_empty() {
        let why = format!("the operator {:?} needs at least one value", spec.operator);
        return Err(Invalid::of(format!("{path}.values"))(why));
    }
    Ok(match spec.operator {
        Operator::Exists => Test::Exists,
        Operator::Equals if is_address(spec.field) => Test::Equals(at.read(address)?),
        Operator::Equals => Test::Equals(at.read(|value| trimmed(value, true, true))?),
        Operator::Contains => Test::Contains(at.read(|value| filled(value, false, false))?),
        Operator::StartsWith => Test::StartsWith(at.read(|value| filled(value, true, false))?),
        Operator::EndsWith => Test::EndsWith(at.read(|value| filled(value, false, true))?),
        Operator::Domain if is_address(spec.field) => Test::Domain(at.read(domain)?),
        Operator::Domain => {
            let why = format!(
                "the operator Domain needs the field Sender, EnvelopeSender or Recipient, not {:?}",
                spec.field
            );
            return Err(Invalid::of(format!("{path}.operator"))(why));
        }
        Operator::Glob => Test::Glob(at.read(glob)?),
        Operator::Regex => Test::Regex(at.read(|value| Pattern::parse(value).map_err(|error| error.0))?),
    })
}

fn exists(path: &str, spec: &crd::Condition) -> Result<Test, Invalid> {
    if is_address(spec.field) {
        let why = format!("the operator Exists needs the field Header or Subject, not {:?}", spec.field);
        return Err(Invalid::of(format!("{path}.operator"))(why));
    }
    if !spec.values.is_empty() {
        return Err(Invalid::of(format!("{path}.values"))("the operator Exists must have no values".to_owned()));
    }
    Ok(Test::Exists)
}

/// The values of a condition and their path.
struct Values<'a> {
    path: &'a str,
    given: &'a [String],
}

impl Values<'_> {
    /// Parses each value; drops duplicates.
    fn read<T: PartialEq>(&self, read: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, Invalid> {
        let mut known = Vec::new();
        for (i, value) in self.given.iter().enumerate() {
            let field = || format!("{}.values[{i}]", self.path);
            let one = read(value).map_err(|why| Invalid::value(field(), value, why))?;
            if !known.contains(&one) {
                known.push(one);
            }
        }
        Ok(known)
    }
}

/// A text without blanks at the compared ends: header values have none.
fn trimmed(value: &str, start: bool, end: bool) -> Result<Text, String> {
    let text = Text::parse(value).map_err(|error| error.0)?;
    if start && value.starts_with(' ') {
        return Err("begins with a blank, but header values never do; remove the blank".to_owned());
    }
    if end && value.ends_with(' ') {
        return Err("ends with a blank, but header values never do; remove the blank".to_owned());
    }
    Ok(text)
}

fn filled(value: &str, start: bool, end: bool) -> Result<Text, String> {
    match value {
        "" => {
            Err("is empty and would match every value; write a text, or use the operator Exists or Equals".to_owned())
        }
        value => trimmed(value, start, end),
    }
}

/// A whole address, or empty for the sender of a bounce. A Unicode domain becomes an A-label.
fn address(value: &str) -> Result<Text, String> {
    let text = trimmed(value, true, true)?;
    match value.rsplit_once('@') {
        _ if value.is_empty() => Ok(text),
        None => {
            Err("has no @, but every address has one; use the operator Domain for a domain, or Contains for a part"
                .to_owned())
        }
        Some((_, domain)) if domain.is_ascii() => Ok(text),
        Some((local, domain)) => {
            let domain = DomainName::parse(domain).map_err(|error| format!("is not an address: {error}"))?;
            Text::parse(&format!("{local}@{domain}")).map_err(|error| error.0)
        }
    }
}

fn domain(value: &str) -> Result<DomainName, String> {
    DomainName::parse(value.strip_prefix('@').unwrap_or(value))
        .map_err(|error| format!("is not the domain of an address: {error}"))
}

fn glob(value: &str) -> Result<Glob, String> {
    if value.is_empty() {
        return Err("is an empty pattern; use the operator Equals for an empty text".to_owned());
    }
    trimmed(value, true, true)?;
    Glob::parse(value).map_err(|error| error.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<Condition, String> {
        let spec: crd::Condition = serde_yaml::from_str(yaml).unwrap();
        condition("match.all[1]", &spec).map_err(|error| error.to_string())
    }

    fn refusal(yaml: &str) -> String {
        read(yaml).unwrap_err()
    }

    #[test]
    fn a_refusal_names_place_value_and_remedy() {
        assert_eq!(
            refusal(r"{field: Subject, operator: Regex, values: ['\d+']}"),
            r#"match.all[1].values[0]: "\\d+" has \d: backslash letters differ between systems; write [[:digit:]]"#
        );
        assert_eq!(
            refusal("{field: Subject, operator: Contains, values: [a, \"b\\r\\nc\"]}"),
            "match.all[1].values[1]: \"b\\r\\nc\" has a line break (U+000D), which header values never have"
        );
    }

    #[test]
    fn what_can_never_match_is_refused() {
        for (yaml, why) in [
            ("{field: Sender, operator: Equals, values: [vendor.com]}", "use the operator Domain"),
            ("{field: Subject, operator: Equals, values: [' a']}", "begins with a blank"),
            ("{field: Subject, operator: EndsWith, values: ['a ']}", "ends with a blank"),
            ("{field: Subject, operator: Glob, values: ['a* ']}", "ends with a blank"),
            ("{field: Sender, operator: Domain, values: ['a@b.org']}", "is not the domain"),
            ("{field: Sender, operator: Domain, values: ['*.b.org']}", "is not the domain"),
        ] {
            let refusal = refusal(yaml);
            assert!(refusal.contains(why), "{yaml}: {refusal}");
        }
    }

    #[test]
    fn what_would_always_match_is_refused() {
        for operator in ["Contains", "StartsWith", "EndsWith", "Glob", "Regex"] {
            let refusal = refusal(&format!("{{field: Subject, operator: {operator}, values: ['']}}"));
            assert!(refusal.contains("empty"), "{refusal}");
        }
    }

    #[test]
    fn an_empty_sender_is_that_of_a_bounce() {
        let bounce = read("{field: EnvelopeSender, operator: Equals, values: ['']}").unwrap();
        assert_eq!(bounce.test, Test::Equals(vec![Text::parse("").unwrap()]));
    }

    #[test]
    fn fields_operators_and_values_must_fit_together() {
        for (yaml, why) in [
            ("{field: Header, operator: Exists}", "match.all[1].header: the field Header needs"),
            ("{field: Header, header: 'a b', operator: Exists}", "match.all[1].header: \"a b\" is not a header name"),
            ("{field: Subject, header: X, operator: Exists}", "match.all[1].header: \"X\" is set"),
            ("{field: Subject, operator: Contains}", "match.all[1].values: the operator Contains needs"),
            ("{field: Subject, operator: Exists, values: [a]}", "match.all[1].values: the operator Exists must"),
            ("{field: Sender, operator: Exists}", "match.all[1].operator: the operator Exists needs"),
            ("{field: Subject, operator: Domain, values: [b.org]}", "match.all[1].operator: the operator Domain needs"),
        ] {
            let refusal = refusal(yaml);
            assert!(refusal.starts_with(why), "{yaml}: {refusal}");
        }
    }

    #[test]
    fn domains_are_canonical_and_each_value_is_there_once() {
        let test = |yaml| read(yaml).unwrap().test;
        let domains = test("{field: Sender, operator: Domain, values: [Bücher.example, '@xn--bcher-kva.example']}");
        assert_eq!(domains, Test::Domain(vec![DomainName::parse("bücher.example").unwrap()]));
        let address = test("{field: Sender, operator: Equals, values: ['Al@bücher.example']}");
        assert_eq!(address, Test::Equals(vec![Text::parse("Al@xn--bcher-kva.example").unwrap()]));
    }
}
