//! The status of an `EmailMailbox`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::conditions::{NewCondition, ReconcileRequest, common, resolved, settled, synced};
use crate::crd::{EmailMailboxStatus, LastLogin, Policies, QuotaStatus, RefusedWrite};
use crate::mail::{Address, MailboxHave, Quota, Tags};
use crate::outcome::{Outcome, Reason};

/// A mailbox is nearly full from this usage of its quota on; percent.
const NEARLY_FULL: u32 = 90;

/// Result of a reconcile of a mailbox.
#[derive(Clone, Debug)]
pub struct MailboxSeen {
    /// The outcome.
    pub outcome: Outcome,
    /// What Mailcow refused, in this reconcile or before.
    pub refused: Option<Box<RefusedWrite>>,
    /// Its server.
    pub server: String,
    /// The policies in effect.
    pub policies: Policies,
    /// Its address, once its domain is known.
    pub address: Option<Address>,
    /// The mailbox on Mailcow, if it was read.
    pub have: Option<MailboxHave>,
    /// Whether it was read and does not exist, or is not ours.
    pub is_absent: bool,
    /// When it was recreated after it vanished, in this reconcile or before.
    pub recreated: Option<Time>,
    /// The tags of the spec and of earlier ones.
    pub tags: Tags,
    /// The generation of its domain.
    pub domain_generation: Option<i64>,
    /// The last written `senderAcl`, if Mailcow can't show it.
    pub sender_acl: Option<Vec<String>>,
    /// Sender addresses that the spec may have granted.
    pub granted_senders: Vec<String>,
    /// Whether a password change was requested.
    pub password_change_asked: bool,
    /// The Secret with its credentials.
    pub secret_name: Option<String>,
    /// The version of the Secret whose password Mailcow has, if it was set in this reconcile or before.
    pub password_version: Option<String>,
}

/// The status after a reconcile; fields that were not read keep their last value.
pub fn mailbox(before: &EmailMailboxStatus, seen: &MailboxSeen, request: &ReconcileRequest) -> EmailMailboxStatus {
    let mut after = before.clone();
    after.observed_generation = request.generation;
    after.refused.clone_from(&seen.refused);
    after.last_handled_reconcile_at.clone_from(&request.requested_at);
    after.server = Some(seen.server.clone());
    after.policies = Some(seen.policies.clone());
    after.address = seen.address.as_ref().map(ToString::to_string).or(after.address);
    after.credentials_secret_name.clone_from(&seen.secret_name);
    after.password_version.clone_from(&seen.password_version);
    after.synced_generation = synced(&seen.outcome, after.synced_generation, request);
    if seen.outcome == Outcome::InSync {
        after.synced_domain_generation = seen.domain_generation;
    }
    after.recreated.clone_from(&seen.recreated);
    after.sender_acl.clone_from(&seen.sender_acl);
    after.granted_senders.clone_from(&seen.granted_senders);
    after.password_change_asked = seen.password_change_asked;
    if seen.is_absent {
        (after.quota, after.messages, after.last_login) = (None, None, None);
    }
    if let Some(have) = &seen.have {
        after.tags = seen.tags.ours(&have.tags);
        after.quota = Some(quota(have.quota, have.used));
        after.messages = Some(have.messages);
        after.last_login = last_login(have.last_logins);
    }
    let conditions =
        common(&seen.outcome, request.paused).into_iter().chain([resolved(&seen.outcome, &before.conditions, request)]);
    let conditions = conditions.chain(after.quota.as_ref().and_then(nearly_full));
    after.conditions = settled(&before.conditions, conditions.collect(), request);
    after
}

/// `QuotaNearlyFull` from [`NEARLY_FULL`] on; a full mailbox bounces its mail.
fn nearly_full(quota: &QuotaStatus) -> Option<NewCondition> {
    let percent = quota.percent.filter(|percent| *percent >= NEARLY_FULL)?;
    let message = format!(
        "{} of {} are in use ({percent} %), and a full mailbox bounces new mail; raise spec.quota, or remove mail",
        quota.used, quota.limit
    );
    Some(NewCondition::is("QuotaNearlyFull", Reason::QuotaNearlyFull, message))
}

fn quota(limit: Quota, used: Quota) -> QuotaStatus {
    let percent = (used.as_bytes().saturating_mul(100)).checked_div(limit.as_bytes());
    QuotaStatus {
        limit: limit.to_string(),
        used: used.to_string(),
        percent: percent.and_then(|percent| u32::try_from(percent).ok()),
    }
}

fn last_login([imap, smtp, pop3]: [i64; 3]) -> Option<Box<LastLogin>> {
    let time = |seconds: i64| (seconds > 0).then(|| Timestamp::from_second(seconds).ok().map(Time)).flatten();
    let login = LastLogin { imap: time(imap), smtp: time(smtp), pop3: time(pop3) };
    (login != LastLogin::default()).then(|| Box::new(login))
}

#[cfg(test)]
mod tests {
    use super::super::conditions::tests::{policies, request};
    use super::*;
    use crate::mail::{Access, RateLimit};
    use crate::outcome::{Reason, Why};

    fn seen(outcome: Outcome) -> MailboxSeen {
        MailboxSeen {
            outcome,
            refused: None,
            server: "default".into(),
            policies: policies(),
            address: Some(Address::parse("ada@example.com").unwrap()),
            have: Some(MailboxHave {
                address: Address::parse("ada@example.com").unwrap(),
                name: String::new(),
                quota: Quota::gib(1),
                access: Access::Active,
                rate_limit: RateLimit::Unlimited,
                protocols: std::collections::BTreeSet::new(),
                hidden_protocols: std::collections::BTreeSet::new(),
                tls: crate::mail::Tls::default(),
                force_password_change: false,
                login: crate::mail::Login::Mailcow,
                sender_acl: None,
                tags: Vec::new(),
                attributes: Vec::new(),
                used: Quota::mib(256),
                messages: 7,
                last_logins: [100, 0, 0],
            }),
            is_absent: false,
            recreated: None,
            tags: Tags::default(),
            domain_generation: Some(1),
            sender_acl: None,
            granted_senders: Vec::new(),
            password_change_asked: false,
            secret_name: Some("ada-mailbox".into()),
            password_version: Some("uid/1".into()),
        }
    }

    #[test]
    fn usage_is_shown_as_people_read_it() {
        let after = mailbox(&EmailMailboxStatus::default(), &seen(Outcome::InSync), &request(1));
        let quota = after.quota.unwrap();
        assert_eq!((quota.limit.as_str(), quota.used.as_str(), quota.percent), ("1Gi", "256Mi", Some(25)));
        assert_eq!(after.messages, Some(7));
        assert!(after.last_login.unwrap().smtp.is_none());
    }

    #[test]
    fn an_unlimited_quota_has_no_percent() {
        assert_eq!(super::quota(Quota::UNLIMITED, Quota::gib(1)).percent, None);
    }

    #[test]
    fn what_could_not_be_looked_up_keeps_its_last_value() {
        let before = mailbox(&EmailMailboxStatus::default(), &seen(Outcome::InSync), &request(1));
        let why = Why::new(Reason::MailcowUnreachable, "down");
        let down = MailboxSeen { have: None, address: None, ..seen(Outcome::Unknown(why)) };
        let after = mailbox(&before, &down, &request(2));
        assert_eq!(after.quota, before.quota);
        assert_eq!(after.address, before.address);
        let gone = MailboxSeen { is_absent: true, ..down };
        assert_eq!(mailbox(&before, &gone, &request(3)).quota, None, "what is gone holds nothing");
    }
}
