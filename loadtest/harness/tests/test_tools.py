"""What other programs print, as these do."""

import pytest

from harness import syscalls, tools

WRK = """Running 2s test @ https://127.0.0.1:1/v1/chat/completions
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   705.66us  148.85us   4.15ms   91.02%
    Req/Sec    45.43k     1.32k   47.14k    85.71%
  Latency Distribution
     50%  683.00us
     75%  717.00us
     90%    1.05ms
     99%    2.10s
  94921 requests in 2.10s, 115.43MB read
Requests/sec:  45200.10
Transfer/sec:     54.97MB
"""


def test_wrk():
    found = tools.of_wrk(WRK)
    assert (found["requests"], found["errors"]) == (94921, 0)
    assert found["requests_per_s"] == pytest.approx(94921 / 2.1)
    assert (found["latency_p50_us"], found["latency_p90_us"], found["latency_p99_us"]) == (683, 1050, 2_100_000)


@pytest.mark.parametrize("line, errors", [
    ("  Non-2xx or 3xx responses: 17\n", 17),
    ("  Socket errors: connect 1, read 2, write 0, timeout 4\n", 7),
])
def test_failures_of_wrk_are_counted(line, errors):
    assert tools.of_wrk(WRK.replace("Requests/sec", line + "Requests/sec"))["errors"] == errors


H2LOAD = """finished in 1.02s, 13011.60 req/s, 16.53MB/s
requests: 13272 total, 13272 started, 13272 done, 13272 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 13272 2xx, 0 3xx, 0 4xx, 0 5xx
"""


def test_h2load():
    assert tools.of_h2load(H2LOAD) == {"requests": 13272, "requests_per_s": 13011.6, "errors": 0}
    assert tools.of_h2load(H2LOAD.replace("0 errored", "3 errored"))["errors"] == 3
    assert tools.of_h2load(H2LOAD.replace("0 4xx", "9 4xx"))["errors"] == 9
    log = "".join(f"{1700000000 + n}\t200\t{n + 1}\n" for n in range(1000))
    found = tools.of_log(log)
    assert (found["latency_p50_us"], found["latency_p99_us"], found["latency_p99.9_us"]) == (501, 991, 1000)
    assert tools.of_log("") == {}


def test_perf():
    text = "# started on Sat Nov 28\n\n94921,,raw_syscalls:sys_enter,1000000,100.00,,\n"
    assert syscalls.of_perf(text) == 94921
    assert syscalls.of_perf(text.replace("94921", "<not supported>")) is None


def test_strace():
    text = """% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 90.00    0.100000           5     20000           io_uring_enter
------ ----------- ----------- --------- --------- ----------------
100.00    0.110000           5     22000       12 total
"""
    assert syscalls.of_strace(text) == 22000
    assert syscalls.of_strace(text.replace("       12 total", "           total")) == 22000
    assert syscalls.of_strace("") is None
