//! Changes field by field: what Mailcow has and what it would get.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use crate::crd::Protocol;
use crate::mail::{Access, AliasHave, DomainHave, Goto, MailboxHave, Quota, RateLimit};
use crate::plan::Change;

/// A field that a change sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct FieldChange {
    /// The field in the spec.
    pub(super) field: String,
    /// The value on Mailcow; empty for a new entry.
    pub(super) from: String,
    /// The value that it would get.
    pub(super) to: String,
    /// Whether mail could be refused or lost, or somebody loses access.
    pub(super) destructive: bool,
}

/// Gathers the fields of one entry.
#[derive(Default)]
struct Fields(Vec<FieldChange>);

impl Fields {
    #[expect(clippy::needless_pass_by_value, reason = "values of any kind are written")]
    fn set(&mut self, field: &str, from: impl ToString, to: impl ToString, destructive: bool) {
        let change = FieldChange { field: field.to_owned(), from: from.to_string(), to: to.to_string(), destructive };
        self.0.push(change);
    }

    /// A field that may be unchanged.
    fn may<T: ToString>(&mut self, field: &str, from: impl ToString, to: Option<T>) {
        if let Some(to) = to {
            self.set(field, from, to, false);
        }
    }
}

/// Fields of the mark are no fields of the spec.
pub(super) const MARK: &str = "ownership mark";

/// The fields that changes of a domain set.
pub(super) fn of_domain(changes: &[Change], have: &DomainHave) -> Vec<FieldChange> {
    let mut fields = Fields::default();
    for change in changes {
        match change {
            Change::EditDomain { edit, .. } => {
                fields.may("description", &have.description, edit.description.as_ref());
                if let Some(to) = edit.active {
                    fields.set("active", have.active, to, !to);
                }
                let limits = &edit.limits;
                fields.may("limits.mailboxes", have.limits.mailboxes, limits.mailboxes);
                fields.may("limits.aliases", have.limits.aliases, limits.aliases);
                fields.may("mailboxDefaults.quota", have.limits.default_quota, limits.default_quota);
                fields.may("limits.mailboxQuota", have.limits.mailbox_quota, limits.mailbox_quota);
                fields.may("limits.totalQuota", have.limits.total_quota, limits.total_quota);
                fields.may("globalAddressList", have.address_list, edit.address_list);
                if let Some(to) = edit.relay.backup_mx {
                    fields.set("relay.backupMx", have.relay.backup_mx, to, true);
                }
                fields.may("relay.allRecipients", have.relay.all_recipients, edit.relay.all_recipients);
                fields.may("relay.unknownOnly", have.relay.unknown_only, edit.relay.unknown_only);
                fields.may("relay.host", have.relay.host, edit.relay.host);
                if !edit.tags.is_empty() {
                    fields.set("tags", "", format!("+ {}", edit.tags.join(", ")), false);
                }
                if edit.mark.is_some() {
                    fields.set(MARK, "", "set", false);
                }
            }
            Change::UntagDomain { tags, .. } => fields.set("tags", tags.join(", "), "removed", false),
            Change::UnmarkDomain { .. } => fields.set(MARK, "", "set", false),
            Change::LimitDomain { rate, .. } => {
                fields.set("rateLimit", rate_text(have.rate_limit), rate_text(*rate), false);
            }
            Change::AddDkim { dkim, .. } => {
                fields.set(
                    "dkim",
                    "no key",
                    format!("a new key, selector {}, {} bits", dkim.selector, dkim.key_size),
                    false,
                );
            }
            Change::DeleteDomain(name) => fields.set("domain", name, "deleted", true),
            other => others(other, &mut fields),
        }
    }
    fields.0
}

/// The fields that changes of a mailbox set.
pub(super) fn of_mailbox(changes: &[Change], have: &MailboxHave) -> Vec<FieldChange> {
    let mut fields = Fields::default();
    for change in changes {
        match change {
            Change::EditMailbox { edit, .. } => {
                fields.may("displayName", &have.name, edit.name.as_ref());
                if let Some(to) = edit.quota {
                    let is_too_small = to != Quota::UNLIMITED && to < have.used;
                    fields.set("quota", quota_text(have.quota), quota_text(to), is_too_small);
                }
                if let Some(to) = edit.access {
                    let is_less = to == Access::Inactive || have.access == Access::Active;
                    fields.set("state", access_text(have.access), access_text(to), is_less);
                }
                if let Some(to) = &edit.protocols {
                    let on = &have.protocols | &have.hidden_protocols;
                    fields.set("protocols", protocols_text(&on), protocols_text(to), !on.is_subset(to));
                }
                fields.may("forcePasswordChange", have.force_password_change, edit.force_password_change);
                if let Some(to) = &edit.sender_acl {
                    let from = have.sender_acl.as_ref().map_or("not shown".to_owned(), listed);
                    let is_less = have.sender_acl.as_ref().is_some_and(|from| !from.is_subset(to));
                    fields.set("senderAcl", from, listed(to), is_less);
                }
                if !edit.tags.is_empty() {
                    fields.set("tags", "", format!("+ {}", edit.tags.join(", ")), false);
                }
            }
            Change::EncryptMailbox { tls, .. } => {
                fields.may("tls.enforceIncoming", have.tls.incoming, tls.incoming);
                fields.may("tls.enforceOutgoing", have.tls.outgoing, tls.outgoing);
            }
            Change::LimitMailbox { rate, .. } => {
                fields.set("rateLimit", rate_text(have.rate_limit), rate_text(*rate), false);
            }
            Change::UntagMailbox { tags, .. } => {
                let is_mark = |tag: &String| crate::mail::Mark::at_start(tag).is_some();
                if tags.iter().all(is_mark) {
                    fields.set(MARK, "", "set", false);
                } else {
                    fields.set("tags", tags.join(", "), "removed", false);
                }
            }
            Change::UnmarkMailbox { .. } | Change::SetAttributes { .. } => fields.set(MARK, "", "set", false),
            Change::SetPassword(_) => fields.set("password", "the present one", "the one in the Secret", true),
            Change::DeleteMailbox(address) => fields.set("mailbox", address, "deleted with its mail", true),
            other => others(other, &mut fields),
        }
    }
    fields.0
}

/// The fields that changes of an alias set.
pub(super) fn of_alias(changes: &[Change], have: &AliasHave) -> Vec<FieldChange> {
    let mut fields = Fields::default();
    for change in changes {
        match change {
            Change::EditAlias { edit, .. } => {
                if let Some(to) = &edit.goto {
                    let texts = to.texts();
                    let is_less = matches!(to, Goto::Sink(_)) || !have.goto.iter().all(|to| texts.contains(to));
                    fields.set("goto", listed(&have.goto), listed(&texts), is_less);
                }
                if let Some(to) = edit.active {
                    fields.set("active", have.active, to, !to);
                }
                fields.may("visibleInSogo", have.visible_in_sogo, edit.visible_in_sogo);
                fields.may("senderAllowed", have.sender_allowed, edit.sender_allowed);
                fields.may("publicComment", &have.public_comment, edit.public_comment.as_ref());
                if edit.private_comment.is_some() {
                    fields.set(MARK, "", "set", false);
                }
            }
            Change::DeleteAlias { catch, .. } => fields.set("alias", catch, "deleted", true),
            other => others(other, &mut fields),
        }
    }
    fields.0
}

/// Changes of another kind of entry: their fields without values.
fn others(change: &Change, fields: &mut Fields) {
    for field in change.fields() {
        fields.set(field, "", "changed", false);
    }
}

/// All fields of a new entry, from its manifest.
pub(super) fn of_new(spec: &Value) -> Vec<FieldChange> {
    let mut fields = Fields::default();
    flatten("", spec, &mut fields);
    fields.0
}

fn flatten(path: &str, value: &Value, fields: &mut Fields) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                flatten(&path, value, fields);
            }
        }
        Value::String(text) => fields.set(path, "", text, false),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            let texts: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            fields.set(path, "", texts.join(", "), false);
        }
        other => fields.set(path, "", other, false),
    }
}

fn listed<'a>(texts: impl IntoIterator<Item = &'a String>) -> String {
    let texts: Vec<&str> = texts.into_iter().map(String::as_str).collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}

fn quota_text(quota: Quota) -> String {
    if quota == Quota::UNLIMITED { "no limit".to_owned() } else { quota.to_string() }
}

fn access_text(access: Access) -> &'static str {
    match access {
        Access::Active => "Active",
        Access::LoginDisabled => "LoginDisabled",
        Access::Inactive => "Inactive",
    }
}

fn rate_text(rate: RateLimit) -> String {
    match rate {
        RateLimit::Unlimited => "no limit".to_owned(),
        RateLimit::Limit { messages, per } => format!("{messages} per {per:?}"),
    }
}

fn protocols_text(protocols: &BTreeSet<Protocol>) -> String {
    let word = |protocol: &Protocol| {
        serde_json::to_value(protocol).ok().and_then(|value| value.as_str().map(ToOwned::to_owned))
    };
    listed(&protocols.iter().filter_map(word).collect::<BTreeSet<String>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{Address, Catch, Login, Tls};
    use crate::plan::{AliasEdit, MailboxEdit};

    #[test]
    fn what_takes_mail_or_access_away_stands_out() {
        let address = Address::parse("ada@example.com").unwrap();
        let have = MailboxHave {
            address: address.clone(),
            name: "Ada".into(),
            quota: Quota::gib(5),
            access: Access::Active,
            rate_limit: RateLimit::Unlimited,
            protocols: [Protocol::Imap, Protocol::Smtp].into(),
            hidden_protocols: BTreeSet::new(),
            tls: Tls::default(),
            force_password_change: false,
            login: Login::Mailcow,
            sender_acl: None,
            tags: vec![],
            attributes: vec![],
            used: Quota::gib(2),
            messages: 1,
            last_logins: [0; 3],
        };
        let edit = MailboxEdit {
            name: Some("A".into()),
            quota: Some(Quota::gib(1)),
            access: Some(Access::Inactive),
            protocols: Some([Protocol::Imap].into()),
            ..MailboxEdit::default()
        };
        let fields = of_mailbox(&[Change::EditMailbox { address, edit }], &have);
        let shown: Vec<_> =
            fields.iter().map(|f| (f.field.as_str(), f.from.as_str(), f.to.as_str(), f.destructive)).collect();
        let expected = [
            ("displayName", "Ada", "A", false),
            ("quota", "5Gi", "1Gi", true),
            ("state", "Active", "Inactive", true),
            ("protocols", "IMAP, SMTP", "IMAP", true),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn an_alias_that_loses_a_target_stands_out() {
        let catch = Catch::parse("info@example.com").unwrap();
        let have = AliasHave {
            id: 1,
            catch: catch.clone(),
            goto: ["a@b.example".to_owned()].into(),
            active: true,
            visible_in_sogo: true,
            sender_allowed: true,
            public_comment: String::new(),
            private_comment: String::new(),
        };
        let to = |texts: &[&str]| Goto::Addresses(texts.iter().map(|text| Address::parse(text).unwrap()).collect());
        let of = |goto: Goto| {
            let edit = AliasEdit { goto: Some(goto), ..AliasEdit::default() };
            of_alias(&[Change::EditAlias { id: 1, catch: catch.clone(), edit }], &have)[0].destructive
        };
        assert!(of(to(&["c@d.example"])) && !of(to(&["a@b.example", "c@d.example"])));
    }

    #[test]
    fn a_new_entry_shows_its_whole_spec() {
        let fields = of_new(&serde_json::json!({"a": {"b": 1}, "c": ["x", "y"], "d": [{"e": 1}]}));
        let shown: Vec<_> = fields.iter().map(|f| format!("{}={}", f.field, f.to)).collect();
        assert_eq!(shown, ["a.b=1", "c=x, y", "d=[{\"e\":1}]"]);
    }
}
