//! Specs that change at random, after the schemas of the CRDs alone: every field set, changed and taken away, with values
//! that are valid and values that are not, several objects at once. Whatever comes of it, a status tells the truth, and
//! the first spec brings everything back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use regex::Regex;
use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use crate::campaign::{self, OPERATOR, Outcome};
use crate::ledger::Oracle;
use crate::mirror::OURS;
use crate::pace;
use crate::schedule::{Resync, Schedule};
use crate::story::MUTATION;
use crate::world::{PATIENCE, World};

/// How many objects of each kind change at once.
const EACH: usize = 10;
/// After so many changes of every object all go back to their first spec.
const ROUNDS: usize = 4;
/// How long a change may take until the status speaks of it.
const SOON: Duration = Duration::from_secs(30);
/// More than a resync.
const QUIET: Duration = Duration::from_secs(3);

/// Texts that fields are filled with, as far as their schema lets them; and where it does not, to be refused.
const TEXTS: [&str; 34] = [
    "0",
    "1Gi",
    "512Mi",
    "3Gi",
    "2Ti",
    "1Ki",
    "5Mi",
    "10Gi",
    "abc",
    "a-1",
    "x",
    "desk",
    "tracker",
    "List-Id",
    "X-Test",
    "example.com/name",
    "default",
    "m0",
    "m1",
    "d0",
    "ada@other.example",
    "m1@d0.example",
    "B@Other.Example",
    "*",
    "@other.example",
    "info@bücher.example",
    "Ünï ✉ \"quoted\"",
    "two words",
    "^[a-z]+",
    "mx.other.example",
    "-",
    "<x>",
    "a,b",
    "1.5Gi",
];

/// What a run of changes did.
#[derive(Default)]
pub(crate) struct Changes {
    pub(crate) taken: usize,
    pub(crate) refused: usize,
    /// The changes after which an alarm was raised, as lines that [`replay`] reads.
    pub(crate) failed: Vec<String>,
    /// Fields that were set, changed or taken away.
    pub(crate) fields: BTreeSet<String>,
}

/// The schemas of `spec`, by kind.
pub(crate) fn schemas() -> BTreeMap<&'static str, Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    let read = |(kind, plural): (&'static str, &str)| {
        let text = std::fs::read_to_string(folder.join(format!("{plural}.yaml"))).unwrap();
        let document = serde_yaml::Deserializer::from_str(&text).next().unwrap();
        let crd = Value::deserialize(document).unwrap();
        (kind, crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone())
    };
    OURS.into_iter().map(read).collect()
}

/// In a path, each item of a list.
const ITEM: &str = "[]";

/// Every field of a schema, as a path.
pub(crate) fn fields(schema: &Value) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        found.push(vec![name.clone()]);
        found.extend(fields(below).into_iter().map(|path| [vec![name.clone()], path].concat()));
    }
    if schema["items"].is_object() {
        found.extend(fields(&schema["items"]).into_iter().map(|path| [vec![ITEM.to_owned()], path].concat()));
    }
    found
}

fn below<'a>(schema: &'a Value, name: &str) -> &'a Value {
    if name == ITEM { &schema["items"] } else { &schema["properties"][name] }
}

fn at<'a>(schema: &'a Value, path: &[String]) -> &'a Value {
    path.iter().fold(schema, |schema, name| below(schema, name))
}

/// A value with this field in it. Beside the field it has what is required, always in an item of a list (which replaces the
/// whole list), and in other objects at times.
fn with(schema: &Value, path: &[String], new: Value, rng: &mut StdRng, is_item: bool) -> Value {
    let Some((name, rest)) = path.split_first() else { return new };
    if name == ITEM {
        return json!([with(&schema["items"], rest, new, rng, true)]);
    }
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut object = Map::new();
    for field in required.filter(|field| field != name) {
        object.insert(field.to_owned(), value(below(schema, field), rng, true));
    }
    let has_required = is_item || rng.random_bool(0.5);
    object.retain(|_, _| has_required);
    let field = with(below(schema, name), rest, new, rng, is_item);
    if !(is_item && field.is_null()) {
        object.insert(name.clone(), field);
    }
    Value::Object(object)
}

/// A merge patch of a spec that gives a field this value.
fn patch(schema: &Value, path: &[String], new: Value, rng: &mut StdRng) -> Value {
    let Some((name, rest)) = path.split_first() else { return new };
    json!({ name: with(below(schema, name), rest, new, rng, false) })
}

/// A value for a schema; most of the time one that it takes.
fn value(schema: &Value, rng: &mut StdRng, good: bool) -> Value {
    if let Some(words) = schema["enum"].as_array() {
        return if good { words.choose(rng).cloned().unwrap_or_default() } else { "Nonsense".into() };
    }
    match schema["type"].as_str() {
        Some("boolean") if good => rng.random_bool(0.5).into(),
        Some("integer") => {
            #[expect(clippy::cast_possible_truncation, reason = "bounds are whole numbers, which YAML writes as 1.0")]
            let bound = |name: &str, other: i64| schema[name].as_f64().map_or(other, |bound| bound as i64);
            let (least, most) = (bound("minimum", 0), bound("maximum", 1000));
            let near = [least, least + 1, most, 2048, 4096, rng.random_range(least..=most.min(least + 50))];
            if good { near.choose(rng).copied().into() } else { [least - 1, most + 1].choose(rng).copied().into() }
        }
        Some("string") => text(schema, rng, good),
        Some("array") => {
            let count = rng.random_range(0..4);
            Value::Array((0..count).map(|n| value(&schema["items"], rng, good || n > 0)).collect())
        }
        Some("object") => object(schema, rng, good),
        _ => json!({"not": "this"}),
    }
}

fn text(schema: &Value, rng: &mut StdRng, good: bool) -> Value {
    let pattern = schema["pattern"].as_str().and_then(|pattern| Regex::new(pattern).ok());
    let bound =
        |name: &str, other: usize| schema[name].as_u64().map_or(other, |bound| usize::try_from(bound).unwrap_or(other));
    let (least, most) = (bound("minLength", 0), bound("maxLength", 300));
    let long = "y".repeat(most);
    let longer = "y".repeat(most + 1);
    let fits = |text: &str| {
        let length = text.chars().count();
        (least..=most).contains(&length) && pattern.as_ref().is_none_or(|pattern| pattern.is_match(text))
    };
    let texts = TEXTS.into_iter().chain(["", &long, &longer]);
    let possible: Vec<&str> = texts.filter(|text| fits(text) == good).collect();
    possible.choose(rng).copied().unwrap_or("z").into()
}

fn object(schema: &Value, rng: &mut StdRng, good: bool) -> Value {
    let mut made = Map::new();
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let properties = schema["properties"].as_object().into_iter().flatten();
    for (name, below) in properties {
        if required.contains(&name.as_str()) || rng.random_bool(0.4) {
            made.insert(name.clone(), value(below, rng, good));
        }
    }
    if schema["additionalProperties"].is_object() {
        for key in ["plan", "team"].iter().take(rng.random_range(0..3)) {
            made.insert((*key).to_owned(), text(&schema["additionalProperties"], rng, good));
        }
    }
    if !good {
        made.insert("unknownField".to_owned(), 1.into());
    }
    Value::Object(made)
}

/// One change of one object: a patch of its spec, and which field it is.
fn change(schema: &Value, rng: &mut StdRng) -> (String, Value) {
    let fields = fields(schema);
    let path = fields.choose(rng).cloned().unwrap_or_default();
    let good = rng.random_bool(0.8);
    let new = if rng.random_bool(0.2) { Value::Null } else { value(at(schema, &path), rng, good) };
    (path.join("."), patch(schema, &path, new, rng))
}

/// The first specs: kind, name, spec.
fn first() -> Vec<(&'static str, String, Value)> {
    let mut all = Vec::new();
    for n in 0..EACH {
        let domain = format!("d{}", n % 3);
        let in_domain = json!({ "name": domain });
        if n < 3 {
            let spec = json!({"domain": format!("{domain}.example"), "limits": {"mailboxes": 50, "totalQuota": "1Ti", "mailboxQuota": "100Gi"}});
            all.push(("EmailDomain", domain.clone(), spec));
        }
        all.push(("EmailMailbox", format!("m{n}"), json!({"localPart": format!("m{n}"), "domainRef": in_domain})));
        let goto = [format!("away{n}@other.example")];
        all.push((
            "EmailAlias",
            format!("a{n}"),
            json!({"localPart": format!("a{n}"), "domainRef": in_domain, "goto": goto}),
        ));
        let actions = json!([{"forward": {"to": [format!("rule{n}@other.example")]}}]);
        all.push((
            "EmailForwardingRule",
            format!("r{n}"),
            json!({"mailboxRef": {"name": format!("m{n}")}, "actions": actions}),
        ));
    }
    all
}

/// Changes everything again and again, from a seed, until the time is over or an alarm was raised.
pub(crate) async fn run(seed: u64, limit: Duration) -> (Outcome, Changes) {
    let started = Instant::now();
    let schedule = Schedule { seed, ..Schedule::quiet(MUTATION.name, Resync::Fast) };
    let world = World::new(&MUTATION, &schedule, Vec::new(), (Path::new(OPERATOR.0), PATIENCE)).await;
    let (schemas, mut rng, mut changes) = (schemas(), StdRng::seed_from_u64(seed), Changes::default());
    let first = first();
    while world.ledger.alarms().is_empty() && (started.elapsed() < limit || changes.taken == 0) {
        put_back(&world, &first).await;
        settled(&world, "the first specs").await;
        all_ready(&world).await;
        for _ in 0..ROUNDS {
            let mut what = Vec::new();
            for (kind, name, _) in &first {
                let (field, patch) = change(&schemas[kind], &mut rng);
                let told = format!("{kind} {name}: {patch}");
                if patch_spec(&world, kind, name, patch).await {
                    changes.taken += 1;
                    changes.fields.insert(format!("{kind}.{field}"));
                    what.push(told);
                } else {
                    changes.refused += 1;
                }
            }
            settled(&world, &what.join("\n    ")).await;
            if !world.ledger.alarms().is_empty() {
                changes.failed = what;
                break;
            }
        }
    }
    end(&world, &first).await;
    (Outcome::of(&schedule, &world, started.elapsed()), changes)
}

/// With the first specs everything comes to rest, and stays so.
async fn end(world: &World, first: &[(&'static str, String, Value)]) {
    if world.ledger.alarms().is_empty() {
        put_back(world, first).await;
        settled(world, "the first specs").await;
        all_ready(world).await;
        quiet(world).await;
    }
    if world.ledger.alarms().is_empty() {
        world.finish().await;
    } else {
        world.finish_quietly();
    }
    world.clear().await;
}

/// Waits until nothing is written any more.
async fn quiet(world: &World) {
    let started = Instant::now();
    while pace::elapsed(world.ledger.quiet_since()) < QUIET && pace::elapsed(started) < SOON {
        tokio::time::sleep(Duration::from_millis(300)).await;
        world.judge();
    }
}

/// Makes changes that were kept as lines, and gives everything its first spec again.
pub(crate) async fn replay(lines: &[String]) -> Outcome {
    let started = Instant::now();
    let schedule = Schedule::quiet(MUTATION.name, Resync::Fast);
    let world = World::new(&MUTATION, &schedule, Vec::new(), (Path::new(OPERATOR.0), PATIENCE)).await;
    let first = first();
    put_back(&world, &first).await;
    settled(&world, "the first specs").await;
    for line in lines {
        let (place, patch) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?} is no change"));
        let (kind, name) = place.split_once(' ').unwrap_or_else(|| panic!("{line:?} names no object"));
        patch_spec(&world, kind, name, serde_json::from_str(patch).unwrap()).await;
    }
    settled(&world, &lines.join("\n    ")).await;
    end(&world, &first).await;
    Outcome::of(&schedule, &world, started.elapsed())
}

/// Finds the one change that is to blame, keeps it as a regression, and gives the words for the test that fails.
pub(crate) async fn keep(seed: u64, changes: &Changes) -> String {
    if changes.failed.is_empty() {
        return String::new();
    }
    let mut short = changes.failed.clone();
    for line in &changes.failed {
        let alone = vec![line.clone()];
        if !replay(&alone).await.alarms.is_empty() {
            short = alone;
            break;
        }
    }
    let text = short.join("\n") + "\n";
    let file = campaign::regressions().join(format!("seed-{seed}.changes"));
    let place = std::fs::write(&file, &text).map_or_else(|error| error.to_string(), |()| file.display().to_string());
    format!("seed {seed}:\n{text}kept as {place}\n")
}

fn path(world: &World, kind: &str, name: &str) -> String {
    let plural = OURS.iter().find(|(ours, _)| *ours == kind).map_or(kind, |(_, plural)| plural);
    format!("/apis/email.askrobots.com/v1alpha1/namespaces/{}/{plural}/{name}", world.namespaces[0])
}

/// Changes a spec; false when the API server refuses.
async fn patch_spec(world: &World, kind: &str, name: &str, patch: Value) -> bool {
    let request = http::Request::patch(path(world, kind, name)).header("Content-Type", "application/merge-patch+json");
    let request = request.body(json!({ "spec": patch }).to_string().into_bytes()).unwrap();
    world.site.kube.request_text(request).await.is_ok()
}

/// Gives every object its first spec, and makes those that are missing.
async fn put_back(world: &World, first: &[(&'static str, String, Value)]) {
    for (kind, name, spec) in first {
        let replace = json!([{"op": "replace", "path": "/spec", "value": spec}]);
        let request =
            http::Request::patch(path(world, kind, name)).header("Content-Type", "application/json-patch+json");
        let request = request.body(replace.to_string().into_bytes()).unwrap();
        if world.site.kube.request_text(request).await.is_err() {
            let manifest = json!({"apiVersion": "email.askrobots.com/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
            world.apply(0, &manifest.to_string()).await;
        }
    }
}

/// Waits until every status speaks of its spec and tells the truth; else that is an alarm, with what was changed.
async fn settled(world: &World, what: &str) {
    let started = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut wrong = world.unsettled();
        if wrong.is_empty() {
            wrong = world.untrue();
        }
        if wrong.is_empty() {
            wrong = world.ledger.wrong_passwords();
        }
        if wrong.is_empty() {
            return;
        }
        if pace::elapsed(started) > SOON {
            let wrong = wrong.join("\n    ");
            return world
                .ledger
                .alarm(Oracle::Never, format!("{SOON:?} after a change: {wrong}\n  changed was:\n    {what}"));
        }
    }
}

/// With the first specs everything is Ready.
async fn all_ready(world: &World) {
    let started = Instant::now();
    loop {
        let unready = world.not_ready();
        if unready.is_empty() {
            return;
        }
        if pace::elapsed(started) > SOON {
            let text = format!("the first specs don't bring it back: {}", unready.join("\n    "));
            return world.ledger.alarm(Oracle::End, text);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_every_kind_is_reached_and_filled_with_both_kinds_of_values() {
        let schemas = schemas();
        let mut rng = StdRng::seed_from_u64(1);
        for (kind, schema) in &schemas {
            let all = fields(schema);
            assert!(all.len() >= 13, "{kind}: {all:?}");
            let mut met = BTreeSet::new();
            for _ in 0..5000 {
                met.insert(change(schema, &mut rng).0);
            }
            assert_eq!(met.len(), all.len(), "{kind}");
        }
        let to: Vec<String> = ["actions", ITEM, "forward", "to"].map(str::to_owned).into();
        assert!(fields(&schemas["EmailForwardingRule"]).contains(&to));
        let rule = patch(&schemas["EmailForwardingRule"], &to, json!(["x@other.example"]), &mut rng);
        assert_eq!(rule, json!({"actions": [{"forward": {"to": ["x@other.example"]}}]}));
        let all = fields(&schemas["EmailForwardingRule"]);
        let path = all.iter().find(|path| path.join(".") == "actions.[].createTask.title").unwrap();
        let task = patch(&schemas["EmailForwardingRule"], path, Value::Null, &mut rng);
        assert!(
            task["actions"][0]["createTask"]["sink"].is_string() && task["actions"][0]["createTask"]["title"].is_null()
        );
        let name = at(&schemas["EmailMailbox"], &["credentialsSecretName".to_owned()]);
        let (good, bad) = (text(name, &mut rng, true), text(name, &mut rng, false));
        let pattern = Regex::new(name["pattern"].as_str().unwrap()).unwrap();
        assert!(pattern.is_match(good.as_str().unwrap()) && !pattern.is_match(bad.as_str().unwrap()));
    }

    #[test]
    fn a_seed_makes_the_same_changes() {
        let schema = &schemas()["EmailDomain"];
        let made = || {
            let mut rng = StdRng::seed_from_u64(9);
            (0..50).map(|_| change(schema, &mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(made(), made());
    }
}
