//! `dns`: what to publish for a domain, and what DNS shows.

use std::net::{IpAddr, SocketAddr};

use clap::{Args, ValueEnum};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::cluster::{Cluster, Scope};
use super::failure::{Failure, nearest};
use super::flags::{ClusterFlags, Output};
use super::operator;
use super::show::{Show, Tone, head, plain};
use crate::config::{CERTIFICATE_AUTHORITY, DnsMode, resolver};
use crate::crd::{DEFAULT_SERVER, DnsRecordKind, DnsRecordStatus, DnsSpec, DnsVerdict, EmailDomain, OwnershipStatus};
use crate::desired;
use crate::dns::{Expected, Lookup, Mode, Options, Wanted, check, expected, publish, settle_all};
use crate::mail::{DkimKey, DomainName};

/// Options of `dns`.
#[derive(Clone, Debug, Args)]
pub struct DnsFlags {
    /// The domain name, or the name of its object.
    #[arg(add = super::completion::domains())]
    pub domain: String,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
    /// Ask DNS now, instead of showing the operator's last checks.
    #[arg(long)]
    pub live: bool,
    /// Host name of the mail server in MX records. With this option the command needs no cluster.
    #[arg(long, value_name = "HOST")]
    pub mail_host: Option<String>,
    /// Without a cluster: the DKIM key that Mailcow shows, as selector=record.
    #[arg(long, value_name = "SELECTOR=RECORD", requires = "mail_host", value_parser = dkim)]
    pub dkim: Option<DkimKey>,
    /// Without a cluster: the IP addresses that mail leaves from, if they are not those of the mail host.
    #[arg(long, value_name = "IP", value_delimiter = ',', requires = "mail_host")]
    pub egress_ips: Vec<IpAddr>,
    /// Without a cluster: the records that are required, such as MX,SPF,DKIM,DMARC,MTASTS. Default: the first four.
    #[arg(long, value_name = "TYPE", value_delimiter = ',', requires = "mail_host", value_parser = record_kind)]
    pub required: Vec<DnsRecordKind>,
    /// With --live: the certificate authority of Mailcow's certificates, as CAA records name it. Default: the operator's,
    /// otherwise letsencrypt.org.
    #[arg(long, value_name = "NAME")]
    pub certificate_authority: Option<String>,
    /// With --live: recursive resolvers, as address or address:port. Default: the resolvers of the system.
    #[arg(long, value_name = "IP", value_delimiter = ',', value_parser = resolver)]
    pub dns_resolvers: Vec<SocketAddr>,
    /// With --live: which servers to ask.
    #[arg(long, value_enum, default_value_t = DnsMode::Authoritative)]
    pub dns_mode: DnsMode,
    /// With --live: also ask name servers and hosts with private addresses, such as 10.0.0.0/8.
    #[arg(long)]
    pub dns_allow_private: bool,
    /// Port of authoritative name servers. Not 53 only in tests.
    #[arg(long, default_value_t = 53, hide = true)]
    pub dns_authoritative_port: u16,
}

/// The output format of `dns`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Each record with its verdict, and what to change.
    #[default]
    #[value(alias = "text")]
    Table,
    /// What to type into the web form of a DNS provider: each value in one piece.
    Form,
    /// Lines of a zone file.
    Zone,
    /// Terraform: a map of the records for any provider, with values in one piece and in pieces of 255 bytes.
    Terraform,
    /// Objects for external-dns.
    Dnsendpoint,
    /// JSON: the records to publish, and the verdicts.
    Json,
    /// The same as YAML.
    Yaml,
}

/// What is known of a domain.
struct Domain {
    /// The namespace of its object, if there is one, for the names of `DNSEndpoint` objects.
    namespace: Option<String>,
    /// The name of its object.
    name: String,
    wanted: Wanted,
    /// The operator's last results.
    records: Vec<DnsRecordStatus>,
    ownership: Option<OwnershipStatus>,
}

/// Runs the command.
pub(super) async fn run(cluster: &ClusterFlags, flags: &DnsFlags, show: &Show) -> Result<(), Failure> {
    let mut domain = match &flags.mail_host {
        Some(host) => offline(flags, host)?,
        None => of_cluster(&Cluster::connect(cluster).await?, flags, show).await?,
    };
    let has_verdicts = matches!(flags.output, Format::Table | Format::Json | Format::Yaml);
    if flags.live && has_verdicts {
        show.progress(&format!("asking DNS about {}", domain.wanted.domain));
        let records = ask(flags, &domain.wanted).await;
        show.progress("");
        domain.records = records?;
    }
    if flags.mail_host.is_some() && flags.dkim.is_none() {
        domain.records.retain(|record| record.kind != DnsRecordKind::Dkim);
        show.note("DKIM is left out, because the key is unknown: give it with --dkim SELECTOR=RECORD");
    }
    if let Some(proof) = domain.ownership.as_ref().filter(|proof| !proof.verified && !has_verdicts) {
        show.note(&format!(
            "the ownership of the domain is proven by another record: {}. IN TXT {:?}",
            proof.name, proof.value
        ));
    }
    let records = expected(&domain.wanted);
    match flags.output {
        Format::Table => Show::write(&table(&domain, &records, show))?,
        Format::Form => Show::write(&publish::table(&records))?,
        Format::Zone => Show::write(&publish::zone(domain.wanted.domain.as_str(), &records))?,
        Format::Terraform => Show::write(&publish::terraform(&records))?,
        Format::Dnsendpoint => Show::write(&endpoints(&domain, &records)?)?,
        Format::Json => Show::answer(Output::Json, &answer(&domain, &records)?, String::new)?,
        Format::Yaml => Show::answer(Output::Yaml, &answer(&domain, &records)?, String::new)?,
    }
    let is_bad = |record: &DnsRecordStatus| record.required && record.verdict != DnsVerdict::Verified;
    if has_verdicts && domain.records.iter().any(is_bad) { Err(Failure::No) } else { Ok(()) }
}

/// A domain that is known only from the options.
fn offline(flags: &DnsFlags, host: &str) -> Result<Domain, Failure> {
    let name = DomainName::parse(&flags.domain).map_err(|error| Failure::wrong(error.to_string()))?;
    let mail_host = DomainName::parse(host).map_err(|error| Failure::wrong(format!("--mail-host: {error}")))?;
    let mut spec = DnsSpec::default();
    if !flags.required.is_empty() {
        spec.required.clone_from(&flags.required);
    }
    let wanted = Wanted {
        domain: name.clone(),
        mail_host,
        egress: flags.egress_ips.clone(),
        certificate_authority: flags.certificate_authority.clone().unwrap_or_else(|| CERTIFICATE_AUTHORITY.to_owned()),
        dkim: flags.dkim.clone(),
        spec,
    };
    Ok(Domain { namespace: None, name: name.to_string(), wanted, records: Vec::new(), ownership: None })
}

/// A domain of the cluster, by its name or by that of its object.
async fn of_cluster(cluster: &Cluster, flags: &DnsFlags, show: &Show) -> Result<Domain, Failure> {
    let all: Vec<EmailDomain> = cluster.list(&Scope::In(cluster.namespace.clone()), None).await?;
    let asked = DomainName::parse(&flags.domain).ok();
    let is_it = |object: &&EmailDomain| {
        object.name_any() == flags.domain || asked.is_some() && desired::domain_name(&object.spec).ok() == asked
    };
    let Some(object) = all.iter().find(is_it) else {
        let known: Vec<String> =
            all.iter().flat_map(|object| [object.name_any(), object.spec.domain.clone()]).collect();
        let near = nearest(&flags.domain, known.iter().map(String::as_str));
        return Err(Failure::wrong(format!(
            "there is no EmailDomain {} in the namespace {}{near}; without one, use --mail-host HOST",
            flags.domain, cluster.namespace
        )));
    };
    let status = object.status.clone().unwrap_or_default();
    let records = status.dns.map(|dns| dns.records).unwrap_or_default();
    let (mail_host, egress) = hosts(&records).ok_or_else(|| {
        Failure::wrong(format!(
            "the operator has not checked the DNS of {} yet, so that its mail host is unknown; see kubectl email status {}, or use --mail-host HOST",
            object.spec.domain,
            object.name_any()
        ))
    })?;
    let mut wanted = Wanted {
        domain: desired::domain_name(&object.spec).map_err(|error| Failure::wrong(error.to_string()))?,
        mail_host,
        egress,
        // Only a live check needs it.
        certificate_authority: CERTIFICATE_AUTHORITY.to_owned(),
        dkim: status.dkim.as_ref().and_then(|key| DkimKey::of_record(&key.selector, key.key_size, &key.record)),
        spec: object.spec.dns.clone().unwrap_or_default(),
    };
    if flags.live && wanted.asks_for(DnsRecordKind::Caa) {
        wanted.certificate_authority = certificate_authority(cluster, flags, show).await?;
    }
    Ok(Domain { namespace: object.namespace(), name: object.name_any(), wanted, records, ownership: status.ownership })
}

/// The certificate authority that CAA records must allow: that of the flags or of the installed operator.
async fn certificate_authority(cluster: &Cluster, flags: &DnsFlags, show: &Show) -> Result<String, Failure> {
    if let Some(given) = &flags.certificate_authority {
        return Ok(given.clone());
    }
    let installed = match operator::of_namespace(cluster, None, DEFAULT_SERVER).await {
        Err(unreachable @ Failure::Unreachable(_)) => return Err(unreachable),
        installed => installed.and_then(|installed| Ok(installed.options()?.dns.certificate_authority.clone())),
    };
    Ok(installed.unwrap_or_else(|failure| {
        show.note(&format!(
            "the operator's certificate authority is unknown, so CAA is judged for {CERTIFICATE_AUTHORITY}: {}; give it with --certificate-authority NAME",
            failure.problems().join("; ")
        ));
        CERTIFICATE_AUTHORITY.to_owned()
    }))
}

/// The mail host and the sending addresses that the operator expects in DNS.
fn hosts(records: &[DnsRecordStatus]) -> Option<(DomainName, Vec<IpAddr>)> {
    let expected = |kind| records.iter().find(|record| record.kind == kind).and_then(|record| record.expected.first());
    let host = expected(DnsRecordKind::Mx)?.split_whitespace().nth(1)?;
    let spf = expected(DnsRecordKind::Spf).map_or("", String::as_str).replace('"', "");
    let address = |term: &str| term.strip_prefix("ip4:").or_else(|| term.strip_prefix("ip6:"))?.parse().ok();
    Some((DomainName::parse(host).ok()?, spf.split_whitespace().filter_map(address).collect()))
}

/// What DNS shows now.
async fn ask(flags: &DnsFlags, wanted: &Wanted) -> Result<Vec<DnsRecordStatus>, Failure> {
    let options = Options {
        resolvers: flags.dns_resolvers.clone(),
        mode: match flags.dns_mode {
            DnsMode::Authoritative => Mode::Authoritative,
            DnsMode::Recursive => Mode::Recursive,
        },
        allow_private: flags.dns_allow_private,
        authoritative_port: flags.dns_authoritative_port,
        ..Options::default()
    };
    let lookup = Lookup::new(options).map_err(|error| Failure::wrong(format!("{error}; use --dns-resolvers IP")))?;
    let verdicts = check(&lookup, wanted).await;
    let records = settle_all(&[], verdicts, &wanted.spec.required, crate::clock::now().0, 0.0);
    // Without a key nothing is asked about it.
    let mut asked = records.iter().filter(|record| record.kind != DnsRecordKind::Dkim || wanted.dkim.is_some());
    if !records.is_empty() && asked.all(|record| record.verdict == DnsVerdict::TempError) {
        let why = records.first().map_or("", |record| record.message.as_str());
        return Err(Failure::Unreachable(format!(
            "DNS can't be reached: {why}; allow port 53 (UDP and TCP), or use --dns-mode recursive or --dns-resolvers IP"
        )));
    }
    Ok(records)
}

/// The records, the bad ones first, each with what to publish, what is seen and what to do.
fn table(domain: &Domain, expected: &[Expected], show: &Show) -> String {
    let mut rows = vec![head(&["TYPE", "NAME", "VERDICT", "DETAILS"])];
    if let Some(proof) = &domain.ownership {
        let (word, tone) = if proof.verified { ("Verified", Tone::Good) } else { ("NotVerified", Tone::Bad) };
        rows.push(vec![
            plain("Ownership"),
            plain(proof.name.clone()),
            (word.to_owned(), tone),
            plain(proof.message.clone()),
        ]);
        if !proof.verified {
            rows.push(vec![plain(""), plain(""), plain(""), plain(format!("publish TXT: {:?}", proof.value))]);
        }
    }
    let mut records: Vec<&DnsRecordStatus> = domain.records.iter().collect();
    records.sort_by_key(|record| (record.verdict == DnsVerdict::Verified, !record.required));
    for record in records {
        let tone = match record.verdict {
            DnsVerdict::Verified => Tone::Good,
            DnsVerdict::TempError => Tone::Doubtful,
            _ if record.required => Tone::Bad,
            _ => Tone::Doubtful,
        };
        let more = if record.required { "" } else { " (optional)" };
        let mut details = vec![record.message.clone()];
        if record.verdict != DnsVerdict::Verified {
            let of = expected.iter().find(|expected| expected.kind == record.kind && expected.name == record.name);
            let kind = of.map_or("", |record| record.record_type);
            details.extend(record.hint.as_ref().map(|hint| format!("do: {hint}")));
            details.extend(record.expected.iter().map(|value| format!("publish {kind}: {value}")));
            details.extend(record.observed.iter().map(|value| format!("seen: {value}")));
        }
        details
            .extend(record.warnings.iter().map(|warning| format!("warning {}: {}", warning.reason, warning.message)));
        let verdict = format!("{}{more}", record.verdict.as_str());
        let mut first = vec![plain(record.kind.as_str()), plain(record.name.clone()), (verdict, tone)];
        for detail in details {
            first.push(plain(detail));
            rows.push(std::mem::replace(&mut first, vec![plain(""), plain(""), plain("")]));
        }
    }
    if domain.records.is_empty() {
        for record in expected {
            rows.push(vec![
                plain(record.kind.as_str()),
                plain(record.name.clone()),
                plain("not asked"),
                plain(format!("publish {}: {}", record.record_type, record.zone_value)),
            ]);
        }
    }
    show.table(&rows)
}

fn answer(domain: &Domain, records: &[Expected]) -> Result<Value, Failure> {
    let bad = |error: serde_json::Error| Failure::wrong(error.to_string());
    let publish: Value = serde_json::from_str(&publish::json(records)).map_err(bad)?;
    let mut verdicts = serde_json::to_value(&domain.records).map_err(bad)?;
    // Times are of the operator's own bookkeeping.
    for verdict in verdicts.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        for key in ["nextCheck", "failures", "failingSince", "lastAnswered"] {
            verdict.remove(key);
        }
    }
    let ownership = domain.ownership.as_ref();
    let proof = ownership.map(|proof| json!({"name": proof.name, "value": proof.value, "verified": proof.verified}));
    Ok(json!({"domain": domain.wanted.domain.as_str(), "publish": publish, "ownership": proof, "records": verdicts}))
}

/// The records as `DNSEndpoint` objects, named as the operator names them.
fn endpoints(domain: &Domain, records: &[Expected]) -> Result<String, Failure> {
    let mut documents = Vec::new();
    for purpose in publish::purposes(records, &domain.wanted.spec.apex_txt) {
        let mut metadata = json!({"name": format!("{}-{}", domain.name, purpose.word())});
        if let Some(namespace) = &domain.namespace {
            metadata["namespace"] = namespace.as_str().into();
        }
        let object = json!({
            "apiVersion": "externaldns.k8s.io/v1alpha1", "kind": "DNSEndpoint",
            "metadata": metadata, "spec": {"endpoints": purpose.endpoints},
        });
        documents.push(serde_yaml::to_string(&object).map_err(|error| Failure::wrong(error.to_string()))?);
    }
    Ok(documents.join("---\n"))
}

/// Reads `selector=record`.
fn dkim(text: &str) -> Result<DkimKey, String> {
    let bad = || format!("{text:?} is not selector=record, such as dkim=v=DKIM1;k=rsa;p=MIIB…");
    let (selector, record) = text.split_once('=').ok_or_else(bad)?;
    DkimKey::of_record(selector, 0, record.trim_matches('"')).filter(|_| !selector.is_empty()).ok_or_else(bad)
}

/// Reads a record type as the status writes it, in any case.
fn record_kind(text: &str) -> Result<DnsRecordKind, String> {
    let all = DnsRecordKind::ALL;
    all.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(text)).ok_or_else(|| {
        let names = all.map(DnsRecordKind::as_str).join(", ");
        format!("{text:?} is not a type of record: {names}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mail_host_and_the_sending_addresses_are_those_that_the_operator_expects() {
        let record = |kind: &str, expected: &str| -> DnsRecordStatus {
            serde_json::from_value(json!({
                "type": kind, "name": "d", "verdict": "Missing", "required": true, "expected": [expected],
                "message": "m", "source": "Authoritative",
            }))
            .unwrap()
        };
        let records =
            [record("MX", "10 mail.example.net."), record("SPF", "\"v=spf1 mx ip4:192.0.2.7 ip6:2001:db8::7 -all\"")];
        let (host, egress) = hosts(&records).unwrap();
        assert_eq!((host.as_str(), egress.len()), ("mail.example.net", 2));
        assert!(hosts(&records[1..]).is_none());
    }

    #[test]
    fn a_key_and_a_type_are_read_as_people_write_them() {
        let key = dkim("s1=\"v=DKIM1; k=rsa; p=MIIB\"").unwrap();
        assert_eq!((key.selector.as_str(), key.public_key.as_str()), ("s1", "MIIB"));
        for bad in ["s1", "=v=DKIM1;p=x", "s1=v=DKIM1"] {
            assert!(dkim(bad).is_err(), "{bad}");
        }
        assert_eq!(record_kind("mtasts").unwrap(), DnsRecordKind::MtaSts);
        assert!(record_kind("A").unwrap_err().contains("TLSRPT"));
    }
}
