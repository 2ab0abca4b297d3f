//! `test_forwarding_rules`: the offline evaluator with the rules of a mailbox in the cluster. Nothing is sent.

use kube::Resource;
use serde_json::{Value, json};

use super::answers::{TestedQueue, TestedRules};
use super::arguments::TestForwardingRules;
use super::caller::Caller;
use super::managed::Managed;
use super::read::page;
use super::scope::Scope;
use super::tool_error::{ErrorKind, ToolError};
use super::untrusted::Untrusted;
use crate::cli::test_rules;
use crate::crd::{EmailDomain, EmailForwardingRule, EmailMailbox};
use crate::mail::Address;
use crate::outcome::Reason;

/// Longest message; bytes.
const LONGEST: usize = 1 << 20;
/// Most rules of a namespace that are read.
const MOST_RULES: u32 = 500;

/// Tests the rules.
pub(crate) async fn test(
    caller: &Caller,
    scope: &Scope,
    wanted: &TestForwardingRules,
) -> Result<TestedRules, ToolError> {
    scope.check(&wanted.namespace)?;
    check(wanted)?;
    let namespace = wanted.namespace.as_str();
    let mailbox: EmailMailbox = caller.get(namespace, wanted.mailbox.as_str()).await?;
    let domain = domain(caller, &mailbox, namespace).await?;
    let address = address(&mailbox, domain.as_ref())?;
    let is_of_it = |rule: &EmailForwardingRule| {
        let spec = &rule.spec;
        let by_name = spec.mailbox_ref.as_ref().is_some_and(|to| to.name == wanted.mailbox.as_str());
        by_name || spec.domain_ref.as_ref().is_some_and(|to| to.is_same(&mailbox.spec.domain_ref, namespace))
    };
    let place = [Some(namespace.to_owned())];
    let rules = page::<EmailForwardingRule>(caller, &place, MOST_RULES, None, is_of_it).await?;
    let (mut remarks, mut accepted) = (Vec::new(), Vec::new());
    for rule in &rules.items {
        match verdict(rule) {
            Verdict::Refused(why) => remarks.push(why),
            Verdict::Unknown(why) => {
                remarks.push(why);
                accepted.push(rule);
            }
            Verdict::Accepted => accepted.push(rule),
        }
    }
    let mut objects: Vec<Value> = accepted.into_iter().map(described).collect();
    objects.push(described(&mailbox));
    objects.extend(domain.iter().map(described));
    let to = match &wanted.to {
        Some(to) => Address::parse(to.as_str())
            .map_err(|error| ToolError::new(ErrorKind::InvalidArgument, error.to_string()))?,
        None => address.clone(),
    };
    let tested = test_rules(&objects, &address, &wanted.from, &to, &wanted.message)
        .map_err(|why| ToolError::new(ErrorKind::Refused, why))?;
    remarks.extend(tested.left_out.iter().cloned());
    if tested.is_chat {
        remarks.push(
            "the message has a header Chat-Version: Mailcow files it into the folder DeltaChat before any rule"
                .to_owned(),
        );
    }
    if tested.outcome.came_back {
        remarks.push(
            "the message came back to the mailbox that forwarded it: Dovecot does not forward it again".to_owned(),
        );
    }
    remarks.extend(tested.then.iter().map(|text| (*text).to_owned()));
    if rules.next.is_some() {
        remarks.push(format!("the namespace has more than {MOST_RULES} rules; only the first were tested"));
    }
    let queues = tested.queues().map(|(action, sink)| TestedQueue { action: action.to_owned(), sink: sink.to_owned() });
    Ok(TestedRules {
        queues: queues.collect(),
        mailbox: tested.mailbox,
        matched: tested.outcome.matched,
        forwards: tested.outcome.forwards.iter().map(ToString::to_string).collect(),
        trash: tested.outcome.trash,
        inbox: tested.outcome.inbox,
        remarks: Untrusted::all(&remarks),
    })
}

/// What the operator reports of a rule. It knows what this server does not: the installation's feature gates and sinks.
enum Verdict {
    Accepted,
    /// The rule is not in force, with the reason.
    Refused(String),
    /// Nothing is reported for this spec.
    Unknown(String),
}

fn verdict(rule: &EmailForwardingRule) -> Verdict {
    let id = format!("{}/{}", rule.place(), rule.meta().name.as_deref().unwrap_or_default());
    if !rule.is_current() {
        return Verdict::Unknown(format!(
            "{id}: the operator has not seen this rule yet; it is tested as if it were in force"
        ));
    }
    let is_false = |kind: &str| rule.condition(kind).filter(|condition| condition.status == "False");
    let disabled = || is_false("Ready").filter(|ready| ready.reason == Reason::FeatureDisabled.as_str());
    match is_false("Accepted").or_else(|| is_false("ResolvedRefs")).or_else(disabled) {
        Some(condition) => Verdict::Refused(format!("{id}: not in force: {}: {}", condition.reason, condition.message)),
        None => Verdict::Accepted,
    }
}

fn check(wanted: &TestForwardingRules) -> Result<(), ToolError> {
    if wanted.message.len() > LONGEST {
        return Err(ToolError::argument(
            "message",
            None,
            "must be at most 1 MiB; the header and the first lines are enough",
            "Subject: x",
        ));
    }
    let is_address =
        |text: &str| text.len() <= 320 && text.contains('@') && !text.chars().any(|c| c.is_control() || c == ' ');
    if !wanted.from.is_empty() && !is_address(&wanted.from) {
        let rule = "must be one address without a name, or empty for a bounce";
        return Err(ToolError::argument("from", Some(&wanted.from), rule, "a@vendor.example"));
    }
    Ok(())
}

/// The domain of the mailbox; `None` if the caller may not read it.
async fn domain(caller: &Caller, mailbox: &EmailMailbox, own: &str) -> Result<Option<EmailDomain>, ToolError> {
    let reference = &mailbox.spec.domain_ref;
    match caller.get(reference.namespace_from(own), &reference.name).await {
        Ok(domain) => Ok(Some(domain)),
        Err(error) if matches!(error.error, ErrorKind::Forbidden | ErrorKind::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

fn address(mailbox: &EmailMailbox, domain: Option<&EmailDomain>) -> Result<Address, ToolError> {
    let reported = mailbox.address().and_then(|address| Address::parse(&address).ok());
    let derived = || crate::desired::mailbox_address(&mailbox.spec, &domain?.spec).ok();
    reported.or_else(derived).ok_or_else(|| {
        ToolError::new(ErrorKind::NotFound, "the address of the mailbox is not known yet; call explain for the mailbox")
    })
}

/// The object with `apiVersion` and kind, and nothing that others wrote beside spec and metadata.
fn described<K: Managed>(object: &K) -> Value {
    let value = serde_json::to_value(object).unwrap_or_default();
    json!({"apiVersion": K::api_version(&()), "kind": K::KIND, "metadata": value["metadata"], "spec": value["spec"]})
}
