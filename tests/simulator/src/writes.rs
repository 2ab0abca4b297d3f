//! The writing routes: where each leads and how its call is echoed.

use crate::answer::Entry;
use crate::call::Call;
use crate::cost::ViewWork;
use crate::json::{Json, obj};
use crate::state::{Access, State};
use crate::topics::{
    acl, alias, alias_domain, alias_edit, app_password, bcc, dkim, domain, domain_edit, filter, mailbox, mailbox_edit,
    mailbox_settings, maps, others, policy, quarantine, rate_limit, relay, rename, resource, sync_job, tables, tags,
    templates, timed_alias,
};
use crate::writer::{Done, Stop, Writer, masked};

type Add = fn(&mut Writer<'_>, &Json) -> Done;
type Edit = fn(&mut Writer<'_>, &[Json], &Json) -> Done;
type Delete = fn(&mut Writer<'_>, &[Json]) -> Done;
type DeleteTags = fn(&mut Writer<'_>, &str, &[Json]) -> Done;

#[derive(Clone, Copy)]
enum Run {
    Add(Add),
    Edit(Edit),
    Delete(Delete),
    /// The object stands in the path, the items are its tags.
    Tags(DeleteTags),
}

/// One writing route.
pub(crate) struct Route {
    path: &'static str,
    /// Function, action and kind of the echo.
    head: &'static [&'static str],
    /// The key the echo shows items under.
    key: &'static str,
    run: Run,
}

const fn add(path: &'static str, head: &'static [&'static str], run: Add) -> Route {
    Route { path, head, key: "", run: Run::Add(run) }
}

const fn edit(path: &'static str, head: &'static [&'static str], key: &'static str, run: Edit) -> Route {
    Route { path, head, key, run: Run::Edit(run) }
}

const fn delete(path: &'static str, head: &'static [&'static str], key: &'static str, run: Delete) -> Route {
    Route { path, head, key, run: Run::Delete(run) }
}

static ROUTES: &[Route] = &[
    add("domain/template", &["mailbox", "add", "domain_templates"], templates::add_domain),
    add("mailbox/template", &["mailbox", "add", "mailbox_templates"], templates::add_mailbox),
    add("domain", &["mailbox", "add", "domain"], domain::add),
    add("mailbox", &["mailbox", "add", "mailbox"], mailbox::add),
    add("alias", &["mailbox", "add", "alias"], alias::add),
    add("alias-domain", &["mailbox", "add", "alias_domain"], alias_domain::add),
    add("time_limited_alias", &["mailbox", "add", "time_limited_alias"], timed_alias::add),
    add("filter", &["mailbox", "add", "filter"], filter::add),
    add("global-filter", &["mailbox", "add", "global_filter"], filter::add_global),
    add("resource", &["mailbox", "add", "resource"], resource::add),
    add("dkim", &["dkim", "add"], dkim::add),
    add("dkim_duplicate", &["dkim", "duplicate"], dkim::duplicate),
    add("dkim_import", &["dkim", "import"], dkim::import),
    add("app-passwd", &["app_passwd", "add"], app_password::add),
    add("relayhost", &["relayhost", "add"], relay::add_host),
    add("transport", &["transport", "add"], relay::add_transport),
    add("fwdhost", &["fwdhost", "add"], tables::add_fwdhost),
    add("bcc", &["bcc", "add"], bcc::add),
    add("recipient_map", &["recipient_map", "add"], maps::add_recipient),
    add("tls-policy-map", &["tls_policy_maps", "add"], maps::add_tls),
    add("domain-policy", &["policy", "add", "domain"], policy::add_of_domain),
    add("mailbox-policy", &["policy", "add", "mailbox"], policy::add_of_mailbox),
    add("syncjob", &["mailbox", "add", "syncjob"], sync_job::add),
    add("domain-admin", &["domain_admin", "add"], others::add_admin),
    add("mta-sts", &["mailbox", "add", "mta_sts"], others::add_mta_sts),
    edit("domain/template", &["mailbox", "edit", "domain_templates"], "ids", templates::edit_domain),
    edit("mailbox/template", &["mailbox", "edit", "mailbox_templates"], "ids", templates::edit_mailbox),
    edit(
        "mailbox/custom-attribute",
        &["mailbox", "edit", "mailbox_custom_attribute"],
        "mailboxes",
        mailbox_settings::custom_attribute,
    ),
    edit("domain/footer", &["mailbox", "edit", "domain_wide_footer"], "domains", others::edit_footer),
    edit("domain", &["mailbox", "edit", "domain"], "domain", domain_edit::edit),
    edit("mailbox", &["mailbox", "edit", "mailbox"], "username", mailbox_edit::edit),
    edit("rename-mbox", &["mailbox", "edit", "mailbox_rename"], "mailbox", rename::rename),
    edit("alias", &["mailbox", "edit", "alias"], "id", alias_edit::edit),
    edit("alias-domain", &["mailbox", "edit", "alias_domain"], "alias_domain", alias_domain::edit),
    edit("filter", &["mailbox", "edit", "filter"], "id", filter::edit),
    edit("rl-domain", &["ratelimit", "edit", "domain"], "object", rate_limit::edit_domain),
    edit("rl-mbox", &["ratelimit", "edit", "mailbox"], "object", rate_limit::edit_mailbox),
    edit("tls_policy", &["mailbox", "edit", "tls_policy"], "username", mailbox_settings::tls_policy),
    edit(
        "quarantine_notification",
        &["mailbox", "edit", "quarantine_notification"],
        "username",
        mailbox_settings::quarantine_notification,
    ),
    edit(
        "quarantine_category",
        &["mailbox", "edit", "quarantine_category"],
        "username",
        mailbox_settings::quarantine_category,
    ),
    edit("user-acl", &["acl", "edit", "user"], "username", acl::edit_user),
    edit("da-acl", &["acl", "edit", "domainadmin"], "username", acl::edit_domain_admin),
    edit("spam-score", &["mailbox", "edit", "spam_score"], "username", policy::edit_score),
    edit("delimiter_action", &["mailbox", "edit", "delimiter_action"], "username", mailbox_settings::delimiter_action),
    edit("pushover", &["pushover", "edit"], "username", mailbox_settings::pushover),
    edit("app-passwd", &["app_passwd", "edit"], "id", app_password::edit),
    edit("qitem", &["quarantine", "edit"], "id", quarantine::edit),
    edit("relayhost", &["relayhost", "edit"], "id", relay::edit_host),
    edit("transport", &["transport", "edit"], "id", relay::edit_transport),
    edit("fwdhost", &["fwdhost", "edit"], "fwdhost", tables::edit_fwdhost),
    edit("bcc", &["bcc", "edit"], "id", bcc::edit),
    edit("syncjob", &["mailbox", "edit", "syncjob"], "id", sync_job::edit),
    edit("time_limited_alias", &["mailbox", "edit", "time_limited_alias"], "address", timed_alias::edit),
    edit("domain-admin", &["domain_admin", "edit"], "username", others::edit_admin),
    edit("quota_notification", &["quota_notification", "edit"], "", others::edit_quota_notification),
    edit("quota_notification_bcc", &["quota_notification_bcc", "edit"], "", others::edit_quota_bcc),
    delete("domain/template", &["mailbox", "delete", "domain_templates"], "ids", templates::delete_domain),
    delete("mailbox/template", &["mailbox", "delete", "mailbox_templates"], "ids", templates::delete_mailbox),
    Route {
        path: "domain/tag",
        head: &["mailbox", "delete", "tags_domain"],
        key: "domain",
        run: Run::Tags(tags::delete_of_domain),
    },
    Route {
        path: "mailbox/tag",
        head: &["mailbox", "delete", "tags_mailbox"],
        key: "username",
        run: Run::Tags(tags::delete_of_mailbox),
    },
    delete("domain", &["mailbox", "delete", "domain"], "domain", domain::delete),
    delete("mailbox", &["mailbox", "delete", "mailbox"], "username", mailbox::delete),
    delete("alias", &["mailbox", "delete", "alias"], "id", alias::delete),
    delete("alias-domain", &["mailbox", "delete", "alias_domain"], "alias_domain", alias_domain::delete),
    delete("time_limited_alias", &["mailbox", "delete", "time_limited_alias"], "address", timed_alias::delete),
    delete("filter", &["mailbox", "delete", "filter"], "id", filter::delete),
    delete("resource", &["mailbox", "delete", "resource"], "name", resource::delete),
    delete("dkim", &["dkim", "delete"], "domains", dkim::delete),
    delete("app-passwd", &["app_passwd", "delete"], "id", app_password::delete),
    delete("qitem", &["quarantine", "delete"], "id", quarantine::delete),
    delete("relayhost", &["relayhost", "delete"], "id", relay::delete_hosts),
    delete("transport", &["transport", "delete"], "id", relay::delete_transports),
    delete("fwdhost", &["fwdhost", "delete"], "forwardinghost", tables::delete_fwdhost),
    delete("bcc", &["bcc", "delete"], "id", bcc::delete),
    delete("recipient_map", &["recipient_map", "delete"], "id", maps::delete_recipient),
    delete("tls-policy-map", &["tls_policy_maps", "delete"], "id", maps::delete_tls),
    delete("domain-policy", &["policy", "delete", "domain"], "prefid", policy::delete_of_domain),
    delete("mailbox-policy", &["policy", "delete", "mailbox"], "prefid", policy::delete_of_mailbox),
    delete("syncjob", &["mailbox", "delete", "syncjob"], "id", sync_job::delete),
    delete("domain-admin", &["domain_admin", "delete"], "username", others::delete_admin),
];

/// The route a request names; the more particular ones stand first.
pub(crate) fn find(call: &Call) -> Option<&'static Route> {
    let (category, object) = (call.piece(1), call.piece(2));
    ROUTES.iter().find(|route| {
        route.action() == call.action()
            && match route.path.split_once('/') {
                Some((first, second)) => first == category && second == object,
                None => route.path == category,
            }
    })
}

impl Route {
    /// `add`, `edit` or `delete`.
    pub(crate) fn action(&self) -> &'static str {
        match self.run {
            Run::Add(_) => "add",
            Run::Edit(_) => "edit",
            Run::Delete(_) | Run::Tags(_) => "delete",
        }
    }

    /// Whether this is `add/mailbox`, which hashes a password between its checks and its writes.
    pub(crate) fn is_add_mailbox(&self) -> bool {
        self.head == ["mailbox", "add", "mailbox"]
    }

    /// Whether the function stars passwords out of its echo.
    fn hides_passwords(&self) -> bool {
        matches!(self.head[0], "mailbox" | "app_passwd" | "domain_admin")
    }

    /// The kind of object whose writes work on `SOGo`'s view. A new domain returns before that.
    pub(crate) fn view_kind(&self) -> Option<&'static str> {
        let ["mailbox", action, kind] = self.head else { return None };
        let works = ["domain", "alias", "alias_domain", "resource", "mailbox"].contains(kind);
        (works && (*action, *kind) != ("add", "domain")).then_some(kind)
    }

    /// Whether this is `edit/rename-mbox`, which makes an alias from within.
    pub(crate) fn is_rename(&self) -> bool {
        self.head == ["mailbox", "edit", "mailbox_rename"]
    }

    /// The echo of the call as every entry repeats it.
    pub(crate) fn echo(&self, call: &Call, request: &Json) -> Json {
        let mut parts: Vec<Json> = self.head.iter().map(|part| Json::from(*part)).collect();
        parts.push(self.attributes(call, request));
        if matches!(self.head[0], "mailbox" | "bcc" | "recipient_map" | "tls_policy_maps") {
            parts.push(Json::Null);
        }
        Json::List(parts)
    }

    fn attributes(&self, call: &Call, request: &Json) -> Json {
        let attr = request.get("attr");
        if let Run::Add(_) = self.run {
            let attr = if attr.is_array() { attr.clone() } else { Json::List(vec![attr.clone()]) };
            return if self.hides_passwords() { masked(&attr) } else { attr };
        }
        let items = request.get("items").clone().into_items();
        let mut echo = match self.run {
            Run::Tags(_) => obj! { "tags" => items },
            _ if self.key.is_empty() => obj! {},
            _ => obj! { self.key => items },
        };
        match (&self.run, attr) {
            (Run::Tags(_), _) => echo.set(self.key, call.piece(3)),
            (Run::Edit(_), Json::Map(pairs)) => pairs.iter().for_each(|(key, value)| echo.set(key, value)),
            _ => {}
        }
        if self.hides_passwords() { masked(&echo) } else { echo }
    }
}

/// How a write ended: what it reported, and what it has to do to `SOGo`'s view.
pub(crate) struct Ended {
    pub(crate) entries: Vec<Entry>,
    pub(crate) end: Done,
    pub(crate) view: ViewWork,
}

impl Ended {
    /// A write that did nothing.
    pub(crate) fn idle(entries: Vec<Entry>, end: Done) -> Self {
        Self { entries, end, view: ViewWork::default() }
    }

    /// The end of a writing function. The view is worked on when the function runs to its end.
    pub(crate) fn of(writer: Writer<'_>, route: &Route, end: Done) -> Self {
        let Writer { state, entries, touched, .. } = writer;
        let view = match route.view_kind() {
            Some(kind) if end.is_ok() => {
                let by_mailbox = ["alias", "resource", "mailbox"].contains(&kind);
                ViewWork::of(state, if by_mailbox { &touched } else { &[] })
            }
            // A rename makes an alias from within.
            None if end.is_ok() && !touched.is_empty() => ViewWork::of(state, &touched),
            _ => ViewWork::default(),
        };
        Self { entries, end, view }
    }
}

/// Runs a write; it does nothing for somebody who is not known.
pub(crate) fn run(state: &mut State, route: &Route, call: &Call, request: &Json, access: Option<Access>) -> Ended {
    let mut writer = Writer::new(state, route.echo(call, request));
    if access.is_none() {
        if route.is_add_mailbox() {
            return Ended::idle(Vec::new(), Err(Stop::crash()));
        }
        writer.danger("access_denied");
        return Ended::idle(writer.entries, Ok(()));
    }
    let attr = request.get("attr");
    let items = request.get("items").clone().into_items();
    let done = match route.run {
        Run::Add(run) => run(&mut writer, attr),
        Run::Edit(run) => run(&mut writer, &items, attr),
        Run::Delete(run) => run(&mut writer, &items),
        Run::Tags(run) => run(&mut writer, call.piece(3), &items),
    };
    Ended::of(writer, route, done)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    /// What a write has to do to `SOGo`'s view: rows to refresh, and rebuilds.
    fn view(path: &str, body: &str) -> (usize, usize) {
        let mut state = State::fresh();
        state.seed_domain("acme.test");
        state.seed_mailbox("ada@acme.test");
        state.seed_mailbox("bob@acme.test");
        state.seed_alias("info@acme.test", "ada@acme.test");
        let request = hyper::Request::builder().uri(format!("/api/v1/{path}"));
        let parts = request.body(()).unwrap_or_default().into_parts().0;
        let call = Call::new(&parts, body.to_owned(), IpAddr::V4(Ipv4Addr::LOCALHOST));
        let sent = Json::parse(body).unwrap_or_default();
        let request = match call.action() {
            "add" => obj! { "attr" => sent },
            "delete" => obj! { "items" => sent },
            _ => sent,
        };
        let route = find(&call).unwrap_or(&ROUTES[0]);
        let ended = run(&mut state, route, &call, &request, Some(Access::ReadWrite));
        (ended.view.refreshes, ended.view.rebuilds)
    }

    #[test]
    fn writes_that_change_single_mailboxes_refresh_their_rows() {
        let add = r#"{"local_part":"c","domain":"acme.test","password":"secret12","password2":"secret12","quota":1}"#;
        assert_eq!(view("add/mailbox", add), (1, 0));
        assert_eq!(view("edit/mailbox", r#"{"items":["ada@acme.test","bob@acme.test"],"attr":{"name":"x"}}"#), (2, 0));
        assert_eq!(view("add/alias", r#"{"address":"a@acme.test","goto":"ada@acme.test,bob@acme.test"}"#), (2, 0));
        assert_eq!(view("edit/alias", r#"{"items":["info@acme.test"],"attr":{"goto":"bob@acme.test"}}"#), (2, 0));
        assert_eq!(view("delete/alias", r#"["info@acme.test"]"#), (1, 0));
    }

    /// As it was measured: what takes a second on a thousand mailboxes, and what takes milliseconds.
    #[test]
    fn others_rebuild_all_of_it_refused_ones_too() {
        for (path, body) in [
            ("delete/mailbox", r#"["ada@acme.test"]"#),
            ("delete/mailbox", r#"["none@acme.test"]"#),
            ("edit/mailbox", r#"{"items":["ada@acme.test"],"attr":{"active":0}}"#),
            ("edit/mailbox", r#"{"items":["none@acme.test"],"attr":{"name":"x"}}"#),
            ("edit/mailbox", r#"{"items":["ada@acme.test"],"attr":{"quota":99999999}}"#),
            ("edit/mailbox", r#"{"items":[],"attr":{"name":"x"}}"#),
            ("add/alias", r#"{"address":"a@acme.test","goto":"x@far.example"}"#),
            ("add/alias", r#"{"address":"a@acme.test","goto_null":1}"#),
            ("add/alias", r#"{"address":"info@acme.test","goto":"ada@acme.test"}"#),
            ("add/alias", r#"{"address":"a@acme.test","goto":"a@acme.test"}"#),
            ("add/alias", r#"{"address":"a@none.test","goto":"ada@acme.test"}"#),
            ("edit/alias", r#"{"items":["999"],"attr":{"active":1}}"#),
            ("delete/alias", r#"["999"]"#),
            ("edit/domain", r#"{"items":["acme.test"],"attr":{}}"#),
            ("edit/domain", r#"{"items":["none.test"],"attr":{}}"#),
            ("delete/domain", r#"["acme.test"]"#),
            ("delete/domain", r#"["none.test"]"#),
            ("delete/alias-domain", r#"["none.test"]"#),
        ] {
            assert_eq!(view(path, body), (0, 1), "{path} {body}");
        }
        assert_eq!(view("delete/mailbox", r#"["ada@acme.test","bob@acme.test"]"#), (0, 2), "each item");
        for (path, body) in [
            ("add/alias", r#"{"address":"a@acme.test","goto":""}"#),
            (
                "add/mailbox",
                r#"{"local_part":"ada","domain":"acme.test","password":"secret12","password2":"secret12"}"#,
            ),
            ("add/domain", r#"{"domain":"acme.test"}"#),
            ("edit/rl-domain", r#"{"items":["acme.test"],"attr":{"rl_value":1,"rl_frame":"h"}}"#),
            ("delete/dkim", r#"["none.test"]"#),
            ("edit/mailbox/custom-attribute", r#"{"items":["ada@acme.test"],"attr":{"attribute":["a"],"value":[1]}}"#),
        ] {
            assert_eq!(view(path, body), (0, 0), "{path} {body}");
        }
    }
}
