"""`graft run`, `graft runs` and `graft workflows` against a server that answers as the contract says."""

import json
import re

import pytest

from infra.cli import watch
from tests.cli.server import problem, serving

DOCUMENT = {"name": "abc", "nodes": [{"id": "a", "type": "pass"}], "edges": []}
AT = "2030-01-31T12:00:00.000Z"


class Story:
    """One run that goes on with each look at its events."""

    def __init__(self, *chapters):
        #: (run status, types of new events)
        self.chapters, self.at, self.seq = chapters, 0, 0

    def answer(self, method, path, query, body):
        if (method, path) == ("POST", "/runs"):
            return 202, {"run_id": "r1", "status": "PENDING", "links": {}}
        status, types = self.chapters[min(self.at, len(self.chapters) - 1)]
        if path == "/runs/r1/events":
            fresh = [] if self.at >= len(self.chapters) else self._events(types)
            self.at += 1
            return 200, {"events": fresh, "next": self.seq, "done": status in watch.ENDED}
        if path == "/runs/r1":
            status = self.chapters[min(self.at, len(self.chapters)) - 1][0]
            return 200, self._run(status)
        return problem(404, "There is nothing here.")

    def _events(self, types):
        found = []
        for kind in types:
            self.seq += 1
            found.append({"seq": self.seq, "type": kind, "at": AT, "node_id": "a", "attempt": 2, "data": {}})
        return found

    def _run(self, status):
        node = {"type": "pass", "status": status, "attempts": 2, "iteration": 1, "started_at": AT, "finished_at": AT}
        error = {"type": "Broken", "message": "no luck", "node_id": "a"} if status == "FAILED" else None
        return {
            "run_id": "r1", "workflow": None, "status": status, "nodes": {"a": node}, "output": {"a": 1},
            "error": error, "started_at": AT, "finished_at": AT if status in watch.ENDED else None,
        }  # fmt: skip


@pytest.fixture
def workflow(tmp_path):
    path = tmp_path / "w.json"
    path.write_text(json.dumps(DOCUMENT))
    return path


def test_run_starts_a_file_with_its_input(graft, workflow):
    with serving(Story(("RUNNING", [])).answer) as server:
        code, out, _ = graft("run", workflow, "--input", '{"x": 1}', "--run-id", "mine", "--url", server.url,
                             "--token", "t", "--json")  # fmt: skip
    assert (code, json.loads(out)["run_id"]) == (0, "r1")
    assert server.asked[0][3] == {"workflow": DOCUMENT, "input": {"x": 1}, "run_id": "mine"}


def test_run_names_its_breakpoints(graft):
    with serving(Story(("RUNNING", [])).answer) as server:
        words = ("--breakpoint", "b", "--breakpoint", "c", "--url", server.url, "--token", "t")
        assert graft("run", "abc", *words)[0] == 0
    assert server.asked[0][3] == {"workflow": "abc", "input": {}, "breakpoints": ["b", "c"]}


def test_run_starts_a_saved_workflow_by_name(graft):
    with serving(Story(("RUNNING", [])).answer) as server:
        assert graft("run", "abc@prod", "--url", server.url, "--token", "t")[0] == 0
    assert server.asked[0][3] == {"workflow": "abc@prod", "input": {}}


def test_watch_prints_each_event_once_and_the_output_outside_a_terminal(graft, workflow):
    story = Story(("RUNNING", ["run_created", "node_dispatched"]), ("RUNNING", []), ("COMPLETED", ["run_completed"]))
    with serving(story.answer) as server:
        code, out, _ = graft("run", workflow, "--watch", "--url", server.url, "--token", "t")
    assert code == 0
    lines = [line for line in out.splitlines() if line.startswith("12:00:00.000")]
    assert lines == [
        "12:00:00.000  run_created  a  attempt 2",
        "12:00:00.000  node_dispatched  a  attempt 2",
        "12:00:00.000  run_completed  a  attempt 2",
    ]
    assert re.search(r"output: \{\s+\"a\": 1\s+\}", out)
    polls = [query for _, path, query, _, _ in server.asked if path.endswith("/events")]
    assert [poll["after"] for poll in polls] == ["0", "2", "2"]
    assert polls[1]["wait"] == str(watch.WAIT_S)


@pytest.mark.parametrize(("status", "code"), [("COMPLETED", 0), ("FAILED", 1), ("CANCELLED", 1), ("TIMED_OUT", 1)])
def test_the_exit_code_tells_how_the_run_ended(graft, status, code):
    with serving(Story((status, ["run_created"])).answer) as server:
        found, out, _ = graft("runs", "watch", "r1", "--url", server.url, "--token", "t", "--json")
    assert (found, json.loads(out)["status"]) == (code, status)


def test_a_failed_run_says_where_and_why(graft):
    with serving(Story(("FAILED", ["run_failed"])).answer) as server:
        _, out, _ = graft("runs", "watch", "r1", "--url", server.url, "--token", "t")
    assert "FAILED at a: Broken: no luck" in out


def test_ctrl_c_leaves_the_run_going_and_says_so(graft, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(watch, "_printed", interrupt)
    with serving(Story(("RUNNING", ["run_created"])).answer) as server:
        code, _, err = graft("runs", "watch", "r1", "--url", server.url, "--token", "t")
    assert code == 130
    assert "The run goes on: `graft runs watch r1`" in err
    assert all(method == "GET" for method, *_ in server.asked)


def test_watching_outlasts_a_server_that_is_away_for_a_moment(graft, monkeypatch):
    monkeypatch.setattr(watch, "PAUSE_S", 0.0)
    story, troubles = Story(("COMPLETED", ["run_completed"])), iter([True, True, False])

    def answer(*request):
        return problem(503, "Not now.") if next(troubles, False) else story.answer(*request)

    with serving(answer) as server:
        assert graft("runs", "watch", "r1", "--url", server.url, "--token", "t")[0] == 0


def test_watching_gives_up_on_a_server_that_stays_away(graft, monkeypatch):
    monkeypatch.setattr(watch, "PAUSE_S", 0.0)
    with serving(lambda *_: problem(503, "Not now.")) as server:
        code, _, err = graft("runs", "watch", "r1", "--url", server.url, "--token", "t")
    assert (code, "Not now." in err, len(server.asked)) == (3, True, watch.PATIENCE)


def test_an_unknown_run_is_not_waited_for(graft):
    with serving(lambda *_: problem(404, "There is no run nope.")) as server:
        code, _, err = graft("runs", "watch", "nope", "--url", server.url, "--token", "t")
    assert (code, "no run nope" in err, len(server.asked)) == (2, True, 1)


def test_the_board_shows_state_counts_and_elapsed_time():
    board = watch.Board("r1", "abc")
    nodes = {f"n{number}": {"type": "pass", "status": "PENDING"} for number in range(100)}
    nodes["busy"] = {"type": "http", "status": "RUNNING", "iteration": 6, "attempts": 2, "started_at": AT}
    nodes["n7"] |= {"status": "COMPLETED", "started_at": AT, "finished_at": "2030-01-31T12:01:05.000Z"}
    board.update([{"at": "2030-01-31T12:00:02.500Z"}], {"run_id": "r1", "status": "RUNNING", "nodes": nodes})
    board.height = lambda: 10
    console = watch.show.Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(board.render())
    console.file.close()
    text = console.export_text()
    assert re.search(r"busy +http +▸ RUNNING +6 +2 +2\.\d s", text)
    assert re.search(r"n7 +pass +✓ COMPLETED +1 min 05 s", text)
    assert "and 91 more nodes" in text
    assert len(text.splitlines()) < 15


PATCHED = {
    "type": "patch_applied",
    "actor": "node:look",
    "at": AT,
    "data": {"patch": 3, "description": "why not", "answer": {"added": ["x"], "removed": ["y"], "changed": ["z"]}},
}


def test_a_line_says_who_patched_the_graph_and_why():
    assert watch.event_line(PATCHED).endswith("patch_applied  revision 3 by node:look (+x -y ~z): why not")
    large = {**PATCHED, "data": {"patch": 4, "detail_ref": "artifact://sha256/0"}}
    assert watch.event_line(large).endswith("patch_applied  revision 4 by node:look")


def test_the_board_says_who_patched_the_graph_and_marks_what_was_added():
    board = watch.Board("r1", "abc")
    nodes = {name: {"type": "pass", "status": "PENDING"} for name in ("x", "z")}
    run = {"run_id": "r1", "status": "RUNNING", "nodes": nodes}
    shown = []
    for events in (
        [],
        [PATCHED],
        [{**PATCHED, "type": "patch_reverted", "data": {"patch": 4, "answer": {"removed": ["x"]}}}],
    ):
        board.update(events, run)
        console = watch.show.Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
        console.print(board.render())
        console.file.close()
        shown.append(console.export_text())
    assert "by a patch" not in shown[0]
    assert re.search(r"x \+ by a patch +pass", shown[1]) and not re.search(r"z \+ by a patch", shown[1])
    assert "Patched: revision 3 by node:look (+x -y ~z): why not" in shown[1]
    assert "by a patch" not in shown[2] and "Patch taken back: revision 4 by node:look (-x)" in shown[2]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0394, "39 ms"), (1.04, "1.0 s"), (65, "1 min 05 s"), (7260, "2 h 01 min")]
)
def test_durations_are_short(seconds, text):
    assert watch.duration(seconds) == text


def test_runs_list_show_and_events_print_what_the_server_knows(graft):
    story = Story(("COMPLETED", ["run_created", "run_completed"]))
    item = {"run_id": "r1", "status": "COMPLETED", "workflow": {"name": "abc", "version": 2}, "created_at": AT}

    def answer(method, path, query, body):
        if path == "/runs":
            return 200, {"items": [item], "next_cursor": "more"}
        return story.answer(method, path, query, body)

    with serving(answer) as server:
        where = ("--url", server.url, "--token", "t")
        code, listed, _ = graft("runs", "list", "--status", "COMPLETED", "--limit", 5, *where)
        assert (code, "abc" in listed, "--cursor more" in listed) == (0, True, True)
        assert server.asked[-1][2] == {"status": "COMPLETED", "limit": "5"}
        code, events, _ = graft("runs", "events", "r1", *where)
        assert (code, events.split()[:3]) == (0, ["1", "12:00:00.000", "run_created"])
        code, shown, _ = graft("runs", "show", "r1", *where)
        assert (code, "COMPLETED" in shown, '"a": 1' in shown) == (0, True, True)
        assert json.loads(graft("runs", "show", "r1", "--json", *where)[1])["run_id"] == "r1"


def test_ids_are_one_segment_of_the_path(graft):
    with serving(lambda *_: problem(404, "None.")) as server:
        graft("runs", "show", "../workflows?x=1", "--url", server.url, "--token", "t")
    assert server.asked[0][1] == "/api/v1/runs/..%2Fworkflows%3Fx%3D1"


def test_draw_takes_a_run(graft):
    story = Story(("COMPLETED", ["run_completed"]))
    story.at = 1

    def answer(method, path, query, body):
        return (200, DOCUMENT) if path == "/runs/r1/workflow" else story.answer(method, path, query, body)

    with serving(answer) as server:
        code, out, _ = graft("draw", "r1", "--url", server.url, "--token", "t")
    assert (code, 'data-id="a" data-status="COMPLETED"' in out) == (0, True)


def test_workflows_are_saved_listed_and_shown(graft, workflow):
    def answer(method, path, query, body):
        if method == "POST":
            return 201, {"name": body["name"], "version": 3}
        if path == "/workflows":
            return 200, {"items": [{"name": "abc", "version": 3}], "next_cursor": None}
        return 200, {"name": "abc", "version": int(query.get("version", 3)), "workflow": DOCUMENT}

    with serving(answer) as server:
        where = ("--url", server.url, "--token", "t")
        code, out, _ = graft("workflows", "save", workflow, "--tag", "prod", *where)
        assert (code, "abc is version 3" in out) == (0, True)
        assert server.asked[-1][3] == {"name": "abc", "workflow": DOCUMENT, "tag": "prod"}
        assert "abc" in graft("workflows", "list", *where)[1]
        assert "version 2" in graft("workflows", "show", "abc", "--version", 2, *where)[1]
        assert graft("workflows", "show", "abc", "--version", 2, "--tag", "x", *where)[0] == 2


@pytest.mark.parametrize("argv", [["run"], ["runs"], ["nonsense"], ["runs", "list", "--limit", "0"], ["local", "up",
    "--port", "70000"], ["local", "up", "--aws", "azure"], ["run", "x.json", "--input", "{"]])  # fmt: skip
def test_wrong_usage_exits_with_2(graft, argv):
    assert graft(*argv)[0] == 2
