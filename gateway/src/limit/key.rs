//! The names of buckets. [pure]

use config_sync::model::rate_limit_policy::{ClassicRule, GroupBy, PolicyScope};

use super::claim::Subject;

/// The name of a policy's bucket, as far as it is the same for all requests, and what follows.
#[derive(Debug)]
pub(super) struct BucketKey {
    stem: Box<str>,
    rest: Rest,
}

#[derive(Debug)]
enum Rest {
    /// `:<user>`
    Member,
    /// `:<dimension>=<value>` of each; none is one bucket for all.
    Groups(Box<[GroupBy]>),
}

impl BucketKey {
    /// The bucket of a classic policy.
    pub(super) fn classic(id: &str, rule: &ClassicRule) -> Self {
        let (scope, rest) = match rule.scope {
            PolicyScope::ApiKey => ("api_key", Rest::Groups(Box::default())),
            PolicyScope::Model => ("model", Rest::Groups(Box::default())),
            PolicyScope::Team => ("team", Rest::Groups(Box::default())),
            PolicyScope::Member => ("member", Rest::Groups(Box::default())),
            PolicyScope::TeamMember => ("team_member", Rest::Member),
        };
        Self {
            stem: format!("policy:{scope}:{}:{id}", rule.scope_ref).into(),
            rest,
        }
    }

    /// The buckets of a policy with conditions. `group_by` is in the order of [`GroupBy`].
    pub(super) fn conditional(id: &str, group_by: &[GroupBy]) -> Self {
        Self {
            stem: format!("policy:v2:{id}").into(),
            rest: Rest::Groups(group_by.into()),
        }
    }

    /// The bucket of `subject`, written into `buffer` where it is not ready; `None` where the
    /// subject lacks what buckets are told apart by.
    pub(super) fn of<'k>(
        &'k self,
        subject: &Subject<'_>,
        buffer: &'k mut String,
    ) -> Option<&'k str> {
        buffer.clear();
        match &self.rest {
            Rest::Groups(group_by) if group_by.is_empty() => return Some(&self.stem),
            Rest::Member => {
                let user = subject.member?;
                buffer.extend([&*self.stem, ":", user]);
            }
            Rest::Groups(group_by) => {
                buffer.push_str(&self.stem);
                for dimension in group_by {
                    let value = subject.value(*dimension)?;
                    buffer.extend([":", name(*dimension), "="]);
                    push_escaped(value, buffer);
                }
            }
        }
        Some(buffer)
    }
}

/// The bucket of a model's own limits, written into `buffer`.
pub(super) fn of_model<'k>(display_name: &str, buffer: &'k mut String) -> &'k str {
    buffer.clear();
    buffer.extend(["model:", display_name]);
    buffer
}

fn name(dimension: GroupBy) -> &'static str {
    match dimension {
        GroupBy::Team => "team",
        GroupBy::Member => "member",
        GroupBy::ApiKey => "api_key",
        GroupBy::Model => "model",
        GroupBy::Provider => "provider",
    }
}

/// With what separates the parts of a key escaped, so that no two subjects share one.
fn push_escaped(value: &str, out: &mut String) {
    let mut rest = value;
    while let Some((plain, separator, after)) = split_at_separator(rest) {
        out.extend([plain, separator]);
        rest = after;
    }
    out.push_str(rest);
}

/// What is before the first separator, its escape, and what is after it.
fn split_at_separator(text: &str) -> Option<(&str, &'static str, &str)> {
    let (at, separator) = text
        .char_indices()
        .find(|(_, letter)| matches!(letter, '%' | ':' | '='))?;
    let escape = match separator {
        '%' => "%25",
        ':' => "%3A",
        _ => "%3D",
    };
    let (plain, rest) = text.split_at_checked(at)?;
    Some((plain, escape, rest.strip_prefix(separator)?))
}

#[cfg(test)]
mod tests {
    use GroupBy::{ApiKey, Member, Model, Provider, Team};
    use config_sync::model::rate_limit_policy::Window;

    use super::*;

    const SUBJECT: Subject<'_> = Subject {
        team: Some("a:b=c%d"),
        member: Some("user:1"),
        api_key: Some("k"),
        model: Some("m"),
        model_name: Some("name"),
        provider: None,
        parent: None,
    };

    #[test]
    fn classic_keys_name_scope_reference_and_policy() {
        for (scope, want) in [
            (PolicyScope::ApiKey, "policy:api_key:ref:id"),
            (PolicyScope::Model, "policy:model:ref:id"),
            (PolicyScope::Team, "policy:team:ref:id"),
            (PolicyScope::Member, "policy:member:ref:id"),
            (PolicyScope::TeamMember, "policy:team_member:ref:id:user:1"),
        ] {
            let rule = ClassicRule {
                scope,
                scope_ref: "ref".into(),
                window: Window::Minute,
                max_requests: Some(1),
                max_tokens: None,
            };
            let key = BucketKey::classic("id", &rule);
            let mut buffer = String::from("left over");
            assert_eq!(key.of(&SUBJECT, &mut buffer), Some(want));
            let nobody = Subject::default();
            let is_of_members = scope == PolicyScope::TeamMember;
            assert_eq!(key.of(&nobody, &mut buffer).is_none(), is_of_members);
        }
    }

    #[test]
    fn grouped_keys_escape_what_separates_and_need_every_dimension() {
        let cases: [(&[GroupBy], Option<&str>); 6] = [
            (&[], Some("policy:v2:id")),
            (&[Team], Some("policy:v2:id:team=a%3Ab%3Dc%25d")),
            (
                &[Member, ApiKey],
                Some("policy:v2:id:member=user%3A1:api_key=k"),
            ),
            (&[Model], Some("policy:v2:id:model=m")),
            (&[Provider], None),
            (&[Team, Provider], None),
        ];
        for (group_by, want) in cases {
            let key = BucketKey::conditional("id", group_by);
            let mut buffer = String::new();
            assert_eq!(key.of(&SUBJECT, &mut buffer), want, "{group_by:?}");
        }
        let all = BucketKey::conditional("id", &[Team, Member, ApiKey, Model, Provider]);
        let subject = Subject {
            team: Some("t"),
            member: Some("%=::%"),
            provider: Some("ü=ü"),
            ..SUBJECT
        };
        assert_eq!(
            all.of(&subject, &mut String::new()),
            Some("policy:v2:id:team=t:member=%25%3D%3A%3A%25:api_key=k:model=m:provider=ü%3Dü")
        );
    }

    #[test]
    fn a_models_bucket_has_the_name_of_its_row() {
        assert_eq!(of_model("w/*", &mut String::from("x")), "model:w/*");
    }
}
