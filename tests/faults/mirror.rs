//! What Kubernetes really holds of our kinds, read beside the proxy: now, and what it held before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures::StreamExt as _;
use kube::Api;
use kube::api::DynamicObject;
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::Value;

/// Our kinds with their plurals.
pub(crate) const OURS: [(&str, &str); 4] = [
    ("EmailDomain", "emaildomains"),
    ("EmailMailbox", "emailmailboxes"),
    ("EmailAlias", "emailaliases"),
    ("EmailForwardingRule", "emailforwardingrules"),
];

/// One of our kinds, or Secrets, for a client that knows none.
pub(crate) fn resource(kind: &str) -> ApiResource {
    if kind == "Secret" {
        return ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", kind), "secrets");
    }
    let plural = OURS.iter().find(|(name, _)| *name == kind).map_or(kind, |(_, plural)| plural);
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("email.askrobots.com", "v1alpha1", kind), plural)
}

/// Where an object is: kind, namespace, name.
pub(crate) type Place = (&'static str, String, String);

/// One object from its creation to its end.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) uid: String,
    /// As it was seen last, whole.
    pub(crate) object: Value,
    /// The specs it had, by generation; of a Secret its data, by version.
    pub(crate) specs: BTreeMap<i64, Value>,
    /// When it was marked for deletion.
    pub(crate) deleting: Option<Instant>,
    /// When it was gone.
    pub(crate) gone: Option<Instant>,
}

impl Life {
    pub(crate) fn spec(&self) -> &Value {
        &self.object["spec"]
    }

    pub(crate) fn is_there(&self) -> bool {
        self.gone.is_none()
    }

    pub(crate) fn generation(&self) -> i64 {
        self.object["metadata"]["generation"].as_i64().unwrap_or_default()
    }

    /// Status and reason of a condition.
    pub(crate) fn condition(&self, kind: &str) -> Option<(&str, &str)> {
        condition(&self.object["status"], kind)
    }

    /// Whether the status speaks of the spec as it is.
    pub(crate) fn is_current(&self) -> bool {
        self.object["status"]["observedGeneration"].as_i64() == Some(self.generation())
    }
}

/// Status and reason of a condition in a status.
pub(crate) fn condition<'a>(status: &'a Value, kind: &str) -> Option<(&'a str, &'a str)> {
    let found = status["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)?;
    Some((found["status"].as_str()?, found["reason"].as_str()?))
}

/// All lives of all objects of the control plane, newest last in each place.
#[derive(Default)]
pub(crate) struct Mirror(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    lives: BTreeMap<Place, Vec<Arc<Life>>>,
    /// How many events each namespace had.
    events: BTreeMap<String, u64>,
    /// Namespaces that nobody is interested in any more.
    forgotten: BTreeSet<String>,
}

impl Mirror {
    /// Follows the four kinds and Secrets for ever.
    pub(crate) fn follow(client: &kube::Client) -> Arc<Self> {
        let mirror = Arc::new(Self::default());
        for kind in OURS.map(|(kind, _)| kind).into_iter().chain(["Secret"]) {
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource(kind));
            let events = watcher(api, watcher::Config::default()).default_backoff();
            let mirror = Arc::clone(&mirror);
            let events = events.for_each(move |event| {
                match event {
                    Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => mirror.saw(kind, &object),
                    Ok(watcher::Event::Delete(object)) => mirror.lost(kind, &object),
                    _ => {}
                }
                std::future::ready(())
            });
            tokio::spawn(events);
        }
        mirror
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn saw(&self, kind: &'static str, object: &DynamicObject) {
        let whole = serde_json::to_value(object).unwrap_or_default();
        let text = |field: &str| whole["metadata"][field].as_str().unwrap_or_default().to_owned();
        let uid = text("uid");
        let (number, content) = match kind {
            "Secret" => (text("resourceVersion").parse().ok(), &whole["data"]),
            _ => (whole["metadata"]["generation"].as_i64(), &whole["spec"]),
        };
        let is_deleting = !whole["metadata"]["deletionTimestamp"].is_null();
        let mut seen = self.seen();
        if seen.forgotten.contains(&text("namespace")) {
            return;
        }
        *seen.events.entry(text("namespace")).or_default() += 1;
        let lives = seen.lives.entry((kind, text("namespace"), text("name"))).or_default();
        if lives.last().is_none_or(|life| life.uid != uid) {
            if let Some(before) = lives.last_mut() {
                Arc::make_mut(before).gone.get_or_insert_with(Instant::now);
            }
            let (specs, deleting, gone) = (BTreeMap::new(), None, None);
            lives.push(Arc::new(Life { uid, object: Value::Null, specs, deleting, gone }));
        }
        if let Some(life) = lives.last_mut().map(Arc::make_mut) {
            let is_same = life.specs.last_key_value().is_some_and(|(_, last)| last == content);
            if kind != "Secret" || !is_same {
                life.specs.insert(number.unwrap_or_default(), content.clone());
            }
            if is_deleting {
                life.deleting.get_or_insert_with(Instant::now);
            }
            life.object = whole;
        }
    }

    fn lost(&self, kind: &'static str, object: &DynamicObject) {
        let place = (
            kind,
            object.metadata.namespace.clone().unwrap_or_default(),
            object.metadata.name.clone().unwrap_or_default(),
        );
        let mut seen = self.seen();
        if seen.forgotten.contains(&place.1) {
            return;
        }
        *seen.events.entry(place.1.clone()).or_default() += 1;
        if let Some(life) = seen.lives.get_mut(&place).and_then(|lives| lives.last_mut()).map(Arc::make_mut) {
            life.deleting.get_or_insert_with(Instant::now);
            life.gone.get_or_insert_with(Instant::now);
        }
    }

    /// All lives of a kind in these namespaces, ended ones too.
    pub(crate) fn all(&self, kind: &'static str, namespaces: &[String]) -> Vec<((String, String), Arc<Life>)> {
        let seen = self.seen();
        let mut found = Vec::new();
        for of in namespaces {
            let from = seen.lives.range((kind, of.clone(), String::new())..);
            let here = from.take_while(|((its, namespace, _), _)| *its == kind && namespace == of);
            for ((_, namespace, name), lives) in here {
                found.extend(lives.iter().map(|life| ((namespace.clone(), name.clone()), Arc::clone(life))));
            }
        }
        found
    }

    /// A number that is another one after each event in these namespaces.
    pub(crate) fn version(&self, namespaces: &[String]) -> u64 {
        let seen = self.seen();
        namespaces.iter().filter_map(|namespace| seen.events.get(namespace)).sum()
    }

    /// The objects of a kind that exist in these namespaces.
    pub(crate) fn there(&self, kind: &'static str, namespaces: &[String]) -> Vec<((String, String), Arc<Life>)> {
        let mut all = self.all(kind, namespaces);
        all.retain(|(_, life)| life.is_there());
        all
    }

    /// Whether an object of this uid exists.
    pub(crate) fn has(&self, uid: &str) -> bool {
        self.seen().lives.values().flatten().any(|life| life.uid == uid && life.is_there())
    }

    /// The newest life in a place.
    pub(crate) fn newest(&self, kind: &'static str, namespace: &str, name: &str) -> Option<Arc<Life>> {
        self.seen().lives.get(&(kind, namespace.to_owned(), name.to_owned()))?.last().cloned()
    }

    /// Forgets namespaces that are no longer needed.
    pub(crate) fn forget(&self, namespaces: &[String]) {
        let mut seen = self.seen();
        seen.lives.retain(|(_, namespace, _), _| !namespaces.contains(namespace));
        seen.events.retain(|namespace, _| !namespaces.contains(namespace));
        seen.forgotten.extend(namespaces.iter().cloned());
    }
}
