//! What has to be published.

use std::net::IpAddr;

use sha2::{Digest, Sha256};

use super::presentation::quoted;
use crate::crd::{DmarcPolicy, DnsRecordKind, DnsSpec};
use crate::mail::{DkimKey, DomainName, hex};

/// What a mail domain's DNS has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The mail domain.
    pub domain: DomainName,
    /// Mailcow's host name.
    pub mail_host: DomainName,
    /// The addresses that Mailcow sends from, when they are not those of `mail_host`; empty: those of `mail_host`.
    pub egress: Vec<IpAddr>,
    /// The certificate authority that Mailcow's certificates come from, as CAA records name it: `letsencrypt.org`.
    pub certificate_authority: String,
    /// The DKIM key that Mailcow signs with; `None` when it has none yet.
    pub dkim: Option<DkimKey>,
    /// What the user demands.
    pub spec: DnsSpec,
}

/// The longest string of a TXT record, in bytes (RFC 1035, section 3.3).
const STRING_BYTES: usize = 255;

/// A record to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Which row of the status it belongs to.
    pub kind: DnsRecordKind,
    /// The owner name, without the last dot.
    pub name: String,
    /// `MX`, `TXT`, `CNAME` or `SRV`.
    pub record_type: &'static str,
    /// The value in one piece and without quotes, as web forms take it.
    pub value: String,
    /// The value in the presentation format of zone files: absolute names, quoted strings of at most 255 bytes (RFC 1035,
    /// sections 3.3 and 5.1).
    pub zone_value: String,
}

impl Expected {
    fn text(kind: DnsRecordKind, name: String, value: String) -> Self {
        let zone_value = quoted(value.as_bytes());
        Self { kind, name, record_type: "TXT", value, zone_value }
    }

    fn of(kind: DnsRecordKind, name: String, record_type: &'static str, value: String) -> Self {
        Self { kind, name, record_type, zone_value: value.clone(), value }
    }

    /// The value in pieces of at most 255 bytes, without quotes, for providers that want a long text so.
    pub fn pieces(&self) -> Vec<String> {
        let pieces = self.value.as_bytes().chunks(STRING_BYTES);
        pieces.map(|piece| String::from_utf8_lossy(piece).into_owned()).collect()
    }

    /// The whole line of a zone file.
    pub fn zone_line(&self) -> String {
        format!("{}. IN {} {}", self.name, self.record_type, self.zone_value)
    }
}

impl Wanted {
    /// Whether a row is looked up: the four that mail needs always, the others when they are required.
    pub fn asks_for(&self, kind: DnsRecordKind) -> bool {
        let always = [DnsRecordKind::Mx, DnsRecordKind::Spf, DnsRecordKind::Dkim, DnsRecordKind::Dmarc];
        always.contains(&kind) || self.spec.required.contains(&kind)
    }
}

/// The records to publish in the domain's zone, in the order of the rows, for the rows that are looked up.
///
/// There is none for DKIM while Mailcow has no key, nor for what is in another zone (TLSA, PTR), what is best left out
/// (CAA), or only the owner knows (BIMI).
pub fn expected(wanted: &Wanted) -> Vec<Expected> {
    let mut rows = vec![mx(wanted), spf(wanted)];
    rows.extend(dkim(wanted));
    rows.push(dmarc(wanted));
    rows.extend([cname(wanted, DnsRecordKind::Autodiscover), cname(wanted, DnsRecordKind::Autoconfig)]);
    rows.extend(SERVICES.iter().filter(|service| service.demanded).map(|service| srv(wanted, service)));
    rows.extend([sts(wanted), cname(wanted, DnsRecordKind::MtaSts), tls_rpt(wanted)]);
    rows.retain(|row| wanted.asks_for(row.kind));
    rows
}

/// What the status shows as expected for a record.
pub(super) fn expected_values(wanted: &Wanted, kind: DnsRecordKind, name: &str) -> Vec<String> {
    let known = expected(wanted).into_iter().filter(|record| record.kind == kind && record.name == name);
    known.map(|record| record.zone_value).collect()
}

/// A service that mail clients look for by an SRV record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Service {
    /// The first label.
    pub(super) label: &'static str,
    /// Mailcow's port for it.
    pub(super) port: u16,
    /// Whether it has to be there; the others are only looked at when they are.
    pub(super) demanded: bool,
    /// The path that a TXT record beside it has to name (RFC 6764, section 4).
    pub(super) path: Option<&'static str>,
}

impl Service {
    const fn new(label: &'static str, port: u16, demanded: bool) -> Self {
        Self { label, port, demanded, path: None }
    }

    const fn with_path(label: &'static str) -> Self {
        Self { label, port: 443, demanded: false, path: Some("/SOGo/dav/") }
    }

    /// The name of its records.
    pub(super) fn name(&self, domain: &DomainName) -> String {
        format!("{}._tcp.{domain}", self.label)
    }
}

/// Mailcow's services (RFC 6186, RFC 8314, RFC 5804, RFC 6764).
pub(super) const SERVICES: [Service; 9] = [
    Service::new("_autodiscover", 443, true),
    Service::new("_imaps", 993, true),
    Service::new("_submissions", 465, true),
    Service::new("_submission", 587, false),
    Service::new("_imap", 143, false),
    Service::new("_pop3s", 995, false),
    Service::new("_sieve", 4190, false),
    Service::with_path("_caldavs"),
    Service::with_path("_carddavs"),
];

/// The host names that a domain has beside Mailcow's own.
pub(super) fn own_host(wanted: &Wanted, kind: DnsRecordKind) -> String {
    let label = match kind {
        DnsRecordKind::Autodiscover => "autodiscover",
        DnsRecordKind::Autoconfig => "autoconfig",
        _ => "mta-sts",
    };
    format!("{label}.{}", wanted.domain)
}

fn cname(wanted: &Wanted, kind: DnsRecordKind) -> Expected {
    Expected::of(kind, own_host(wanted, kind), "CNAME", format!("{}.", wanted.mail_host))
}

fn srv(wanted: &Wanted, service: &Service) -> Expected {
    let value = format!("0 1 {} {}.", service.port, wanted.mail_host);
    Expected::of(DnsRecordKind::Srv, service.name(&wanted.domain), "SRV", value)
}

/// Senders fetch the policy again when the id changes; ours changes with the host that the policy names.
fn sts(wanted: &Wanted) -> Expected {
    let digest = Sha256::digest(format!("{} {}", wanted.domain, wanted.mail_host));
    let id = hex(digest.get(..8).unwrap_or_default());
    Expected::text(DnsRecordKind::MtaSts, format!("_mta-sts.{}", wanted.domain), format!("v=STSv1; id={id}"))
}

fn tls_rpt(wanted: &Wanted) -> Expected {
    let reports = wanted.spec.dmarc.as_ref().and_then(|dmarc| dmarc.report_to.first().cloned());
    let address = reports.unwrap_or_else(|| format!("postmaster@{}", wanted.domain));
    let name = format!("_smtp._tls.{}", wanted.domain);
    Expected::text(DnsRecordKind::TlsRpt, name, format!("v=TLSRPTv1; rua=mailto:{address}"))
}

fn mx(wanted: &Wanted) -> Expected {
    let value = format!("10 {}.", wanted.mail_host);
    Expected::of(DnsRecordKind::Mx, wanted.domain.to_string(), "MX", value)
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

/// The name of a DKIM key (RFC 6376, section 3.6.2.1).
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

/// A policy, as records write it.
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
            certificate_authority: "letsencrypt.org".to_owned(),
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
    fn the_other_records_are_there_when_they_are_asked_for() {
        let mut asking = wanted();
        asking.spec.required = vec![DnsRecordKind::Autodiscover, DnsRecordKind::Srv, DnsRecordKind::MtaSts];
        let lines = expected(&asking).iter().skip(3).map(Expected::zone_line).collect::<Vec<_>>();
        assert_eq!(
            lines,
            [
                "autodiscover.example.com. IN CNAME mail.example.net.",
                "_autodiscover._tcp.example.com. IN SRV 0 1 443 mail.example.net.",
                "_imaps._tcp.example.com. IN SRV 0 1 993 mail.example.net.",
                "_submissions._tcp.example.com. IN SRV 0 1 465 mail.example.net.",
                "_mta-sts.example.com. IN TXT \"v=STSv1; id=4c8d60d0d93df95a\"",
                "mta-sts.example.com. IN CNAME mail.example.net.",
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
