//! DNS verification of a domain: when it is due, what it is asked for, what is kept of it.

use std::time::Duration;

use crate::config::{DnsMode, DnsSettings};
use crate::controller::driver::context::Context;
use crate::crd::{DEFAULT_SERVER, DnsRecordStatus, EmailDomain, EmailDomainStatus};
use crate::dns::{self, Mode, Options, Wanted};
use crate::mail::{DkimKey, DomainName};
use crate::status::{DomainSeen, ReconcileRequest};

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

/// Whether it is time to look, something that is expected changed, or somebody asks.
pub(crate) fn is_due(
    wanted: &Wanted,
    before: &EmailDomainStatus,
    seen: &DomainSeen,
    request: &ReconcileRequest,
) -> bool {
    let is_asked =
        before.last_handled_reconcile_at != request.requested_at || before.observed_generation != request.generation;
    let expects_other = wanted.dkim.as_ref().map(|key| &key.record) != before.dkim.as_ref().map(|key| &key.record);
    is_asked || expects_other || is_time(&seen.dns, request)
}

/// Looks the records up and settles what counts.
pub(crate) async fn check(wanted: &Wanted, ctx: &Context, before: &EmailDomainStatus) -> Vec<DnsRecordStatus> {
    let verdicts = dns::check(&ctx.lookup, wanted).await;
    let (now, jitter) = (crate::clock::now().0, rand::random_range(-1.0..1.0));
    let settled = dns::settle_all(before.dns.as_ref(), verdicts, &wanted.spec.required, now, jitter);
    for record in &settled.records {
        ctx.metrics.dns_verdict(record.kind.as_str(), record.verdict.as_str());
    }
    settled.records
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

/// What DNS has to say; nothing while the mail host is not known.
pub(crate) fn wanted(
    object: &EmailDomain,
    ctx: &Context,
    seen: &DomainSeen,
    before: &EmailDomainStatus,
) -> Option<Wanted> {
    let key = seen.have.as_ref().and_then(|have| have.dkim.clone());
    Some(Wanted {
        domain: seen.name.clone()?,
        mail_host: ctx.mail_host(&object.spec.server).and_then(|host| DomainName::parse(&host).ok())?,
        egress: if object.spec.server == DEFAULT_SERVER { ctx.settings.dns.egress_ips.clone() } else { Vec::new() },
        certificate_authority: ctx.settings.dns.certificate_authority.clone(),
        dkim: key.or_else(|| last_key(before)),
        spec: object.spec.dns.clone().unwrap_or_default(),
    })
}

/// The key that was last seen, for when Mailcow can't be asked.
fn last_key(status: &EmailDomainStatus) -> Option<DkimKey> {
    let dkim = status.dkim.as_ref()?;
    let public_key = dkim.record.split(';').find_map(|tag| tag.trim().strip_prefix("p="))?;
    Some(DkimKey {
        selector: dkim.selector.clone(),
        key_size: dkim.key_size,
        record: dkim.record.clone(),
        public_key: public_key.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::{DkimStatus, DnsRecordKind, DnsVerdict};

    #[test]
    fn the_last_key_is_read_back_from_the_status() {
        let record = "v=DKIM1;k=rsa;t=s;s=email;p=MIIB".to_owned();
        let dkim = DkimStatus { selector: "dkim".into(), key_size: 2048, record };
        let status = EmailDomainStatus { dkim: Some(dkim), ..EmailDomainStatus::default() };
        assert_eq!(last_key(&status).unwrap().public_key, "MIIB");
        assert!(last_key(&EmailDomainStatus::default()).is_none());
    }

    #[test]
    fn labels_are_the_words_of_the_status() {
        assert_eq!(DnsRecordKind::Dmarc.as_str(), "DMARC");
        assert_eq!(DnsVerdict::TempError.as_str(), "TempError");
    }
}
