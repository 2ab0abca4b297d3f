//! The status of an `EmailDomain` towards Mailcow.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::conditions::{NewCondition, ReconcileRequest, common, settled_beside, synced};
use super::domain_dns::is_of_dns;
use super::provisioning::Provisioning;
use crate::crd::{
    Attached, ClaimStatus, DkimStatus, DnsGate, DomainUsage, EmailDomainStatus, Policies, RefusedWrite, ServerStatus,
    StatusCondition,
};
use crate::mail::{DomainHave, DomainName, Tags};
use crate::outcome::{Outcome, Reason, Why};

/// What a pass over a domain found out.
#[derive(Clone, Debug)]
pub struct DomainSeen {
    /// Where it stands towards Mailcow.
    pub outcome: Outcome,
    /// What Mailcow refused, in this reconcile or before.
    pub refused: Option<Box<RefusedWrite>>,
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
    /// The policies that hold for it.
    pub policies: Policies,
    /// What is attached to it in Kubernetes.
    pub attached: Attached,
    /// What waits until DNS is verified.
    pub gate: DnsGate,
    /// What became of the mailboxes that it makes by itself.
    pub provisioning: Provisioning,
}

/// The status after a reconcile with Mailcow; what was not looked up keeps its last value, and what DNS says is left as
/// it is. A request is echoed when its DNS part ([`super::domain_dns()`]) is done too.
pub fn domain(before: &EmailDomainStatus, seen: &DomainSeen, request: &ReconcileRequest) -> EmailDomainStatus {
    let mut after = before.clone();
    after.observed_generation = request.generation;
    after.refused.clone_from(&seen.refused);
    if before.dns.as_ref().is_some_and(|dns| dns.last_handled_reconcile_at == request.requested_at) {
        after.last_handled_reconcile_at.clone_from(&request.requested_at);
    }
    let mut said = common(&seen.outcome, request.paused);
    if let Some(why) = gated(seen, before, request) {
        said.retain(|said| !said.is_about("Ready"));
        said.extend([
            NewCondition::is_not("Ready", &why),
            NewCondition::is("Reconciling", why.reason, why.message.clone()),
        ]);
    }
    said.extend(seen.provisioning.condition());
    after.conditions = settled_beside(&before.conditions, said, is_of_dns, request);
    after.recreated.clone_from(&seen.recreated);
    after.claim.clone_from(&seen.claim);
    after.provisioned = seen.provisioning.shown(before.provisioned.as_ref());
    after.domain = seen.name.as_ref().map(ToString::to_string).or(after.domain);
    after.policies = Some(seen.policies.clone());
    after.attached = Some(seen.attached.clone());
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

/// Why `Ready` waits for DNS, if so. What DNS said of an earlier spec does not count. The gate `Activate` opens once and
/// for all, when DNS was verified.
fn gated(seen: &DomainSeen, before: &EmailDomainStatus, request: &ReconcileRequest) -> Option<Why> {
    let is_verified = |c: &StatusCondition| {
        c.type_ == "DNSVerified" && c.status == "True" && c.observed_generation == request.generation
    };
    let is_closed = match seen.gate {
        DnsGate::None => false,
        DnsGate::Ready => !before.conditions.iter().any(is_verified),
        DnsGate::Activate => before.dns_verified_at.is_none() && seen.have.as_ref().is_some_and(|have| !have.active),
    };
    let message = match seen.gate {
        DnsGate::Activate => {
            "the domain stays inactive on Mailcow until DNS is verified (spec.dns.gate); see the condition DNSVerified"
        }
        DnsGate::Ready | DnsGate::None => {
            "DNS is not verified, and spec.dns.gate waits for it; see the condition DNSVerified"
        }
    };
    (is_closed && seen.outcome == Outcome::InSync).then(|| Why::new(Reason::DnsNotVerified, message))
}

/// Whether the domain was seen on Mailcow and is ours, whatever else there is to say of it.
pub fn is_ours(status: &EmailDomainStatus) -> bool {
    let seen = [
        Reason::InSync,
        Reason::Drifted,
        Reason::FieldNotApplied,
        Reason::FieldNotSupported,
        Reason::DkimKeyDiffers,
        Reason::RefusedByMailcow,
        Reason::RefusedByKubernetes,
        Reason::Paused,
    ];
    let is_seen = |reason: &str| seen.iter().any(|seen| seen.as_str() == reason);
    let synced = status.conditions.iter().find(|condition| condition.type_ == "Synced");
    status.usage.is_some() && synced.is_some_and(|synced| is_seen(&synced.reason))
}

fn usage(have: &DomainHave) -> DomainUsage {
    DomainUsage {
        mailboxes: have.mailboxes,
        aliases: have.aliases,
        quota_used: have.used.to_string(),
        messages: have.messages,
    }
}

#[cfg(test)]
mod tests {
    use super::super::conditions::{
        is_true,
        tests::{policies, request},
    };
    use super::super::domain_dns::tests::record;
    use super::super::{DomainDnsSeen, domain_dns};
    use super::*;
    use crate::crd::{DnsRecordKind, DnsVerdict};

    fn seen(gate: DnsGate) -> DomainSeen {
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
            attached: Attached::default(),
            gate,
            provisioning: Provisioning::Off,
        }
    }

    /// The status after DNS said this of its only record.
    fn checked(before: &EmailDomainStatus, verdict: DnsVerdict, request: &ReconcileRequest) -> EmailDomainStatus {
        let records = vec![record(DnsRecordKind::Mx, verdict, true)];
        domain_dns(before, &DomainDnsSeen { records, ..DomainDnsSeen::default() }, request)
    }

    #[test]
    fn the_gate_holds_ready_back_and_nothing_else() {
        let bad = checked(&EmailDomainStatus::default(), DnsVerdict::Missing, &request(1));
        let gated = domain(&bad, &seen(DnsGate::Ready), &request(1));
        let ready = super::super::ready(&gated.conditions).unwrap();
        assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "DnsNotVerified"));
        assert!(is_true(&gated.conditions, "Synced") && is_true(&gated.conditions, "Reconciling"));
        let good = checked(&gated, DnsVerdict::Verified, &request(1));
        let open = domain(&good, &seen(DnsGate::Ready), &request(1));
        assert!(is_true(&open.conditions, "Ready") && open.dns_verified_at.is_some());
        let changed = ReconcileRequest { generation: Some(2), ..request(1) };
        let asked_other = domain(&open, &seen(DnsGate::Ready), &changed);
        assert!(!is_true(&asked_other.conditions, "Ready"), "what DNS said of an earlier spec does not count");
    }

    #[test]
    fn dns_does_not_hold_ready_back() {
        let bad = checked(&EmailDomainStatus::default(), DnsVerdict::Missing, &request(1));
        assert!(is_true(&domain(&bad, &seen(DnsGate::None), &request(1)).conditions, "Ready"));
    }

    #[test]
    fn neither_part_of_the_status_touches_the_other() {
        let empty = EmailDomainStatus::default();
        let dns = checked(&empty, DnsVerdict::Verified, &request(1));
        let both = domain(&dns, &seen(DnsGate::None), &request(2));
        assert_eq!((&both.dns, &both.dns_verified_at), (&dns.dns, &dns.dns_verified_at));
        assert!(dns.conditions.iter().all(|condition| both.conditions.contains(condition)), "{both:#?}");
        let again = checked(&both, DnsVerdict::Missing, &request(3));
        assert_eq!((&again.attached, again.observed_generation), (&both.attached, both.observed_generation));
        let of_mailcow = |status: &EmailDomainStatus| {
            status.conditions.iter().filter(|c| !is_of_dns(&c.type_)).cloned().collect::<Vec<_>>()
        };
        assert_eq!(of_mailcow(&again), of_mailcow(&both));
        assert!(!is_true(&again.conditions, "DNSVerified") && is_true(&again.conditions, "Ready"));
        // In either order they say the same.
        let other_order =
            checked(&domain(&empty, &seen(DnsGate::None), &request(2)), DnsVerdict::Verified, &request(1));
        assert_eq!(other_order, both);
    }

    #[test]
    fn a_request_is_echoed_when_dns_has_handled_it_too() {
        let asked = ReconcileRequest { requested_at: Some("now".to_owned()), ..request(1) };
        let early = domain(&EmailDomainStatus::default(), &seen(DnsGate::None), &asked);
        assert_eq!(early.last_handled_reconcile_at, None);
        let dns = checked(&early, DnsVerdict::Missing, &asked);
        assert_eq!(domain(&dns, &seen(DnsGate::None), &asked).last_handled_reconcile_at, asked.requested_at);
    }
}
