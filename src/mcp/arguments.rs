//! What the tools take. A misspelt argument is an error: `dryRun` that nobody reads would be a real run.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::schema;
use super::text::{Digest, Domain, EmailAddress, Line, LocalPart, Namespace, ObjectName, QuotaText, Whole};
use super::tool_error::{Problem, ToolError, shown};
use super::untrusted::cut;
use crate::crd::{Action, MailboxState, Match, OnMatch, Sink};
use crate::kubernetes::printable::escaped;

/// Longest rule that an error repeats; characters.
const LONGEST_RULE: usize = 300;
/// Most items of one answer.
pub(crate) const MOST_ITEMS: u32 = 100;
/// Items of one answer where the caller asks for no number.
pub(crate) const USUAL_ITEMS: u32 = 50;
/// Longest wait for an object; seconds.
pub(crate) const LONGEST_WAIT: u32 = 120;
/// Wait for an object where the caller asks for no time; seconds.
pub(crate) const USUAL_WAIT: u32 = 30;

/// A number of items.
pub(crate) type Items = Whole<1, MOST_ITEMS>;
/// A number of seconds to wait.
pub(crate) type Seconds = Whole<0, LONGEST_WAIT>;

/// A kind of object.
#[expect(clippy::enum_variant_names, reason = "the names of the kinds")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) enum Kind {
    /// A mail domain.
    EmailDomain,
    /// A mailbox.
    EmailMailbox,
    /// An alias.
    EmailAlias,
    /// A rule for incoming mail.
    EmailForwardingRule,
}

impl Kind {
    /// All kinds, in reading order.
    pub(crate) const ALL: [Self; 4] =
        [Self::EmailDomain, Self::EmailMailbox, Self::EmailAlias, Self::EmailForwardingRule];

    /// The name of the kind.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::EmailDomain => "EmailDomain",
            Self::EmailMailbox => "EmailMailbox",
            Self::EmailAlias => "EmailAlias",
            Self::EmailForwardingRule => "EmailForwardingRule",
        }
    }

    /// The kind of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Which objects to list.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct List {
    /// Only this namespace. Default: all that the server serves.
    pub(crate) namespace: Option<Namespace>,
    /// Only objects of the `EmailDomain` with this object name.
    pub(crate) domain: Option<ObjectName>,
    /// Items of one page. Default: 50.
    pub(crate) limit: Option<Items>,
    /// `nextCursor` of the page before.
    pub(crate) cursor: Option<String>,
}

/// Which domains to list.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ListDomains {
    /// Only this namespace. Default: all that the server serves.
    pub(crate) namespace: Option<Namespace>,
    /// Items of one page. Default: 50.
    pub(crate) limit: Option<Items>,
    /// `nextCursor` of the page before.
    pub(crate) cursor: Option<String>,
}

/// An object whose kind the tool knows.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Named {
    /// Namespace of the object.
    pub(crate) namespace: Namespace,
    /// Name of the object.
    pub(crate) name: ObjectName,
}

/// An object.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Object {
    /// Its kind.
    pub(crate) kind: Kind,
    /// Its namespace.
    pub(crate) namespace: Namespace,
    /// Its name, not its address.
    pub(crate) name: ObjectName,
}

/// A domain to create.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CreateDomain {
    /// Namespace of the object.
    pub(crate) namespace: Namespace,
    /// Name of the object. Default: the domain with - instead of dots.
    pub(crate) name: Option<ObjectName>,
    /// The domain name.
    pub(crate) domain: Domain,
    /// Description in Mailcow.
    pub(crate) description: Option<Line>,
    /// Name of the Mailcow server. Default: default.
    pub(crate) server: Option<ObjectName>,
    /// Largest number of mailboxes.
    pub(crate) max_mailboxes: Option<Whole<0, 1_000_000>>,
    /// Largest number of aliases.
    pub(crate) max_aliases: Option<Whole<1, 1_000_000>>,
    /// Largest quota of a mailbox.
    pub(crate) max_mailbox_quota: Option<QuotaText>,
    /// Largest sum of all quotas.
    pub(crate) total_quota: Option<QuotaText>,
    /// Seconds to wait until it is ready. Default: 30.
    pub(crate) wait_seconds: Option<Seconds>,
}

/// A mailbox to create.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CreateMailbox {
    /// Namespace of the object.
    pub(crate) namespace: Namespace,
    /// Name of the object. Default: `localPart`, where it is a valid name.
    pub(crate) name: Option<ObjectName>,
    /// The part of the address before the @.
    pub(crate) local_part: LocalPart,
    /// Object name of the `EmailDomain`, from `list_domains`.
    pub(crate) domain: ObjectName,
    /// Namespace of the `EmailDomain`, if it is another.
    pub(crate) domain_namespace: Option<Namespace>,
    /// Full name of the user.
    pub(crate) display_name: Option<Line>,
    /// Quota. Default: the domain's.
    pub(crate) quota: Option<QuotaText>,
    /// Seconds to wait until it is ready. Default: 30.
    pub(crate) wait_seconds: Option<Seconds>,
}

/// A new state of a mailbox.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SetMailboxState {
    /// Namespace of the `EmailMailbox`.
    pub(crate) namespace: Namespace,
    /// Name of the `EmailMailbox`.
    pub(crate) name: ObjectName,
    /// Active; `LoginDisabled`: receives mail, nobody logs in; Inactive: refuses mail too, existing mail stays.
    pub(crate) state: MailboxState,
    /// Seconds to wait until it is ready. Default: 30.
    pub(crate) wait_seconds: Option<Seconds>,
}

/// An alias to create.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct AddAlias {
    /// Namespace of the object.
    pub(crate) namespace: Namespace,
    /// Name of the object. Default: `localPart`, where it is a valid name.
    pub(crate) name: Option<ObjectName>,
    /// Object name of the `EmailDomain`, from `list_domains`.
    pub(crate) domain: ObjectName,
    /// Namespace of the `EmailDomain`, if it is another.
    pub(crate) domain_namespace: Option<Namespace>,
    /// The part of the address before the @. Exactly one of `localPart` and `catchAll`.
    pub(crate) local_part: Option<LocalPart>,
    /// true: all mail of the domain that nothing else gets.
    pub(crate) catch_all: Option<bool>,
    /// Addresses that get the mail. Exactly one of goto, `gotoMailboxes` and sink.
    pub(crate) goto: Option<Vec<EmailAddress>>,
    /// Names of `EmailMailbox` objects of the namespace that get the mail.
    pub(crate) goto_mailboxes: Option<Vec<ObjectName>>,
    /// Discards the mail or trains the spam filter.
    pub(crate) sink: Option<Sink>,
    /// Comment that users see.
    pub(crate) public_comment: Option<Line>,
    /// Seconds to wait until it is ready. Default: 30.
    pub(crate) wait_seconds: Option<Seconds>,
}

/// A rule to create.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CreateForwardingRule {
    /// Namespace of the object.
    pub(crate) namespace: Namespace,
    /// Name of the object.
    pub(crate) name: ObjectName,
    /// Name of the `EmailMailbox`. Exactly one of mailbox and domain.
    pub(crate) mailbox: Option<ObjectName>,
    /// Object name of an `EmailDomain`: the rule is for all its mailboxes in the namespace.
    pub(crate) domain: Option<ObjectName>,
    /// Namespace of the `EmailDomain`, if it is another.
    pub(crate) domain_namespace: Option<Namespace>,
    /// Rules with a lower number run first. Default: 100.
    pub(crate) priority: Option<Whole<0, 10_000>>,
    /// Which mail the rule is for: every condition of all, and one of any, if there are any. A condition has field, operator
    /// and values, one of which must match; Header needs header; not inverts. Default: all mail but spam.
    #[serde(rename = "match")]
    pub(crate) matches: Option<Match>,
    /// What happens to the mail, in order; each has exactly one of forward, `createTask`, `createNote` and ignore.
    /// `keepCopy` is true unless given; ignore comes last.
    pub(crate) actions: Vec<Action>,
    /// Whether later rules see the mail too. Default: Stop.
    pub(crate) on_match: Option<OnMatch>,
    /// false: the rule does nothing yet. Default: true.
    pub(crate) enabled: Option<bool>,
    /// Seconds to wait until it is ready. Default: 30.
    pub(crate) wait_seconds: Option<Seconds>,
}

/// A message to test rules with.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TestForwardingRules {
    /// Namespace of the `EmailMailbox`.
    pub(crate) namespace: Namespace,
    /// Name of the `EmailMailbox`.
    pub(crate) mailbox: ObjectName,
    /// Envelope sender (MAIL FROM). Empty: a bounce.
    pub(crate) from: String,
    /// Recipient, if it is an alias or has a +tag. Default: the mailbox.
    pub(crate) to: Option<EmailAddress>,
    /// The message as in a .eml file: header lines such as From and Subject, an empty line, text.
    pub(crate) message: String,
}

/// A plan to carry out.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ApplyDelete {
    /// digest of `plan_delete`.
    pub(crate) digest: Digest,
}

/// Reads the arguments of a tool.
///
/// # Errors
/// Which argument is wrong, its value, the rule, and an example.
pub(crate) fn parse<T: DeserializeOwned + JsonSchema>(arguments: Option<Map<String, Value>>) -> Result<T, ToolError> {
    let arguments = Value::Object(arguments.unwrap_or_default());
    serde_path_to_error::deserialize(&arguments).map_err(|error| {
        let path = error.path().to_string();
        problem::<T>(&arguments, &path, &error.into_inner().to_string())
    })
}

fn problem<T: JsonSchema>(arguments: &Value, path: &str, rule: &str) -> ToolError {
    let schema = Value::Object(schema::of_arguments::<T>());
    let quoted = || rule.split('`').nth(1).unwrap_or_default().to_owned();
    let inside = if path == "." { "" } else { path };
    // An unknown argument may be a password, so its value is not repeated.
    if rule.starts_with("unknown field") {
        let known: Vec<&str> =
            schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let field = shown(&quoted());
        let field = if inside.is_empty() || inside == field { field } else { inside.to_owned() };
        let is_top = schema["properties"].get(inside.split(['.', '[']).next().unwrap_or_default()).is_none();
        let rule = if is_top {
            format!("there is no such argument; the arguments are {}", known.join(", "))
        } else {
            shorter(rule)
        };
        let example = if is_top { None } else { example(&schema, inside) };
        return ToolError::arguments(vec![Problem { field, value: None, rule, example }]);
    }
    if rule.starts_with("missing field") {
        let name = quoted();
        let field = if inside.is_empty() { name.clone() } else { format!("{inside}.{name}") };
        let example = example(&schema, &field);
        let rule = "is required".to_owned();
        return ToolError::arguments(vec![Problem { field, value: None, rule, example }]);
    }
    let value = at(arguments, inside).map(|value| match value {
        Value::String(text) => shown(text),
        other => shown(&other.to_string()),
    });
    let field = if inside.is_empty() { "arguments".to_owned() } else { inside.to_owned() };
    let rule = shorter(rule);
    let example = example(&schema, inside);
    ToolError::arguments(vec![Problem { field, value, rule, example }])
}

/// The words of serde without the value, which the error has apart.
fn shorter(rule: &str) -> String {
    let expected = rule
        .split_once(", expected ")
        .filter(|(before, _)| before.starts_with("invalid ") || before.starts_with("unknown "));
    expected.map_or_else(
        || cut(&escaped(rule), LONGEST_RULE),
        |(_, expected)| format!("must be {}", expected.replace('`', "")),
    )
}

/// The value at a path such as `actions[0].forward`.
pub(super) fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let mut found = value;
    for step in path.split(['.', '[', ']']).filter(|step| !step.is_empty()) {
        found = match found {
            Value::Array(items) => items.get(step.parse::<usize>().ok()?)?,
            other => other.get(step)?,
        };
    }
    Some(found)
}

/// An example of an argument: of its schema, or the usual one. For what is inside an argument, the whole argument.
fn example(schema: &Value, path: &str) -> Option<String> {
    let name = path.split(['.', '[']).next()?;
    let is_item = path.ends_with(']') && path.matches(['.', '[']).count() == 1;
    let mut argument = &schema["properties"][name];
    if argument["items"].is_object() && is_item {
        argument = &argument["items"];
    }
    if let Some(reference) = argument["$ref"].as_str() {
        argument = &schema["$defs"][reference.rsplit('/').next()?];
    }
    let first = argument["examples"].get(0).or_else(|| argument["enum"].get(0)).or_else(|| argument.get("minimum"));
    let is_whole = is_item || !path.contains(['.', '[']);
    match first.filter(|_| is_whole) {
        Some(first) => Some(first.as_str().map_or_else(|| first.to_string(), ToOwned::to_owned)),
        // The only texts without an example are names of objects.
        None if is_item && argument["type"] == "string" => usual_example("name").map(ToOwned::to_owned),
        None => usual_example(name).map(ToOwned::to_owned),
    }
}

/// Examples of arguments without one in the schema: it would only repeat what their descriptions say.
pub(super) fn usual_example(name: &str) -> Option<&'static str> {
    Some(match name {
        "namespace" | "domainNamespace" => "mail",
        "name" | "mailbox" | "localPart" => "ada",
        "domain" => "example-com",
        "server" => "default",
        "cursor" => "eyJwb…",
        "catchAll" | "enabled" => "true",
        "quota" | "maxMailboxQuota" | "totalQuota" => "2Gi",
        "maxMailboxes" | "maxAliases" => "10",
        "description" | "displayName" | "publicComment" => "Ada Lovelace",
        "goto" => r#"["ada@example.com"]"#,
        "gotoMailboxes" => r#"["ada"]"#,
        "match" => r#"{"all": [{"field": "Subject", "operator": "Contains", "values": ["invoice"]}]}"#,
        "actions" => r#"[{"forward": {"to": ["books@example.com"]}}]"#,
        "from" => "ada@example.com",
        "message" => "Subject: invoice 7\n\nHello",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused<T: DeserializeOwned + JsonSchema + std::fmt::Debug>(value: Value) -> Problem {
        let Value::Object(map) = value else { unreachable!("arguments are an object") };
        parse::<T>(Some(map)).unwrap_err().problems.remove(0)
    }

    fn mailbox(change: &Value) -> Value {
        let mut value = json!({"namespace": "mail", "localPart": "ada", "domain": "example-com"});
        value.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        value
    }

    #[test]
    fn a_wrong_argument_is_named_with_value_rule_and_example() {
        let problem = refused::<CreateMailbox>(mailbox(&json!({"quota": "2GB"})));
        assert_eq!((problem.field.as_str(), problem.value.as_deref()), ("quota", Some("2GB")));
        assert!(problem.rule.contains("whole number of Mi, Gi or Ti"), "{problem:?}");
        assert_eq!(problem.example.as_deref(), Some("2Gi"));
        let problem = refused::<CreateMailbox>(mailbox(&json!({"waitSeconds": 999})));
        assert_eq!(problem.rule, "must be a whole number from 0 to 120");
        let problem = refused::<SetMailboxState>(json!({"namespace": "m", "name": "a", "state": "Off"}));
        assert_eq!((problem.field.as_str(), problem.example.as_deref()), ("state", Some("Active")));
        assert!(problem.rule.contains("Inactive"), "{problem:?}");
        let problem = refused::<AddAlias>(
            json!({"namespace": "m", "domain": "d", "localPart": "x", "goto": ["a@b.example", "nobody"]}),
        );
        assert_eq!((problem.field.as_str(), problem.value.as_deref()), ("goto[1]", Some("nobody")));
        assert_eq!(problem.example.as_deref(), Some("ada@example.com"));
    }

    #[test]
    fn what_is_missing_or_too_much_is_named() {
        let problem = refused::<CreateMailbox>(json!({"namespace": "mail", "domain": "d"}));
        assert_eq!((problem.field.as_str(), problem.rule.as_str()), ("localPart", "is required"));
        let problem = refused::<CreateMailbox>(mailbox(&json!({"password": "hunter2"})));
        assert_eq!((problem.field.as_str(), problem.value.as_deref()), ("password", None));
        assert!(problem.rule.contains("waitSeconds") && !format!("{problem:?}").contains("hunter2"), "{problem:?}");
        let rule = json!({"namespace": "m", "name": "r", "mailbox": "a", "actions": [{"forward": {"to": ["a@b.example"], "keep": true}}]});
        let problem = refused::<CreateForwardingRule>(rule);
        assert!(problem.field.starts_with("actions[0].forward"), "{problem:?}");
        assert!(problem.example.as_deref().is_some_and(|example| example.contains("books@")), "{problem:?}");
    }

    #[test]
    fn a_confirmation_by_argument_does_not_exist() {
        for name in ["confirm", "confirmed", "force", "yes", "dryRun", "userConfirmed"] {
            let problem = refused::<ApplyDelete>(json!({"digest": "0".repeat(32), name: true}));
            assert_eq!(problem.field, name);
        }
    }

    #[test]
    fn numbers_may_be_whole_floats() {
        let list: List = parse(json!({"limit": 10.0}).as_object().cloned()).unwrap();
        assert_eq!(list.limit.unwrap().get(), 10);
        assert!(refused::<List>(json!({"limit": 10.5})).rule.contains("whole number from 1 to 100"));
    }
}
