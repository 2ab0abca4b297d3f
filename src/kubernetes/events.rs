//! Events on objects.

use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{self, EventType, Recorder, Reporter};

use crate::status::Event;

/// Number of events that are remembered to count repetitions.
const REMEMBERED: usize = 500;

/// Publishes events. kube's recorder keeps each event for six minutes, about 2 KiB: after a change of ten thousand
/// objects it would need more memory than everything else. So it is replaced from time to time.
pub(crate) struct Events {
    kube: kube::Client,
    current: Mutex<(usize, Recorder)>,
}

impl Events {
    /// Nothing is remembered yet.
    pub(crate) fn new(kube: kube::Client) -> Self {
        let current = Mutex::new((0, recorder(&kube)));
        Self { kube, current }
    }

    /// Publishes one.
    ///
    /// # Errors
    /// When the Kubernetes API fails.
    pub(crate) async fn publish(&self, event: &Event, object: &ObjectReference) -> Result<(), kube::Error> {
        let event = events::Event {
            type_: if event.is_warning { EventType::Warning } else { EventType::Normal },
            reason: event.reason.to_owned(),
            note: Some(event.note.clone()),
            action: event.action.to_owned(),
            secondary: None,
        };
        self.recorder().publish(&event, object).await
    }

    fn recorder(&self) -> Recorder {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0 == REMEMBERED {
            *current = (0, recorder(&self.kube));
        }
        current.0 += 1;
        current.1.clone()
    }
}

fn recorder(kube: &kube::Client) -> Recorder {
    Recorder::new(kube.clone(), Reporter { controller: "mailcow-operator".to_owned(), instance: None })
}
