//! The tables of the database, for those who look behind the API.

use std::collections::BTreeMap;

use crate::json::Json;
use crate::state::{ACLS, DOMAIN_ADMIN_ACLS, State};

/// A row: columns and their values as texts, `NULL` where there is none.
pub type Row = BTreeMap<&'static str, String>;

fn row<const N: usize>(columns: [(&'static str, String); N]) -> Row {
    columns.into()
}

fn text(value: &Json) -> String {
    if *value == Json::Null { "NULL".to_owned() } else { value.to_text() }
}

fn or_null(value: Option<&String>) -> String {
    value.cloned().unwrap_or_else(|| "NULL".to_owned())
}

fn flag(on: bool) -> String {
    i64::from(on).to_string()
}

impl State {
    /// The rows of a table; `None` for a table that is not kept.
    pub fn table(&self, name: &str) -> Option<Vec<Row>> {
        let rows = match name {
            "alias" => self.alias_rows(),
            "mailbox" => self.mailbox_rows(),
            "sender_acl" => self.sender_acl_rows(),
            "user_acl" => self.user_acl_rows(),
            "da_acl" => self.domain_admin_acl_rows(),
            "tags_mailbox" => self.tag_rows(),
            "quota2" => self.usage_rows(),
            "app_passwd" => self.app_password_rows(),
            "alias_domain" => self.alias_domain_rows(),
            "spamalias" => self.timed_alias_rows(),
            "quarantine" => self.quarantine_rows(),
            "filterconf" => self.other_rows("filterconf", &["object", "option", "value", "prefid", "modified"]),
            "imapsync" => self.other_rows("syncjob", &["id", "user1", "user2", "host1"]),
            _ => return None,
        };
        Some(rows)
    }

    fn alias_rows(&self) -> Vec<Row> {
        let rows = self.aliases.values().map(|alias| {
            row([
                ("id", alias.id.to_string()),
                ("address", alias.address.clone()),
                ("goto", alias.goto.clone()),
                ("domain", alias.domain.clone()),
                ("active", alias.active.to_string()),
                ("sogo_visible", alias.sogo_visible.to_string()),
                ("private_comment", or_null(alias.private_comment.as_ref())),
            ])
        });
        rows.collect()
    }

    fn mailbox_rows(&self) -> Vec<Row> {
        let rows = self.mailboxes.values().map(|mailbox| {
            row([
                ("username", mailbox.username.clone()),
                ("local_part", mailbox.local_part.clone()),
                ("domain", mailbox.domain.clone()),
                ("authsource", mailbox.authsource.clone()),
                ("attributes", crate::json_text::compact(&mailbox.attributes.to_json())),
            ])
        });
        rows.collect()
    }

    fn sender_acl_rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for mailbox in self.mailboxes.values() {
            for (senders, external) in [(&mailbox.sender_acl, false), (&mailbox.external_senders, true)] {
                rows.extend(senders.iter().map(|sender| {
                    row([
                        ("logged_in_as", mailbox.username.clone()),
                        ("send_as", sender.clone()),
                        ("external", flag(external)),
                    ])
                }));
            }
        }
        rows
    }

    fn user_acl_rows(&self) -> Vec<Row> {
        let rows = self.mailboxes.values().map(|mailbox| {
            let mut columns = row([("username", mailbox.username.clone())]);
            columns.extend(ACLS.map(|acl| (acl, flag(mailbox.acl.contains(acl)))));
            columns
        });
        rows.collect()
    }

    fn domain_admin_acl_rows(&self) -> Vec<Row> {
        let rows = self.domain_admin_acls.iter().map(|(name, acls)| {
            let mut columns = row([("username", name.clone())]);
            columns.extend(DOMAIN_ADMIN_ACLS.map(|(acl, _)| (acl, flag(acls.contains(acl)))));
            columns
        });
        rows.collect()
    }

    fn tag_rows(&self) -> Vec<Row> {
        let of = |mailbox: &crate::state::Mailbox| {
            let name = mailbox.username.clone();
            let tags: Vec<String> = mailbox.tags.iter().cloned().collect();
            tags.into_iter().map(move |tag| row([("tag_name", tag), ("username", name.clone())]))
        };
        self.mailboxes.values().flat_map(of).collect()
    }

    fn usage_rows(&self) -> Vec<Row> {
        let rows = self.mailboxes.values().filter(|mailbox| !mailbox.half_deleted).map(|mailbox| {
            row([
                ("username", mailbox.username.clone()),
                ("bytes", mailbox.quota_used.to_string()),
                ("messages", mailbox.messages.to_string()),
            ])
        });
        rows.collect()
    }

    fn app_password_rows(&self) -> Vec<Row> {
        let rows = self.app_passwords.values().map(|password| {
            row([
                ("id", password.id.to_string()),
                ("name", password.name.clone()),
                ("mailbox", password.mailbox.clone()),
                ("domain", password.domain.clone()),
            ])
        });
        rows.collect()
    }

    fn alias_domain_rows(&self) -> Vec<Row> {
        let rows = self.alias_domains.values().map(|alias_domain| {
            row([
                ("alias_domain", alias_domain.name.clone()),
                ("target_domain", alias_domain.target.clone()),
                ("active", alias_domain.active.to_string()),
            ])
        });
        rows.collect()
    }

    fn timed_alias_rows(&self) -> Vec<Row> {
        let rows = self.timed_aliases.values();
        rows.map(|alias| row([("address", alias.address.clone()), ("goto", alias.goto.clone())])).collect()
    }

    fn quarantine_rows(&self) -> Vec<Row> {
        let rows = self.quarantine.values();
        rows.map(|item| row([("id", item.id.to_string()), ("rcpt", item.rcpt.clone())])).collect()
    }

    fn other_rows(&self, table: &str, columns: &[&'static str]) -> Vec<Row> {
        let rows = self.tables.all(table).into_iter();
        rows.map(|stored| columns.iter().map(|column| (*column, text(stored.get(column)))).collect()).collect()
    }
}
