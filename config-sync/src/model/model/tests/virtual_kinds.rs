use super::*;
use crate::model::ensemble::{Ensemble, Judge, PanelMember};
use crate::model::routing::{
    HashSource, Hedge, HedgeAfter, HoldBack, Routing, Strategy, Target, WhenAllUnavailable,
};
use crate::model::semantic::{OnEmbeddingFailure, Semantic, SemanticRoute};
use crate::tree::ProblemKind;

/// Problems (`path: message`) and what was passed over.
fn told(value: &Value, unknown: Unknown) -> (Option<ModelDocument>, Vec<String>, Vec<String>) {
    let problems = Problems::default();
    let document = ModelDocument::read(value, &problems, unknown);
    let ignored = problems.ignored();
    let said = problems.into_vec();
    let said = said.iter().map(ToString::to_string).collect();
    (document, said, ignored)
}

fn kind_of(value: &Value) -> ModelKind {
    for unknown in [Unknown::Ignored, Unknown::Refused] {
        let (document, said, ignored) = told(value, unknown);
        assert!(
            said.is_empty() && ignored.is_empty(),
            "{value}: {said:?} {ignored:?}"
        );
        if unknown == Unknown::Refused {
            return document.unwrap().kind;
        }
    }
    unreachable!()
}

fn routing(extra: &Value) -> Value {
    block("routing", &json!({"targets": [{"model": "a"}]}), extra)
}

fn ensemble(extra: &Value) -> Value {
    let base = json!({"panel": [{"model": "a"}, {"model": "b"}], "judge": {"model": "c"}});
    block("ensemble", &base, extra)
}

fn semantic(extra: &Value) -> Value {
    let base = json!({"embedding_model": "e", "default": "d", "match": {"threshold": 0.5},
                      "routes": [{"name": "r", "target": "t", "examples": ["x"]}]});
    block("semantic", &base, extra)
}

fn block(marker: &str, base: &Value, extra: &Value) -> Value {
    let mut doc = json!({"display_name": "v", marker: base});
    for (key, value) in extra.as_object().unwrap() {
        doc[marker][key] = value.clone();
    }
    doc
}

/// The minimal document of each kind, with `extra` beside its block.
fn beside(marker: &str, extra: &Value) -> Value {
    let mut doc = match marker {
        "routing" => routing(&json!({})),
        "ensemble" => ensemble(&json!({})),
        _ => semantic(&json!({})),
    };
    for (key, value) in extra.as_object().unwrap() {
        doc[key] = value.clone();
    }
    doc
}

fn target(model: &str) -> Target {
    Target {
        model: model.into(),
        weight: 1,
        priority: 0,
        tags: Vec::new(),
    }
}

#[test]
fn the_examples_of_the_format_are_read() {
    let chat = kind_of(
        &json!({"display_name":"chat","routing":{"strategy":"round_robin","targets":[
        {"model":"fast-chat","weight":3},{"model":"eu-chat","priority":-1}]}}),
    );
    let want = Routing {
        targets: vec![
            Target {
                weight: 3,
                ..target("fast-chat")
            },
            Target {
                priority: -1,
                ..target("eu-chat")
            },
        ],
        strategy: Strategy::RoundRobin,
        hash_on: vec![
            HashSource::Header("x-sluice-routing-key".into()),
            HashSource::ApiKey,
        ],
        retries: None,
        max_fallbacks: None,
        retry_on_429: false,
        fallback_on_statuses: Vec::new(),
        when_all_unavailable: WhenAllUnavailable::Fail,
        hold_back: None,
        hedge: None,
    };
    assert_eq!(chat, ModelKind::Routing(Box::new(want)));

    let council = kind_of(
        &json!({"display_name":"council","ensemble":{"panel":[{"model":"fast-chat"},
        {"model":"eu-chat","temperature":0.9}],"judge":{"model":"eu-chat"}}}),
    );
    let member = |model: &str, temperature| PanelMember {
        model: model.into(),
        temperature,
        seed: None,
    };
    let want = Ensemble {
        panel: vec![member("fast-chat", None), member("eu-chat", Some(0.9))],
        judge: Judge {
            model: "eu-chat".into(),
            synthesis_prompt: None,
        },
        responses_min: 2,
        timeout_ms: None,
    };
    assert_eq!(council, ModelKind::Ensemble(Box::new(want)));

    let smart = kind_of(
        &json!({"display_name":"smart","semantic":{"embedding_model":"embed-s",
        "default":"fast-chat","match":{"threshold":0.55},
        "routes":[{"name":"legal","target":"eu-chat","examples":["review this clause"]}]}}),
    );
    let want = Semantic {
        embedding_model: "embed-s".into(),
        default: "fast-chat".into(),
        routes: vec![SemanticRoute {
            name: "legal".into(),
            target: "eu-chat".into(),
            examples: vec!["review this clause".into()],
            threshold: 0.55,
        }],
        embedding_timeout_ms: None,
        on_embedding_failure: OnEmbeddingFailure::Default,
    };
    assert_eq!(smart, ModelKind::Semantic(Box::new(want)));
}

#[test]
fn a_virtual_model_has_no_upstream_of_its_own() {
    let doc = beside(
        "semantic",
        &json!({"timeout": 0, "stream_timeout": 7, "retries": 2,
                     "rate_limit": {"rpm": 1}, "allowed_cidrs": ["10.0.0.0/8"]}),
    );
    let (document, said, _) = told(&doc, Unknown::Refused);
    assert!(said.is_empty(), "{said:?}");
    let document = document.unwrap();
    assert_eq!(document.unenforced, ["semantic"]);
    let paths: Vec<String> = document
        .kind
        .references()
        .into_iter()
        .map(|(path, _)| path)
        .collect();
    assert_eq!(
        paths,
        [
            "semantic.embedding_model",
            "semantic.default",
            "semantic.routes[0].target"
        ]
    );
    let model = document.into_model("m".into(), 1);
    assert_eq!((&*model.provider, &*model.model_name), ("", ""));
    assert_eq!(
        (model.timeout_ms, model.stream_timeout_ms, model.retries),
        (Some(0), Some(7), Some(2))
    );
    assert!(model.provider_key_id.is_empty() && !model.is_wildcard());
}

#[test]
fn every_model_behind_a_name_is_told() {
    let doc = ensemble(&json!({}));
    let references: Vec<(String, String)> = kind_of(&doc)
        .references()
        .into_iter()
        .map(|(path, model)| (path, model.to_string()))
        .collect();
    let want = [
        ("ensemble.panel[0].model", "a"),
        ("ensemble.panel[1].model", "b"),
        ("ensemble.judge.model", "c"),
    ];
    assert_eq!(
        references,
        want.map(|(path, model)| (path.to_owned(), model.to_owned()))
    );
    let doc = semantic(&json!({"on_embedding_failure": {"target": "z"}}));
    assert!(
        kind_of(&doc)
            .references()
            .iter()
            .any(|(_, model)| &***model == "z")
    );
    assert_eq!(kind_of(&routing(&json!({}))).references().len(), 1);
}

#[test]
fn what_has_no_meaning_on_a_kind_is_refused_or_stripped() {
    let all = json!({"cost": "old", "auto_prompt_caching": {}, "retries": -1, "timeout": 5, "stream_timeout": 5});
    let cases: [(&str, &str, &[&str]); 3] = [
        (
            "routing",
            "a model group",
            &["cost", "auto_prompt_caching", "retries"],
        ),
        (
            "ensemble",
            "an ensemble",
            &[
                "cost",
                "auto_prompt_caching",
                "retries",
                "timeout",
                "stream_timeout",
            ],
        ),
        (
            "semantic",
            "a semantic model",
            &["cost", "auto_prompt_caching"],
        ),
    ];
    for (marker, noun, dead) in cases {
        let mut extra = json!({});
        for key in dead {
            extra[key] = all[key].clone();
        }
        let (document, said, ignored) = told(&beside(marker, &extra), Unknown::Ignored);
        assert!(said.is_empty(), "{marker}: {said:?}");
        let want: Vec<String> = dead
            .iter()
            .map(|key| format!("inapplicable:{key}"))
            .collect();
        assert_eq!(ignored, want);
        let is_served = marker == "routing";
        let unenforced = document.unwrap().unenforced;
        assert_eq!(unenforced.is_empty(), is_served, "{marker}: {unenforced:?}");
        let (_, said, _) = told(&beside(marker, &extra), Unknown::Refused);
        let want: Vec<String> = dead
            .iter()
            .map(|key| format!("{key}: is not accepted on {noun}"))
            .collect();
        assert_eq!(said, want);
        // Also as null.
        let (_, said, ignored) = told(&beside(marker, &json!({"cost": null})), Unknown::Ignored);
        assert_eq!((said.len(), ignored.len()), (0, 1));
    }
}

#[test]
fn fields_of_an_upstream_are_refused_everywhere() {
    let foreign = json!({"provider": "openai", "model_name": "m", "provider_key_id": "k",
                         "embedding": {"dimensions": 3}, "cooldown": {},
                         "background_model_check": null});
    for marker in VIRTUAL_KINDS {
        for (key, value) in foreign.as_object().unwrap() {
            for unknown in [Unknown::Refused, Unknown::Ignored] {
                let (_, said, _) = told(&beside(marker, &json!({ key: value })), unknown);
                assert_eq!(said.len(), 1, "{marker} {key}: {said:?}");
                assert!(
                    said[0].starts_with(&format!("{key}: is not accepted on a")),
                    "{said:?}"
                );
            }
        }
    }
    for second in ["ensemble", "semantic"] {
        let (document, said, _) = told(&beside("routing", &json!({second: {}})), Unknown::Ignored);
        assert_eq!(
            said,
            [format!(
                "{second}: must be the only kind that a model is of"
            )]
        );
        assert!(document.is_none());
    }
}

#[test]
fn settings_of_a_group_are_read() {
    let doc = routing(&json!({
        "targets": [{"model": "a", "weight": 0, "priority": 2, "tags": ["eu", "default"]}, {"model": "b*"}],
        "strategy": "consistent_hash", "retries": 0, "max_fallbacks": 1, "retry_on_429": true,
        "hash_on": [{"type": "header", "name": "X-User"}, {"type": "cookie", "name": "Sid"},
                    {"type": "client_ip"}, {"type": "api_key"}],
        "fallback_on_statuses": [400, 599], "when_all_unavailable": "try_anyway"}));
    let (document, said, _) = told(&doc, Unknown::Ignored);
    assert!(said.is_empty(), "{said:?}");
    let ModelKind::Routing(group) = document.unwrap().kind else {
        unreachable!()
    };
    let tags = vec!["eu".into(), "default".into()];
    let first = Target {
        priority: 2,
        tags,
        ..target("a")
    };
    assert_eq!(group.targets, [first, target("b*")]);
    let want = [
        HashSource::Header("x-user".into()),
        HashSource::Cookie("Sid".into()),
        HashSource::ClientIp,
        HashSource::ApiKey,
    ];
    assert_eq!(group.hash_on, want);
    assert_eq!(
        (group.retries, group.max_fallbacks, group.retry_on_429),
        (Some(0), Some(1), true)
    );
    assert_eq!(group.fallback_on_statuses, [400, 599]);
    assert_eq!(group.when_all_unavailable, WhenAllUnavailable::TryAnyway);
}

/// Document, paths of problems: strict, lenient.
type Case = (Value, &'static str, &'static str);

fn check(cases: Vec<Case>) {
    for (doc, strict, lenient) in cases {
        for (unknown, want) in [(Unknown::Refused, strict), (Unknown::Ignored, lenient)] {
            let (_, said, _) = told(&doc, unknown);
            let paths: Vec<&str> = said
                .iter()
                .filter_map(|line| line.split(": ").next())
                .collect();
            assert_eq!(paths.join(" "), want, "{doc}: {said:?}");
        }
    }
}

#[test]
fn mistakes_in_a_group_are_named() {
    check(vec![
        (
            json!({"display_name": "v", "routing": {}}),
            "routing.targets",
            "routing.targets",
        ),
        (
            json!({"display_name": "v", "routing": 1}),
            "routing",
            "routing",
        ),
        (
            json!({"display_name": "v", "routing": {"targets": {}}}),
            "routing.targets",
            "routing.targets",
        ),
        (
            json!({"display_name": "a*", "routing": {"targets": [{"model": "a"}]}}),
            "display_name",
            "",
        ),
        (
            routing(&json!({"targets": []})),
            "routing.targets",
            "routing.targets",
        ),
        (
            routing(&json!({"targets": ["a"]})),
            "routing.targets[0]",
            "routing.targets[0]",
        ),
        (
            routing(&json!({"targets": [null]})),
            "routing.targets[0]",
            "routing.targets[0]",
        ),
        (
            routing(&json!({"targets": [{"model": ""}]})),
            "routing.targets[0].model",
            "routing.targets[0].model",
        ),
        (
            routing(&json!({"targets": [{"weight": 1}]})),
            "routing.targets[0].model",
            "routing.targets[0].model",
        ),
        (
            routing(&json!({"targets": [{"model": "a"}, {"model": "a"}]})),
            "routing.targets[1].model",
            "",
        ),
        (
            routing(&json!({"targets": [{"model": "a", "weight": 0}]})),
            "",
            "",
        ),
        (
            routing(&json!({"strategy": "least_busy", "targets": [{"model": "a", "weight": 0}]})),
            "routing.targets[0].weight",
            "",
        ),
        (
            routing(&json!({"targets": [{"model": "a", "priority": 1.5}]})),
            "routing.targets[0].priority",
            "routing.targets[0].priority",
        ),
        (
            routing(&json!({"targets": [{"model": "a", "tags": [""], "novel": 1}]})),
            "routing.targets[0].tags[0] routing.targets[0].novel",
            "routing.targets[0].tags[0]",
        ),
        (
            routing(&json!({"strategy": "random"})),
            "routing.strategy",
            "routing.strategy",
        ),
        (
            routing(&json!({"hash_on": [{"type": "api_key"}]})),
            "routing.hash_on",
            "",
        ),
        (
            routing(&json!({"hash_on": []})),
            "routing.hash_on routing.hash_on",
            "routing.hash_on",
        ),
        (
            routing(
                &json!({"strategy": "consistent_hash", "hash_on": [{"type": "header"}, {"type": "cookie", "name": "a b"},
                {"type": "client_ip", "name": "x"}]}),
            ),
            "routing.hash_on[0].name routing.hash_on[1].name routing.hash_on[2].name",
            "",
        ),
        (
            routing(&json!({"strategy": "consistent_hash", "hash_on": [{"type": "body"}, {}]})),
            "routing.hash_on[0].type routing.hash_on[1].type",
            "routing.hash_on[0].type routing.hash_on[1].type",
        ),
        (
            routing(&json!({"fallback_on_statuses": [399, 600]})),
            "routing.fallback_on_statuses[0] routing.fallback_on_statuses[1]",
            "routing.fallback_on_statuses[0] routing.fallback_on_statuses[1]",
        ),
        (
            routing(&json!({"when_all_unavailable": "x"})),
            "routing.when_all_unavailable",
            "routing.when_all_unavailable",
        ),
        (
            routing(&json!({"retry_on_429": null})),
            "routing.retry_on_429",
            "routing.retry_on_429",
        ),
        (routing(&json!({"novel": null})), "routing.novel", ""),
        (
            routing(&json!({"hold_back": {"tokens": 0, "max_ms": 60_001, "novel": 1}})),
            "routing.hold_back.tokens routing.hold_back.max_ms routing.hold_back.novel",
            "routing.hold_back.tokens routing.hold_back.max_ms",
        ),
        (
            routing(&json!({"hold_back": true})),
            "routing.hold_back",
            "routing.hold_back",
        ),
        (
            routing(&json!({"hedge": {"after": 0, "max_percent": 101, "novel": 1}})),
            "routing.hedge.after routing.hedge.max_percent routing.hedge.novel",
            "routing.hedge.after routing.hedge.max_percent",
        ),
        (
            routing(&json!({"hedge": {"after": "p50", "max_percent": 0}})),
            "routing.hedge.after routing.hedge.max_percent",
            "routing.hedge.max_percent",
        ),
        (
            routing(&json!({"hedge": {"after": true}})),
            "routing.hedge.after",
            "routing.hedge.after",
        ),
        (
            routing(&json!({"hedge": []})),
            "routing.hedge",
            "routing.hedge",
        ),
    ]);
}

#[test]
fn what_a_group_does_for_its_streams_is_off_unless_asked_for_and_has_defaults() {
    let held = |tokens, max_ms| Some(HoldBack { tokens, max_ms });
    let cases = [
        (json!({}), None),
        (json!({"hold_back": {}}), held(32, 1_000)),
        (
            json!({"hold_back": {"tokens": 16_384}}),
            held(16_384, 1_000),
        ),
        (
            json!({"hold_back": {"tokens": 1, "max_ms": 60_000}}),
            held(1, 60_000),
        ),
    ];
    for (extra, hold_back) in cases {
        let ModelKind::Routing(found) = kind_of(&routing(&extra)) else {
            unreachable!()
        };
        assert_eq!(found.hold_back, hold_back, "{extra}");
    }
    let hedge = |after, max_percent| Some(Hedge { after, max_percent });
    let cases = [
        (json!({}), None),
        (json!({"hedge": {}}), hedge(HedgeAfter::P95, 5)),
        (
            json!({"hedge": {"after": "p95", "max_percent": 100}}),
            hedge(HedgeAfter::P95, 100),
        ),
        (
            json!({"hedge": {"after": 600_000, "max_percent": 1}}),
            hedge(HedgeAfter::Ms(600_000), 1),
        ),
    ];
    for (extra, hedge) in cases {
        let ModelKind::Routing(found) = kind_of(&routing(&extra)) else {
            unreachable!()
        };
        assert_eq!(found.hedge, hedge, "{extra}");
    }
}

#[test]
fn numbers_past_their_width_cannot_be_decoded() {
    let cases = [
        (
            routing(&json!({"targets": [{"model": "a", "priority": 2_147_483_648_u32}]})),
            ProblemKind::Parse,
        ),
        (
            routing(&json!({"targets": [{"model": "a", "priority": -2_147_483_649_i64}]})),
            ProblemKind::Parse,
        ),
        (
            routing(&json!({"targets": [{"model": "a", "priority": "1"}]})),
            ProblemKind::Schema,
        ),
        (
            routing(&json!({"targets": [{"model": "a", "weight": 4_294_967_296_u64}]})),
            ProblemKind::Parse,
        ),
        (
            routing(&json!({"retries": 4_294_967_296_u64})),
            ProblemKind::Parse,
        ),
        (
            ensemble(&json!({"min_responses": 4_294_967_296_u64})),
            ProblemKind::Parse,
        ),
        (ensemble(&json!({"min_responses": 0})), ProblemKind::Schema),
    ];
    for (doc, want) in cases {
        let problems = Problems::default();
        ModelDocument::read(&doc, &problems, Unknown::Ignored);
        let kinds: Vec<ProblemKind> = problems.into_vec().iter().map(|found| found.kind).collect();
        assert_eq!(kinds, [want], "{doc}");
    }
}

#[test]
fn an_ensemble_is_read_or_its_mistakes_are_named() {
    let cases = [
        (json!({}), 2, None),
        (json!({"panel": [{"model": "a"}]}), 1, None),
        (json!({"min_responses": 1, "timeout_ms": 0}), 1, None),
        (json!({"min_responses": 9, "timeout_ms": 3}), 2, Some(3)),
    ];
    for (extra, responses_min, timeout_ms) in cases {
        let ModelKind::Ensemble(found) = kind_of(&ensemble(&extra)) else {
            unreachable!()
        };
        assert_eq!(
            (found.responses_min, found.timeout_ms),
            (responses_min, timeout_ms),
            "{extra}"
        );
    }
    check(vec![
        (
            json!({"display_name": "v", "ensemble": {}}),
            "ensemble.panel ensemble.judge",
            "ensemble.panel ensemble.judge",
        ),
        (
            ensemble(&json!({"panel": []})),
            "ensemble.panel",
            "ensemble.panel",
        ),
        (
            ensemble(
                &json!({"panel": [{"model": "a", "temperature": -1, "seed": 1, "weight": 0}]}),
            ),
            "ensemble.panel[0].temperature",
            "ensemble.panel[0].temperature",
        ),
        (
            ensemble(&json!({"panel": [{"model": "a", "seed": -1}]})),
            "ensemble.panel[0].seed",
            "ensemble.panel[0].seed",
        ),
        (
            ensemble(&json!({"judge": {}})),
            "ensemble.judge.model",
            "ensemble.judge.model",
        ),
        (
            ensemble(&json!({"judge": "a"})),
            "ensemble.judge",
            "ensemble.judge",
        ),
        (
            ensemble(&json!({"judge": {"model": "a", "synthesis_prompt": ""}})),
            "ensemble.judge.synthesis_prompt",
            "ensemble.judge.synthesis_prompt",
        ),
        (ensemble(&json!({"quorum": 1})), "ensemble.quorum", ""),
    ]);
}

#[test]
fn a_semantic_model_is_read_or_its_mistakes_are_named() {
    let cases = [
        (json!({}), OnEmbeddingFailure::Default),
        (
            json!({"on_embedding_failure": "default"}),
            OnEmbeddingFailure::Default,
        ),
        (
            json!({"on_embedding_failure": "fail"}),
            OnEmbeddingFailure::Fail,
        ),
        (
            json!({"on_embedding_failure": {"target": "z"}}),
            OnEmbeddingFailure::Target("z".into()),
        ),
    ];
    for (extra, want) in cases {
        let ModelKind::Semantic(found) = kind_of(&semantic(&extra)) else {
            unreachable!()
        };
        assert_eq!(found.on_embedding_failure, want, "{extra}");
    }
    let own = json!({"match": {"threshold": 0, "distance_metric": "cosine", "aggregation": "max"},
                     "routes": [{"name": "r", "target": "t", "examples": ["x"], "threshold": 1, "description": "d"}]});
    let ModelKind::Semantic(found) = kind_of(&semantic(&own)) else {
        unreachable!()
    };
    assert_eq!(found.routes[0].threshold, 1.0);
    let failure = "semantic.on_embedding_failure";
    check(vec![
        (
            json!({"display_name": "v", "semantic": {}}),
            "semantic.embedding_model semantic.default semantic.match semantic.routes",
            "semantic.embedding_model semantic.default semantic.match semantic.routes",
        ),
        (
            semantic(&json!({"match": {}})),
            "semantic.match.threshold",
            "semantic.match.threshold",
        ),
        (
            semantic(&json!({"match": {"threshold": 1.1}})),
            "semantic.match.threshold",
            "semantic.match.threshold",
        ),
        (
            semantic(
                &json!({"match": {"threshold": 1, "distance_metric": "dot", "aggregation": "mean"}}),
            ),
            "semantic.match.distance_metric semantic.match.aggregation",
            "semantic.match.distance_metric semantic.match.aggregation",
        ),
        (
            semantic(&json!({"routes": []})),
            "semantic.routes",
            "semantic.routes",
        ),
        (
            semantic(&json!({"routes": [{"examples": [""], "threshold": -0.1}]})),
            "semantic.routes[0].name semantic.routes[0].target semantic.routes[0].examples[0] semantic.routes[0].threshold",
            "semantic.routes[0].name semantic.routes[0].target semantic.routes[0].examples[0] semantic.routes[0].threshold",
        ),
        (
            semantic(&json!({"on_embedding_failure": "retry"})),
            failure,
            failure,
        ),
        (
            semantic(&json!({"on_embedding_failure": 1})),
            failure,
            failure,
        ),
        (
            semantic(&json!({"on_embedding_failure": {"target": "z", "x": 1}})),
            "semantic.on_embedding_failure.x",
            "",
        ),
        (
            semantic(&json!({"on_embedding_failure": {}})),
            "semantic.on_embedding_failure.target",
            "semantic.on_embedding_failure.target",
        ),
        (
            semantic(&json!({"embedding_timeout_ms": -1})),
            "semantic.embedding_timeout_ms",
            "semantic.embedding_timeout_ms",
        ),
    ]);
}
