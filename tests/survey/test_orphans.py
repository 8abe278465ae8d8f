"""Who answers ends with who asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

ASK = """
import os, time
from inspector.api.survey_pool import answers

def slow(name):
    os.write(1, f"{os.getpid()}\\n".encode())  # in one piece, whoever else writes
    time.sleep(120)
    yield name

list(answers(slow, ["a", "b"], jobs=2, seconds=120))
"""


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"  # nobody may be there to bury it


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="looks at processes as Linux shows them")
def test_workers_end_when_the_survey_is_killed():
    asking = subprocess.Popen([sys.executable, "-c", ASK], stdout=subprocess.PIPE, text=True)
    workers = [int(asking.stdout.readline()) for _ in range(2)]
    assert all(map(is_running, workers))
    asking.send_signal(signal.SIGKILL)
    asking.wait()
    asking.stdout.close()
    until = time.monotonic() + 30
    while any(map(is_running, workers)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(is_running, workers))
