//! Policies against the same edits done on a parsed body. [pure]

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;

const NAMES: [&str; 6] = ["a", "b", "c", "temperature", "messages", "model"];

fn edited(policy: &BodyPolicy, body: &str) -> String {
    let mut out = Vec::new();
    let mut edits = Edits::default();
    let plan = Plan::of(policy, body.as_bytes());
    if let Some(plan) = &plan {
        plan.apply(&mut edits);
    }
    edits.apply(body.as_bytes(), &mut out);
    assert_eq!(edits.edited_len(body.as_bytes()), out.len());
    String::from_utf8(out).unwrap()
}

/// What the specification says, on a tree.
fn expected(policy: &BodyPolicy, mut body: Map<String, Value>) -> Map<String, Value> {
    let free = |name: &str| !PROTECTED.contains(&name);
    if let (Some(max), Some(value)) = (policy.temperature_max, body.get_mut("temperature"))
        && value.as_f64().unwrap() > max
    {
        *value = max.into();
    }
    for (from, to) in policy.renames.iter().filter(|(from, to)| from != to) {
        if free(from)
            && free(to)
            && let Some(value) = body.shift_remove(&**from)
        {
            body.insert(to.to_string(), value);
        }
    }
    for (name, json) in policy.defaults.iter().filter(|(name, _)| free(name)) {
        let value = serde_json::from_str(json).unwrap();
        body.entry(name.to_string()).or_insert(value);
    }
    body
}

fn name() -> impl Strategy<Value = Box<str>> {
    prop::sample::select(NAMES.to_vec()).prop_map(Into::into)
}

proptest! {
    #[test]
    fn edits_in_place_agree_with_edits_on_a_tree(
        members in prop::collection::hash_map(name(), -9_i32..9, 1..6),
        renames in prop::collection::vec((name(), name()), 0..5),
        defaults in prop::collection::vec(name(), 0..3),
        clamp in any::<bool>(),
    ) {
        let body: Map<String, Value> =
            members.into_iter().map(|(name, value)| (name.to_string(), value.into())).collect();
        let policy = BodyPolicy {
            renames,
            temperature_max: clamp.then_some(1.5),
            defaults: defaults.into_iter().map(|name| (name, Box::<str>::from("[1]").into())).collect(),
            ..BodyPolicy::default()
        };
        for text in [serde_json::to_string(&body).unwrap(), serde_json::to_string_pretty(&body).unwrap()] {
            let got: Value = serde_json::from_str(&edited(&policy, &text)).unwrap();
            prop_assert_eq!(got, Value::Object(expected(&policy, body.clone())), "{}", text);
        }
    }
}
