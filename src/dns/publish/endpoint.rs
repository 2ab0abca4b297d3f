//! Records in the format of external-dns: one set for each name and type, with targets in the format of the type.

use serde::{Deserialize, Serialize};

use super::super::wanted::Expected;
use crate::crd::DnsRecordKind;

/// One set of records: a name, a type and all its values, as in `DNSEndpoint` of external-dns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// The owner name, without the last dot.
    pub dns_name: String,
    /// `MX`, `TXT`, `CNAME` or `SRV`.
    pub record_type: String,
    /// The values: `10 mail.example.com` for MX, `0 1 443 mail.example.com.` for SRV, TXT in one piece without quotes.
    pub targets: Vec<String>,
}

/// The records of one purpose, which go into one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purpose {
    /// What they are for.
    pub kind: DnsRecordKind,
    /// The sets, sorted.
    pub endpoints: Vec<Endpoint>,
}

impl Purpose {
    /// The word of the purpose in names and labels: `mx`, `spf`, …
    pub fn word(&self) -> String {
        self.kind.as_str().to_ascii_lowercase()
    }
}

/// The records by purpose. `apex_txt` are other texts at the domain's own name, which go beside SPF: external-dns
/// replaces a whole set. Types that external-dns does not know (TLSA, CAA, …) are left out.
pub fn purposes(records: &[Expected], apex_txt: &[String]) -> Vec<Purpose> {
    let mut purposes: Vec<Purpose> = Vec::new();
    for record in records {
        let Some(target) = target(record) else { continue };
        if let Some(purpose) = purposes.iter_mut().find(|purpose| purpose.kind == record.kind) {
            add(&mut purpose.endpoints, record, target);
            continue;
        }
        let mut endpoints = Vec::new();
        add(&mut endpoints, record, target);
        purposes.push(Purpose { kind: record.kind, endpoints });
    }
    for purpose in purposes.iter_mut().filter(|purpose| purpose.kind == DnsRecordKind::Spf) {
        for endpoint in &mut purpose.endpoints {
            endpoint.targets.extend(apex_txt.iter().cloned());
        }
    }
    for endpoint in purposes.iter_mut().flat_map(|purpose| &mut purpose.endpoints) {
        endpoint.targets.sort();
        endpoint.targets.dedup();
    }
    purposes
}

fn add(endpoints: &mut Vec<Endpoint>, record: &Expected, target: String) {
    let same = |e: &&mut Endpoint| e.dns_name == record.name && e.record_type == record.record_type;
    if let Some(endpoint) = endpoints.iter_mut().find(same) {
        endpoint.targets.push(target);
        return;
    }
    let (dns_name, record_type) = (record.name.clone(), record.record_type.to_owned());
    endpoints.push(Endpoint { dns_name, record_type, targets: vec![target] });
    endpoints.sort_by(|a, b| (&a.dns_name, &a.record_type).cmp(&(&b.dns_name, &b.record_type)));
}

/// The value in the form that external-dns wants for the type; `None` where it does not know the type.
fn target(record: &Expected) -> Option<String> {
    match record.record_type {
        "MX" | "CNAME" => Some(record.value.trim_end_matches('.').to_owned()),
        "SRV" => Some(format!("{}.", record.value.trim_end_matches('.'))),
        "TXT" => Some(record.value.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: DnsRecordKind, name: &str, record_type: &'static str, value: &str) -> Expected {
        let (value, zone_value) = (value.to_owned(), value.to_owned());
        Expected { kind, name: name.to_owned(), record_type, value, zone_value }
    }

    #[test]
    fn each_type_has_the_form_that_external_dns_wants() {
        let form = |record_type, value| target(&record(DnsRecordKind::Mx, "d", record_type, value));
        assert_eq!(form("MX", "10 mail.example.com."), Some("10 mail.example.com".to_owned()));
        assert_eq!(form("SRV", "0 1 443 mail.example.com"), Some("0 1 443 mail.example.com.".to_owned()));
        assert_eq!(form("CNAME", "mail.example.com."), Some("mail.example.com".to_owned()));
        assert_eq!(form("TXT", "v=spf1 mx -all"), Some("v=spf1 mx -all".to_owned()));
        assert_eq!((form("TLSA", "3 1 1 ab"), form("CAA", "0 issue x")), (None, None));
    }

    #[test]
    fn there_is_one_set_for_each_name_and_type_and_one_purpose_for_each_kind() {
        let records = [
            record(DnsRecordKind::Mx, "d", "MX", "10 a."),
            record(DnsRecordKind::Mx, "d", "MX", "20 b."),
            record(DnsRecordKind::Dkim, "k.d", "TXT", "v=DKIM1"),
        ];
        let purposes = purposes(&records, &["site=1".to_owned()]);
        assert_eq!(purposes.iter().map(Purpose::word).collect::<Vec<_>>(), ["mx", "dkim"]);
        assert_eq!(purposes[0].endpoints[0].targets, ["10 a", "20 b"]);
        assert_eq!(purposes[1].endpoints[0].targets, ["v=DKIM1"]);
    }

    #[test]
    fn other_texts_of_the_apex_go_beside_spf() {
        let records = [record(DnsRecordKind::Spf, "d", "TXT", "v=spf1 mx -all")];
        let purposes = purposes(&records, &["site=1".to_owned(), "site=1".to_owned()]);
        assert_eq!(purposes[0].endpoints[0].targets, ["site=1", "v=spf1 mx -all"]);
    }
}
