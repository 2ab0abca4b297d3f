//! What has to be published.

use std::net::IpAddr;

use super::shown::quoted;
use crate::crd::{DmarcPolicy, DnsRecordKind, DnsSpec};
use crate::mail::{DkimKey, DomainName};

/// What a mail domain's DNS has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The mail domain.
    pub domain: DomainName,
    /// Mailcow's host name.
    pub mail_host: DomainName,
    /// The addresses that Mailcow sends from, when they are not those of `mail_host`; empty: those of `mail_host`.
    pub egress: Vec<IpAddr>,
    /// The DKIM key that Mailcow signs with; `None` when it has none yet.
    pub dkim: Option<DkimKey>,
    /// What the user demands.
    pub spec: DnsSpec,
}

/// A record to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Which row of the status it belongs to.
    pub kind: DnsRecordKind,
    /// The owner name, without the last dot.
    pub name: String,
    /// `MX` or `TXT`.
    pub record_type: &'static str,
    /// The value in one piece and without quotes, as web forms take it.
    pub value: String,
    /// The value as it stands in a zone file: absolute names, quoted strings of at most 255 bytes (RFC 1035, section 3.3).
    pub zone_value: String,
}

impl Expected {
    fn text(kind: DnsRecordKind, name: String, value: String) -> Self {
        let zone_value = quoted(value.as_bytes());
        Self { kind, name, record_type: "TXT", value, zone_value }
    }

    /// The whole line of a zone file.
    pub fn zone_line(&self) -> String {
        format!("{}. IN {} {}", self.name, self.record_type, self.zone_value)
    }
}

/// The records to publish, in the order of the rows. There is none for DKIM while Mailcow has no key.
pub fn expected(wanted: &Wanted) -> Vec<Expected> {
    let rows = [Some(mx(wanted)), Some(spf(wanted)), dkim(wanted), Some(dmarc(wanted))];
    rows.into_iter().flatten().collect()
}

/// What the status shows as expected in a row.
pub(super) fn expected_values(wanted: &Wanted, kind: DnsRecordKind) -> Vec<String> {
    expected(wanted).into_iter().filter(|record| record.kind == kind).map(|record| record.zone_value).collect()
}

fn mx(wanted: &Wanted) -> Expected {
    let value = format!("10 {}.", wanted.mail_host);
    let name = wanted.domain.to_string();
    Expected { kind: DnsRecordKind::Mx, name, record_type: "MX", zone_value: value.clone(), value }
}

fn spf(wanted: &Wanted) -> Expected {
    let addresses = wanted.egress.iter().map(|ip| match ip.to_canonical() {
        IpAddr::V4(v4) => format!(" ip4:{v4}"),
        IpAddr::V6(v6) => format!(" ip6:{v6}"),
    });
    let value = format!("v=spf1 mx{} -all", addresses.collect::<String>());
    Expected::text(DnsRecordKind::Spf, wanted.domain.to_string(), value)
}

fn dkim(wanted: &Wanted) -> Option<Expected> {
    let key = wanted.dkim.as_ref()?;
    Some(Expected::text(DnsRecordKind::Dkim, dkim_name(wanted, key), key.record.clone()))
}

/// Where a DKIM key stands (RFC 6376, section 3.6.2.1).
pub(super) fn dkim_name(wanted: &Wanted, key: &DkimKey) -> String {
    format!("{}._domainkey.{}", key.selector.to_ascii_lowercase(), wanted.domain)
}

fn dmarc(wanted: &Wanted) -> Expected {
    let demanded = wanted.spec.dmarc.as_ref();
    let policy = demanded.and_then(|dmarc| dmarc.policy).unwrap_or(DmarcPolicy::Quarantine);
    let mut value = format!("v=DMARC1; p={}", policy_word(policy));
    let addresses = demanded.map(|dmarc| dmarc.report_to.as_slice()).unwrap_or_default();
    if !addresses.is_empty() {
        let uris = addresses.iter().map(|address| format!("mailto:{address}")).collect::<Vec<_>>();
        value = format!("{value}; rua={}", uris.join(","));
    }
    Expected::text(DnsRecordKind::Dmarc, format!("_dmarc.{}", wanted.domain), value)
}

/// A policy as it stands in a record.
pub(super) fn policy_word(policy: DmarcPolicy) -> &'static str {
    match policy {
        DmarcPolicy::None => "none",
        DmarcPolicy::Quarantine => "quarantine",
        DmarcPolicy::Reject => "reject",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::crd::DmarcSpec;

    /// `example.com` on `mail.example.net`.
    pub(in crate::dns) fn wanted() -> Wanted {
        Wanted {
            domain: DomainName::parse("example.com").unwrap(),
            mail_host: DomainName::parse("mail.example.net").unwrap(),
            egress: Vec::new(),
            dkim: None,
            spec: DnsSpec::default(),
        }
    }

    #[test]
    fn the_records_are_ready_to_paste() {
        let lines = expected(&wanted()).iter().map(Expected::zone_line).collect::<Vec<_>>();
        assert_eq!(
            lines,
            [
                "example.com. IN MX 10 mail.example.net.",
                "example.com. IN TXT \"v=spf1 mx -all\"",
                "_dmarc.example.com. IN TXT \"v=DMARC1; p=quarantine\"",
            ]
        );
    }

    #[test]
    fn other_sending_addresses_are_part_of_the_spf_record() {
        let egress = vec!["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()];
        let record = spf(&Wanted { egress, ..wanted() });
        assert_eq!(record.value, "v=spf1 mx ip4:192.0.2.7 ip6:2001:db8::7 -all");
    }

    #[test]
    fn a_long_key_is_split_for_the_zone_file_and_whole_for_a_form() {
        let record = format!("v=DKIM1;k=rsa;p={}", "A".repeat(300));
        let key =
            DkimKey { selector: "dkim".into(), key_size: 2048, record: record.clone(), public_key: String::new() };
        let found = dkim(&Wanted { dkim: Some(key), ..wanted() }).unwrap();
        assert_eq!((found.name.as_str(), &found.value), ("dkim._domainkey.example.com", &record));
        assert_eq!(found.zone_value, format!("\"{}\" \"{}\"", &record[..255], &record[255..]));
    }

    #[test]
    fn demanded_policy_and_reports_are_part_of_the_dmarc_record() {
        let report_to = vec!["a@example.com".to_owned(), "b@example.org".to_owned()];
        let dmarc_spec = DmarcSpec { policy: Some(DmarcPolicy::Reject), report_to };
        let spec = DnsSpec { dmarc: Some(dmarc_spec), ..DnsSpec::default() };
        let record = dmarc(&Wanted { spec, ..wanted() });
        assert_eq!(record.value, "v=DMARC1; p=reject; rua=mailto:a@example.com,mailto:b@example.org");
    }
}
