//! The status of an `EmailDomain` towards DNS: its records, the proof of its ownership, what is published.

use super::conditions::{NewCondition, ReconcileRequest, settled_beside};
use crate::crd::{
    DnsPublish, DnsRecordKind, DnsRecordStatus, DnsStatus, DnsVerdict, EmailDomainStatus, OwnershipStatus,
};
use crate::outcome::{Reason, Why};

/// What a reconcile of a domain with DNS found out.
#[derive(Clone, Debug, Default)]
pub struct DomainDnsSeen {
    /// What DNS says, from this reconcile or an earlier one.
    pub records: Vec<DnsRecordStatus>,
    /// The proof of its ownership, where one is demanded.
    pub ownership: Option<OwnershipStatus>,
    /// How handing the records on went.
    pub published: Publishing,
}

/// How handing the records on went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Publishing {
    /// Nothing is published, and nothing is asked for.
    #[default]
    Off,
    /// Everything is, there; what, in words.
    Done(DnsPublish, String),
    /// Not all of it is: where something may be that has to be taken back one day, and why.
    Not(Option<DnsPublish>, Why),
}

/// Whether a condition is about DNS: the others are left as they are, and left alone by [`super::domain()`].
pub(super) fn is_of_dns(condition: &str) -> bool {
    condition.ends_with("Verified") || ["InboundReady", "OutboundReady", "Published"].contains(&condition)
}

/// The status after a reconcile with DNS; what Mailcow says is left as it is.
pub fn domain_dns(before: &EmailDomainStatus, seen: &DomainDnsSeen, request: &ReconcileRequest) -> EmailDomainStatus {
    let mut after = before.clone();
    let mut said = verified(&seen.records);
    let is_verified = said.iter().any(|said| said.is_true("DNSVerified"));
    after.dns_verified_at = before.dns_verified_at.clone().or_else(|| is_verified.then(|| request.now.clone()));
    said.extend(seen.ownership.as_ref().map(owned));
    said.extend(published(&seen.published));
    after.conditions = settled_beside(&before.conditions, said, |condition| !is_of_dns(condition), request);
    after.ownership.clone_from(&seen.ownership);
    after.published_to = match &seen.published {
        Publishing::Off => None,
        Publishing::Done(to, _) => Some(*to),
        Publishing::Not(to, _) => *to,
    };
    after.dns = Some(DnsStatus {
        observed_generation: request.generation,
        last_handled_reconcile_at: request.requested_at.clone(),
        records: seen.records.clone(),
    });
    after
}

fn owned(ownership: &OwnershipStatus) -> NewCondition {
    if ownership.verified {
        return NewCondition::is("OwnershipVerified", Reason::Verified, ownership.message.clone());
    }
    NewCondition::is_not("OwnershipVerified", &Why::new(Reason::OwnershipNotVerified, ownership.message.clone()))
}

fn published(publishing: &Publishing) -> Option<NewCondition> {
    match publishing {
        Publishing::Off => None,
        Publishing::Done(_, message) => Some(NewCondition::is("Published", Reason::Published, message.clone())),
        Publishing::Not(_, why) if why.reason == Reason::Pending => Some(NewCondition::unknown("Published", why)),
        Publishing::Not(_, why) => Some(NewCondition::is_not("Published", why)),
    }
}

/// One condition for each row, `DNSVerified` for the rows that are required, and whether mail can come and go.
fn verified(records: &[DnsRecordStatus]) -> Vec<NewCondition> {
    let mut kinds: Vec<DnsRecordKind> = records.iter().map(|record| record.kind).collect();
    kinds.sort();
    kinds.dedup();
    let row = |kind: DnsRecordKind| summed(records, condition_name(kind), |r| r.kind == kind);
    let mut said: Vec<NewCondition> = kinds.into_iter().map(row).collect();
    said.push(summed(records, "DNSVerified", |record| record.required));
    said.push(summed(records, "InboundReady", |record| record.kind == DnsRecordKind::Mx));
    let signs = [DnsRecordKind::Spf, DnsRecordKind::Dkim];
    said.push(summed(records, "OutboundReady", |record| signs.contains(&record.kind)));
    said
}

/// One condition for some of the records: True when all are verified, Unknown when no more is wrong than that an answer
/// is missing.
fn summed(
    records: &[DnsRecordStatus],
    condition: &'static str,
    counts: impl Fn(&DnsRecordStatus) -> bool,
) -> NewCondition {
    let counted: Vec<&DnsRecordStatus> = records.iter().filter(|record| counts(record)).collect();
    let bad: Vec<&DnsRecordStatus> =
        counted.iter().copied().filter(|record| record.verdict != DnsVerdict::Verified).collect();
    let mut kinds: Vec<&str> = bad.iter().map(|record| record.kind.as_str()).collect();
    kinds.dedup();
    match bad.iter().min_by_key(|record| record.verdict == DnsVerdict::TempError) {
        _ if records.is_empty() => {
            let why = "not checked yet, because the mail host is unknown; configure Mailcow, or set dns.mailHost in the chart";
            NewCondition::unknown(condition, &Why::new(Reason::Pending, why))
        }
        None => NewCondition::is(condition, Reason::Verified, all_is_well(condition, &counted)),
        Some(record) if record.verdict == DnsVerdict::TempError => {
            NewCondition::unknown(condition, &Why::new(Reason::CheckFailing, record.message.clone()))
        }
        Some(record) if is_row(condition, record.kind) => {
            NewCondition::is_not(condition, &Why::new(Reason::NotVerified, advice(record)))
        }
        Some(record) => {
            let message = format!("{} not verified; {}: {}", kinds.join(", "), record.kind.as_str(), advice(record));
            NewCondition::is_not(condition, &Why::new(Reason::NotVerified, message))
        }
    }
}

fn is_row(condition: &str, kind: DnsRecordKind) -> bool {
    condition == condition_name(kind)
}

fn all_is_well(condition: &str, counted: &[&DnsRecordStatus]) -> String {
    match (condition, counted) {
        ("InboundReady", _) => "mail for the domain reaches the server".to_owned(),
        ("OutboundReady", _) => "the server may send, and receivers can check its signatures".to_owned(),
        ("DNSVerified", _) => "every required DNS record is correct".to_owned(),
        (_, [only]) => only.message.clone(),
        (_, several) => format!("all {} records are correct", several.len()),
    }
}

/// The verdict in words, and what to change.
fn advice(record: &DnsRecordStatus) -> String {
    match &record.hint {
        Some(hint) => format!("{}: {hint}", record.message),
        None => record.message.clone(),
    }
}

const fn condition_name(kind: DnsRecordKind) -> &'static str {
    match kind {
        DnsRecordKind::Mx => "MXVerified",
        DnsRecordKind::Spf => "SPFVerified",
        DnsRecordKind::Dkim => "DKIMVerified",
        DnsRecordKind::Dmarc => "DMARCVerified",
        DnsRecordKind::Autodiscover => "AutodiscoverVerified",
        DnsRecordKind::Autoconfig => "AutoconfigVerified",
        DnsRecordKind::Srv => "SRVVerified",
        DnsRecordKind::MtaSts => "MTASTSVerified",
        DnsRecordKind::TlsRpt => "TLSRPTVerified",
        DnsRecordKind::Tlsa => "TLSAVerified",
        DnsRecordKind::Ptr => "PTRVerified",
        DnsRecordKind::Caa => "CAAVerified",
        DnsRecordKind::Bimi => "BIMIVerified",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::conditions::{is_true, tests::request};
    use super::*;
    use crate::crd::DnsSource;

    pub(crate) fn record(kind: DnsRecordKind, verdict: DnsVerdict, required: bool) -> DnsRecordStatus {
        DnsRecordStatus {
            kind,
            name: "example.com".into(),
            verdict,
            required,
            expected: vec![],
            observed: vec![],
            warnings: vec![],
            message: "said".into(),
            hint: Some("do this".into()),
            source: DnsSource::Authoritative,
            propagation: None,
            dnssec: None,
            failures: 0,
            failing_since: None,
            last_answered: None,
            last_checked: None,
            next_check: None,
        }
    }

    fn said(records: Vec<DnsRecordStatus>) -> EmailDomainStatus {
        domain_dns(&EmailDomainStatus::default(), &DomainDnsSeen { records, ..DomainDnsSeen::default() }, &request(1))
    }

    #[test]
    fn dns_is_verified_when_every_required_record_is() {
        let good = said(vec![
            record(DnsRecordKind::Mx, DnsVerdict::Verified, true),
            record(DnsRecordKind::Dmarc, DnsVerdict::Missing, false),
        ]);
        assert!(is_true(&good.conditions, "DNSVerified") && is_true(&good.conditions, "MXVerified"));
        assert!(!is_true(&good.conditions, "DMARCVerified"));
    }

    #[test]
    fn the_message_names_the_record_and_what_to_do() {
        let bad = said(vec![
            record(DnsRecordKind::Mx, DnsVerdict::Verified, true),
            record(DnsRecordKind::Spf, DnsVerdict::TempError, true),
            record(DnsRecordKind::Dkim, DnsVerdict::Missing, true),
        ]);
        let sum = bad.conditions.iter().find(|c| c.type_ == "DNSVerified").unwrap();
        assert_eq!((sum.status.as_str(), sum.reason.as_str()), ("False", "NotVerified"));
        assert_eq!(sum.message, "SPF, DKIM not verified; DKIM: said: do this");
    }

    #[test]
    fn mail_in_and_mail_out_are_told_apart() {
        let bad = said(vec![
            record(DnsRecordKind::Mx, DnsVerdict::Mismatch, true),
            record(DnsRecordKind::Spf, DnsVerdict::Verified, true),
            record(DnsRecordKind::Dkim, DnsVerdict::Verified, true),
        ]);
        assert!(!is_true(&bad.conditions, "InboundReady") && is_true(&bad.conditions, "OutboundReady"));
        let unknown = said(vec![]);
        let status = |name: &str| unknown.conditions.iter().find(|c| c.type_ == name).map(|c| c.status.as_str());
        assert_eq!((status("InboundReady"), status("OutboundReady")), (Some("Unknown"), Some("Unknown")));
    }

    #[test]
    fn a_row_of_several_records_has_one_condition() {
        let mut wrong = record(DnsRecordKind::Srv, DnsVerdict::Missing, true);
        wrong.message = "no record at _imaps".into();
        let bad = said(vec![record(DnsRecordKind::Srv, DnsVerdict::Verified, true), wrong]);
        let found: Vec<_> = bad.conditions.iter().filter(|c| c.type_ == "SRVVerified").collect();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].message, "no record at _imaps: do this");
    }

    #[test]
    fn a_failing_check_is_unknown_and_not_bad() {
        let unknown = said(vec![record(DnsRecordKind::Mx, DnsVerdict::TempError, true)]);
        let sum = unknown.conditions.iter().find(|c| c.type_ == "DNSVerified").unwrap();
        assert_eq!((sum.status.as_str(), sum.reason.as_str()), ("Unknown", "CheckFailing"));
    }

    #[test]
    fn where_it_was_published_is_remembered_until_it_is_taken_back() {
        let held = Why::new(Reason::HeldBack, "x");
        let published = Publishing::Not(Some(DnsPublish::DnsEndpoint), held);
        let seen = DomainDnsSeen { published, ..DomainDnsSeen::default() };
        let after = domain_dns(&EmailDomainStatus::default(), &seen, &request(1));
        assert_eq!(after.published_to, Some(DnsPublish::DnsEndpoint));
        assert!(after.conditions.iter().any(|c| c.type_ == "Published" && c.reason == "HeldBack"));
        let off = domain_dns(&after, &DomainDnsSeen::default(), &request(1));
        assert!(off.published_to.is_none() && !off.conditions.iter().any(|c| c.type_ == "Published"));
    }
}
