//! Which models a provider serves through Responses alone, learned from its own refusals.
//!
//! The catalogue knows the models of its day. A model that it does not know costs one refused attempt, once, and not one
//! for each call. In memory and bounded; losing an entry costs that attempt again.

use std::collections::{HashMap, VecDeque};

use parking_lot::RwLock;
use policy::{Deployment, Name, ThroughChat};
use providers::other_door::OnlyByResponses;

/// Entries kept; the oldest goes first.
const MOST: usize = 1_024;

/// Where a model is, whatever environment and release ask for it: origin, path, name there.
type Place = (String, Name, Name);

#[derive(Default)]
struct Notes {
    by_place: HashMap<Place, ThroughChat>,
    order: VecDeque<Place>,
}

/// All that was learned.
#[derive(Default)]
pub(crate) struct Learned(RwLock<Notes>);

fn place(deployment: &Deployment) -> Place {
    let provider = &deployment.provider;
    (provider.origin.to_string(), provider.base_path.clone(), deployment.upstream_model.clone())
}

impl Learned {
    /// What is known of a deployment: what the settings say, else what was learned, else the catalogue.
    pub(crate) fn through_chat(&self, deployment: &Deployment) -> ThroughChat {
        let said = deployment.chat.unwrap_or_default();
        if deployment.chat == Some(ThroughChat::Everything) {
            return said;
        }
        let notes = self.0.read();
        if notes.by_place.is_empty() {
            return said;
        }
        notes.by_place.get(&place(deployment)).copied().unwrap_or(said)
    }

    /// Takes a refusal to heart; says whether the call may be put to Responses.
    pub(crate) fn learn(&self, deployment: &Deployment, refused: OnlyByResponses) -> bool {
        if deployment.provider.responses.is_none() || deployment.chat == Some(ThroughChat::Everything) {
            return false;
        }
        let chat = match refused {
            OnlyByResponses::Everything => ThroughChat::Nothing,
            OnlyByResponses::Tools => ThroughChat::NoTools,
            OnlyByResponses::ToolsThatThink => ThroughChat::ToolsWithoutThinking,
        };
        let place = place(deployment);
        let mut notes = self.0.write();
        if notes.by_place.insert(place.clone(), chat).is_none() {
            notes.order.push_back(place);
        }
        while notes.order.len() > MOST {
            if let Some(oldest) = notes.order.pop_front() {
                notes.by_place.remove(&oldest);
            }
        }
        true
    }
}
