use super::super::origin::URL_BYTES_MAX;
use super::*;

fn tls() -> KeyTls {
    KeyTls::default()
}

fn openai(base: &str) -> Result<BaseUrl, UrlError> {
    resolve(Some(base), "vendor", Some(Adapter::Openai), &tls()).map(|base| base.expect("given"))
}

fn shown(base: &BaseUrl) -> String {
    let scheme = if base.https { "https" } else { "http" };
    format!("{scheme}://{}{}", base.authority, base.path)
}

#[test]
fn openai_bases_lose_pasted_endpoints_and_slashes() {
    let cases = [
        ("https://h/v1", "https://h/v1"),
        ("  https://h/v1/  ", "https://h/v1"),
        ("https://h/v1//", "https://h/v1"),
        ("https://h/v1/chat/completions", "https://h/v1"),
        ("https://h/v1/chat/completions/", "https://h/v1"),
        ("https://h/v1/completions", "https://h/v1"),
        ("https://h/v1//embeddings", "https://h/v1"),
        ("https://h/v1/images/edits", "https://h/v1"),
        ("https://h/v1/messages/count_tokens", "https://h/v1"),
        ("https://h/v1/files", "https://h/v1"),
        (
            "https://h/chat/completions/embeddings",
            "https://h/chat/completions",
        ),
        ("https://h", "https://h"),
        ("https://h/", "https://h"),
        ("https://h/mounted/v2", "https://h/mounted/v2"),
        ("https://api.openai.com", "https://api.openai.com/v1"),
        ("http://API.openai.com/", "http://api.openai.com/v1"),
        (
            "https://api.openai.com/chat/completions",
            "https://api.openai.com/v1",
        ),
        ("https://api.openai.com:8443", "https://api.openai.com:8443"),
        ("HTTPS://Host:443/A", "https://host/A"),
        ("http://h:443", "http://h:443"),
        ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1"),
        ("http://[::1]:8080/v1", "http://[::1]:8080/v1"),
        ("https://[2001:DB8:0::1]", "https://[2001:db8::1]"),
    ];
    for (given, want) in cases {
        assert_eq!(shown(&openai(given).unwrap()), want, "{given}");
    }
}

#[test]
fn an_ipv6_host_has_no_brackets_but_its_authority_does() {
    let base = openai("http://[::1]:81").unwrap();
    assert_eq!((&*base.host, base.port), ("::1", 81));
    assert_eq!(&*base.authority, "[::1]:81");
}

#[test]
fn unusable_bases_are_refused() {
    let cases = [
        ("api.openai.com/v1", UrlError::Scheme),
        ("ftp://h", UrlError::Scheme),
        ("https:/h", UrlError::Scheme),
        ("https://user:pw@h/v1", UrlError::UserInfo),
        ("https://user@h", UrlError::UserInfo),
        ("https://h/v1?key=1", UrlError::QueryOrFragment),
        ("https://h?", UrlError::QueryOrFragment),
        ("https://h/#x", UrlError::QueryOrFragment),
        ("https://", UrlError::Host),
        ("https:///v1", UrlError::Host),
        ("https://:80", UrlError::Host),
        ("https://a b", UrlError::Host),
        ("https://a..b", UrlError::Host),
        ("https://münchen.de", UrlError::Host),
        ("https://[::1", UrlError::Host),
        ("https://[::1]x", UrlError::Host),
        ("https://[zz]", UrlError::Host),
        ("https://::1", UrlError::Port),
        ("https://h:0", UrlError::Port),
        ("https://h:", UrlError::Port),
        ("https://h:65536", UrlError::Port),
        ("https://h:+80", UrlError::Port),
        ("https://h/a b", UrlError::Path),
        ("https://h/a\r\nx: y", UrlError::Path),
        ("https://h/é", UrlError::Path),
    ];
    for (given, want) in cases {
        assert_eq!(openai(given), Err(want), "{given:?}");
    }
    let long = format!("https://h/{}", "a".repeat(URL_BYTES_MAX));
    assert_eq!(openai(&long), Err(UrlError::TooLong));
}

#[test]
fn only_the_vendor_itself_gets_its_default_host() {
    use Adapter::{Anthropic, Openai};
    let cases = [
        (Some(Openai), "openai", Some("https://api.openai.com/v1")),
        (Some(Openai), " OpenAI ", Some("https://api.openai.com/v1")),
        (Some(Openai), "", Some("https://api.openai.com/v1")),
        (Some(Openai), "deepseek", None),
        (Some(Openai), "anthropic", None),
        (
            Some(Anthropic),
            "anthropic",
            Some("https://api.anthropic.com"),
        ),
        (Some(Anthropic), "", Some("https://api.anthropic.com")),
        (Some(Anthropic), "openai", None),
        (Some(Adapter::Bedrock), "", None),
        (None, "openai-like", None),
    ];
    for (adapter, vendor, want) in cases {
        for blank in [None, Some(""), Some("  ")] {
            let base = resolve(blank, vendor, adapter, &tls()).unwrap();
            assert_eq!(
                base.as_ref().map(shown).as_deref(),
                want,
                "{adapter:?} {vendor}"
            );
        }
    }
}

#[test]
fn anthropic_bases_lose_their_version() {
    let cases = [
        ("https://h", "https://h"),
        ("https://h/v1/", "https://h"),
        ("https://h/v1/messages", "https://h"),
        ("https://h/v1/messages/count_tokens", "https://h"),
        ("https://h/anthropic/v1", "https://h/anthropic"),
        ("https://h/anthropic", "https://h/anthropic"),
    ];
    for (given, want) in cases {
        let base = resolve(Some(given), "x", Some(Adapter::Anthropic), &tls()).unwrap();
        assert_eq!(shown(&base.unwrap()), want, "{given}");
    }
}

#[test]
fn an_unusable_base_is_refused_whatever_the_adapter() {
    for adapter in [None, Some(Adapter::Bedrock), Some(Adapter::AzureOpenai)] {
        let base = resolve(Some("https://u@h"), "", adapter, &tls());
        assert_eq!(base, Err(UrlError::UserInfo));
    }
}

#[test]
fn connections_are_shared_exactly_where_scheme_host_port_and_tls_agree() {
    let with = |base: &str, ca_cert: Option<&str>, verify| {
        let tls = KeyTls {
            ca_cert: ca_cert.map(Into::into),
            verify,
            server_name: None,
        };
        let base = resolve(Some(base), "v", Some(Adapter::Openai), &tls);
        base.unwrap().unwrap().pool_key
    };
    let key = with("https://h/v1", None, true);
    assert_eq!(key, with("https://H:443/other", None, true));
    for other in [
        with("http://h/v1", None, true),
        with("http://h:443/v1", None, true),
        with("https://h2/v1", None, true),
        with("https://h:444/v1", None, true),
        with("https://h/v1", None, false),
        with("https://h/v1", Some("pem"), true),
    ] {
        assert_ne!(key, other);
    }
}

#[test]
fn a_route_shares_connections_with_keys_of_the_same_host_and_trust() {
    let usual = KeyTls::default();
    let renamed = KeyTls {
        server_name: Some("other.example".into()),
        ..usual.clone()
    };
    let lax = KeyTls {
        verify: false,
        ..usual.clone()
    };
    let url = |text| HttpUrl::parse(text).unwrap();
    let base = BaseUrl::of_url(&url("https://H.example/a/b//"), &usual);
    assert_eq!((&*base.path, &*base.authority), ("/a/b", "h.example"));
    let same = BaseUrl::of_host("h.example", &usual);
    assert_eq!((base.pool_key, base.port), (same.pool_key, same.port));
    assert_eq!((&*same.path, same.https), ("", true));
    let others = [
        BaseUrl::of_url(&url("http://h.example:443"), &usual),
        BaseUrl::of_url(&url("https://h.example:444"), &usual),
        BaseUrl::of_url(&url("https://h.example"), &lax),
        BaseUrl::of_url(&url("https://h.example"), &renamed),
        BaseUrl::of_host("x.example", &usual),
    ];
    for other in others {
        assert_ne!(other.pool_key, base.pool_key, "{other:?}");
    }
    let key = resolve(
        Some("https://h.example/v1"),
        "x",
        Some(Adapter::Openai),
        &usual,
    );
    assert_eq!(key.unwrap().unwrap().pool_key, base.pool_key);
}
