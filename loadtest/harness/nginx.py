"""What nginx is configured with: a bare reverse proxy at its best, and an upstream that speaks TLS."""

import json
import os
import shutil

# Where it is, too, for users whose path has no programs of the system.
PROGRAM = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin") or "nginx"


def command(work, name, text):
    path = work / f"{name}.conf"
    path.write_text(text)
    return [PROGRAM, "-c", path, "-p", work]


def proxy(work, listen, upstream, scenario):
    """Keeps connections to the upstream, passes everything on as it comes, and writes no access log."""
    tls, http2 = scenario.tls, scenario.kind == "h2load"
    listens = f"{listen}{' ssl' if tls else ''}{' http2' if http2 else ''} backlog=4096"
    secured = f"""
      proxy_ssl_verify on; proxy_ssl_trusted_certificate {work}/cert.pem; proxy_ssl_name localhost;
      proxy_ssl_protocols TLSv1.3;""" if tls else ""
    return f"""{_head(work, "nginx")}
http {{{_common(work, tls)}
  upstream mock {{ server {upstream}; keepalive 1024; keepalive_requests 1000000000; }}
  server {{
    listen {listens};
    location / {{
      proxy_pass {"https" if tls else "http"}://mock; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_request_buffering off; client_max_body_size 0; proxy_read_timeout 600s;{secured}
    }}
  }}
}}
"""


def upstream(work, listen):
    """Answers every request over TLS with the same chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "w" * 1000}, "finish_reason": "stop"}
    answer = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt", "choices": [choice],
              "usage": {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}}
    return f"""{_head(work, "upstream")}
http {{{_common(work, True)}
  default_type application/json;
  server {{ listen {listen} ssl; location / {{ return 200 '{json.dumps(answer)}'; }} }}
}}
"""


def _head(work, name):
    return f"""daemon off; worker_processes 1; pid {work}/{name}.pid; error_log {work}/{name}.err;
worker_rlimit_nofile 20000;
events {{ worker_connections 19500; }}"""


def _common(work, tls):
    paths = ("client_body_temp_path", "proxy_temp_path", "fastcgi_temp_path", "uwsgi_temp_path", "scgi_temp_path")
    temporary = " ".join(f"{path} {work}/{path};" for path in paths)
    secured = f"""
  ssl_certificate {work}/cert.pem; ssl_certificate_key {work}/key.pem; ssl_protocols TLSv1.3;""" if tls else ""
    return f"""
  access_log off; keepalive_requests 1000000000; tcp_nodelay on;
  {temporary}{secured}"""
