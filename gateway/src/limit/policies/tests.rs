//! Which policies a request is subject to. [pure]

use serde_json::json;

use super::*;
use crate::limit::claim::Parent;
use crate::limit::tests::fixture;

const DIRECT: Subject<'_> = Subject {
    team: Some("t"),
    member: Some("u"),
    api_key: Some("k"),
    model: Some("m"),
    model_name: Some("fast"),
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

/// Ids of the policies that apply, in their order.
fn matching(policies: &Policies, subject: &Subject<'_>, part: Part, now_ms: u64) -> String {
    let mut ids = Vec::new();
    policies.for_each(subject, part, |policy| {
        if policy.is_active(now_ms) {
            ids.push(&*policy.name.id);
        }
    });
    ids.join(" ")
}

fn classic(scope: &str, reference: &str) -> serde_json::Value {
    json!({"name": "n", "scope": scope, "scope_ref": reference, "window": "minute", "max_requests": 1})
}

fn world() -> Policies {
    let by_model = json!([{"dimension": "model_name", "operator": "~~", "value": "^(pool|fast)$"}]);
    let by_team = json!([{"dimension": "team", "operator": "==", "value": "t"}]);
    fixture::policies(&[
        ("z-team", classic("team", "t")),
        ("a-team", classic("team", "t")),
        ("other-team", classic("team", "T")),
        ("member", classic("member", "u")),
        ("team-member", classic("team_member", "t")),
        ("key", classic("api_key", "k")),
        ("model-id", classic("model", "m")),
        ("model-by-name", classic("model", "fast")),
        ("group-id", classic("model", "g")),
        ("every", json!({"name": "n", "limits": {"rpm": 1}})),
        (
            "conditions-team",
            json!({"name": "n", "limits": {"rpm": 1}, "conditions": by_team}),
        ),
        (
            "conditions-model",
            json!({"name": "n", "limits": {"rpm": 1}, "conditions": by_model}),
        ),
        (
            "by-provider",
            json!({"name": "n", "limits": {"rpm": 1}, "group_by": ["provider"]}),
        ),
        (
            "by-key",
            json!({"name": "n", "limits": {"rpm": 1}, "group_by": ["api_key"]}),
        ),
    ])
}

#[test]
fn policies_match_in_order_and_are_asked_once_for_the_caller_or_for_each_target() {
    let policies = world();
    let callers = "key a-team z-team member team-member";
    let tree = "by-key conditions-team every";
    let models = "by-provider conditions-model";
    for (subject, part, want) in [
        (&DIRECT, Part::Caller, format!("{callers} {tree}")),
        (&DIRECT, Part::Target, format!("model-id {models}")),
        (
            &GROUPED,
            Part::Target,
            format!("model-id group-id {models}"),
        ),
        (&GROUPED, Part::Caller, format!("{callers} {tree}")),
    ] {
        assert_eq!(matching(&policies, subject, part, 0), want, "{part:?}");
    }
    let whole = matching(&policies, &DIRECT, Part::Whole, 0);
    let want = format!("key model-id a-team z-team member team-member {tree} {models}");
    assert_eq!(whole, want);
}

#[test]
fn a_subject_without_a_dimension_meets_no_policy_about_it() {
    let nobody = Subject::default();
    let policies = world();
    // Which of these have a bucket for it is another question.
    assert_eq!(
        matching(&policies, &nobody, Part::Caller, 0),
        "by-key every"
    );
    assert_eq!(matching(&policies, &nobody, Part::Target, 0), "by-provider");
    assert_eq!(matching(&Policies::default(), &DIRECT, Part::Whole, 0), "");
}

#[test]
fn a_policy_is_suspended_while_its_schedule_applies() {
    let night = json!([{"timezone": "UTC", "days_of_week": ["thu"], "start_time": "22:00", "end_time": "06:00"}]);
    let mut doc = classic("team", "t");
    doc["schedules"] = night.clone();
    let policies = fixture::policies(&[
        ("classic", doc),
        (
            "tree",
            json!({"name": "n", "limits": {"rpm": 1}, "schedules": night}),
        ),
    ]);
    // 1970-01-01 was a Thursday.
    for (hour, want) in [
        (21, "classic tree"),
        (22, ""),
        (29, ""),
        (30, "classic tree"),
    ] {
        let got = matching(&policies, &DIRECT, Part::Whole, hour * 3_600_000);
        assert_eq!(got, want, "hour {hour}");
    }
}

#[test]
fn a_classic_rule_limits_its_window() {
    let limits = |window: &str, max: serde_json::Value| {
        let mut doc = classic("team", "t");
        doc["window"] = json!(window);
        doc.as_object_mut().unwrap().remove("max_requests");
        for (key, value) in max.as_object().unwrap() {
            doc[key] = value.clone();
        }
        let PolicyRule::Classic(rule) = fixture::policy(&doc).rule else {
            panic!("classic")
        };
        limits_of(&rule)
    };
    let none = RateLimit::default();
    let requests = json!({"max_requests": 7});
    let tokens = json!({"max_tokens": 9});
    for (window, max, want) in [
        (
            "second",
            &requests,
            RateLimit {
                rps: Some(7),
                ..none
            },
        ),
        (
            "minute",
            &requests,
            RateLimit {
                rpm: Some(7),
                ..none
            },
        ),
        (
            "hour",
            &requests,
            RateLimit {
                rph: Some(7),
                ..none
            },
        ),
        (
            "day",
            &requests,
            RateLimit {
                rpd: Some(7),
                ..none
            },
        ),
        (
            "minute",
            &tokens,
            RateLimit {
                tpm: Some(9),
                ..none
            },
        ),
        (
            "day",
            &tokens,
            RateLimit {
                tpd: Some(9),
                ..none
            },
        ),
    ] {
        assert_eq!(limits(window, max.clone()), want, "{window} {max}");
    }
}
