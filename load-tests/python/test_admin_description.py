"""schemathesis reads the served description and tries what it can think of against a running gateway. Every check is on but
those named below."""

import pathlib
import subprocess
import sys

from conftest import KEY, running_gateway

# The same requests every time.
SEED = "5"
EXAMPLES = "15"
SETTINGS = """
[checks.ignored_auth]
# It sends one wrong key again and again, and whoever does so is told to wait with 429, which it does not know. That nothing
# opens without a key, a test in signaling/src/admin/tests.rs asks for every act.
enabled = false

[[operations]]
# No schema says what a configuration is: most texts are rightly refused with 400.
include-path-regex = "/configuration/(plan|apply)$"
[operations.checks.positive_data_acceptance]
enabled = false

[[operations]]
# Nor that a budget has a limit, that its soft one is not above the hard one, and that a key is named with its team.
include-path-regex = "/budgets"
[operations.checks.positive_data_acceptance]
enabled = false
"""


def test_the_administration_answers_as_it_is_described(tmp_path):
    with running_gateway("routes: [{ model: '*', provider: local }]\nproviders: { local: { kind: local, decoders: 1 } }\n") as gateway:
        program = pathlib.Path(sys.executable).with_name("schemathesis")
        (tmp_path / "schemathesis.toml").write_text(SETTINGS)
        run = subprocess.run(
            [
                program, "run", f"http://{gateway.http}/admin/v1/openapi.json",
                "--header", f"Authorization: Bearer {KEY}",
                # Live feeds have no end, which it would wait for; test_session_records.py reads them.
                "--exclude-path-regex", "/live$",
                "--phases", "examples,coverage,fuzzing,stateful",
                "--max-examples", EXAMPLES, "--seed", SEED, "--generation-deterministic",
                "--no-color", "--continue-on-failure",
            ],
            cwd=tmp_path, capture_output=True, text=True, timeout=900,
        )
        print(run.stdout[-20_000:])
        assert run.returncode == 0, run.stdout[-20_000:] + run.stderr[-2_000:]
        assert "unresolvable reference" not in run.stdout
        assert gateway.metric("voxgate_session_panics_total") == 0
