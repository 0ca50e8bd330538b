"""Showback from the command line: what was spent by whom, and how it compares with a provider's invoice."""

import csv
import io
import json

import pytest

from conftest import start_gateway
from stores import literal
from test_lifecycle import NOWHERE, run

A_DOLLAR = 1_000_000_000


def entry(number, tenant, model, day, certainty, amount):
    """A row as a gateway writes it."""
    organisation, team, key, agent = tenant
    at = {"secs": 0, "nanos": 0}
    whole = {
        "id": {"session": f"sess_{number}", "subject": {"response": "resp_1"}, "source": "wire", "sequence": 0},
        "tenant": {"organisation": organisation, "team": team, "key": key, "agent": agent},
        "provider": "openai", "model": model, "hop": "model", "day": day, "at": at, "prices": "v1",
        "certainty": certainty, "amount": amount, "unheard": 0,
        "used": {"tokens": NO_TOKENS, "audio_in": at, "audio_out": at, "connected": at, "characters": 0},
    }
    name = f"sess_{number}/response:resp_1/wire/0"
    return (name, day, 0, organisation, team, key, agent, f"sess_{number}", "openai", model, "model", certainty,
            amount, 0, json.dumps(whole))


NO_TOKENS = {kind: 0 for kind in ("input_text", "input_audio", "input_image", "cached_text", "cached_audio",
                                  "cached_image", "output_text", "output_audio")}
RED, BLUE = ("acme", "red", "web", None), ("acme", "-blue", "web", "clerk")


class Ran:
    """A gateway that has run: its folder and its store."""

    def __init__(self, folder, store):
        self.folder, self.store = folder, store
        assert start_gateway(folder, NOWHERE + store.config, env=store.env).process.stop() == 0

    def run(self, command, *arguments):
        return run(command, *self.store.arguments(self.folder), *arguments, env=self.store.env)


@pytest.fixture
def data(tmp_path, new_store):
    """A gateway that has run, with entries in its ledger."""
    ran = Ran(tmp_path / "data", new_store())
    rows = [
        entry(1, RED, "gpt-realtime", "2026-10-01", "confirmed", 2 * A_DOLLAR),
        entry(2, RED, "gpt-realtime", "2026-10-02", "estimated", A_DOLLAR),
        entry(3, RED, "gpt-realtime", "2026-10-02", "estimated", 2 * A_DOLLAR),
        entry(4, BLUE, '=HYPERLINK("http://x")', "2026-10-02", "confirmed", 5),
    ]
    values = ", ".join(f"({', '.join(map(literal, row))})" for row in rows)
    columns = "id, day, at, organisation, team, api_key, agent, session, provider, model, hop, certainty, amount, unheard, entry"
    ran.store.execute(ran.folder, f"INSERT INTO ledger_entries ({columns}) VALUES {values}")
    return ran


OCTOBER = ("--from", "2026-10-01", "--to", "2026-10-31")


def usage(data, *arguments):
    code, output = data.run("usage", *OCTOBER, *arguments)
    assert code == 0, output
    return output


def test_spending_is_shown_by_whatever_is_asked_for(data):
    rows = json.loads(usage(data, "--by", "team,model", "--format", "json"))
    assert [(row["organisation"], row["team"], row["confirmed_nano_dollars"], row["estimated_nano_dollars"])
            for row in rows] == [("acme", "-blue", 5, 0), ("acme", "red", 2 * A_DOLLAR, 3 * A_DOLLAR)]
    [row] = json.loads(usage(data, "--only", "agent=clerk", "--format", "json"))
    assert (row["confirmed_nano_dollars"], row["entries"]) == (5, 1)
    table = usage(data, "--by", "day")
    assert "2026-10-02" in table and "3.000000000" in table, table
    code, output = data.run("usage", "--by", "wallet")
    assert code == 78 and "wallet" in output


def test_a_spreadsheet_runs_nothing_of_a_report(data):
    rows = list(csv.reader(io.StringIO(usage(data, "--by", "team,model", "--format", "csv"))))
    assert rows[0][:3] == ["organisation", "team", "model"]
    assert rows[1][1:3] == ["'-blue", "'=HYPERLINK(\"http://x\")"]
    for row in rows[1:]:
        for name in row[:3]:
            assert name[0] not in "=+-@\t\r"


def test_an_invoice_settles_estimates_and_what_differs_is_listed(data, tmp_path):
    invoice = tmp_path / "invoice.csv"
    invoice.write_text("day,model,kind,dollars\n"
                       "2026-10-01,gpt-realtime,audio,2\n"
                       "2026-10-02,gpt-realtime,audio,2.5\n"
                       "2026-10-02,gpt-realtime,text,0.1\n"
                       "2026-10-02,gpt-other,audio,7\n")
    reconcile = ("reconcile", "--provider", "openai", "--invoice", invoice)
    code, output = data.run(*reconcile)
    assert code == 1
    lines = [line.split() for line in output.splitlines()[1:]]
    assert [(line[0], line[1], line[-1]) for line in lines] == [
        ("2026-10-02", '=HYPERLINK("http://x")', "-0.000000005"),
        ("2026-10-02", "gpt-other", "7.000000000"),
        ("2026-10-02", "gpt-realtime", "-0.400000000"),
    ]
    code, output = data.run(*reconcile, "--confirm")
    assert code == 1 and "2 estimates confirmed" in output and "gpt-realtime" not in output, output
    code, output = data.run(*reconcile, "--confirm")
    assert "0 estimates confirmed" in output, "what is confirmed once stays so"
    [row] = json.loads(usage(data, "--only", "model=gpt-realtime", "--format", "json"))
    assert (row["confirmed_nano_dollars"], row["estimated_nano_dollars"]) == (4_600_000_000, 0)
    settled = data.store.column(
        data.folder, "SELECT amount FROM ledger_entries WHERE id LIKE '%invoice%' ORDER BY id")
    assert [int(amount) for amount in settled] == [-A_DOLLAR, 866_666_666, -2 * A_DOLLAR, 1_733_333_334], "added to, and nothing is changed"


def test_an_invoice_that_cannot_be_read_changes_nothing(data, tmp_path):
    invoice = tmp_path / "invoice.csv"
    invoice.write_text("day,model,dollars\n2026-10-02,gpt-realtime,3\n2026-10-02,gpt-realtime,much\n")
    code, output = run("reconcile", "--provider", "openai", "--invoice", invoice, "--confirm")
    assert code == 2 and "line 3" in output
    [row] = json.loads(usage(data, "--format", "json"))
    assert row["estimated_nano_dollars"] == 3 * A_DOLLAR
