//! What is printed for a zone is what a reader of zones finds in it.

#![expect(clippy::unwrap_used, reason = "a zone that can't be read is a failed test")]

use std::collections::BTreeSet;

use hickory_resolver::proto::rr::{Name, RData};
use hickory_resolver::proto::serialize::txt::Parser;
use mailcow_operator::crd::{DnsRecordKind, DnsSpec};
use mailcow_operator::dns::{Wanted, expected, publish};
use mailcow_operator::mail::{DkimKey, DomainName};
use proptest::prelude::*;

/// All rows, with this text as the DKIM record.
fn wanted(record: String) -> Wanted {
    let required = [
        DnsRecordKind::Autodiscover,
        DnsRecordKind::Autoconfig,
        DnsRecordKind::Srv,
        DnsRecordKind::MtaSts,
        DnsRecordKind::TlsRpt,
    ];
    Wanted {
        domain: DomainName::parse("example.com").unwrap(),
        mail_host: DomainName::parse("mail.host.test").unwrap(),
        egress: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        certificate_authority: String::new(),
        dkim: Some(DkimKey { selector: "dkim".into(), key_size: 2048, record, public_key: String::new() }),
        spec: DnsSpec { required: required.to_vec(), ..DnsSpec::default() },
    }
}

/// Name, type and value of each record, as a reader of zones finds them; strings of a text joined, names with a dot.
fn read(zone: &str) -> BTreeSet<(String, String, Vec<u8>)> {
    let origin = Name::from_ascii("example.com.").unwrap();
    let text = format!("$TTL 60\n@ SOA ns hostmaster 1 2 3 4 5\n{zone}");
    let (_, sets) = Parser::new(text, None, Some(origin)).parse().unwrap();
    let records = sets.values().flat_map(|set| set.records_without_rrsigs());
    let told = records.filter(|record| !matches!(record.data, RData::SOA(_))).map(|record| {
        let value = match &record.data {
            RData::TXT(text) => {
                assert!(text.txt_data.iter().all(|piece| piece.len() <= 255));
                text.txt_data.concat()
            }
            other => other.to_string().into_bytes(),
        };
        (record.name.to_string(), record.record_type().to_string(), value)
    });
    told.collect()
}

/// The same as we mean it.
fn meant(wanted: &Wanted) -> BTreeSet<(String, String, Vec<u8>)> {
    let records = expected(wanted).into_iter();
    records.map(|r| (format!("{}.", r.name), r.record_type.to_owned(), r.value.into_bytes())).collect()
}

#[test]
fn every_row_is_read_back_from_the_zone() {
    let wanted = wanted(format!("v=DKIM1;k=rsa;p={}", "A".repeat(700)));
    let records = expected(&wanted);
    let types: BTreeSet<&str> = records.iter().map(|record| record.record_type).collect();
    assert_eq!(types, BTreeSet::from(["CNAME", "MX", "SRV", "TXT"]));
    assert_eq!(read(&publish::zone("example.com", &records)), meant(&wanted));
}

proptest! {
    // Printable ASCII, which is all that mail's records may hold: this reader takes `\DDD` for something else than the
    // byte of RFC 1035, section 5.1.
    #[test]
    fn any_text_is_read_back_from_the_zone(record in "([ -~]|[;\"\\\\()@$ ]){1,700}") {
        let wanted = wanted(record);
        let zone = publish::zone("example.com", &expected(&wanted));
        prop_assert_eq!(read(&zone), meant(&wanted));
    }
}
