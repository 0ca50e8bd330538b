"""Dashboards and alert rules in deploy/ against the metric catalogue, promtool, and a real Prometheus that scrapes real calls."""

import itertools
import json
import re
import subprocess
import time

import pytest

from conftest import HTTP, KEY, ROOT, Process, gateway_config, running_gateway, start_simulator
from test_rotation import LIMIT
from webrtc_peer import call

DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "voxgate.rules.yaml"
BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))}
# Of https://grafana.com/docs: the ids of units, as `valueFormats` of grafana-data has them.
UNITS = {"none", "s", "percentunit", "reqps", "currencyUSD", "bytes", "Bps", "pps"}
KINDS = {"timeseries", "stat", "table", "heatmap", "row"}
NAME = re.compile(r"\b(?:voxgate|process)_[a-z0-9_]+")
# What Grafana puts in for its own variables.
PUT_IN = {"$__rate_interval": "1m", "$__range": "5m", "$instance": ".*", "$relay_instance": ".*", "$route": ".*", "$target": ".*", "$provider": ".*"}
# One call on one gateway fills these; elsewhere nothing has happened yet.
FILLED = {
    "Sessions running", "Sessions started", "Sessions ended", "Mouth to ear", "Served by", "Processor", "Memory", "Open files", "Threads",
    "By route", "All turns", "Mean turn by hop", "By owner", "p95 of each hop", "Budgets", "Burn over 5 minutes", "In", "Out", "Pacing",
    "Pacing misses", "Answering an offer", "Allowed", "Circuits", "Sessions begun", "Mouth to ear by target", "Relays as nodes see them", "Flows", "Packets",
    "Inside the relay", "Versions", "Configuration", "Running since", "Places in use",
}


def catalogue():
    """Name to kind and labels, as the page says, which a test of the crate keeps true."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \|", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE)
    return {name: (kind, set(re.findall(r"\w+", labels.replace("`", "")))) for name, kind, labels in rows}


CATALOGUE = catalogue()


def panels(board):
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries():
    """Every query of every dashboard: board, panel, text."""
    for name, board in BOARDS.items():
        for panel in panels(board):
            for target in panel["targets"]:
                yield name, panel["title"], target["expr"]
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                yield name, variable["name"], variable["definition"]


def filled_in(expr):
    for variable, value in PUT_IN.items():
        expr = re.sub(re.escape(variable) + r"\b", value, expr)
    assert "$" not in expr, expr
    return expr


def family(name):
    """The metric a sample belongs to."""
    base = re.sub(r"_(bucket|sum|count)$", "", name)
    return base if base in CATALOGUE and CATALOGUE[base][0] == "histogram" else name


def names_in(text):
    return {family(name) for name in NAME.findall(text)}


def promtool(*arguments, **options):
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_rules_are_well_formed_and_each_alert_fires_when_it_should_and_not_else():
    promtool("check", "rules", RULES)
    promtool("check", "config", DEPLOY / "prometheus" / "prometheus.yml")
    promtool("test", "rules", "voxgate.tests.yaml", cwd=RULES.parent)
    alerts = re.findall(r"- alert: (\w+)", RULES.read_text())
    tests = (RULES.parent / "voxgate.tests.yaml").read_text().split("  - name: ")[1:]
    tested = {(re.search(r"alertname: (\w+)", test).group(1), "exp_alerts: []" in test) for test in tests}
    assert len(alerts) == len(set(alerts)) >= 20
    assert tested == set(itertools.product(alerts, (True, False)))


def test_each_alert_says_how_bad_it_is_and_what_to_do():
    runbook = (ROOT / "docs" / "alerts.md").read_text()
    for text in RULES.read_text().split("- alert: ")[1:]:
        name = text.split()[0]
        assert re.search(r"severity: (page|ticket|info) ", text), name
        assert "summary:" in text and "description:" in text, name
        assert f'runbook: "docs/alerts.md#{name.lower()}"' in text and f"\n## {name}\n" in runbook, name
    assert set(re.findall(r"^## (Voxgate\w+)", runbook, re.MULTILINE)) == set(re.findall(r"- alert: (\w+)", RULES.read_text()))


def test_every_name_that_is_used_exists_and_every_metric_is_used():
    shown = set().union(*(names_in(expr) for _, _, expr in queries()))
    rules = re.sub(r"\w+:voxgate_\w+:\w+", "", RULES.read_text())
    tests = re.sub(r"\w+:voxgate_\w+:\w+", "", (RULES.parent / "voxgate.tests.yaml").read_text())
    ruled = names_in(rules)
    for where, names in (("dashboards", shown), ("rules", ruled), ("tests of rules", names_in(tests))):
        assert names <= set(CATALOGUE), (where, names - set(CATALOGUE))
    unused = set(CATALOGUE) - shown - ruled
    assert not unused, f"on no dashboard and in no rule: {unused}"
    # A recording rule nobody made is as bad as a metric.
    made = set(re.findall(r"record: (\S+)", RULES.read_text()))
    assert set(re.findall(r"\w+:voxgate_\w+:\w+", RULES.read_text())) == made


def test_every_label_that_is_used_exists():
    for text in [filled_in(expr) for _, name, expr in queries() if not expr.startswith("label_values")] + [RULES.read_text()]:
        for name, selector in re.findall(r"\b((?:voxgate|process)_\w+)\{([^}]*)\}", text):
            labels = set(re.findall(r"(\w+) *(?:=~|!~|!=|=)", re.sub(r'"[^"]*"', '""', selector)))
            kind, known = CATALOGUE[family(name)]
            allowed = known | {"instance", "job"} | ({"le"} if kind == "histogram" else set())
            assert labels <= allowed, (name, labels - allowed)
        for by in re.findall(r"\bby \(([^)]*)\)", text):
            of_anything = set().union(*(labels for _, labels in CATALOGUE.values())) | {"instance", "le"}
            assert {label.strip() for label in by.split(",")} <= of_anything, by


def test_documents_name_only_metrics_that_exist():
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), DEPLOY / "voxgate.example.yaml"]:
        names = {name for name in re.findall(r"`(voxgate_\w+?)(?:\{[^`]*\})?`", path.read_text())}
        unknown = {name for name in names if family(name) not in CATALOGUE}
        assert not unknown, (path.name, unknown)


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS.keys())
def test_a_dashboard_is_one_grafana_can_read(board):
    assert board["schemaVersion"] >= 38 and board["uid"].startswith("voxgate-") and board["title"] and board["description"]
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource" and variables["datasource"]["query"] == "prometheus"
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    for panel in panels(board):
        title = panel["title"]
        assert panel["type"] in KINDS and title and panel["description"].endswith("."), title
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, title
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"] in UNITS and defaults["thresholds"]["steps"][0]["value"] is None, title
        references = [target["refId"] for target in panel["targets"]]
        assert references and len(references) == len(set(references)), title
        for target in panel["targets"]:
            assert target["expr"] and target["legendFormat"], title
            used = set(re.findall(r"\$(?!__)(\w+)", target["expr"]))
            assert used <= set(variables), (title, used)
    assert set(variables) - {"datasource"} <= set(re.findall(r"\$(\w+)", json.dumps(board["panels"]))), "a variable nobody uses"
    assert len({board["uid"] for board in BOARDS.values()}) == len(BOARDS) == 5


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS.keys())
def test_panels_lie_inside_the_grid_and_on_no_other(board):
    taken = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = set(itertools.product(range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])))
        assert place["x"] >= 0 and place["x"] + place["w"] <= 24 and cells, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells


def test_every_query_can_be_parsed(tmp_path):
    exprs = [filled_in(expr) for _, _, expr in queries() if not expr.startswith("label_values")]
    rules = [{"record": f"panel:number_{number}:query", "expr": expr} for number, expr in enumerate(exprs)]
    # JSON is YAML.
    path = tmp_path / "panels.yaml"
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(exprs)} rules found" in promtool("check", "rules", path)


@pytest.fixture(scope="module")
def scraped(speak, tmp_path_factory):
    """A Prometheus that has scraped a gateway during a call and after it."""
    simulator, address = start_simulator("--answer-ms", "400", "--model-delay-ms", "20")
    folder = tmp_path_factory.mktemp("prometheus")
    with running_gateway(gateway_config(address)) as gateway:
        text = (DEPLOY / "prometheus" / "prometheus.yml").read_text().replace("15s", "1s").replace("127.0.0.1:8080", gateway.http)
        (folder / "prometheus.yml").write_text(text.replace("voxgate.rules.yaml", str(RULES)))
        prometheus = Process("prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
                             "--web.listen-address=127.0.0.1:0", "--log.level=info")
        listening = prometheus.wait_for(r'Listening on" address=(127\.0\.0\.1:\d+)').group(1)
        prometheus.wait_for("Server is ready to receive web requests")

        def ask(path, **parameters):
            reply = HTTP.get(f"http://{listening}/api/v1/{path}", params=parameters, timeout=LIMIT)
            body = reply.json()
            assert body["status"] == "success", (parameters, body)
            return body["data"]

        async def scenario(peer):
            await peer.connect(gateway, model="sim")
            for _ in range(2):
                turns = len(peer.measured)
                peer.say(speak("what time is it"))
                await peer.until(lambda: len(peer.measured) > turns, "turn.measured")
                await peer.event("output_audio_buffer.stopped")
            return peer

        def wait(query, count):
            until = time.monotonic() + LIMIT
            while not (result := ask("query", query=query)["result"]) or float(result[0]["value"][1]) < count:
                assert time.monotonic() < until, query
                time.sleep(0.2)

        wait("count(up == 1)", 1)
        for number in (1, 2):
            call(scenario)
            # Something grows only from one scrape to another.
            wait("sum(voxgate_turn_seconds_count)", 2 * number)
        try:
            yield gateway, ask
        finally:
            prometheus.stop()
    simulator.stop()


def test_what_a_gateway_shows_is_in_the_catalogue_and_without_fault(scraped):
    gateway, _ = scraped
    text = HTTP.get(f"http://{gateway.http}/metrics", timeout=LIMIT).text
    told = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=300)
    assert told.returncode == 0, told.stdout + told.stderr
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    assert len(kinds) > 50
    for name, kind in kinds.items():
        assert CATALOGUE.get(name, (None,))[0] == kind, name
    for name, labels in re.findall(r"^(\w+)\{(.*)\} ", text, re.MULTILINE):
        found = set(re.findall(r'(\w+)="', labels)) - {"le"}
        assert found == CATALOGUE[family(name)][1], (name, found)
    assert KEY not in text


def test_no_query_fails_and_the_panels_a_call_fills_are_filled(scraped):
    _, ask = scraped
    filled, empty = set(), set()
    for board, title, expr in queries():
        if expr.startswith("label_values"):
            metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", expr).groups()
            values = ask(f"label/{label}/values", **{"match[]": metric})
            assert values or metric == "voxgate_cost_dollars_total" or metric == "voxgate_routing_target_state", (board, expr)
            continue
        result = ask("query", query=filled_in(expr))["result"]
        (filled if result else empty).add(title)
    missing = (FILLED & empty) - filled
    assert FILLED <= filled | empty and not missing, (missing, FILLED - filled - empty)


def test_prometheus_takes_the_rules_and_evaluates_them(scraped):
    _, ask = scraped
    rules = [rule for group in ask("rules")["groups"] for rule in group["rules"]]
    assert [rule for rule in rules if rule.get("lastError")] == []
    assert sum(rule["type"] == "alerting" for rule in rules) == len(re.findall(r"- alert:", RULES.read_text()))
