//! Records as Terraform, a table and JSON.

use std::fmt::Write as _;

use serde_json::json;

use super::super::wanted::Expected;

/// Terraform in a form that names no provider: the local value `mail_records`, a map that a provider's resource takes
/// with `for_each`. Each record has its value in the three forms that providers want: in one piece, in pieces of at most
/// 255 bytes, and quoted as in a zone file.
pub fn terraform(records: &[Expected]) -> String {
    let mut text = String::from(
        "# for_each = local.mail_records in your provider's record resource: each.value.name, .type, and one of\n\
         #   .value                       in one piece: most providers\n\
         #   join(\"\\\"\\\"\", each.value.pieces)  in pieces of 255 bytes: aws_route53_record\n\
         #   .zone_value                  quoted pieces, as in a zone file: google_dns_record_set\n\
         locals {\n  mail_records = {\n",
    );
    for (index, record) in records.iter().enumerate() {
        let twins =
            records.iter().take(index).filter(|r| (&r.name, r.record_type) == (&record.name, record.record_type));
        let key = match twins.count() {
            0 => format!("{} {}", record.name, record.record_type),
            more => format!("{} {} {}", record.name, record.record_type, more + 1),
        };
        let _ = writeln!(
            text,
            "    {} = {{ name = {}, type = {}, value = {}, pieces = [{}], zone_value = {} }}",
            hcl(&key),
            hcl(&record.name),
            hcl(record.record_type),
            hcl(&record.value),
            record.pieces().iter().map(|piece| hcl(piece)).collect::<Vec<_>>().join(", "),
            hcl(&record.zone_value)
        );
    }
    text.push_str("  }\n}\n");
    text
}

/// A quoted HCL string: besides quotes and backslashes, `${` and `%{` would begin a template.
fn hcl(text: &str) -> String {
    let mut quoted = String::from("\"");
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '$' | '%' if chars.peek() == Some(&'{') => quoted.extend([c, c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A table: purpose, name, type and value, in the format of web forms.
pub fn table(records: &[Expected]) -> String {
    let width = |of: fn(&Expected) -> usize, least: usize| records.iter().map(of).max().unwrap_or(0).max(least);
    let purpose = width(|record| record.kind.as_str().len(), "PURPOSE".len());
    let name = width(|record| record.name.len(), "NAME".len());
    let mut text = format!("{:purpose$}  {:name$}  {:5}  VALUE\n", "PURPOSE", "NAME", "TYPE");
    for record in records {
        let (kind, record_type) = (record.kind.as_str(), record.record_type);
        let _ = writeln!(text, "{kind:purpose$}  {:name$}  {record_type:5}  {}", record.name, record.value);
    }
    text
}

/// A JSON array: `purpose`, `name`, `type`, `value` in one piece, `pieces` of at most 255 bytes, `zoneValue` as in a zone
/// file.
pub fn json(records: &[Expected]) -> String {
    let all = records.iter().map(|record| {
        json!({
            "purpose": record.kind.as_str(), "name": record.name, "type": record.record_type,
            "value": record.value, "pieces": record.pieces(), "zoneValue": record.zone_value,
        })
    });
    format!("{:#}\n", serde_json::Value::Array(all.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::DnsRecordKind;

    fn record(name: &str, record_type: &'static str, value: &str) -> Expected {
        let (value, zone_value) = (value.to_owned(), format!("\"{value}\""));
        Expected { kind: DnsRecordKind::Dmarc, name: name.to_owned(), record_type, value, zone_value }
    }

    #[test]
    fn terraform_keys_are_unique_and_templates_are_off() {
        let text = terraform(&[record("d", "TXT", "a\"b${x}\\"), record("d", "TXT", "second")]);
        let first =
            r#""d TXT" = { name = "d", type = "TXT", value = "a\"b$${x}\\", pieces = ["a\"b$${x}\\"], zone_value = "#;
        assert!(text.contains(first), "{text}");
        assert!(text.contains("\"d TXT 2\" ="), "{text}");
    }

    #[test]
    fn a_long_text_comes_in_pieces_of_255_bytes() {
        let long = "k".repeat(300);
        let text = terraform(&[record("d", "TXT", &long)]);
        assert!(text.contains(&format!("pieces = [\"{}\", \"{}\"]", "k".repeat(255), "k".repeat(45))), "{text}");
        assert!(text.contains("join(\"\\\"\\\"\", each.value.pieces)"), "{text}");
        let all: serde_json::Value = serde_json::from_str(&json(&[record("d", "TXT", &long)])).unwrap();
        assert_eq!(all[0]["pieces"][1], "k".repeat(45));
    }

    #[test]
    fn a_table_has_a_line_for_each_record() {
        let text = table(&[record("_dmarc.d", "TXT", "v=DMARC1; p=none")]);
        assert_eq!(text, "PURPOSE  NAME      TYPE   VALUE\nDMARC    _dmarc.d  TXT    v=DMARC1; p=none\n");
    }

    #[test]
    fn json_can_be_read_back() {
        let all: serde_json::Value = serde_json::from_str(&json(&[record("d", "TXT", "x;\"y\"")])).unwrap();
        assert_eq!((&all[0]["value"], &all[0]["purpose"]), (&"x;\"y\"".into(), &"DMARC".into()));
    }
}
