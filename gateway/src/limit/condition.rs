//! Whether a request meets a policy's conditions. [pure]

use config_sync::model::rate_limit_policy::{
    Condition, ConditionDimension, Group, Leaf, Logic, Test,
};

use super::claim::Subject;

/// Whether all of `conditions` hold.
pub(super) fn all_hold(conditions: &[Condition], subject: &Subject<'_>) -> bool {
    conditions.iter().all(|node| holds(node, subject))
}

/// At most three levels deep, so that it may call itself.
fn holds(node: &Condition, subject: &Subject<'_>) -> bool {
    match node {
        Condition::Leaf(leaf) => leaf_holds(leaf, subject),
        Condition::Group(group) => group_holds(group, subject),
    }
}

fn group_holds(group: &Group, subject: &Subject<'_>) -> bool {
    let mut children = group.children.iter();
    let is_met = match group.logic {
        Logic::And => children.all(|node| holds(node, subject)),
        Logic::Or => children.any(|node| holds(node, subject)),
    };
    is_met != group.negated
}

/// Of a target and its group one is enough, except that both must differ from what they must not be.
/// A request without the dimension meets no test of it, be it negated or not.
fn leaf_holds(leaf: &Leaf, subject: &Subject<'_>) -> bool {
    let [own, parent] = values(leaf.dimension, subject);
    if own.is_none() && parent.is_none() {
        return false;
    }
    let mut values = own.into_iter().chain(parent);
    let is_met = match &leaf.test {
        Test::Is(text) => values.any(|value| *value == **text),
        Test::IsNot(text) => values.all(|value| *value != **text),
        Test::In(texts) => values.any(|value| texts.iter().any(|text| **text == *value)),
        Test::Matches(pattern) => values.any(|value| pattern.is_match(value)),
    };
    is_met != leaf.negated
}

/// What the request has of `dimension`, and what its group has.
fn values<'a>(dimension: ConditionDimension, subject: &Subject<'a>) -> [Option<&'a str>; 2] {
    let parent = subject.parent;
    match dimension {
        ConditionDimension::Team => [subject.team, None],
        ConditionDimension::Member => [subject.member, None],
        ConditionDimension::ApiKey => [subject.api_key, None],
        ConditionDimension::Model => [subject.model, parent.map(|parent| parent.model)],
        ConditionDimension::ModelName => {
            [subject.model_name, parent.map(|parent| parent.model_name)]
        }
        ConditionDimension::Provider => [subject.provider, None],
    }
}

/// Whether any test of `conditions` asks for the model or its vendor.
pub(super) fn ask_for_model(conditions: &[Condition]) -> bool {
    conditions.iter().any(|node| match node {
        Condition::Group(group) => ask_for_model(&group.children),
        Condition::Leaf(leaf) => match leaf.dimension {
            ConditionDimension::Team | ConditionDimension::Member | ConditionDimension::ApiKey => {
                false
            }
            ConditionDimension::Model
            | ConditionDimension::ModelName
            | ConditionDimension::Provider => true,
        },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::limit::claim::Parent;
    use crate::limit::tests::fixture;

    fn conditions(nodes: &Value) -> Vec<Condition> {
        fixture::conditions(&json!({"name": "p", "limits": {"rpm": 1}, "conditions": nodes}))
    }

    fn leaf(dimension: &str, operator: &str, value: &Value) -> Value {
        json!({"dimension": dimension, "operator": operator, "value": value})
    }

    const DIRECT: Subject<'_> = Subject {
        team: Some("t"),
        member: None,
        api_key: Some("k"),
        model: Some("m-1"),
        model_name: Some("fast-1"),
        provider: Some("openai"),
        parent: None,
    };
    const GROUPED: Subject<'_> = Subject {
        parent: Some(Parent {
            model: "g",
            model_name: "pool",
        }),
        ..DIRECT
    };

    #[test]
    fn a_test_holds_or_its_negation_and_neither_where_the_dimension_is_missing() {
        // Dimension, operator, value, then whether it holds directly and through the group.
        let cases = [
            ("team", "==", json!("t"), Some(true), Some(true)),
            ("team", "==", json!("T"), Some(false), Some(false)),
            ("team", "~=", json!("u"), Some(true), Some(true)),
            ("api_key", "in", json!(["a", "k"]), Some(true), Some(true)),
            ("api_key", "in", json!(["a"]), Some(false), Some(false)),
            ("member", "==", json!("u"), None, None),
            ("member", "~=", json!("u"), None, None),
            ("member", "in", json!(["u"]), None, None),
            ("model", "==", json!("m-1"), Some(true), Some(true)),
            ("model", "==", json!("g"), Some(false), Some(true)),
            ("model", "~=", json!("g"), Some(true), Some(false)),
            ("model", "~=", json!("m-1"), Some(false), Some(false)),
            ("model", "~=", json!("x"), Some(true), Some(true)),
            ("model", "in", json!(["x", "g"]), Some(false), Some(true)),
            ("model_name", "~~", json!("^fast-"), Some(true), Some(true)),
            ("model_name", "~~", json!("^po+l$"), Some(false), Some(true)),
            ("model_name", "~*", json!("^POOL"), Some(false), Some(true)),
            ("model_name", "~~", json!("^POOL"), Some(false), Some(false)),
            ("provider", "~*", json!("OPEN"), Some(true), Some(true)),
            ("provider", "==", json!("pool"), Some(false), Some(false)),
        ];
        for (dimension, operator, value, direct, grouped) in cases {
            let plain = leaf(dimension, operator, &value);
            let mut negated = plain.clone();
            negated["negate"] = json!(true);
            for (subject, want) in [(&DIRECT, direct), (&GROUPED, grouped)] {
                let got = |node: &Value| all_hold(&conditions(&json!([node])), subject);
                let case = format!("{plain} of {subject:?}");
                assert_eq!(got(&plain), want == Some(true), "{case}");
                assert_eq!(got(&negated), want == Some(false), "not {case}");
            }
        }
    }

    #[test]
    fn groups_combine_and_are_negated_as_a_whole() {
        let [yes, no] = ["t", "u"].map(|team| leaf("team", "==", &json!(team)));
        let missing = leaf("member", "==", &json!("u"));
        let group = |logic: &str, children: &[&Value], negate: bool| json!({"logic": logic, "children": children, "negate": negate});
        let cases = [
            (json!([]), true),
            (json!([yes, yes]), true),
            (json!([yes, no]), false),
            (json!([group("or", &[&no, &yes], false)]), true),
            (json!([group("or", &[&no, &no], false)]), false),
            (json!([group("and", &[&yes, &no], false)]), false),
            (json!([group("and", &[&yes, &no], true)]), true),
            (json!([group("or", &[&no, &yes], true)]), false),
            (json!([group("or", &[&missing], true)]), true),
            (
                json!([group(
                    "or",
                    &[&no, &group("and", &[&yes, &no], true)],
                    false
                )]),
                true,
            ),
        ];
        for (nodes, want) in cases {
            assert_eq!(all_hold(&conditions(&nodes), &DIRECT), want, "{nodes}");
        }
    }

    #[test]
    fn only_tests_of_the_model_ask_for_it() {
        for (dimension, want) in [
            ("team", false),
            ("member", false),
            ("api_key", false),
            ("model", true),
            ("model_name", true),
            ("provider", true),
        ] {
            let test = leaf(dimension, "==", &json!("x"));
            let nested =
                json!([{"logic": "or", "children": [leaf("team", "==", &json!("t")), test]}]);
            assert_eq!(ask_for_model(&conditions(&json!([test]))), want);
            assert_eq!(ask_for_model(&conditions(&nested)), want);
        }
        assert!(!ask_for_model(&[]));
    }
}
