//! Makes objects directly, without HTTP and without checks.

use crate::clock;
use crate::php;
use crate::state::{
    Alias, AliasDomain, AppPassword, AppSecret, Domain, FilterKind, Mailbox, QuarantineItem, SaslLogin, SieveFilter,
    State,
};
use crate::topics::{app_password, mailbox};

const MIB: i64 = 1 << 20;

impl State {
    /// Makes a domain with wide limits: 100 000 mailboxes and aliases, 1 GiB for each, 1 PiB in all.
    pub fn seed_domain(&mut self, name: &str) -> &mut Domain {
        let domain = Domain {
            name: name.to_owned(),
            description: name.to_owned(),
            max_aliases: 100_000,
            max_mailboxes: 100_000,
            default_quota: 1024,
            max_quota: 1024,
            quota: 1 << 30,
            relayhost: "0".to_owned(),
            backupmx: 0,
            gal: 1,
            relay_all_recipients: 0,
            relay_unknown_only: 0,
            active: 1,
            tags: std::collections::BTreeSet::new(),
            created: clock::now(),
            modified: None,
        };
        self.domains.entry(php::collated(name)).insert_entry(domain).into_mut()
    }

    /// Makes a mailbox of 10 MiB; its domain should exist.
    ///
    /// An address without `@` makes a mailbox that no domain has.
    pub fn seed_mailbox(&mut self, address: &str) -> &mut Mailbox {
        let (local, domain) = php::cut_address(address);
        let mut made = Mailbox::new(local, domain, &clock::now());
        made.quota = 10 * MIB;
        let id = self.take_alias_id();
        self.aliases.insert(id, mailbox::own_row(id, &made));
        self.mailboxes.entry(php::collated(address)).insert_entry(made).into_mut()
    }

    /// Makes an active alias and tells its id.
    pub fn seed_alias(&mut self, address: &str, goto: &str) -> i64 {
        let id = self.take_alias_id();
        let alias = Alias {
            id,
            address: address.to_owned(),
            goto: goto.to_owned(),
            domain: php::cut_address(address).1.to_owned(),
            public_comment: None,
            private_comment: None,
            internal: 0,
            active: 1,
            sogo_visible: 1,
            sender_allowed: 1,
            created: clock::now(),
            modified: None,
        };
        self.aliases.insert(id, alias);
        id
    }

    /// Makes a whole server: domains `d0.seed.test` and so on with so many mailboxes (`u0`, `u1`, …) in
    /// all, and as many aliases (`al0`, …), each to one of them.
    pub fn seed_bulk(&mut self, domains: usize, mailboxes: usize) {
        for n in 0..domains {
            self.seed_domain(&format!("d{n}.seed.test"));
        }
        for n in 0..mailboxes {
            let domain = format!("d{}.seed.test", n % domains.max(1));
            let address = format!("u{n}@{domain}");
            self.seed_mailbox(&address);
            self.seed_alias(&format!("al{n}@{domain}"), &address);
        }
    }

    /// Sets what Dovecot would have counted: messages and bytes used.
    pub fn seed_usage(&mut self, address: &str, messages: i64, bytes: i64) {
        if let Some(mailbox) = self.mailbox_mut(address) {
            mailbox.messages = messages;
            mailbox.quota_used = bytes;
        }
    }

    /// Makes an alias domain of a domain that is there.
    pub fn seed_alias_domain(&mut self, name: &str, target: &str) {
        let (name, target, created) = (name.to_owned(), target.to_owned(), clock::now());
        let made = AliasDomain { name: name.clone(), target, active: 1, created, modified: None };
        self.alias_domains.insert(php::collated(&name), made);
    }

    /// Logs a login, as Dovecot and Postfix do: `service` is `imap`, `pop3` or `smtp`, `at` counts
    /// seconds since 1970.
    pub fn seed_login(&mut self, address: &str, service: &str, at: i64) {
        let (username, service) = (address.to_owned(), service.to_owned());
        self.logins.push(SaslLogin { username, service, address: "192.0.2.1".to_owned(), at });
    }

    /// Makes a Sieve script as a person does in the UI, and tells its id.
    pub fn seed_filter(&mut self, address: &str, kind: FilterKind, active: bool) -> i64 {
        let id = self.next_filter_id;
        self.next_filter_id += 1;
        let (username, script) = (address.to_owned(), "keep;\n".to_owned());
        let filter = SieveFilter { id, username, kind, script, description: "made by hand".to_owned(), active };
        self.filters.insert(id, filter);
        id
    }

    /// Makes an app password for IMAP as a person does in the UI, and tells its id.
    pub fn seed_app_password(&mut self, address: &str, name: &str) -> i64 {
        let id = self.next_app_password_id;
        self.next_app_password_id += 1;
        let password = AppPassword {
            id,
            name: name.to_owned(),
            mailbox: address.to_owned(),
            domain: php::cut_address(address).1.to_owned(),
            hash: app_password::made_up_hash(),
            secret: AppSecret(format!("{:032x}", rand::random::<u128>())),
            protocols: vec!["imap_access".to_owned()],
            active: 1,
            created: clock::now(),
            modified: None,
        };
        self.app_passwords.insert(id, password);
        id
    }

    /// Leaves a mailbox as a deletion that broke off does.
    pub fn seed_half_deleted(&mut self, address: &str) {
        mailbox::half_delete(self, address);
    }

    /// Holds back a mail and tells its id.
    pub fn seed_quarantine(&mut self, rcpt: &str, sender: &str, subject: &str, score: f64) -> i64 {
        let id = self.next_quarantine_id;
        self.next_quarantine_id += 1;
        let item = QuarantineItem {
            id,
            qid: format!("QID{id}"),
            subject: subject.to_owned(),
            score,
            ip: "192.0.2.9".to_owned(),
            action: "reject".to_owned(),
            symbols: "[{\"name\":\"X\",\"score\":5}]".to_owned(),
            sender: sender.to_owned(),
            rcpt: rcpt.to_owned(),
            msg: format!("From: {sender}\nTo: {rcpt}\nSubject: {subject}\n\nbody\n"),
            domain: String::new(),
            created: clock::unix_now(),
            qhash: format!("{:064x}", rand::random::<u128>()),
        };
        self.quarantine.insert(id, item);
        id
    }
}
