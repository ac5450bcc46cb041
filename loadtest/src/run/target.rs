//! Where load is sent, as `--target` says. [boot]

use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// Model of a target that names none: the script travels in it.
const MODEL: &str = "mock/*";

/// `name=http://host:port[/prefix][,pid=1+2][,key=BEARER][,model=NAME]`
#[derive(Clone)]
pub struct Target {
    pub(super) name: String,
    pub(super) address: SocketAddr,
    /// Host header.
    authority: String,
    /// What comes before `/v1/…`.
    prefix: String,
    /// Processes whose CPU time and memory are read; their children are found.
    pub(super) pids: Vec<u32>,
    key: Option<String>,
    model: String,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}={}", self.name, self.authority)
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = text.split_once('=').ok_or("takes name=http://host:port")?;
        let mut parts = rest.split(',');
        let url = parts.next().and_then(|url| url.strip_prefix("http://"));
        let url = url
            .ok_or("takes a URL that begins with http://")?
            .trim_end_matches('/');
        let (authority, prefix) = match url.find('/') {
            Some(at) => url.split_at(at),
            None => (url, ""),
        };
        let resolved = authority
            .to_socket_addrs()
            .map_err(|error| format!("{authority}: {error}"));
        let mut target = Self {
            name: name.to_owned(),
            address: resolved?.next().ok_or(format!("{authority}: no address"))?,
            authority: authority.to_owned(),
            prefix: prefix.to_owned(),
            pids: Vec::new(),
            key: None,
            model: MODEL.to_owned(),
        };
        for part in parts {
            match part.split_once('=') {
                Some(("pid", pids)) => {
                    let pids: Result<_, _> = pids.split('+').map(str::parse).collect();
                    target.pids = pids.map_err(|_| "pid takes numbers joined with +")?;
                }
                Some(("key", key)) => target.key = Some(key.to_owned()),
                Some(("model", model)) => target.model = model.to_owned(),
                _ => return Err(format!("`{part}` is none of pid=, key= and model=")),
            }
        }
        Ok(target)
    }
}

/// What is asked for; the same for every target.
#[derive(Debug, Clone)]
pub(super) struct Ask<'a> {
    /// `/v1/chat/completions`
    pub(super) path: &'a str,
    pub(super) script: &'a str,
    pub(super) stream: bool,
    /// Asks for the usage event of a stream.
    pub(super) usage: bool,
    /// Least bytes of the body.
    pub(super) body_bytes: usize,
    /// More header lines, `name: value`.
    pub(super) headers: &'a [String],
}

impl Target {
    /// The request as it goes over the wire. The script goes into a model that ends with `/*`,
    /// else into a header, which a gateway may or may not pass on.
    pub(super) fn request(&self, ask: &Ask<'_>) -> Vec<u8> {
        let scripted = self.model.strip_suffix("/*");
        let model = match scripted {
            Some(prefix) => format!("{prefix}/{}", ask.script),
            None => self.model.clone(),
        };
        let mut body = serde_json::json!({
            "model": model,
            "messages": [{"role": "user", "content": ""}],
        });
        if ask.stream {
            body["stream"] = true.into();
        }
        if ask.usage {
            body["stream_options"] = serde_json::json!({"include_usage": true});
        }
        let missing = ask.body_bytes.saturating_sub(body.to_string().len());
        body["messages"][0]["content"] = "x".repeat(missing.max(1)).into();
        let body = body.to_string();
        let mut head = format!(
            "POST {}{} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
            self.prefix,
            ask.path,
            self.authority,
            body.len()
        );
        if let Some(key) = &self.key {
            head += &format!("authorization: Bearer {key}\r\n");
        }
        if scripted.is_none() && !ask.script.is_empty() {
            head += &format!("x-mock-script: {}\r\n", ask.script);
        }
        for header in ask.headers {
            head += &format!("{header}\r\n");
        }
        (head + "\r\n" + &body).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(target: &str) -> String {
        let ask = Ask {
            path: "/v1/chat/completions",
            script: "events=2,size=9",
            stream: true,
            usage: false,
            body_bytes: 500,
            headers: &["x-more: 1".to_owned()],
        };
        let target: Target = target.parse().unwrap();
        String::from_utf8(target.request(&ask)).unwrap()
    }

    #[test]
    fn the_script_travels_in_a_model_that_ends_with_a_wildcard() {
        let text = request("a=http://127.0.0.1:80/up/,key=sk-1,model=fast/*,pid=1+2");
        assert!(
            text.starts_with("POST /up/v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:80\r\n")
        );
        assert!(text.contains("\"model\":\"fast/events=2,size=9\""));
        assert!(text.contains("authorization: Bearer sk-1\r\nx-more: 1\r\n\r\n{"));
        assert!(text.contains("content-length: 500\r\n"));
        assert_eq!(text.split_once("\r\n\r\n").unwrap().1.len(), 500);
    }

    #[test]
    fn the_script_travels_in_a_header_otherwise() {
        let text = request("a=http://127.0.0.1:80,model=gpt");
        assert!(text.contains("\"model\":\"gpt\""));
        assert!(text.contains("x-mock-script: events=2,size=9\r\n"));
    }

    #[test]
    fn a_target_that_cannot_be_used_is_refused() {
        for text in [
            "http://a",
            "a=https://127.0.0.1:1",
            "a=http://127.0.0.1:1,pid=x",
            "a=http://127.0.0.1:1,q=1",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
