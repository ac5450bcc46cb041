//! Lists of networks that callers must come from. [pure]

use std::net::IpAddr;

use ipnet::IpNet;

use crate::tree::Fields;

/// The networks listed under `key`; `None` where there is no list.
///
/// A single address counts as the network of that address alone. Whatever is neither is a problem,
/// in strict and lenient reading alike: an entry passed over would change who is let in.
pub(crate) fn read<'a>(fields: &Fields<'a>, key: &'a str) -> Option<Vec<IpNet>> {
    let mut networks = Vec::new();
    for (path, item) in fields.take_list(key)? {
        match item.as_str().and_then(parse_network) {
            Some(network) => networks.push(network),
            None => fields.problems().push(
                path,
                "must be a network such as 10.0.0.0/8, or an IP address",
            ),
        }
    }
    Some(networks)
}

/// The same, where an empty list or none is a problem.
pub(crate) fn read_required<'a>(fields: &Fields<'a>, key: &'a str) -> Vec<IpNet> {
    let listed = fields.take_list(key);
    match listed.as_deref() {
        None if fields.take(key).is_none() => fields.problem(key, "is required"),
        None => {}
        Some([]) => fields.problem(key, "must not be empty"),
        Some(_) => return read(fields, key).unwrap_or_default(),
    }
    Vec::new()
}

fn parse_network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    text.parse::<IpNet>()
        .ok()
        .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Problems, Unknown};
    use serde_json::json;

    #[test]
    fn networks_and_single_addresses_are_read_and_nothing_else() {
        let cases = [
            (
                json!(["10.0.0.0/8", " fe80::/10 "]),
                vec!["10.0.0.0/8", "fe80::/10"],
                None,
            ),
            (
                json!(["192.0.2.1", "::1"]),
                vec!["192.0.2.1/32", "::1/128"],
                None,
            ),
            (
                json!(["10.0.0.0/33"]),
                vec![],
                Some("c[0]: must be a network"),
            ),
            (
                json!(["10.0.0.0/8", "canary"]),
                vec!["10.0.0.0/8"],
                Some("c[1]: must be a network"),
            ),
            (json!([5]), vec![], Some("c[0]: must be a network")),
            (
                json!("10.0.0.0/8"),
                vec![],
                Some("c: must be a list, not a string"),
            ),
            (json!([]), vec![], Some("c: must not be empty")),
            (json!(null), vec![], Some("c: is required")),
        ];
        for (list, want, problem) in cases {
            for unknown in [Unknown::Refused, Unknown::Ignored] {
                let doc = json!({ "c": list });
                let problems = Problems::default();
                let fields = Fields::new(&doc, "", &problems, unknown);
                let networks = read_required(&fields, "c");
                let shown: Vec<String> = networks.iter().map(ToString::to_string).collect();
                assert_eq!(shown, want, "{list}");
                let said: Vec<String> = problems
                    .into_vec()
                    .iter()
                    .map(ToString::to_string)
                    .collect();
                assert_eq!(!said.is_empty(), problem.is_some(), "{list}: {said:?}");
                if let Some(problem) = problem {
                    assert!(said[0].starts_with(problem), "{list}: {said:?}");
                    assert!(!said[0].contains("canary"), "{said:?}");
                }
            }
        }
    }

    #[test]
    fn an_absent_list_is_told_from_an_empty_one() {
        let doc = json!({"empty": [], "null": null});
        let problems = Problems::default();
        let fields = Fields::new(&doc, "", &problems, Unknown::Refused);
        assert_eq!(read(&fields, "empty"), Some(vec![]));
        assert_eq!(read(&fields, "null"), None);
        assert_eq!(read(&fields, "absent"), None);
        assert!(problems.is_empty());
    }
}
