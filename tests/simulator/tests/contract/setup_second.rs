//! The same for the second run, which begins with topic 15: its recordings hold the SQL statements and the
//! changes around the server by which it was set up, and these are done here.

use std::collections::VecDeque;

use mailcow_simulator::{Backend, Postfix, ReleaseFormat, Rspamd, Simulator, State};
use serde_json::Value;

use crate::recording::{Line, Topic};

/// Before the first line of a topic.
pub(crate) fn start(topic: &Topic, simulator: &Simulator) {
    if topic.name.as_str() < "15" {
        return;
    }
    simulator.edit(second_server);
    simulator.edit(|state| match topic.name.as_str() {
        "24_rename_mailbox" => drop(state.domain_admins.insert("boss".to_owned(), Vec::new())),
        "25_time_limited_alias" => state.timed_address_pool = recorded_addresses(topic),
        _ => {}
    });
}

/// Before a line.
pub(crate) fn before(topic: &Topic, line: &Line, simulator: &Simulator) {
    let line = line.name.as_str();
    match topic.name.as_str() {
        "19_authsource" => simulator.edit(|state| sources(line, state)),
        "24_rename_mailbox" => simulator.edit(|state| match line {
            "setup_sql_quarantine" => {
                let id = state.seed_quarantine("old@ren.test", "x@y.example", "s", 9.0);
                "AAA".clone_into(&mut state.quarantine.get_mut(&id).expect("a mail").qid);
            }
            "setup_sql_usage" => state.seed_usage("old@ren.test", 3, 1000),
            _ => {}
        }),
        "25_time_limited_alias" if line == "setup_sql_expired" => simulator.edit(|state| {
            let alias = state.timed_aliases.get_mut("cuyile.durajote@tla.test").expect("an alias");
            (alias.validity, alias.permanent) = (0, false);
        }),
        "27_quarantine_release" => simulator.edit(|state| quarantine(line, state)),
        "29_big_lists" if line == "setup_sql_mailboxes" => simulator.edit(big_domain),
        "30_php_down" if line == "env_php_down" => simulator.set_backend(Backend::PhpDown),
        "30_php_down" if line == "env_php_up" => simulator.set_backend(Backend::Up),
        _ => {}
    }
}

/// The server of the recordings from topic 15 on: somebody had changed the frame of the rate limit in both
/// templates.
fn second_server(state: &mut State) {
    for template in state.templates.values_mut() {
        template.attributes.set("rl_frame", "h");
        template.modified = Some(template.created.clone());
    }
}

/// The made-up addresses in the order in which they were added: each add takes the first address that the
/// list shows with what it asked for.
fn recorded_addresses(topic: &Topic) -> VecDeque<String> {
    let line = |name: &str| topic.lines.iter().find(|line| line.name == name).expect("a line");
    let mut shown = line("list_after_adds").response["body"].as_array().expect("a list").clone();
    let first = line("list_one").response["body"][0]["address"].as_str().expect("an address");
    let mut pool = VecDeque::from([first.to_owned()]);
    shown.retain(|alias| alias["address"] != first);
    let adds = topic.lines.iter().filter(|line| line.request["path"] == "/api/v1/add/time_limited_alias");
    let done = adds.filter(|line| line.response["body"][0]["type"] == "success");
    for add in done.skip(1) {
        let asked = &add.request["body"];
        let day = 24 * 3600;
        let is_it = |alias: &Value| {
            let lasts = alias["validity"].as_i64().expect("a number") - first_validity(topic) + day;
            let hours = asked["validity"].as_i64().or_else(|| asked["validity"].as_str()?.parse().ok());
            let ends = format!("@{}", asked["domain"].as_str().expect("a domain"));
            let permanent = matches!(&asked["permanent"], Value::Number(_) | Value::Bool(true) | Value::String(_));
            alias["address"].as_str().expect("an address").ends_with(&ends)
                && alias["description"] == asked["description"].as_str().unwrap_or_default()
                && alias["permanent"] == i64::from(permanent)
                && (lasts - hours.unwrap_or(8760) * 3600).abs() < 60
        };
        let at = shown.iter().position(is_it).expect("an alias for each add");
        pool.push_back(shown.remove(at)["address"].as_str().expect("an address").to_owned());
    }
    pool
}

/// When the first alias, which lasts a day, ends.
fn first_validity(topic: &Topic) -> i64 {
    let line = topic.lines.iter().find(|line| line.name == "list_one").expect("a line");
    line.response["body"][0]["validity"].as_i64().expect("a number")
}

/// Mails held back, and how the parts are doing that release them.
fn quarantine(line: &str, state: &mut State) {
    let mails = |state: &mut State, count: usize, rcpt: &str| {
        for _ in 0..count {
            let id = state.seed_quarantine(rcpt, "spam@away.example", "Viagra & <b>", 15.5);
            let mail = state.quarantine.get_mut(&id).expect("a mail");
            mail.qid = format!("QID{id:03}");
            mail.qhash = format!("h{id}");
            "192.0.2.1".clone_into(&mut mail.ip);
            "q.test".clone_into(&mut mail.domain);
            "[{\"name\":\"BAYES_SPAM\",\"score\":5.1}]".clone_into(&mut mail.symbols);
            let text =
                "From: spam@away.example\r\nTo: a@q.test\r\nSubject: x\r\nX-Spam-Flag: YES\r\n\r\nbody\r\n.dot\r\n";
            text.clone_into(&mut mail.msg);
        }
    };
    match line {
        "setup_sql_rows" => mails(state, 12, "a@q.test"),
        "setup_sql_more" | "setup_sql_delete" => mails(state, 3, "a@q.test"),
        "setup_sql_attach" => mails(state, 4, "a@q.test"),
        "setup_sql_gone_mailbox" => mails(state, 1, "gone@q.test"),
        "setup_sql_empty_sender" => {
            mails(state, 1, "a@q.test");
            if let Some(mut mail) = state.quarantine.last_entry() {
                mail.get_mut().sender.clear();
            }
        }
        "setup_sql_zero_rcpt" => mails(state, 1, ""),
        "setup_sql_of_b" => mails(state, 2, "b@q.test"),
        "env_no_host" | "env_only_postfix_mailcow" => state.release.postfix = Postfix::Unknown,
        "env_postfix_not_listening" => state.release.postfix = Postfix::Down,
        "env_smtp_refuses" => state.release.postfix = Postfix::Refuses("550 5.1.1 no such user".to_owned()),
        "env_smtp_ok_no_rspamd" => state.release.postfix = Postfix::Up,
        "env_smtp_ok_rspamd_ok" | "env_rspamd_ok" => state.release.rspamd = Rspamd::Up,
        "env_rspamd_already" => {
            let error = "<x@y> has been already learned as ham, ignore it";
            state.release.rspamd = Rspamd::Fails(error.to_owned());
        }
        "env_rspamd_error" => state.release.rspamd = Rspamd::Fails("no such file".to_owned()),
        "env_format_attachment" => state.release.format = Some(ReleaseFormat::Attachment),
        "env_format_unset" => state.release.format = None,
        "env_attachment_refused" => {
            state.release.format = Some(ReleaseFormat::Attachment);
            state.release.postfix = Postfix::Refuses("550 5.1.1 no such user".to_owned());
        }
        // The server took everything again from here on.
        "release_unknown_rcpt" => {
            state.release.format = Some(ReleaseFormat::Raw);
            state.release.postfix = Postfix::Up;
        }
        "smtp_after_format_unset" => {
            let raw = state.release.sent.iter().all(|(_, text)| text.contains("body"));
            assert!(raw && state.release.sent.len() == 11, "what was sent, and nothing without a format");
        }
        _ => {}
    }
}

/// Two thousand mailboxes in one domain.
fn big_domain(state: &mut State) {
    let model = state.mailbox("m0@big.test").expect("a mailbox").clone();
    for n in 1..2000 {
        let mailbox = state.seed_mailbox(&format!("m{n}@big.test"));
        mailbox.name = format!("Name {n}");
        mailbox.quota = model.quota;
        mailbox.attributes = model.attributes.clone();
        mailbox.modified = None;
    }
}

/// Where passwords are checked, as set in the database.
fn sources(line: &str, state: &mut State) {
    let provider = [
        ("authsource", "ldap"),
        ("host", "127.0.0.1"),
        ("port", "1389"),
        ("basedn", "dc=x"),
        ("username_field", "mail"),
        ("filter", ""),
        ("attribute_field", "x"),
        ("binddn", "cn=x"),
        ("bindpass", "secret"),
        ("mappers", ""),
        ("templates", ""),
        ("use_ssl", "0"),
        ("use_tls", "0"),
        ("ignore_ssl_error", "0"),
        ("periodic_sync", "0"),
        ("import_users", "0"),
        ("default_template", "Default"),
    ];
    let source = |state: &mut State, address: &str, source: &str| {
        let mailbox = state.mailbox_mut(address).expect("a mailbox");
        source.clone_into(&mut mailbox.authsource);
    };
    match line {
        "setup_sql_lda" => source(state, "lda@auth.test", "ldap"),
        "setup_sql_key" => source(state, "key@auth.test", "keycloak"),
        "setup_sql_oid" => source(state, "oid@auth.test", "generic-oidc"),
        "setup_sql_old_date" => {
            for mailbox in state.mailboxes.values_mut() {
                "2020-01-01 00:00:00".clone_into(&mut mailbox.attributes.passwd_update);
            }
        }
        "setup_sql_provider" => {
            state.identity_provider = provider.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        }
        _ => {}
    }
}
