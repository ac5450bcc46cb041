use super::*;
use serde_json::json;
use time::{Month, Weekday};

use crate::tree::ProblemKind;

fn read_as(doc: &Value, unknown: Unknown) -> (Option<RateLimitPolicy>, Vec<crate::tree::Problem>) {
    let problems = Problems::default();
    let policy = RateLimitPolicy::read(doc, &problems, unknown);
    (policy, problems.into_vec())
}

/// The policy, which both readers accept alike.
fn accepted(doc: &Value) -> RateLimitPolicy {
    let (strict, said) = read_as(doc, Unknown::Refused);
    assert!(said.is_empty(), "{doc}: {said:?}");
    let (lenient, said) = read_as(doc, Unknown::Ignored);
    assert!(said.is_empty(), "{doc}: {said:?}");
    assert_eq!(strict, lenient, "{doc}");
    strict.unwrap()
}

/// Document, paths of problems: strict, lenient.
type Case<'c> = (Value, &'c str, &'c str);

fn check(cases: Vec<Case<'_>>) {
    for (doc, strict, lenient) in cases {
        for (unknown, want) in [(Unknown::Refused, strict), (Unknown::Ignored, lenient)] {
            let (_, said) = read_as(&doc, unknown);
            let paths: Vec<&str> = said.iter().map(|problem| &*problem.path).collect();
            assert_eq!(paths.join(" "), want, "{unknown:?} {doc}: {said:?}");
            for problem in &said {
                assert!(!problem.message.contains("canary"), "{problem}");
            }
        }
    }
}

fn merged(mut doc: Value, extra: &Value) -> Value {
    for (key, value) in extra.as_object().unwrap() {
        doc[key] = value.clone();
    }
    doc
}

fn classic(extra: &Value) -> Value {
    let base = json!({"name": "n", "scope": "team", "scope_ref": "canary", "window": "minute", "max_requests": 5});
    merged(base, extra)
}

fn conditional(extra: &Value) -> Value {
    merged(json!({"name": "n", "limits": {"rpm": 1}}), extra)
}

fn conditions(nodes: &Value) -> Value {
    conditional(&json!({ "conditions": nodes }))
}

fn scheduled(extra: &Value) -> Value {
    let base = json!({"timezone": "UTC", "days_of_week": ["mon"], "start_time": "08:00", "end_time": "09:30"});
    conditional(&json!({"schedules": [merged(base, extra)]}))
}

fn rule_of(doc: &Value) -> ConditionalRule {
    match accepted(doc).rule {
        PolicyRule::Conditional(rule) => rule,
        PolicyRule::Classic(_) => panic!("{doc}"),
    }
}

#[test]
fn the_example_of_the_format_is_read() {
    let policy = accepted(
        &json!({"name":"night-free","conditions":[{"dimension":"model_name","operator":"~~","value":"^fast-"}],
        "group_by":["team"],"limits":{"rpm":600},
        "schedules":[{"timezone":"Europe/Berlin","days_of_week":["sat","sun"],"start_time":"00:00","end_time":"24:00"}]}),
    );
    assert_eq!(&*policy.name, "night-free");
    let want = Schedule {
        timezone: "Europe/Berlin".into(),
        days: Days::OfWeek(vec![Weekday::Saturday, Weekday::Sunday]),
        start_minute: 0,
        end_minute: 1440,
    };
    assert_eq!(policy.schedules, [want]);
    let PolicyRule::Conditional(rule) = policy.rule else {
        panic!("conditional")
    };
    assert_eq!(
        (rule.group_by, rule.limits.rpm),
        (vec![GroupBy::Team], Some(600))
    );
    let [Condition::Leaf(leaf)] = &*rule.conditions else {
        panic!("one leaf")
    };
    let Test::Matches(pattern) = &leaf.test else {
        panic!("a pattern")
    };
    assert!(pattern.is_match("fast-chat") && !pattern.is_match("FAST-chat"));
}

#[test]
fn a_classic_policy_is_read_or_its_mistakes_are_named() {
    let doc = classic(&json!({"scope": "team_member", "window": "day", "max_tokens": 9}));
    let want = ClassicRule {
        scope: PolicyScope::TeamMember,
        scope_ref: "canary".into(),
        window: Window::Day,
        max_requests: Some(5),
        max_tokens: Some(9),
    };
    assert_eq!(accepted(&doc).rule, PolicyRule::Classic(want));
    check(vec![
        (json!({}), "name scope", "name scope"),
        (
            json!({"name": "", "max_requests": 1}),
            "name scope scope_ref window",
            "name scope scope_ref window",
        ),
        (classic(&json!({"scope": "canary"})), "scope", "scope"),
        (classic(&json!({"scope_ref": ""})), "scope_ref", "scope_ref"),
        (classic(&json!({"window": "week"})), "window", "window"),
        (
            classic(&json!({"max_requests": 0})),
            "max_requests",
            "max_requests",
        ),
        (
            classic(&json!({"max_requests": null})),
            "max_requests",
            "max_requests",
        ),
        (
            json!({"name": "n", "scope": "team", "scope_ref": "t", "window": "day"}),
            "max_requests",
            "max_requests",
        ),
        (
            classic(&json!({"window": "hour", "max_tokens": 1})),
            "max_tokens",
            "",
        ),
        (classic(&json!({"novel": null})), "novel", ""),
        (classic(&json!({"limits": {"rpm": 1}})), "limits", "limits"),
        (classic(&json!({"action": "reject"})), "action", "action"),
        (
            conditional(&json!({"window": "canary"})),
            "limits",
            "limits",
        ),
    ]);
}

#[test]
fn a_token_limit_without_a_window_that_counts_is_left_out() {
    let doc = classic(&json!({"window": "second", "max_tokens": 1}));
    let problems = Problems::default();
    let policy = RateLimitPolicy::read(&doc, &problems, Unknown::Ignored).unwrap();
    let PolicyRule::Classic(rule) = policy.rule else {
        panic!("classic")
    };
    assert_eq!((rule.max_requests, rule.max_tokens), (Some(5), None));
    assert_eq!(problems.ignored(), ["inapplicable:max_tokens"]);
}

#[test]
fn limits_and_groups_are_read_or_their_mistakes_are_named() {
    use GroupBy::{ApiKey, Member, Model, Provider, Team};
    let groups =
        json!({"action": "reject", "group_by": ["provider", "model", "api_key", "member", "team"]});
    let rule = rule_of(&conditional(&groups));
    assert_eq!(rule.group_by, [Team, Member, ApiKey, Model, Provider]);
    assert!(rule.conditions.is_empty());
    check(vec![
        (json!({"name": "n", "conditions": []}), "limits", "limits"),
        (conditional(&json!({"limits": {}})), "limits", "limits"),
        (
            conditional(&json!({"limits": {"tps": 1}})),
            "limits.tps",
            "limits",
        ),
        (
            conditional(&json!({"limits": {"rpm": -1}})),
            "limits.rpm",
            "limits.rpm",
        ),
        (
            conditional(&json!({"limits": {"rpm": 1, "tpm": null}})),
            "limits.tpm",
            "limits.tpm",
        ),
        (conditional(&json!({"limits": null})), "limits", "limits"),
        (conditional(&json!({"limits": 3})), "limits", "limits"),
        (
            conditional(&json!({"action": "throttle"})),
            "action",
            "action",
        ),
        (
            conditional(&json!({"group_by": ["team", "canary", 1, "team"]})),
            "group_by[1] group_by[2] group_by[3]",
            "group_by[1] group_by[2] group_by[3]",
        ),
        (
            conditional(&json!({"group_by": ["model_name"]})),
            "group_by[0]",
            "group_by[0]",
        ),
    ]);
    let (_, said) = read_as(
        &conditional(&json!({"limits": {"concurrency": 4_294_967_296_u64}})),
        Unknown::Ignored,
    );
    assert_eq!(said[0].kind, ProblemKind::Parse);
}

#[test]
fn conditions_are_read_as_a_tree() {
    let rule = rule_of(&conditions(&json!([
        {"dimension": "team", "operator": "in", "value": ["a", "b"], "negate": true},
        {"logic": "or", "negate": true, "children": [
            {"dimension": "api_key", "operator": "==", "value": "k"},
            {"logic": "and", "children": [{"dimension": "provider", "operator": "~*", "value": "^OPEN"}]}]},
    ])));
    let [Condition::Leaf(first), Condition::Group(second)] = &*rule.conditions else {
        panic!("a leaf and a group")
    };
    assert!(first.negated && first.test == Test::In(vec!["a".into(), "b".into()]));
    assert_eq!(
        (second.logic, second.negated, second.children.len()),
        (Logic::Or, true, 2)
    );
    let Condition::Group(third) = &second.children[1] else {
        panic!("a group")
    };
    let Condition::Leaf(leaf) = &third.children[0] else {
        panic!("a leaf")
    };
    let Test::Matches(pattern) = &leaf.test else {
        panic!("a pattern")
    };
    assert!(pattern.is_match("openai"));
}

#[test]
fn policies_are_equal_when_their_patterns_are() {
    let of = |operator: &str, value: &str| {
        rule_of(&conditions(
            &json!([{"dimension": "provider", "operator": operator, "value": value}]),
        ))
    };
    assert_eq!(of("~~", "a"), of("~~", "a"));
    assert_ne!(of("~~", "a"), of("~*", "a"));
    assert_ne!(of("~~", "a"), of("~~", "b"));
}

/// `depth` nested groups around one leaf.
fn nested(depth: usize) -> Value {
    let leaf = json!({"dimension": "team", "operator": "==", "value": "t"});
    (1..depth).fold(leaf, |node, _| json!({"logic": "and", "children": [node]}))
}

#[test]
fn mistakes_in_conditions_are_named() {
    let leaf = |extra: &Value| {
        let base = json!({"dimension": "model_name", "operator": "==", "value": "canary"});
        conditions(&json!([merged(base, extra)]))
    };
    let long = "a".repeat(257);
    let value = "conditions[0].value";
    let operator = "conditions[0].operator";
    let mut cases = vec![
        (conditions(&json!([nested(3)])), "", ""),
        (
            conditions(&json!([nested(4)])),
            "conditions[0].children[0].children[0].children[0]",
            "conditions[0].children[0].children[0].children[0]",
        ),
        (conditions(&Value::from(vec![nested(1); 16])), "", ""),
        (
            conditions(&Value::from(vec![nested(3); 17])),
            "conditions",
            "conditions",
        ),
        (conditions(&json!([{}])), "conditions[0]", "conditions[0]"),
        (
            conditions(&json!(["canary"])),
            "conditions[0]",
            "conditions[0]",
        ),
        (conditions(&json!({})), "conditions", "conditions"),
        (
            leaf(&json!({"logic": "and"})),
            "conditions[0]",
            "conditions[0]",
        ),
        (
            leaf(&json!({"negate": "canary"})),
            "conditions[0].negate",
            "conditions[0].negate",
        ),
        (leaf(&json!({"novel": 1})), "conditions[0].novel", ""),
        (
            leaf(&json!({"dimension": "user_agent"})),
            "conditions[0].dimension",
            "conditions[0].dimension",
        ),
        (leaf(&json!({"value": ""})), value, value),
        (leaf(&json!({"value": ["canary"]})), value, value),
        (leaf(&json!({"operator": "in"})), value, value),
        (leaf(&json!({"operator": "in", "value": []})), value, value),
        (
            leaf(&json!({"operator": "in", "value": vec!["x"; 64]})),
            "",
            "",
        ),
        (
            leaf(&json!({"operator": "in", "value": vec!["x"; 65]})),
            value,
            value,
        ),
        (
            leaf(&json!({"operator": "in", "value": ["", 1]})),
            "conditions[0].value[0] conditions[0].value[1]",
            "conditions[0].value[0] conditions[0].value[1]",
        ),
        (
            leaf(&json!({"operator": "~~", "value": "canary("})),
            value,
            value,
        ),
        (
            leaf(&json!({"operator": "~~", "value": "(?=canary)"})),
            value,
            value,
        ),
        (
            leaf(&json!({"operator": "~*", "value": &long[1..]})),
            "",
            "",
        ),
        (
            leaf(&json!({"operator": "~*", "value": long})),
            value,
            value,
        ),
        (
            leaf(&json!({"operator": "~*", "value": r"^[\w.-]{1,8}\p{Han}?$"})),
            "",
            "",
        ),
        (
            leaf(&json!({"operator": "~~", "dimension": "model", "value": "a"})),
            operator,
            operator,
        ),
        (
            conditions(&json!([{"logic": "xor", "children": []}])),
            "conditions[0].logic conditions[0].children",
            "conditions[0].logic conditions[0].children",
        ),
        (
            conditions(&json!([{"logic": "or"}])),
            "conditions[0].children",
            "conditions[0].children",
        ),
        (
            conditions(&json!([{"dimension": "team", "operator": "=="}])),
            value,
            value,
        ),
    ];
    for reserved in ["has", ">", ">=", "<", "<=", "ipmatch", "!="] {
        cases.push((leaf(&json!({ "operator": reserved })), operator, operator));
    }
    check(cases);
}

#[test]
fn schedules_are_read() {
    let doc = scheduled(
        &json!({"timezone": "America/Argentina/Buenos_Aires", "days_of_week": ["fri", "fri"],
                                "start_time": "22:00", "end_time": "06:15"}),
    );
    let policy = accepted(&doc);
    let schedule = &policy.schedules[0];
    assert_eq!(schedule.days, Days::OfWeek(vec![Weekday::Friday]));
    assert_eq!((schedule.start_minute, schedule.end_minute), (1320, 375));
    let doc = conditional(
        &json!({"schedules": [{"timezone": "UTC", "dates": ["2028-02-29"], "start_time": "00:00",
                                                 "end_time": "24:00"}]}),
    );
    let want = time::Date::from_calendar_date(2028, Month::February, 29).unwrap();
    assert_eq!(accepted(&doc).schedules[0].days, Days::Dates(vec![want]));
}

#[test]
fn mistakes_in_schedules_are_named() {
    let dates = |dates: &Value| {
        conditional(
            &json!({"schedules": [{"timezone": "UTC", "dates": dates, "start_time": "00:00", "end_time": "24:00"}]}),
        )
    };
    let zone = "schedules[0].timezone";
    let start = "schedules[0].start_time";
    let end = "schedules[0].end_time";
    let date = "schedules[0].dates[0]";
    let mut cases = vec![
        (
            conditional(&json!({"schedules": [{}]})),
            "schedules[0].timezone schedules[0] schedules[0].start_time schedules[0].end_time",
            "schedules[0].timezone schedules[0] schedules[0].start_time schedules[0].end_time",
        ),
        (
            scheduled(&json!({"dates": ["2028-02-29"]})),
            "schedules[0]",
            "schedules[0]",
        ),
        (
            scheduled(&json!({"days_of_week": []})),
            "schedules[0].days_of_week",
            "schedules[0].days_of_week",
        ),
        (
            scheduled(&json!({"days_of_week": ["Mon", 1]})),
            "schedules[0].days_of_week[0] schedules[0].days_of_week[1]",
            "schedules[0].days_of_week[0] schedules[0].days_of_week[1]",
        ),
        (scheduled(&json!({"novel": 1})), "schedules[0].novel", ""),
        (scheduled(&json!({"start_time": "24:00"})), start, start),
        (scheduled(&json!({"end_time": "24:01"})), end, end),
        (scheduled(&json!({"end_time": "9:30"})), end, end),
        (scheduled(&json!({"end_time": "09:60"})), end, end),
        (scheduled(&json!({"end_time": 930})), end, end),
        (scheduled(&json!({"end_time": "08:00"})), end, ""),
        (
            dates(&json!([])),
            "schedules[0].dates",
            "schedules[0].dates",
        ),
        (dates(&json!(["2027-02-29"])), date, ""),
        (dates(&json!(["2027-13-01"])), date, ""),
        (dates(&json!(["2027-00-01"])), date, ""),
        (dates(&json!(["2027-2-01"])), date, date),
        (dates(&json!(["20270-2-01"])), date, date),
        (dates(&json!([20_270_201])), date, date),
        (scheduled(&json!({"timezone": ""})), zone, zone),
    ];
    for unknown in [
        "Eurpoe/Berlin",
        "Berlin",
        "Europe/",
        "Europe/Ber lin",
        "Europe/a/b/c",
        "utc",
        "+01:00",
        "canary",
    ] {
        cases.push((scheduled(&json!({ "timezone": unknown })), zone, ""));
    }
    for known in [
        "UTC",
        "Etc/GMT+3",
        "Asia/Kolkata",
        "America/Port-au-Prince",
        "GMT",
        "CET",
        "US/Eastern",
    ] {
        cases.push((scheduled(&json!({ "timezone": known })), "", ""));
    }
    check(cases);
}

#[test]
fn a_short_pattern_that_grows_without_measure_is_refused() {
    let leaf = json!({"dimension": "provider", "operator": "~~", "value": r"((\w{99}){99}){99}"});
    let (_, said) = read_as(&conditions(&json!([leaf])), Unknown::Ignored);
    assert_eq!(said[0].path, "conditions[0].value");
}
