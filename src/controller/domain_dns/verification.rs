//! DNS verification of a domain: when it is due, what is checked, what is stored.

use std::time::Duration;

use crate::config::{DnsMode, DnsSettings};
use crate::controller::driver::context::Context;
use crate::crd::{DEFAULT_SERVER, DnsRecordKind, DnsRecordStatus, EmailDomain, EmailDomainStatus};
use crate::desired;
use crate::dns::{self, Expected, Mode, Options, Wanted};
use crate::mail::{DkimKey, DomainName};
use crate::status::ReconcileRequest;

/// How lookups are made.
pub(crate) fn options(settings: &DnsSettings) -> Options {
    Options {
        resolvers: settings.dns_resolvers.clone(),
        mode: match settings.dns_mode {
            DnsMode::Authoritative => Mode::Authoritative,
            DnsMode::Recursive => Mode::Recursive,
        },
        allow_private: settings.dns_allow_private,
        authoritative_port: settings.dns_authoritative_port,
        https_port: settings.policy_port,
        smtp_port: settings.smtp_port,
        certificate_authority: settings.policy_ca_file.as_ref().and_then(|path| std::fs::read_to_string(path).ok()),
        ..Options::default()
    }
}

/// Whether the spec is new to DNS, or a check is requested.
pub(crate) fn is_asked(before: &EmailDomainStatus, request: &ReconcileRequest) -> bool {
    before.dns.as_ref().is_none_or(|dns| {
        dns.last_handled_reconcile_at != request.requested_at || dns.observed_generation != request.generation
    })
}

/// The results for the records: checked again if due, otherwise the last ones.
pub(crate) async fn records(
    wanted: Option<&Wanted>,
    ctx: &Context,
    before: &EmailDomainStatus,
    request: &ReconcileRequest,
) -> Vec<DnsRecordStatus> {
    let known = before.dns.as_ref().map(|dns| dns.records.as_slice()).unwrap_or_default();
    match wanted.filter(|wanted| is_due(wanted, known, before, request)) {
        Some(wanted) => check(wanted, ctx, known).await,
        None => known.to_vec(),
    }
}

/// Whether a check is due, an expected value changed, or a check is requested.
fn is_due(wanted: &Wanted, known: &[DnsRecordStatus], before: &EmailDomainStatus, request: &ReconcileRequest) -> bool {
    let key = dns::expected(wanted).into_iter().find(|record| record.kind == DnsRecordKind::Dkim);
    let is_known = |key: Expected| {
        let is_it = |r: &DnsRecordStatus| r.kind == key.kind && r.name == key.name;
        known.iter().any(|record| is_it(record) && record.expected.contains(&key.zone_value))
    };
    is_asked(before, request) || is_time(known, request) || !key.is_none_or(is_known)
}

/// Checks the records and settles the verdicts.
async fn check(wanted: &Wanted, ctx: &Context, known: &[DnsRecordStatus]) -> Vec<DnsRecordStatus> {
    let verdicts = dns::check(&ctx.lookup, wanted).await;
    let (now, jitter) = (crate::clock::now().0, rand::random_range(-1.0..1.0));
    let records = dns::settle_all(known, verdicts, &wanted.spec.required, now, jitter);
    for record in &records {
        ctx.metrics.dns_verdict(record.kind.as_str(), record.verdict.as_str());
    }
    records
}

/// How long until the next check.
pub(crate) fn wait(records: &[DnsRecordStatus], request: &ReconcileRequest) -> Duration {
    let next = records.iter().filter_map(|record| record.next_check.as_ref()).min();
    let until = next.map(|next| next.0.duration_since(request.now.0));
    until.map_or(Duration::MAX, |until| Duration::try_from(until).unwrap_or_default().max(Duration::from_secs(1)))
}

fn is_time(records: &[DnsRecordStatus], request: &ReconcileRequest) -> bool {
    records.is_empty() || records.iter().any(|r| r.next_check.as_ref().is_none_or(|next| next.0 <= request.now.0))
}

/// The expected records; empty while the mail host is unknown.
pub(crate) fn wanted(object: &EmailDomain, ctx: &Context, before: &EmailDomainStatus) -> Option<Wanted> {
    // Only namespaces that may use the server see its host names.
    if !ctx.settings.may_use_server(&object.spec.server, object.metadata.namespace.as_deref()) {
        return None;
    }
    Some(Wanted {
        domain: desired::domain_name(&object.spec).ok()?,
        mail_host: ctx.mail_host(&object.spec.server).and_then(|host| DomainName::parse(&host).ok())?,
        egress: if object.spec.server == DEFAULT_SERVER { ctx.settings.dns.egress_ips.clone() } else { Vec::new() },
        certificate_authority: ctx.settings.dns.certificate_authority.clone(),
        dkim: key_of(before),
        spec: object.spec.dns.clone().unwrap_or_default(),
    })
}

/// The DKIM key last read from Mailcow.
fn key_of(status: &EmailDomainStatus) -> Option<DkimKey> {
    let dkim = status.dkim.as_ref()?;
    DkimKey::of_record(&dkim.selector, dkim.key_size, &dkim.record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::{DkimStatus, DnsVerdict};

    #[test]
    fn the_key_is_read_back_from_the_status() {
        let record = "v=DKIM1;k=rsa;t=s;s=email;p=MIIB".to_owned();
        let dkim = DkimStatus { selector: "dkim".into(), key_size: 2048, record };
        let status = EmailDomainStatus { dkim: Some(dkim), ..EmailDomainStatus::default() };
        assert_eq!(key_of(&status).unwrap().public_key, "MIIB");
        assert!(key_of(&EmailDomainStatus::default()).is_none());
    }

    #[test]
    fn labels_are_the_words_of_the_status() {
        assert_eq!(DnsRecordKind::Dmarc.as_str(), "DMARC");
        assert_eq!(DnsVerdict::TempError.as_str(), "TempError");
    }
}
