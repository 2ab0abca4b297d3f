//! The status of an `EmailDomain`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::conditions::{NewCondition, ReconcileRequest, common, settled, synced};
use super::provisioning::Provisioning;
use crate::crd::{
    Attached, ClaimStatus, DkimStatus, DnsGate, DnsPublish, DnsRecordKind, DnsRecordStatus, DnsStatus, DnsVerdict,
    DomainUsage, EmailDomainStatus, OwnershipStatus, Policies, RefusedWrite, ServerStatus,
};
use crate::mail::{DomainHave, DomainName, Tags};
use crate::outcome::{Outcome, Reason, Why};

/// What a pass over a domain found out.
#[derive(Clone, Debug)]
pub struct DomainSeen {
    /// Where it stands towards Mailcow.
    pub outcome: Outcome,
    /// What Mailcow refused, in this reconcile or before.
    pub refused: Option<RefusedWrite>,
    /// Its canonical name, if the spec's can be read.
    pub name: Option<DomainName>,
    /// The domain on Mailcow, if it was looked up.
    pub have: Option<DomainHave>,
    /// The server's version, if it was asked for.
    pub version: Option<String>,
    /// Whose claim on the domain it waits for.
    pub claim: Option<ClaimStatus>,
    /// When it was made again after it was gone, in this reconcile or before.
    pub recreated: Option<Time>,
    /// The tags of the spec, and those of earlier ones.
    pub tags: Tags,
    /// What DNS says, from this pass or an earlier one.
    pub dns: Vec<DnsRecordStatus>,
    /// The policies that hold for it.
    pub policies: Policies,
    /// What is attached to it in Kubernetes.
    pub attached: Attached,
    /// What waits until DNS is verified.
    pub gate: DnsGate,
    /// The proof of its ownership, where one is demanded.
    pub ownership: Option<OwnershipStatus>,
    /// How handing the records on went.
    pub published: Publishing,
    /// What became of the mailboxes that it makes by itself.
    pub provisioning: Provisioning,
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

/// What is said after a pass; what was not looked up keeps its last value.
pub fn domain(before: &EmailDomainStatus, seen: &DomainSeen, request: &ReconcileRequest) -> EmailDomainStatus {
    let mut after = before.clone();
    after.observed_generation = request.generation;
    after.refused.clone_from(&seen.refused);
    after.last_handled_reconcile_at.clone_from(&request.requested_at);
    let dns = verified(&seen.dns);
    let is_verified = dns.iter().any(|said| said.is_true("DNSVerified"));
    after.dns_verified_at = before.dns_verified_at.clone().or_else(|| is_verified.then(|| request.now.clone()));
    let mut said = common(&seen.outcome, request.paused);
    if let Some(why) = gated(seen, is_verified, before.dns_verified_at.is_some()) {
        said.retain(|said| !said.is_about("Ready"));
        said.extend([
            NewCondition::is_not("Ready", &why),
            NewCondition::is("Reconciling", why.reason, why.message.clone()),
        ]);
    }
    said.extend(dns);
    said.extend(seen.ownership.as_ref().map(owned));
    said.extend(published(&seen.published));
    said.extend(seen.provisioning.condition());
    after.conditions = settled(&before.conditions, said, request);
    after.recreated.clone_from(&seen.recreated);
    after.claim.clone_from(&seen.claim);
    after.ownership.clone_from(&seen.ownership);
    after.published_to = match &seen.published {
        Publishing::Off => None,
        Publishing::Done(to, _) => Some(*to),
        Publishing::Not(to, _) => *to,
    };
    after.provisioned = seen.provisioning.shown(before.provisioned.as_ref());
    after.domain = seen.name.as_ref().map(ToString::to_string).or(after.domain);
    after.policies = Some(seen.policies.clone());
    after.attached = Some(seen.attached.clone());
    after.dns = (!seen.dns.is_empty()).then(|| DnsStatus { records: seen.dns.clone() });
    after.synced_generation = synced(&seen.outcome, after.synced_generation, request);
    after.server = seen.version.clone().map(|version| ServerStatus { version }).or(after.server);
    if let Some(have) = &seen.have {
        after.tags = seen.tags.ours(&have.tags);
        after.usage = Some(usage(have));
        after.dkim = have.dkim.as_ref().map(|key| DkimStatus {
            selector: key.selector.clone(),
            key_size: key.key_size,
            record: key.record.clone(),
        });
    }
    after
}

/// Why `Ready` waits for DNS, if so. The gate `Activate` opens once and for all, a pass after DNS was verified.
fn gated(seen: &DomainSeen, is_verified: bool, was_verified: bool) -> Option<Why> {
    let is_closed = match seen.gate {
        DnsGate::None => false,
        DnsGate::Ready => !is_verified,
        DnsGate::Activate => !was_verified && seen.have.as_ref().is_some_and(|have| !have.active),
    };
    let message = match seen.gate {
        DnsGate::Activate => "the domain is inactive on Mailcow until DNS is verified, as spec.dns.gate asks",
        DnsGate::Ready | DnsGate::None => "DNS is not verified, for which spec.dns.gate waits; DNSVerified says why",
    };
    (is_closed && seen.outcome == Outcome::InSync).then(|| Why::new(Reason::DnsNotVerified, message))
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

fn usage(have: &DomainHave) -> DomainUsage {
    DomainUsage {
        mailboxes: have.mailboxes,
        aliases: have.aliases,
        quota_used: have.used.to_string(),
        messages: have.messages,
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
            let why = "not checked yet; the mail host is known when Mailcow or the chart's dns.mailHost is configured";
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
        ("OutboundReady", _) => "the server may send, and its signatures can be checked".to_owned(),
        ("DNSVerified", _) => "every required DNS record is as it should be".to_owned(),
        (_, [only]) => only.message.clone(),
        (_, several) => format!("all {} records are as they should be", several.len()),
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
mod tests {
    use super::super::conditions::{
        is_true,
        tests::{policies, request},
    };
    use super::*;
    use crate::crd::DnsSource;

    fn record(kind: DnsRecordKind, verdict: DnsVerdict, required: bool) -> DnsRecordStatus {
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

    fn seen(dns: Vec<DnsRecordStatus>) -> DomainSeen {
        DomainSeen {
            outcome: Outcome::InSync,
            refused: None,
            policies: policies(),
            name: None,
            have: None,
            version: None,
            recreated: None,
            claim: None,
            tags: Tags::default(),
            dns,
            attached: Attached::default(),
            gate: DnsGate::None,
            ownership: None,
            published: Publishing::Off,
            provisioning: Provisioning::Off,
        }
    }

    fn said(dns: Vec<DnsRecordStatus>) -> EmailDomainStatus {
        domain(&EmailDomainStatus::default(), &seen(dns), &request(1))
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
    fn the_gate_holds_ready_back_and_nothing_else() {
        let bad = vec![record(DnsRecordKind::Mx, DnsVerdict::Missing, true)];
        let gated =
            domain(&EmailDomainStatus::default(), &DomainSeen { gate: DnsGate::Ready, ..seen(bad) }, &request(1));
        let ready = super::super::ready(&gated.conditions).unwrap();
        assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "DnsNotVerified"));
        assert!(is_true(&gated.conditions, "Synced") && is_true(&gated.conditions, "Reconciling"));
        let good = vec![record(DnsRecordKind::Mx, DnsVerdict::Verified, true)];
        let open = domain(&gated, &DomainSeen { gate: DnsGate::Ready, ..seen(good) }, &request(1));
        assert!(is_true(&open.conditions, "Ready") && open.dns_verified_at.is_some());
    }

    #[test]
    fn where_it_was_published_is_remembered_until_it_is_taken_back() {
        let base = EmailDomainStatus::default();
        let held = Why::new(Reason::HeldBack, "x");
        let not = Publishing::Not(Some(DnsPublish::DnsEndpoint), held);
        let after = domain(&base, &DomainSeen { published: not, ..seen(vec![]) }, &request(1));
        assert_eq!(after.published_to, Some(DnsPublish::DnsEndpoint));
        assert!(after.conditions.iter().any(|c| c.type_ == "Published" && c.reason == "HeldBack"));
        let off = domain(&after, &seen(vec![]), &request(1));
        assert!(off.published_to.is_none() && !off.conditions.iter().any(|c| c.type_ == "Published"));
    }

    #[test]
    fn dns_does_not_hold_ready_back() {
        let bad = said(vec![record(DnsRecordKind::Mx, DnsVerdict::Missing, true)]);
        assert!(is_true(&bad.conditions, "Ready"));
    }
}
