//! The tools: their names, what they promise, their schemas.

use std::sync::Arc;

use rmcp::model::{Tool as Described, ToolAnnotations};
use schemars::JsonSchema;

use super::answers::{
    Aliases, Deleted, DomainDns, Domains, Explanation, Mailboxes, PlannedDelete, Rules, TestedRules, Written,
};
use super::arguments::{
    AddAlias, ApplyDelete, CreateDomain, CreateForwardingRule, CreateMailbox, Kind, List, ListDomains, Named, Object,
    SetMailboxState, TestForwardingRules,
};
use super::schema;

/// A tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    /// Lists domains.
    ListDomains,
    /// The DNS records of a domain.
    GetDomainDns,
    /// Creates a domain.
    CreateDomain,
    /// Lists mailboxes.
    ListMailboxes,
    /// Creates a mailbox.
    CreateMailbox,
    /// Changes the state of a mailbox.
    SetMailboxState,
    /// Lists aliases.
    ListAliases,
    /// Creates an alias.
    AddAlias,
    /// Lists rules.
    ListForwardingRules,
    /// Creates a rule.
    CreateForwardingRule,
    /// Tests rules.
    TestForwardingRules,
    /// Explains the state of an object.
    Explain,
    /// Plans a deletion.
    PlanDelete,
    /// Carries out a deletion.
    ApplyDelete,
}

/// What a tool does with objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It reads.
    Reads,
    /// It creates.
    Creates,
    /// It changes or deletes what exists.
    Changes,
}

impl Tool {
    /// All tools, in reading order.
    pub(crate) const ALL: [Self; 14] = [
        Self::ListDomains,
        Self::GetDomainDns,
        Self::CreateDomain,
        Self::ListMailboxes,
        Self::CreateMailbox,
        Self::SetMailboxState,
        Self::ListAliases,
        Self::AddAlias,
        Self::ListForwardingRules,
        Self::CreateForwardingRule,
        Self::TestForwardingRules,
        Self::Explain,
        Self::PlanDelete,
        Self::ApplyDelete,
    ];

    /// The tool of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.name() == name)
    }

    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ListDomains => "list_domains",
            Self::GetDomainDns => "get_domain_dns",
            Self::CreateDomain => "create_domain",
            Self::ListMailboxes => "list_mailboxes",
            Self::CreateMailbox => "create_mailbox",
            Self::SetMailboxState => "set_mailbox_state",
            Self::ListAliases => "list_aliases",
            Self::AddAlias => "add_alias",
            Self::ListForwardingRules => "list_forwarding_rules",
            Self::CreateForwardingRule => "create_forwarding_rule",
            Self::TestForwardingRules => "test_forwarding_rules",
            Self::Explain => "explain",
            Self::PlanDelete => "plan_delete",
            Self::ApplyDelete => "apply_delete",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::ListDomains => "List domains",
            Self::GetDomainDns => "DNS records of a domain",
            Self::CreateDomain => "Create a domain",
            Self::ListMailboxes => "List mailboxes",
            Self::CreateMailbox => "Create a mailbox",
            Self::SetMailboxState => "Change the state of a mailbox",
            Self::ListAliases => "List aliases",
            Self::AddAlias => "Add an alias",
            Self::ListForwardingRules => "List forwarding rules",
            Self::CreateForwardingRule => "Create a forwarding rule",
            Self::TestForwardingRules => "Test forwarding rules",
            Self::Explain => "Explain the state of an object",
            Self::PlanDelete => "Plan a deletion",
            Self::ApplyDelete => "Delete after a person confirmed",
        }
    }

    const fn description(self) -> &'static str {
        match self {
            Self::ListDomains => "Lists mail domains with their state.",
            Self::GetDomainDns => {
                "Lists the DNS records of a domain: expected and published values, verdicts, what to do."
            }
            Self::CreateDomain => {
                "Creates a mail domain and waits until it is ready. Safe to repeat; never changes an existing object."
            }
            Self::ListMailboxes => "Lists mailboxes with address, state and quota.",
            Self::CreateMailbox => {
                "Creates a mailbox and waits until it is ready. The password is generated into a Secret, whose name is answered; there is no argument for a password. Safe to repeat; never changes an existing object."
            }
            Self::SetMailboxState => "Enables a mailbox, disables its login, or deactivates it. Keeps all mail.",
            Self::ListAliases => "Lists aliases with their targets.",
            Self::AddAlias => {
                "Adds an alias that forwards mail and waits until it is ready. Safe to repeat; never changes an existing object."
            }
            Self::ListForwardingRules => "Lists rules for incoming mail.",
            Self::CreateForwardingRule => {
                "Creates a rule for the incoming mail of a mailbox or a domain. Safe to repeat; never changes an existing object."
            }
            Self::TestForwardingRules => "Says what the rules of a mailbox would do with a message. Sends nothing.",
            Self::Explain => "Explains the state of an object: its conditions, and what to do about each.",
            Self::PlanDelete => {
                "Says what would be lost if an object were deleted, and answers a digest for apply_delete. Deletes nothing."
            }
            Self::ApplyDelete => {
                "Deletes the object of a plan, after it has asked the person in the client. No argument confirms in their place."
            }
        }
    }

    /// What it does.
    pub(crate) const fn effect(self) -> Effect {
        match self {
            Self::ListDomains
            | Self::GetDomainDns
            | Self::ListMailboxes
            | Self::ListAliases
            | Self::ListForwardingRules
            | Self::TestForwardingRules
            | Self::Explain
            | Self::PlanDelete => Effect::Reads,
            Self::CreateDomain | Self::CreateMailbox | Self::AddAlias | Self::CreateForwardingRule => Effect::Creates,
            Self::SetMailboxState | Self::ApplyDelete => Effect::Changes,
        }
    }

    /// Whether it waits for an object to become ready.
    pub(crate) const fn waits(self) -> bool {
        match self {
            Self::CreateDomain
            | Self::CreateMailbox
            | Self::SetMailboxState
            | Self::AddAlias
            | Self::CreateForwardingRule => true,
            Self::ListDomains
            | Self::GetDomainDns
            | Self::ListMailboxes
            | Self::ListAliases
            | Self::ListForwardingRules
            | Self::TestForwardingRules
            | Self::Explain
            | Self::PlanDelete
            | Self::ApplyDelete => false,
        }
    }

    /// The right without which it can do nothing: a verb and the kinds; one of them is enough.
    pub(crate) const fn right(self) -> (&'static str, &'static [Kind]) {
        match self {
            Self::ListDomains => ("list", &[Kind::EmailDomain]),
            Self::GetDomainDns => ("get", &[Kind::EmailDomain]),
            Self::CreateDomain => ("create", &[Kind::EmailDomain]),
            Self::ListMailboxes => ("list", &[Kind::EmailMailbox]),
            Self::CreateMailbox => ("create", &[Kind::EmailMailbox]),
            Self::SetMailboxState => ("patch", &[Kind::EmailMailbox]),
            Self::ListAliases => ("list", &[Kind::EmailAlias]),
            Self::AddAlias => ("create", &[Kind::EmailAlias]),
            Self::ListForwardingRules | Self::TestForwardingRules => ("list", &[Kind::EmailForwardingRule]),
            Self::CreateForwardingRule => ("create", &[Kind::EmailForwardingRule]),
            Self::Explain | Self::PlanDelete => ("get", &Kind::ALL),
            Self::ApplyDelete => ("delete", &Kind::ALL),
        }
    }

    /// The tool as clients see it.
    pub(crate) fn described(self) -> Described {
        match self {
            Self::ListDomains => self.with::<ListDomains, Domains>(),
            Self::GetDomainDns => self.with::<Named, DomainDns>(),
            Self::CreateDomain => self.with::<CreateDomain, Written>(),
            Self::ListMailboxes => self.with::<List, Mailboxes>(),
            Self::CreateMailbox => self.with::<CreateMailbox, Written>(),
            Self::SetMailboxState => self.with::<SetMailboxState, Written>(),
            Self::ListAliases => self.with::<List, Aliases>(),
            Self::AddAlias => self.with::<AddAlias, Written>(),
            Self::ListForwardingRules => self.with::<List, Rules>(),
            Self::CreateForwardingRule => self.with::<CreateForwardingRule, Written>(),
            Self::TestForwardingRules => self.with::<TestForwardingRules, TestedRules>(),
            Self::Explain => self.with::<Object, Explanation>(),
            Self::PlanDelete => self.with::<Object, PlannedDelete>(),
            Self::ApplyDelete => self.with::<ApplyDelete, Deleted>(),
        }
    }

    fn with<Arguments: JsonSchema, Answer: JsonSchema>(self) -> Described {
        let reads = self.effect() == Effect::Reads;
        // A repeated apply_delete fails, and does no more.
        let hints = ToolAnnotations::from_raw(
            None,
            Some(reads),
            (!reads).then_some(self.effect() == Effect::Changes),
            (!reads).then_some(true),
            Some(false),
        );
        Described::new(self.name(), self.description(), Arc::new(schema::of_arguments::<Arguments>()))
            .with_title(self.title())
            .with_raw_output_schema(Arc::new(schema::of_answer::<Answer>()))
            .with_annotations(hints)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::arguments::parse;
    use crate::mcp::tool_error::{Problem, ToolError};
    use serde_json::{Map, Value, json};

    /// The problem with arguments of a tool; `None` if there is none.
    fn problem(tool: Tool, arguments: &Map<String, Value>) -> Option<Problem> {
        fn of<T: serde::de::DeserializeOwned + JsonSchema>(arguments: &Map<String, Value>) -> Option<ToolError> {
            parse::<T>(Some(arguments.clone())).err()
        }
        let error = match tool {
            Tool::ListDomains => of::<ListDomains>(arguments),
            Tool::GetDomainDns => of::<Named>(arguments),
            Tool::CreateDomain => of::<CreateDomain>(arguments),
            Tool::ListMailboxes | Tool::ListAliases | Tool::ListForwardingRules => of::<List>(arguments),
            Tool::CreateMailbox => of::<CreateMailbox>(arguments),
            Tool::SetMailboxState => of::<SetMailboxState>(arguments),
            Tool::AddAlias => of::<AddAlias>(arguments),
            Tool::CreateForwardingRule => of::<CreateForwardingRule>(arguments),
            Tool::TestForwardingRules => of::<TestForwardingRules>(arguments),
            Tool::Explain | Tool::PlanDelete => of::<Object>(arguments),
            Tool::ApplyDelete => of::<ApplyDelete>(arguments),
        };
        error.map(|mut error| error.problems.remove(0))
    }

    /// The example of a problem as the value of its argument.
    fn value_of(example: &str, schema: &Value) -> Value {
        let is_text = schema["type"] == "string" || schema["$ref"].is_string() && !example.starts_with(['{', '[']);
        if is_text { json!(example) } else { serde_json::from_str(example).unwrap() }
    }

    #[test]
    fn the_list_of_tools_is_short_enough_for_a_model() {
        let tools: Vec<Described> = Tool::ALL.into_iter().map(Tool::described).collect();
        let sizes: Vec<(String, usize)> =
            tools.iter().map(|tool| (tool.name.to_string(), serde_json::to_string(tool).unwrap().len())).collect();
        let all = serde_json::to_string(&tools).unwrap().len();
        assert!(all <= 25_000, "{all} bytes: {sizes:?}");
    }

    #[test]
    fn every_tool_takes_and_answers_an_object_and_says_what_it_does() {
        for tool in Tool::ALL {
            let described = serde_json::to_value(tool.described()).unwrap();
            for schema in ["inputSchema", "outputSchema"] {
                assert_eq!(described[schema]["type"], "object", "{} {schema}", tool.name());
            }
            assert_eq!(described["inputSchema"]["additionalProperties"], false, "{}", tool.name());
            assert_eq!(described["annotations"]["readOnlyHint"], Value::from(tool.effect() == Effect::Reads));
            assert_eq!(Tool::named(tool.name()), Some(tool));
        }
        assert_eq!(Tool::named("delete_mailbox"), None);
    }

    /// The example that a tool gives for a wrong value of an argument, as its value; `None` if it takes any text.
    fn corrected(tool: Tool, name: &str, argument: &Value, wrong: &Value) -> Option<Value> {
        let wrong_ones = |value: &Value| {
            let arguments = Map::from_iter([(name.to_owned(), value.clone())]);
            problem(tool, &arguments).filter(|problem| problem.rule != "is required")
        };
        let problem = wrong_ones(wrong)?;
        assert_eq!(problem.field.split(['.', '[']).next(), Some(name), "{tool:?} {wrong}: {problem:?}");
        // The value of an unknown part is not repeated.
        let is_unknown = problem.rule.starts_with("must be one of") || problem.rule.contains("such argument");
        assert!(problem.value.is_some() || is_unknown, "{tool:?} {wrong}: {problem:?}");
        let is_item = problem.field.ends_with(']') && argument["items"]["type"] == "string";
        let schema = if is_item { &argument["items"] } else { argument };
        let example = problem.example.as_deref().unwrap_or_else(|| unreachable!("{tool:?} {wrong}: {problem:?}"));
        let example = value_of(example, schema);
        let example = if is_item { json!([example]) } else { example };
        assert_eq!(wrong_ones(&example), None, "{tool:?} {name} {example}");
        Some(example)
    }

    #[test]
    fn every_wrong_argument_is_named_with_value_rule_and_an_example_that_is_right() {
        let mut seen = 0;
        for tool in Tool::ALL {
            let schema = serde_json::to_value(tool.described()).unwrap()["inputSchema"].clone();
            let mut right = Map::new();
            for (name, argument) in schema["properties"].as_object().unwrap() {
                // Values of a wrong type, and a text that breaks the rule of every text that has one.
                let wrong = [json!(7.5), json!("\n/ \u{202e}@"), json!({"x": 1}), json!([{"x": 1}]), json!([7])];
                let examples: Vec<Value> =
                    wrong.iter().filter_map(|wrong| corrected(tool, name, argument, wrong)).collect();
                let takes_any_text = ["cursor", "from", "message"].contains(&name.as_str());
                assert_eq!(examples.len(), wrong.len() - usize::from(takes_any_text), "{tool:?} {name}");
                right.insert(name.clone(), examples[0].clone());
                seen += examples.len();
            }
            for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                let mut arguments = right.clone();
                arguments.remove(name);
                let problem = problem(tool, &arguments).unwrap();
                assert_eq!((problem.field.as_str(), problem.rule.as_str()), (name, "is required"), "{tool:?}");
                assert!(problem.example.is_some(), "{tool:?} {problem:?}");
            }
        }
        assert!(seen > 200, "{seen}");
    }

    #[test]
    fn no_argument_takes_a_secret_or_a_confirmation() {
        for tool in Tool::ALL {
            let schema = serde_json::to_value(tool.described()).unwrap()["inputSchema"]["properties"].clone();
            for name in schema.as_object().unwrap().keys() {
                let name = name.to_lowercase();
                let bad = ["password", "secret", "token", "key", "confirm", "force", "annotation", "label"];
                assert!(!bad.iter().any(|word| name.contains(word)), "{}: {name}", tool.name());
            }
        }
    }
}
